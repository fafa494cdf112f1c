//! How the dispatcher comes to its end: a word to stop, the deadline, and when nothing is left to wait for.

use std::time::{Duration, Instant};

use headcount_queue::{
    Stop,
    store::{Verdict, WorkerState},
};
use tokio::time::timeout;

use super::{Dispatcher, Found};
use crate::{
    Exit,
    drain::{Deadlines, Phase},
    hands::Place,
    settle::settlement,
    verbosity::tell,
};

/// For how long a stopping worker that holds nothing waits for a claim under way.
pub(super) const LAST_CALL: Duration = Duration::from_millis(500);
impl Dispatcher {
    pub(crate) fn deadlines(&self) -> Option<Deadlines> {
        Deadlines::of(self.phase, self.config.grace)
    }

    /// A word to stop takes effect.
    pub(super) fn obey(&mut self, phase: Phase) {
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        self.stopped_at.get_or_insert_with(Instant::now);
        let (running, verbosity) = (self.slots.running(), self.config.verbosity);
        match phase {
            Phase::Running => {}
            Phase::Finish => tell!(verbosity, running, "finishing: nothing more is claimed"),
            Phase::By(end) => {
                let left = end.saturating_duration_since(Instant::now());
                tell!(verbosity, running, ?left, "stopping in time: nothing more is claimed");
                self.hands.tell_running(Stop::Stopping);
            }
            Phase::Grace { .. } => {
                tell!(verbosity, running, grace = ?self.config.grace, "stopping: nothing more is claimed");
                self.hands.tell_running(Stop::Stopping);
            }
            Phase::Now(_) => {
                tell!(verbosity, running, "stopping now");
                self.hands.tell_running(Stop::Stopping);
            }
        }
    }

    /// Whether the worker ends, and how.
    pub(super) fn is_over(&mut self, calling: bool) -> Option<Exit> {
        let patience = self.config.store_patience;
        if [self.outage.lasts(), self.hands.unheard_for()].into_iter().flatten().any(|lasts| lasts > patience) {
            return Some(Exit::StoreLost);
        }
        if !(self.slots.is_empty() && self.outbox.is_empty()) {
            return None;
        }
        if self.phase != Phase::Running {
            // A claim under way may still bring jobs, which are then given back; but an idle worker does not wait long.
            let waited = self.stopped_at.is_some_and(|at| at.elapsed() >= LAST_CALL);
            return (!calling || self.boot.is_none() || waited && self.hands.len() == 0).then(|| self.stopped());
        }
        if calling || self.hands.len() > 0 {
            return None;
        }
        if self.state == WorkerState::Leaving {
            return Some(Exit::Left);
        }
        (self.found == Found::Empty || self.attempts_left() == Some(0)).then_some(Exit::Done)
    }

    pub(super) fn stopped(&mut self) -> Exit {
        if let Some(why) = self.broken.take() {
            return Exit::BrokenEnvironment(why);
        }
        match self.given_back {
            0 => Exit::Stopped,
            given_back => Exit::Forced { given_back },
        }
    }

    /// Drops the handlers that have not ended by the deadline, waits for what they leave behind to end, and gives
    /// their jobs back.
    pub(super) async fn drop_running(&mut self, deadlines: Deadlines) {
        self.dropped = true;
        if self.slots.running() == 0 {
            return;
        }
        // In two halves: a handler that blocks its thread must not use up the time for ending child processes.
        let half = deadlines.to_close() / 2;
        self.slots.drop_running(half).await;
        let _ = timeout(half, self.registry.close(half)).await;
        let mut unfinished = self.slots.take_running();
        // Those that ended in the last moment count as they ended.
        let (ended, dropped): (Vec<_>, Vec<_>) = self.slots.take_ended().into_iter().partition(|end| end.how.is_some());
        self.take_ends(ended);
        unfinished.extend(dropped.into_iter().map(|end| (end.key, end.running)));
        self.given_back += unfinished.len();
        self.hands.moved(unfinished.iter().map(|&(key, _)| key), Place::Settled);
        for (key, running) in unfinished {
            let reason = "its worker was stopped before it was done".into();
            self.outbox.push(settlement(key.0, running.token, Verdict::Interrupt { reason }, running.since.elapsed()));
        }
        tracing::warn!("{} jobs were not done by the deadline and are given back", self.given_back);
    }
}

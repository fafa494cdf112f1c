//! The slots of a worker: what waits for one, what runs in one, and what has ended since the dispatcher last looked.
//!
//! A slot is a task. When its job has ended it goes on by itself with the next that waits, and wakes the dispatcher only
//! when there is something to decide: a round trip between two threads for each job costs more than a small job does.
//! So the state is shared, behind a plain mutex that is never held across an await.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use headcount_queue::{
    Attempt, Stop,
    store::{Claim, ClaimedJob, Token},
};
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, coop::consume_budget},
};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::{
    config::Config,
    hands::{Hands, Key, Place, key},
    registry::Registry,
    run::{self, Ended},
    verbosity::Verbosity,
};

/// See the module.
pub(crate) struct Slots {
    count: usize,
    hands: Arc<Hands>,
    /// One that has been silent for so long may have been taken for dead, and starts nothing.
    window: Duration,
    way: Way,
    tasks: TaskTracker,
    state: Mutex<State>,
    bell: Notify,
}

/// How an attempt is run here.
struct Way {
    registry: Arc<Registry>,
    store: Arc<dyn Claim>,
    cancel_grace: Duration,
    verbosity: Verbosity,
}

#[derive(Default)]
struct State {
    buffer: VecDeque<Buffered>,
    running: HashMap<Key, Running>,
    ended: Vec<End>,
    /// How many attempts were started.
    started: u64,
    /// What waits must not start yet.
    held_back: bool,
    alarm: Alarm,
}

/// When a slot that goes on by itself wakes the dispatcher all the same.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alarm {
    /// So many attempts have ended.
    pub(crate) ended: Option<usize>,
    /// No more than so many jobs wait for a slot.
    pub(crate) waiting: Option<usize>,
}

/// A job that waits for a slot.
pub(crate) struct Buffered {
    pub(crate) job: Arc<ClaimedJob>,
    stop: watch::Sender<Option<Stop>>,
    since: Instant,
}

/// A job in a slot.
pub(crate) struct Running {
    pub(crate) token: Token,
    pub(crate) since: Instant,
    suspect: bool,
    task: AbortHandle,
}

/// An attempt that has ended.
pub(crate) struct End {
    pub(crate) key: Key,
    pub(crate) running: Running,
    /// How; none: its task was dropped before it did.
    pub(crate) how: Option<Ended>,
}

impl Slots {
    pub(crate) fn new(config: &Config, store: Arc<dyn Claim>, registry: Arc<Registry>, hands: Arc<Hands>) -> Self {
        let (cancel_grace, verbosity) = (config.cancel_grace, config.verbosity);
        Self {
            count: config.slots as usize,
            hands,
            window: config.vigil.window,
            way: Way { registry, store, cancel_grace, verbosity },
            tasks: TaskTracker::new(),
            state: Mutex::default(),
            bell: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many jobs run.
    pub(crate) fn running(&self) -> usize {
        self.lock().running.len()
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().buffer.len()
    }

    /// How many slots are free.
    pub(crate) fn free(&self) -> usize {
        self.count.saturating_sub(self.running())
    }

    /// Whether nothing runs, waits, or has ended without having been taken up.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.running.is_empty() && state.buffer.is_empty() && state.ended.is_empty()
    }

    /// How many slots are free, or have been taken for less than `hold`.
    pub(crate) fn turning(&self, now: Instant, hold: Duration) -> usize {
        let state = self.lock();
        let young = state.running.values().filter(|running| now.duration_since(running.since) < hold).count();
        young + self.count.saturating_sub(state.running.len())
    }

    /// Whether a suspect runs or waits.
    pub(crate) fn hold_a_suspect(&self) -> bool {
        let state = self.lock();
        state.running.values().any(|running| running.suspect) || state.buffer.iter().any(|job| job.job.is_suspect())
    }

    /// Since when the one that has waited for longest has.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.lock().buffer.front().map(|front| front.since)
    }

    /// How many attempts were started so far.
    pub(crate) fn started(&self) -> u64 {
        self.lock().started
    }

    /// Sets when slots wake the dispatcher. They always do when they find nothing to go on with.
    pub(crate) fn set_alarm(&self, alarm: Alarm) {
        let mut state = self.lock();
        state.alarm = alarm;
        // What ended between the dispatcher's look and this rang by the alarm before.
        if !state.ended.is_empty() && state.rings() {
            self.bell.notify_one();
        }
    }

    /// Waits for a slot to ring.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Puts jobs behind those that wait, in this order.
    pub(crate) fn take_in(
        &self,
        jobs: impl IntoIterator<Item = (ClaimedJob, watch::Sender<Option<Stop>>)>,
        held: bool,
    ) {
        let since = Instant::now();
        let mut state = self.lock();
        state.held_back |= held;
        state.buffer.extend(jobs.into_iter().map(|(job, stop)| Buffered { job: job.into(), stop, since }));
    }

    /// Those that the free slots would start now.
    pub(crate) fn next_up(&self) -> Vec<Key> {
        let state = self.lock();
        let free = self.count.saturating_sub(state.running.len());
        state.buffer.iter().take(free).map(|job| key(&job.job)).collect()
    }

    /// Lets what was held back start.
    pub(crate) fn let_go(&self) {
        self.lock().held_back = false;
    }

    /// Hands jobs that wait to free slots.
    pub(crate) fn fill(self: &Arc<Self>) {
        let mut state = self.lock();
        while state.running.len() < self.count {
            let Some(next) = state.next(self) else { return };
            self.hands.moved([key(&next.job)], Place::Started);
            let (key, token, suspect) = (key(&next.job), next.job.token, next.job.is_suspect());
            // It cannot report before this lock is let go.
            let task = self.tasks.spawn(Arc::clone(self).work(next)).abort_handle();
            state.running.insert(key, Running { token, task, since: Instant::now(), suspect });
        }
    }

    /// One slot: runs this job, and then others as long as any wait.
    async fn work(self: Arc<Self>, mut next: Buffered) {
        loop {
            let Buffered { job, stop, since: _ } = next;
            let mut report = Report { slots: &self, key: Some(key(&job)) };
            let span = tracing::info_span!("job", id = %job.id, kind = job.kind, attempt = job.attempt);
            let Way { registry, store, cancel_grace, verbosity } = &self.way;
            let attempt = Attempt::new(job, stop.subscribe(), Arc::clone(store));
            let ended = run::attempt(registry, attempt, stop, *cancel_grace, *verbosity).instrument(span).await;
            let Some(job) = report.send(Some(ended)) else { return };
            next = job;
            // Whatever else runs on this thread has its turn.
            consume_budget().await;
        }
    }

    /// An attempt has ended. Returns what its slot goes on with.
    fn ended(&self, key: Key, how: Option<Ended>) -> Option<Buffered> {
        let mut state = self.lock();
        // Not running any more: it was taken away, and its end is void.
        let running = state.running.remove(&key)?;
        let (task, goes_on) = (running.task.clone(), how.is_some());
        let settles = how.as_ref().is_none_or(|how| how.verdict.is_some());
        state.ended.push(End { key, running, how });
        let next = if goes_on { state.next(self) } else { None };
        match &next {
            Some(next) => {
                let job = &next.job;
                let running = Running { token: job.token, task, since: Instant::now(), suspect: job.is_suspect() };
                state.running.insert(self::key(job), running);
                if state.rings() {
                    self.bell.notify_one();
                }
            }
            None => self.bell.notify_one(),
        }
        drop(state);
        self.hands.went_on(settles.then_some(key), next.as_ref().map(|next| self::key(&next.job)));
        next
    }

    /// What has ended since the last look.
    pub(crate) fn take_ended(&self) -> Vec<End> {
        std::mem::take(&mut self.lock().ended)
    }

    /// Takes one that waits away.
    pub(crate) fn unbuffer(&self, wanted: Key) -> Option<Arc<ClaimedJob>> {
        let mut state = self.lock();
        let at = state.buffer.iter().position(|job| key(&job.job) == wanted)?;
        state.buffer.remove(at).map(|buffered| buffered.job)
    }

    /// Takes all that wait away.
    pub(crate) fn unbuffer_all(&self) -> Vec<Arc<ClaimedJob>> {
        let mut state = self.lock();
        state.held_back = false;
        state.buffer.drain(..).map(|buffered| buffered.job).collect()
    }

    /// Drops everything, without a word: it was taken away.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let running = std::mem::take(&mut state.running);
        state.buffer.clear();
        state.ended.clear();
        state.held_back = false;
        drop(state);
        // Not under the lock: what is dropped reports.
        for running in running.values() {
            running.task.abort();
        }
    }

    /// Drops the handlers of all that runs, and waits until they are gone or the time is up.
    pub(crate) async fn drop_running(&self, limit: Duration) {
        let running: Vec<AbortHandle> = self.lock().running.values().map(|running| running.task.clone()).collect();
        running.iter().for_each(AbortHandle::abort);
        self.tasks.close();
        let _ = tokio::time::timeout(limit, self.tasks.wait()).await;
    }

    /// Takes what still counts as running, its handler gone or not.
    pub(crate) fn take_running(&self) -> Vec<(Key, Running)> {
        self.lock().running.drain().collect()
    }
}

impl State {
    /// The next job that may start.
    fn next(&mut self, slots: &Slots) -> Option<Buffered> {
        if self.buffer.is_empty() || self.held_back || slots.hands.silent_for() >= slots.window {
            return None;
        }
        // Not one that was cancelled or taken away while it waited: the dispatcher is about to hear of that.
        let at = self.buffer.iter().position(|buffered| buffered.stop.borrow().is_none())?;
        self.started += 1;
        self.buffer.remove(at)
    }

    fn rings(&self) -> bool {
        self.alarm.ended.is_some_and(|ended| self.ended.len() >= ended)
            || self.alarm.waiting.is_some_and(|waiting| self.buffer.len() <= waiting)
    }
}

/// Reports the end of an attempt, also when its task is dropped or panics: else its slot would be lost.
struct Report<'a> {
    slots: &'a Slots,
    key: Option<Key>,
}

impl Report<'_> {
    fn send(&mut self, how: Option<Ended>) -> Option<Buffered> {
        self.slots.ended(self.key.take()?, how)
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        self.send(None);
    }
}

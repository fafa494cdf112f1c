//! Telling workers that sleep of jobs that came in, after the commit.
//!
//! The first notice of a queue goes out at once, the next one a moment later with all that came in meanwhile: commits that
//! notify wait for each other, and a notice per insert would halve the speed of inserts. Whether anybody sleeps the
//! statement finds out itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::SqlStr;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::connection::Connections;
use crate::{Error, Result};

/// At least this long between two notices of one queue. Short enough that each of fifty jobs a second is told of at once.
/// Where more come in, workers do not sleep, and nothing is told at all.
const GAP: Duration = Duration::from_millis(15);

/// How long to wait with the next try when the store does not answer. Workers poll meanwhile.
const RETRY: Duration = Duration::from_secs(1);

/// What is to be told, and a task that tells it. The task ends when this is dropped, once it has told the rest.
#[derive(Debug)]
pub(super) struct Notices {
    desk: Arc<Desk>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Desk {
    connections: Arc<Connections>,
    statement: SqlStr,
    state: Mutex<State>,
    more: Notify,
    /// Held while a notice is on its way, so that a flush waits for it.
    sending: tokio::sync::Mutex<()>,
}

/// Pure: when which queue is to be told of.
#[derive(Debug, Default)]
struct State {
    pending: BTreeSet<String>,
    /// Queues told of a moment ago, and when the next notice may go.
    recent: BTreeMap<String, Instant>,
    /// Not before this: the store did not answer.
    paused: Option<Instant>,
    closed: bool,
}

impl State {
    /// Takes what may be told now.
    fn take(&mut self, now: Instant, all: bool) -> Vec<String> {
        if !all && self.paused.is_some_and(|until| until > now) {
            return Vec::new();
        }
        self.recent.retain(|_, next| *next > now);
        let recent = &self.recent;
        let due: Vec<String> = self.pending.extract_if(.., |queue| all || !recent.contains_key(queue)).collect();
        self.recent.extend(due.iter().map(|queue| (queue.clone(), now + GAP)));
        due
    }

    /// When something of what is pending may be told.
    fn next(&self) -> Option<Instant> {
        let first = self.pending.iter().map(|queue| self.recent.get(queue).copied()).min()?;
        // None at all comes first: at once, which is any time that has passed.
        let first = first.unwrap_or_else(Instant::now);
        Some(self.paused.map_or(first, |until| until.max(first)))
    }
}

impl Notices {
    pub(super) fn new(connections: Arc<Connections>, statement: SqlStr) -> Self {
        let desk = Desk {
            connections,
            statement,
            state: Mutex::default(),
            more: Notify::new(),
            sending: tokio::sync::Mutex::new(()),
        };
        Self { desk: Arc::new(desk), task: Mutex::new(None) }
    }

    /// Jobs became claimable in these queues, and that is committed. Returns at once.
    pub(super) fn tell<'a>(&self, queues: impl IntoIterator<Item = &'a str>) {
        {
            let mut state = self.desk.state();
            let mut news = false;
            for queue in queues {
                news |= !state.pending.contains(queue) && state.pending.insert(queue.to_owned());
            }
            if !news {
                return;
            }
        }
        self.desk.more.notify_one();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // The runtime that it ran on may have ended.
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(Arc::clone(&self.desk).run()));
        }
    }

    /// Tells all that is pending, and waits for what is on its way.
    pub(super) async fn flush(&self) -> Result<()> {
        self.desk.send(true).await
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.desk.state().closed = true;
        self.desk.more.notify_one();
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        loop {
            let (next, closed) = {
                let state = self.state();
                (state.next(), state.closed)
            };
            match next {
                _ if closed => {
                    let _ = self.send(true).await;
                    return;
                }
                None => self.more.notified().await,
                Some(at) => tokio::select! {
                    () = sleep_until(at) => {
                        if let Err(error) = self.send(false).await {
                            tracing::debug!(error = &error as &dyn std::error::Error, "a notice was not sent");
                        }
                    }
                    () = self.more.notified() => {}
                },
            }
        }
    }

    async fn send(&self, all: bool) -> Result<()> {
        let _sending = self.sending.lock().await;
        let queues = self.state().take(Instant::now(), all);
        if queues.is_empty() {
            return Ok(());
        }
        let query = || sqlx::query(self.statement.clone()).bind(&queues);
        match self.connections.rows(self.connections.deadline(), query).await {
            Ok(_) => {
                self.state().paused = None;
                Ok(())
            }
            Err(error) => {
                if error.is_unknown() {
                    let mut state = self.state();
                    state.pending.extend(queues);
                    state.paused = Some(Instant::now() + RETRY.mul_f64(rand::random_range(0.75..1.25)));
                }
                // Tables of an older version have nobody who sleeps.
                if matches!(error, Error::Unmigrated { .. }) { Ok(()) } else { Err(error) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_at_once_and_the_next_of_the_same_queue_a_moment_later() {
        let start = Instant::now();
        let mut state = State::default();
        assert_eq!(state.next(), None);
        state.pending.insert("a".into());
        assert!(state.next().is_some_and(|at| at <= Instant::now()));
        assert_eq!(state.take(start, false), ["a"]);
        state.pending.insert("a".into());
        state.pending.insert("b".into());
        assert_eq!(state.take(start, false), ["b"], "another queue does not wait");
        assert_eq!(state.next(), Some(start + GAP));
        assert_eq!(state.take(start + GAP / 2, false), [""; 0]);
        assert_eq!(state.take(start + GAP, false), ["a"]);
        assert_eq!(state.next(), None);
    }

    #[test]
    fn a_flush_waits_for_nothing() {
        let start = Instant::now();
        let mut state = State { paused: Some(start + RETRY), ..State::default() };
        state.pending.insert("a".into());
        assert_eq!(state.take(start, false), [""; 0], "the store did not answer a moment ago");
        assert_eq!(state.take(start, true), ["a"]);
    }
}

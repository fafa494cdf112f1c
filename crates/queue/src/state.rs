//! The states of a job and the table of its legal moves.
//!
//! The table is data, so that the stores, the tests and every picture of the state machine come from one place.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a job stands. In a store a state is the table that holds the job's one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not due yet: a delay, a retry's wait, a snooze.
    Scheduled,
    /// May be claimed now, or will be as soon as what holds it lets go.
    Queued,
    /// Claimed by a worker.
    Running,
    /// Handed to a third party, with a deadline.
    WaitAsync,
    /// Done. Removed at once unless its retention keeps it.
    Completed,
    /// Out of attempts, failed for good, or quarantined. Stays until retried, deleted or expired.
    Failed,
    /// Cancelled by a person or a program.
    Cancelled,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 7] =
        [Self::Scheduled, Self::Queued, Self::Running, Self::WaitAsync, Self::Completed, Self::Failed, Self::Cancelled];

    /// The legal moves: from (`None` is a new job), to, and what moves it.
    ///
    /// Anything else is refused and changes nothing.
    pub const MOVES: &'static [(Option<Self>, Self, &'static str)] = &[
        (None, Self::Queued, "enqueue"),
        (None, Self::Scheduled, "enqueue with a delay"),
        (Some(Self::Scheduled), Self::Queued, "promote when due"),
        (Some(Self::Scheduled), Self::Scheduled, "replace while coalescing"),
        (Some(Self::Scheduled), Self::Cancelled, "cancel"),
        (Some(Self::Queued), Self::Running, "claim"),
        (Some(Self::Queued), Self::Scheduled, "replace while coalescing"),
        (Some(Self::Queued), Self::Cancelled, "cancel"),
        (Some(Self::Running), Self::Completed, "finish"),
        (Some(Self::Running), Self::Failed, "fail for good, or quarantine"),
        (Some(Self::Running), Self::Cancelled, "cancel"),
        (Some(Self::Running), Self::WaitAsync, "park"),
        (Some(Self::Running), Self::Queued, "give back or rescue"),
        (Some(Self::Running), Self::Scheduled, "retry or snooze"),
        (Some(Self::WaitAsync), Self::Completed, "resolve"),
        (Some(Self::WaitAsync), Self::Failed, "resolve, or deadline passed"),
        (Some(Self::WaitAsync), Self::Cancelled, "cancel"),
        (Some(Self::WaitAsync), Self::WaitAsync, "still waiting"),
        (Some(Self::WaitAsync), Self::Queued, "deadline passed"),
        (Some(Self::WaitAsync), Self::Scheduled, "resolve as a retry"),
        (Some(Self::Failed), Self::Queued, "retry by hand"),
        (Some(Self::Cancelled), Self::Queued, "retry by hand"),
    ];

    /// Whether a job may go from `self` to `to`.
    pub fn may_become(self, to: Self) -> bool {
        Self::MOVES.iter().any(|&(from, target, _)| from == Some(self) && target == to)
    }

    /// Whether the job is over: nothing moves it but a person.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The state's stable name, as in the store, in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::WaitAsync => "wait_async",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(name: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| UnknownState(name.to_owned()))
    }
}

/// A word that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown state {0:?}: it is one of scheduled, queued, running, wait_async, completed, failed, cancelled")]
pub struct UnknownState(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_its_state() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse::<State>().unwrap(), state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("done".parse::<State>().unwrap_err().to_string().contains("wait_async"));
    }

    #[test]
    fn the_table_says_each_move_once_and_a_completed_job_never_moves() {
        for (i, (from, to, _)) in State::MOVES.iter().enumerate() {
            assert!(!State::MOVES[i + 1..].iter().any(|(f, t, _)| (f, t) == (from, to)), "{from:?} to {to} twice");
            assert_ne!(*from, Some(State::Completed));
        }
        assert!(State::Queued.may_become(State::Running));
        assert!(!State::Scheduled.may_become(State::Running));
    }
}

//! The exit statuses of every verb, and how an error finds its own.
//!
//! A status says what its reader, often a supervisor, should do: start it again, or look at it first.

use std::{error::Error as StdError, fmt, process::ExitCode};

use headcount_queue::Error;

use crate::output::tell;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All that was asked is done.
    Done = 0,
    /// It could not be done, or of many things some could not.
    Failed = 1,
    /// The command line makes no sense. The parser ends with this too.
    Usage = 2,
    /// The store does not answer. To be tried again later.
    StoreLost = 69,
    /// The configuration or the environment does not allow it, and trying again will not help.
    Refused = 78,
    /// The worker ended because memory ran short. To be started again.
    Memory = 91,
    /// The worker ended because a new release is there. To be started again.
    NewRelease = 92,
    /// The worker's grace ended before its jobs did; they were given back, or will be rescued.
    ForcedStop = 93,
    /// Stopped by INT (Ctrl-C).
    Interrupted = 130,
}

impl Exit {
    /// Every status with its meaning, for the help and for readers of this file.
    pub(crate) const ALL: [(Self, &'static str); 9] = [
        (Self::Done, "done"),
        (Self::Failed, "it failed, or some of it did (run: some jobs failed)"),
        (Self::Usage, "the command line makes no sense"),
        (Self::StoreLost, "the store does not answer; a worker: for longer than --store-patience"),
        (Self::Refused, "the configuration is refused, the store is not migrated, or the handler's program is missing"),
        (Self::Memory, "a worker ended because memory ran short: start it again"),
        (Self::NewRelease, "a worker ended for a new release: start it again"),
        (Self::ForcedStop, "a worker's grace ended before its jobs did: they were given back"),
        (Self::Interrupted, "stopped by INT (Ctrl-C)"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error of the command itself that knows its exit status.
#[derive(Debug)]
pub(crate) struct Refusal {
    exit: Exit,
    why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl StdError for Refusal {}

/// Arguments that do not go together, or make no sense: status 2.
pub(crate) fn usage(why: impl Into<String>) -> anyhow::Error {
    Refusal { exit: Exit::Usage, why: why.into() }.into()
}

/// A configuration or environment that does not allow what was asked: status 78.
pub(crate) fn refused(why: impl Into<String>) -> anyhow::Error {
    Refusal { exit: Exit::Refused, why: why.into() }.into()
}

/// The exit status that an error asks for: by what its reader can do about it.
pub(crate) fn status(error: &anyhow::Error) -> Exit {
    error.chain().find_map(status_of_cause).unwrap_or(Exit::Failed)
}

fn status_of_cause(cause: &(dyn StdError + 'static)) -> Option<Exit> {
    if let Some(refusal) = cause.downcast_ref::<Refusal>() {
        return Some(refusal.exit);
    }
    Some(match cause.downcast_ref::<Error>()? {
        Error::Unavailable(_) | Error::TimedOut(_) => Exit::StoreLost,
        Error::Rejected(_) => Exit::Usage,
        Error::Unmigrated { .. } => Exit::Refused,
        _ => Exit::Failed,
    })
}

/// What to do next, where the message itself does not say it.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| match cause.downcast_ref::<Error>()? {
        Error::Unavailable(_) => Some("check that the database runs and that the store's URL is right; then try again"),
        Error::TimedOut(_) => Some("the store is slow or out of reach; look whether it took effect, then try again"),
        Error::WrongState { .. } => Some("nothing was changed; `headcount jobs show ID` says more about a job"),
        _ => None,
    })
}

/// Tells the operator what went wrong and, in the last line, what to do next. Returns the exit status.
pub(crate) fn explain(error: &anyhow::Error) -> Exit {
    let mut text = format!("headcount: {}", message(error));
    if let Some(advice) = advice(error) {
        text.push_str("\n  ");
        text.push_str(advice);
    }
    tell(&text);
    status(error)
}

/// The error and its causes in one line; a cause that the text before it already tells is left out, since drivers
/// print their sources and keep them too.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use anyhow::Context as _;
    use headcount_queue::{JobId, State};

    use super::*;

    #[test]
    fn an_error_ends_the_process_with_the_status_of_its_remedy() {
        let gone = || io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        for (error, exit) in [
            (Error::Unavailable(gone().into()).into(), Exit::StoreLost),
            (Error::TimedOut(Duration::from_secs(10)).into(), Exit::StoreLost),
            (Error::Rejected("no".into()).into(), Exit::Usage),
            (Error::Unmigrated { found: 0, needed: 1 }.into(), Exit::Refused),
            (Error::NotFound(JobId(7)).into(), Exit::Failed),
            (Error::WrongState { id: JobId(7), state: State::Running, wanted: "deleted" }.into(), Exit::Failed),
            (usage("x"), Exit::Usage),
            (refused("x"), Exit::Refused),
            (gone().into(), Exit::Failed),
        ] {
            let error: anyhow::Error = error;
            assert_eq!(status(&error), exit, "{error}");
            assert_eq!(status(&error.context("opening")), exit, "context must not hide the cause");
        }
        // The outer word counts: a store that refuses its URL is a configuration, not a command line.
        let error = Err::<(), _>(Error::Rejected("x".into())).map_err(|e| refused(e.to_string())).context("c");
        assert_eq!(status(&error.unwrap_err()), Exit::Refused);
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = io::Error::other("connection refused");
        let error = anyhow::Error::new(cause).context("no route: connection refused").context("opening the store");
        assert_eq!(message(&error), "opening the store: no route: connection refused");
    }

    #[test]
    fn every_status_is_listed_once() {
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|(exit, _)| *exit as u8).collect();
        codes.dedup();
        assert_eq!(codes, [0, 1, 2, 69, 78, 91, 92, 93, 130]);
    }
}

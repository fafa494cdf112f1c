//! How much a worker logs, whatever else its process logs.

/// How much a worker logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verbosity {
    /// Only warnings and errors; the rest comes as debug events.
    Quiet,
    /// Its own start, its stop, and what does not go as it should.
    #[default]
    Normal,
    /// The start and the end of every attempt too.
    Verbose,
}

/// Tells of something that a person who watches the worker wants to know: an info event, unless the worker is quiet.
macro_rules! tell {
    ($verbosity:expr, $($event:tt)+) => {
        if $verbosity == $crate::Verbosity::Quiet { tracing::debug!($($event)+) } else { tracing::info!($($event)+) }
    };
}

/// Tells of something that happens all the time: a debug event, unless the worker is verbose.
macro_rules! detail {
    ($verbosity:expr, $($event:tt)+) => {
        if $verbosity == $crate::Verbosity::Verbose { tracing::info!($($event)+) } else { tracing::debug!($($event)+) }
    };
}

pub(crate) use {detail, tell};

//! What a job is: a plain struct, serialized with serde, with its run function on it.

use std::{borrow::Cow, fmt, future::Future, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Backoff, Coalesce, Context, Expiry, NewJob};

/// The number of a job, ascending in the order of enqueueing and never used twice in one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A kind of job: its data, its defaults and what running it does.
///
/// The constants are defaults of the kind; each job may override them (see [`NewJob`]). A job runs at least once: write
/// `run` so that running it again does no harm.
///
/// ```
/// use headcount_queue::{Context, Job, JobError, Outcome};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Thumbnail {
///     image: i64,
/// }
///
/// impl Job for Thumbnail {
///     const KIND: &'static str = "thumbnail";
///     type State = ();
///
///     async fn run(self, cx: &Context<()>) -> Result<Outcome, JobError> {
///         println!("image {} at attempt {}", self.image, cx.attempt());
///         Ok(Outcome::DONE)
///     }
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The kind's name in the store.
    const KIND: &'static str;
    /// Former names of the kind, whose jobs this type still runs.
    const ALIASES: &'static [&'static str] = &[];
    /// The queue.
    const QUEUE: &'static str = "default";
    /// Higher runs first, within a queue.
    const PRIORITY: i16 = 0;
    /// How many attempts a job has before it is failed; at least 1. Interruptions spend none.
    const MAX_ATTEMPTS: u16 = 5;
    /// The wait between attempts.
    const BACKOFF: Backoff = Backoff::EXPONENTIAL;
    /// An attempt that takes longer is stopped and counts as failed. `None`: as long as it takes.
    const TIMEOUT: Option<Duration> = None;
    /// An attempt that takes longer is hung: it is stopped and the job queued again, no attempt spent.
    const MAX_RUN_TIME: Option<Duration> = None;
    /// How long finished jobs are kept.
    const RETENTION: Retention = Retention::DEFAULT;
    /// What becomes of a job that [waits](Outcome::Waiting) when its deadline passes without an answer.
    const EXPIRY: Expiry = Expiry::Retry;
    /// How jobs of this kind coalesce that have a [key](Job::coalesce_key).
    const COALESCE: Coalesce = Coalesce::DEFAULT;

    /// What the worker hands to every run: connections, clients, settings.
    type State: Send + Sync + 'static;

    /// Does the work of one attempt.
    fn run(self, cx: &Context<Self::State>) -> impl Future<Output = Result<Outcome, JobError>> + Send;

    /// The key under which this job coalesces with others of its queue: 1 to 512 bytes, without control characters. None
    /// (the default): it never does.
    fn coalesce_key(&self) -> Option<String> {
        None
    }

    /// This job as a value to enqueue, with the defaults of its kind, to be changed by [`NewJob`]'s methods.
    fn job(&self) -> NewJob {
        NewJob::of(self)
    }
}

/// How long finished jobs are kept before they are purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Completed jobs; zero removes them at once.
    pub completed: Duration,
    /// Failed jobs; `None` keeps them until someone retries or deletes them.
    pub failed: Option<Duration>,
}

impl Retention {
    /// Success removes, failure stays.
    pub const DEFAULT: Self = Self { completed: Duration::ZERO, failed: None };
}

impl Default for Retention {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How an attempt ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The job is done. An output is kept with the job for as long as its [`Retention`] keeps completed jobs; of more
    /// than 64 KiB the beginning is kept.
    Completed {
        /// What the job has to show, as text; by convention JSON.
        output: Option<String>,
    },
    /// Not now: run again after this time. No attempt is spent.
    Snooze(Duration),
    /// Handed to a third party, which has the job's [callback](Context::callback): parked until someone
    /// [answers](crate::Queue::resolve), or until this time has passed and the kind's [expiry](Job::EXPIRY) decides. Its
    /// slot is free at once. At least 1 s.
    Waiting(Duration),
}

impl Outcome {
    /// Done, with nothing to show.
    pub const DONE: Self = Self::Completed { output: None };

    /// Done, with an output in JSON.
    pub fn output<T: Serialize>(value: &T) -> Result<Self, JobError> {
        Ok(Self::Completed { output: Some(serde_json::to_string(value)?) })
    }
}

/// Why an attempt failed.
///
/// Any error converts into one with `?` and is retried while attempts are left; [`JobError::fatal`] fails the job for
/// good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    message: Cow<'static, str>,
    fatal: bool,
    after: Option<Duration>,
}

impl JobError {
    /// A failure that another attempt may mend.
    pub fn retry(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), fatal: false, after: None }
    }

    /// A failure that another attempt may mend, after this wait instead of the kind's own.
    pub fn retry_after(message: impl Into<Cow<'static, str>>, after: Duration) -> Self {
        Self { message: message.into(), fatal: false, after: Some(after) }
    }

    /// A failure that no further attempt can mend: the job is failed at once.
    pub fn fatal(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), fatal: true, after: None }
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the job is to be failed although attempts are left.
    pub const fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// The wait that the handler asked for.
    pub const fn after(&self) -> Option<Duration> {
        self.after
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// `JobError` is no `std::error::Error` itself, so that every error converts into it.
impl<E: std::error::Error> From<E> for JobError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::retry(message)
    }
}

//! Any platform, by programs of the user's own: one that says what is there of a pool (`status`), and one that changes
//! it (`set`).
//!
//! Each call starts the program anew, for one pool, with one JSON object on its standard input; it answers with one on
//! its standard output and exits with 0. The pool's name is in its environment too, as `HEADCOUNT_POOL`.
//!
//! `status` reads `{"pool": "batch"}` and writes
//! ```json
//! {
//!   "desired": 2,
//!   "instances": [
//!     {"id": "task-7", "age_s": 310.5},
//!     {"id": "task-8", "age_s": 12, "state": "ending"}
//!   ],
//!   "release": "v41",
//!   "warnings": ["the cluster has no room for more than 4"],
//!   "limits": {"removal": "chosen", "max": 4, "boot_s": 40, "min_bill_s": 60, "grace_s": 30}
//! }
//! ```
//! `desired` is how many instances the platform aims for, those that are ending left out, and `instances` are all that
//! exist. An instance's `id` is what its workers are told as `HEADCOUNT_INSTANCE`; its `state` is `up` (the default,
//! also while it boots) or `ending`; its `ordinal` is its number, where the platform has them. `release`, `warnings` and
//! `limits` may be left out, and so may each of the limits. `removal` says which instances go when the pool shrinks:
//! `chosen`, those that are named; `highest`, those with the highest ordinals; `unknown` (the default), nobody knows
//! which, and the pool shrinks only when nothing runs anywhere in it.
//!
//! `set` reads either of
//! ```json
//! {"pool": "batch", "grow_to": 4}
//! {"pool": "batch", "remove": ["task-7"], "size": 1}
//! ```
//! and writes `{"desired": 4, "changed": true}`, or `{"refused": "the quota is 3"}` if it did nothing. To grow means to
//! have so many instances if there are fewer, and to remove none; saying it twice must be no harm.
//!
//! | what `status` or `set` does | the scaler |
//! |---|---|
//! | cannot be started | tries again at the next tick: nothing happened |
//! | `set` exits with 75 | the same: the program says that it did nothing |
//! | `set` exits with another status, is killed, takes too long, or writes anything but such an answer | reads before it asks again: it may have happened |
//! | `status` does any of these | holds the pool: unknown is never zero |
//!
//! The end of what was written to standard error is part of the message. When its time is up, the program and everything
//! that it has started is killed.

mod call;
mod protocol;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::task::JoinSet;

use super::{Applied, Change, DriverError, Limits, PoolRef, PoolStatus, Removal, ScalerDriver};
use call::{Call, Failure};

/// What is assumed of a platform until its program has said more.
const UNKNOWN: Limits = Limits {
    boot: Duration::from_mins(1),
    overdue: Duration::from_mins(3),
    removal: Removal::Unknown,
    shared: true,
    ..Limits::DEFAULT
};

/// The programs, and how they are called.
#[derive(Debug, Clone)]
pub struct CommandConfig {
    status: Vec<OsString>,
    set: Vec<OsString>,
    withheld: Vec<OsString>,
    timeout: Duration,
}

impl CommandConfig {
    /// These programs, each with its arguments; they are looked up in PATH. `withheld` names the variables of this
    /// process that they do not inherit: its own (`HEADCOUNT_…`) and the addresses of databases.
    pub fn new<S: Into<OsString>>(
        status: impl IntoIterator<Item = S>,
        set: impl IntoIterator<Item = S>,
        withheld: impl IntoIterator<Item = OsString>,
    ) -> Self {
        Self {
            status: status.into_iter().map(Into::into).collect(),
            set: set.into_iter().map(Into::into).collect(),
            withheld: withheld.into_iter().collect(),
            timeout: Duration::from_secs(5),
        }
    }

    /// How long each call may take. Default 5 s. Keep it below the scaler's own limit for a call.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A platform behind two programs.
#[derive(Debug)]
pub struct CommandDriver {
    config: CommandConfig,
    /// What `status` said last of each pool.
    limits: Mutex<HashMap<PoolRef, Limits>>,
}

impl CommandDriver {
    /// A driver that calls these programs.
    pub fn new(config: CommandConfig) -> Self {
        Self { config, limits: Mutex::default() }
    }

    fn call(&self, program: &[OsString], pool: &PoolRef, input: String) -> Call {
        Call {
            program: program.to_vec(),
            withheld: self.config.withheld.clone(),
            pool: pool.clone(),
            input,
            limit: self.config.timeout,
        }
    }
}

impl fmt::Display for CommandDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |program: &[OsString]| program.first().map(|name| name.display().to_string()).unwrap_or_default();
        write!(f, "command: {} and {}", name(&self.config.status), name(&self.config.set))
    }
}

#[async_trait]
impl ScalerDriver for CommandDriver {
    fn limits(&self, pool: &PoolRef) -> Limits {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).get(pool).copied().unwrap_or(UNKNOWN)
    }

    async fn status(&self, pools: &[PoolRef]) -> Vec<Result<PoolStatus, DriverError>> {
        let calls = pools.iter().map(|pool| self.call(&self.config.status, pool, protocol::question(pool)));
        let answers = all(calls.collect()).await;
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |(pool, answer): (&PoolRef, Result<Vec<u8>, Failure>)| {
            let answer = answer.and_then(|answer| protocol::status(&answer));
            let (status, found) = answer.map_err(|failure| DriverError::Unavailable(failure.message))?;
            limits.insert(pool.clone(), found);
            Ok(status)
        };
        pools.iter().zip(answers).map(read).collect()
    }

    async fn apply(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>> {
        // Changes of one pool stand in their order, so one after the other; a pool has at most two.
        let mut answers = Vec::new();
        let mut rest = changes;
        while !rest.is_empty() {
            let again = (1..rest.len()).find(|&i| rest[..i].iter().any(|change| change.pool() == rest[i].pool()));
            let (batch, later) = rest.split_at(again.unwrap_or(rest.len()));
            let call = |change: &Change| Some(self.call(&self.config.set, change.pool(), protocol::order(change)?));
            let calls = batch.iter().enumerate().filter_map(|(at, change)| Some((at, call(change)?)));
            let (asked, calls): (Vec<usize>, Vec<Call>) = calls.unzip();
            let begun = answers.len();
            answers.extend(batch.iter().map(|_| Err(DriverError::Refused("set has no word for this".into()))));
            for (at, answer) in asked.into_iter().zip(all(calls).await) {
                answers[begun + at] = answered(answer);
            }
            rest = later;
        }
        answers
    }
}

fn answered(answer: Result<Vec<u8>, Failure>) -> Result<Applied, DriverError> {
    match answer.and_then(|answer| protocol::applied(&answer)) {
        Ok(Ok(applied)) => Ok(applied),
        Ok(Err(refused)) => Err(DriverError::Refused(refused)),
        Err(Failure { message, harmless: true }) => Err(DriverError::Unavailable(message)),
        Err(Failure { message, harmless: false }) => Err(DriverError::Unknown(message)),
    }
}

/// Makes all calls at once. Dropping this ends every program that still runs.
async fn all(calls: Vec<Call>) -> Vec<Result<Vec<u8>, Failure>> {
    let mut running = JoinSet::new();
    let mut answers: Vec<_> = calls.iter().map(|_| Err(Failure::new("the call was lost".into()))).collect();
    for (i, call) in calls.into_iter().enumerate() {
        running.spawn(async move { (i, call.make().await) });
    }
    while let Some(done) = running.join_next().await {
        if let Ok((i, answer)) = done {
            answers[i] = answer;
        }
    }
    answers
}

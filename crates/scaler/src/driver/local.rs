//! Worker processes on this machine, as children of this process.
//!
//! A worker lives as long as its driver does: its standard input is a pipe that the driver holds open, and a worker
//! that reads the end of it ends itself. So the workers go even if this process is killed.
//!
//! A driver on a platform need not care why an instance ends, since the platform starts another. Here the driver is the
//! platform: it counts what ends by itself, waits longer from failed start to failed start, and says when starting
//! again is no use.

mod child;
mod crashes;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    fmt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Applied, Change, DriverError, Ended, Instance, InstanceId, InstanceState, Limits, PoolRef, PoolStatus, ScalerDriver,
};
use child::Child;
use crashes::Crashes;

/// So many ended instances are remembered; a worker's jobs are freed at the next tick, so they matter for seconds.
const REMEMBER: usize = 256;

/// How worker processes are started.
///
/// Printed without its environment and standard input, which may hold secrets.
#[derive(Clone)]
pub struct LocalConfig {
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    env_remove: Vec<OsString>,
    stdin: Vec<u8>,
    log: Log,
    grace: Duration,
}

/// Where a worker's standard output and standard error go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Log {
    /// Where this process's own go.
    #[default]
    Inherit,
    /// To the end of this file, which all workers share; made if it is not there, readable by its owner only.
    File(PathBuf),
}

impl LocalConfig {
    /// Starts workers with this program and these arguments; the program is looked up in PATH.
    ///
    /// TERM goes to this very process: where it is a shell, let it `exec` the worker.
    pub fn new<S: Into<OsString>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            env_remove: Vec::new(),
            stdin: Vec::new(),
            log: Log::Inherit,
            grace: Duration::from_secs(30),
        }
    }

    /// Sets a variable in the workers' environment, which is otherwise this process's.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Removes a variable from it.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env_remove.push(name.into());
        self
    }

    /// Writes this to each worker's standard input, which stays open afterwards. Seen by the worker only.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Where the workers' output goes. Default [`Log::Inherit`].
    #[must_use]
    pub fn log(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    /// How long a worker that was told to end may take before it is killed. Default 30 s.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

impl fmt::Debug for LocalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, log, grace, .. } = self;
        f.debug_struct("LocalConfig")
            .field("command", command)
            .field("log", log)
            .field("grace", grace)
            .finish_non_exhaustive()
    }
}

/// Keeps worker processes on this machine.
///
/// Each is told its instance's name (`HEADCOUNT_INSTANCE`) and its pool's (`HEADCOUNT_POOL`), and has a process group of
/// its own. When the process ends, the rest of its group is killed: whatever it left behind cannot go on with a job
/// that is about to run again elsewhere.
///
/// To be used on a tokio runtime. Dropping the driver kills its workers; [`LocalDriver::shutdown`] lets them finish.
#[derive(Debug)]
pub struct LocalDriver {
    config: LocalConfig,
    /// Makes instance names unique among all drivers, past and present, that use one store.
    tag: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pools: HashMap<PoolRef, Pool>,
    started: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Pool {
    children: Vec<Child>,
    ended: VecDeque<Ended>,
    crashes: Crashes,
}

impl LocalDriver {
    /// A driver that starts workers so.
    pub fn new(config: LocalConfig) -> Self {
        Self { config, tag: rand::random(), state: Mutex::default() }
    }

    /// Ends all workers: TERM, and after `grace` KILL. Starts none from now on. Returns how many had to be killed.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let deadline = tokio::time::Instant::now() + grace;
        // Listening begins before the first look, or an end between the look and the wait would go unnoticed.
        let mut child_ended = signal(SignalKind::child()).ok();
        self.lock().close();
        loop {
            if self.reap() == 0 {
                return 0;
            }
            // Signals merge, and another part of this process may handle them: look now and then in any case.
            let look = tokio::time::sleep(Duration::from_millis(250));
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                () = look => {}
                Some(()) = async { child_ended.as_mut()?.recv().await } => {}
            }
        }
        let mut killed = 0;
        for pool in self.lock().pools.values_mut() {
            killed += pool.children.len();
            pool.children.iter().for_each(Child::kill);
        }
        while self.reap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        killed
    }

    /// Takes note of the processes that have ended; kills those whose grace is over. Returns how many live.
    fn reap(&self) -> usize {
        let now = Instant::now();
        self.lock().pools.values_mut().map(|pool| pool.reap(&self.config, now)).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_one(&self, change: &Change, now: Instant) -> Result<Applied, DriverError> {
        let mut state = self.lock();
        let State { pools, started, closed } = &mut *state;
        let pool = pools.entry(change.pool().clone()).or_default();
        pool.reap(&self.config, now);
        let before = pool.up();
        match change {
            Change::GrowTo { size, .. } if before < *size => {
                if *closed {
                    return Err(DriverError::Refused("its workers are being ended".into()));
                }
                if let Some(trouble) = pool.crashes.trouble(now).filter(|t| t.retry_in != Some(Duration::ZERO)) {
                    return Err(DriverError::Refused(trouble.to_string()));
                }
                while pool.up() < *size {
                    *started += 1;
                    let id = InstanceId::from(format!("local-{:08x}-{started}", self.tag));
                    match Child::start(&self.config, change.pool(), id, now) {
                        Ok(child) => pool.children.push(child),
                        Err(error) => {
                            let message = format!("cannot start {}: {error}", self.program());
                            pool.crashes.failed(now, now, message.clone());
                            return Err(DriverError::Refused(message));
                        }
                    }
                }
            }
            // A child that was told to end ends by itself.
            Change::GrowTo { .. } | Change::Complete { .. } | Change::Extend { .. } => {}
            Change::Remove { instances, .. } => {
                pool.children.iter_mut().filter(|child| instances.contains(&child.id)).for_each(|child| child.end(now));
            }
        }
        Ok(Applied { desired: pool.up(), changed: pool.up() != before })
    }

    fn program(&self) -> String {
        self.config.command.first().map_or_else(|| "nothing".into(), |program| program.display().to_string())
    }
}

impl State {
    fn close(&mut self) {
        self.closed = true;
        let now = Instant::now();
        self.pools.values_mut().flat_map(|pool| &mut pool.children).for_each(|child| child.end(now));
    }
}

impl Pool {
    /// How many live and have not been told to end.
    fn up(&self) -> u32 {
        self.children.iter().filter(|child| !child.is_ending()).count() as u32
    }

    fn reap(&mut self, config: &LocalConfig, now: Instant) -> usize {
        let Self { children, ended, crashes } = self;
        children.retain_mut(|child| {
            let Some(exit) = child.reap() else {
                child.kill_if_overdue(now, config.grace);
                return true;
            };
            let asked = child.is_ending();
            if !asked {
                crashes.ended(child.started, now, exit, || child.last_words());
            }
            ended.push_back(Ended { id: child.id.clone(), how: exit.to_string(), asked });
            false
        });
        ended.drain(..ended.len().saturating_sub(REMEMBER));
        children.iter().filter(|child| !child.is_ending()).for_each(|child| crashes.lives(child.started, now));
        children.len()
    }

    fn status(&self, now: Instant) -> PoolStatus {
        let instance = |child: &Child| Instance {
            id: child.id.clone(),
            pid: Some(child.pid()),
            ordinal: None,
            age: now - child.started,
            state: if child.is_ending() { InstanceState::Ending } else { InstanceState::Up },
        };
        PoolStatus {
            desired: self.up(),
            instances: self.children.iter().map(instance).collect(),
            ended: self.ended.iter().cloned().collect(),
            trouble: self.crashes.trouble(now),
            ..PoolStatus::default()
        }
    }
}

impl fmt::Display for LocalDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local: {}", self.program())
    }
}

impl Drop for LocalDriver {
    fn drop(&mut self) {
        let mut state = self.lock();
        let mut children: Vec<&mut Child> = state.pools.values_mut().flat_map(|pool| &mut pool.children).collect();
        for child in &children {
            child.kill();
        }
        // Each is gone within moments of KILL; waiting for it leaves no zombie to whoever lives on.
        for child in &mut children {
            child.wait();
        }
    }
}

#[async_trait]
impl ScalerDriver for LocalDriver {
    fn limits(&self, _: &PoolRef) -> Limits {
        let boot = Duration::from_secs(1);
        Limits { boot, grace: self.config.grace, ..Limits::DEFAULT }
    }

    async fn status(&self, pools: &[PoolRef]) -> Vec<Result<PoolStatus, DriverError>> {
        let now = Instant::now();
        self.reap();
        let state = self.lock();
        let status = |pool| state.pools.get(pool).map_or_else(PoolStatus::default, |pool| pool.status(now));
        pools.iter().map(|pool| Ok(status(pool))).collect()
    }

    async fn apply(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>> {
        let now = Instant::now();
        changes.iter().map(|change| self.apply_one(change, now)).collect()
    }
}

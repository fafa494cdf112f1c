//! One worker process: started, told to end, killed, reaped.

use std::{
    fmt, fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use headcount_queue::limits::tail;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::{io::AsyncWriteExt, process::Command, sync::oneshot};

use super::{InstanceId, LocalConfig, Log, PoolRef};

/// How much of the end of a log goes into a message, in bytes.
const LAST_WORDS: usize = 500;

/// A worker process.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) id: InstanceId,
    pub(super) started: Instant,
    process: tokio::process::Child,
    pid: Pid,
    told: Option<Instant>,
    log: Option<PathBuf>,
    /// Dropped with the child, whereupon its standard input closes.
    _lifeline: oneshot::Sender<()>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        status.signal().map_or_else(|| Self::Code(status.code().unwrap_or_default()), Self::Signal)
    }
}

impl Child {
    pub(super) fn start(config: &LocalConfig, pool: &PoolRef, id: InstanceId, now: Instant) -> io::Result<Self> {
        let (program, arguments) =
            config.command.split_first().ok_or_else(|| io::Error::other("the command of the workers is empty"))?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).stdin(Stdio::piped());
        for name in &config.env_remove {
            command.env_remove(name);
        }
        for (name, value) in &config.env {
            command.env(name, value);
        }
        command.env("HEADCOUNT_INSTANCE", id.as_str()).env("HEADCOUNT_POOL", pool.as_str());
        let log = match &config.log {
            Log::Inherit => None,
            Log::File(path) => {
                let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
                command.stdout(file.try_clone()?).stderr(file);
                Some(path.clone())
            }
        };
        let mut process = command.spawn()?;
        let pid = process
            .id()
            .and_then(|pid| Pid::from_raw(pid as i32))
            .ok_or_else(|| io::Error::other("the process has no number"))?;
        let mut stdin = process.stdin.take().ok_or_else(|| io::Error::other("the process has no standard input"))?;
        let (lifeline, cut) = oneshot::channel::<()>();
        let bytes = config.stdin.clone();
        // A task, since a worker may read late and the pipe hold less than all.
        tokio::spawn(async move {
            let hold = async {
                // A worker that does not want its input may have closed it.
                let _ = stdin.write_all(&bytes).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = hold => {}
                _ = cut => {}
            }
        });
        Ok(Self { id, started: now, process, pid, told: None, log, _lifeline: lifeline })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    pub(super) fn is_ending(&self) -> bool {
        self.told.is_some()
    }

    /// Tells it to end: TERM to the process itself. Its handlers' own children are its to end: a TERM to the whole
    /// group would fail jobs that the worker still means to finish.
    pub(super) fn end(&mut self, now: Instant) {
        if self.told.is_none() {
            self.told = Some(now);
            // It may have ended by itself; the next look reaps it.
            let _ = kill_process(self.pid, Signal::TERM);
        }
    }

    pub(super) fn kill_if_overdue(&self, now: Instant, grace: Duration) {
        if self.told.is_some_and(|told| now - told > grace) {
            self.kill();
        }
    }

    /// Kills the process and all of its group.
    pub(super) fn kill(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// How it ended, if it has.
    pub(super) fn reap(&mut self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), options) {
            // Kill what is left of its group while the process is still unreaped: until then its number cannot be
            // another's.
            Ok(Some(_)) => self.kill(),
            Ok(None) => return None,
            // Somebody else in this process reaped it.
            Err(_) => {}
        }
        match self.process.try_wait() {
            Ok(Some(status)) => Some(status.into()),
            Ok(None) => None,
            Err(_) => Some(Exit::Code(-1)),
        }
    }

    /// Waits, at most two seconds, until a killed process is gone.
    pub(super) fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.reap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The end of its log, where there is a file; else where to look.
    pub(super) fn last_words(&self) -> String {
        match &self.log {
            Some(path) => last_words(path)
                .filter(|words| !words.is_empty())
                .unwrap_or_else(|| format!("it wrote nothing to {}", path.display())),
            None => "see what it printed".into(),
        }
    }
}

fn last_words(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS as u64))).ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    Some(tail(String::from_utf8_lossy(&end).trim(), LAST_WORDS).to_owned())
}

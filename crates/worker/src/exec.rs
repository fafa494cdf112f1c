//! Programs as handlers: [`Exec`] runs any program for any kind of job, [`LineCommand`] a command for each line of
//! `headcount run`.
//!
//! What an exit status of a program means to [`Exec`]:
//!
//! | status | the job |
//! |---|---|
//! | 0 | completed; what was written to stdout is its output, up to 64 KiB |
//! | 65 | failed for good, with the end of stderr as the reason |
//! | 75 | snoozed: run again later, no attempt spent |
//! | 126, 127, or it cannot be started | given back at no cost, and the worker ends: the environment is broken |
//! | anything else, or killed by a signal | a failed attempt, with the end of stderr as its error |

mod capture;
mod group;
mod guard;
mod line;
mod program;

use std::{ffi::OsString, future::Future, path::PathBuf, pin::Pin, process::Stdio, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use headcount_queue::{
    Attempt, JobError, Outcome, Stop,
    limits::{MAX_ERROR, MAX_OUTPUT},
};
use tokio::{io::AsyncWriteExt, join, pin, process::ChildStdin, select, sync::watch, time::timeout};

pub use line::{LineCommand, LineConfig};
pub use program::{FindError, find_program};

use crate::Handler;
use capture::Capture;
use program::Program;

/// How long a pipe that something outside the group still holds is read after the program's end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The end of stderr that is kept: room is left for the status before it.
const STDERR: usize = MAX_ERROR - 512;

/// Which program runs, and how.
#[derive(Debug, Clone)]
pub struct ExecConfig {
    /// The program: see [`find_program`].
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// How long its process group may take to end after a TERM, before the KILL. Default 5 s.
    pub grace: Duration,
    /// How long a job waits whose program exited with status 75. Default 30 s.
    pub snooze: Duration,
    /// Environment variables that it does not inherit, such as those that hold secrets. Default none.
    pub remove_env: Vec<OsString>,
}

impl ExecConfig {
    /// This program with these arguments.
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            grace: Duration::from_secs(5),
            snooze: Duration::from_secs(30),
            remove_env: Vec::new(),
        }
    }
}

/// Runs a program for each job: the payload on its stdin, `HEADCOUNT_JOB_ID`, `_KIND`, `_QUEUE` and `_ATTEMPT` in its
/// environment. See the [module](self) for its exit status.
///
/// The program leads a process group of its own. The whole group ends with the attempt, however that ends: after a
/// timeout, a cancel, or a token that was taken away it gets a TERM and, after the grace, a KILL; what the program
/// leaves behind in the group when it exits is killed. Should this process be killed, so are its groups: a shell of its
/// own, started with the first program, sees to that.
#[derive(Debug)]
pub struct Exec {
    program: Arc<Program>,
    args: Arc<[OsString]>,
    snooze: Duration,
}

impl Exec {
    /// A handler that runs this program.
    pub fn new(config: ExecConfig) -> Self {
        let ExecConfig { program, args, grace, snooze, remove_env } = config;
        Self { program: Program::new(program, remove_env, grace), args: args.into(), snooze }
    }
}

impl Handler for Exec {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Result<Outcome, JobError>> {
        Box::pin(run(Arc::clone(&self.program), Arc::clone(&self.args), self.snooze, attempt))
    }

    fn wind_down(&self) -> Duration {
        self.program.wind_down()
    }

    fn broken(&self) -> Option<String> {
        self.program.broken()
    }

    fn close(&self, limit: Duration) -> BoxFuture<'static, ()> {
        let program = Arc::clone(&self.program);
        Box::pin(async move { program.close(limit).await })
    }
}

async fn run(
    program: Arc<Program>,
    args: Arc<[OsString]>,
    snooze: Duration,
    attempt: Attempt,
) -> Result<Outcome, JobError> {
    let (job, stop) = (attempt.job(), attempt.stop());
    let mut command = program.command(job);
    command.args(&*args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = match program.start(command) {
        Ok(group) => group,
        Err(result) => return result,
    };
    let (stdin, stdout, stderr) = group.pipes();
    let (mut output, mut errors) = (Capture::head(MAX_OUTPUT), Capture::tail(STDERR));
    let status = {
        // A pipe that breaks is the program's own decision; its exit status says what came of it.
        let pipes = async {
            let _ = join!(feed(stdin, job.payload.as_bytes()), output.read(stdout), errors.read(stderr));
        };
        pin!(pipes);
        let mut open = true;
        let ended = beside(pipes.as_mut(), &mut open, async {
            select! {
                biased;
                status = group.wait() => Ok(status),
                why = called_off(stop) => Err(why),
            }
        })
        .await;
        match ended {
            Ok(status) => {
                if open {
                    let _ = timeout(LAST_WORDS, pipes).await;
                }
                status?
            }
            Err(why) => {
                // Its pipes are still read: it may have much to say before it goes.
                beside(pipes, &mut open, group.end()).await;
                return Err(JobError::retry(why));
            }
        }
    };
    match status.code() {
        Some(0) => {
            let output = output.text();
            let output = output.trim_end_matches(['\n', '\r']);
            Ok(Outcome::Completed { output: (!output.is_empty()).then(|| output.to_owned()) })
        }
        Some(65) => Err(JobError::fatal(program.failure(status, &errors.text()).message().to_owned())),
        Some(75) => Ok(Outcome::Snooze(snooze)),
        _ => Err(program.failure(status, &errors.text())),
    }
}

/// Writes the payload. A program that does not read it, or not to its end, is no error.
async fn feed(stdin: Option<ChildStdin>, payload: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(payload).await;
        let _ = stdin.shutdown().await;
    }
}

/// Does `work` while the pipes are served.
async fn beside<T>(mut pipes: Pin<&mut impl Future<Output = ()>>, open: &mut bool, work: impl Future<Output = T>) -> T {
    pin!(work);
    loop {
        select! {
            biased;
            done = &mut work => return done,
            () = &mut pipes, if *open => *open = false,
        }
    }
}

/// Waits until the attempt no longer counts. A worker that is merely stopping lets the program finish within the
/// grace.
async fn called_off(mut stop: watch::Receiver<Option<Stop>>) -> &'static str {
    let over = |stop: &Option<Stop>| matches!(stop, Some(Stop::Cancelled | Stop::TakenAway | Stop::TimedOut));
    match stop.wait_for(over).await.map(|stop| *stop) {
        Ok(Some(Stop::TimedOut)) => "its time was up",
        Ok(Some(Stop::Cancelled)) => "cancelled",
        Ok(_) => "taken away",
        Err(_) => std::future::pending().await,
    }
}

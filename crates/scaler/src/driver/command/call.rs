//! One call of a program: its input, its output, its end within a time limit.

use std::{
    ffi::OsString,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use headcount_queue::limits::tail;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};

use crate::driver::PoolRef;

/// No answer is longer, in bytes: thousands of instances fit.
const MOST: usize = 1 << 20;
/// How much of the end of standard error goes into a message, in bytes.
const LAST_WORDS: usize = 500;
/// How long the pipes of a program that has ended are read, should something outside its group hold them.
const LINGER: Duration = Duration::from_secs(1);
/// The exit status by which a program says that nothing happened.
const NOT_DONE: i32 = 75;

/// A call to be made.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) program: Vec<OsString>,
    pub(super) withheld: Vec<OsString>,
    pub(super) pool: PoolRef,
    pub(super) input: String,
    pub(super) limit: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    /// Whether it is certain that nothing happened.
    pub(super) harmless: bool,
}

impl Failure {
    /// A failure after which nobody knows what happened.
    pub(super) const fn new(message: String) -> Self {
        Self { message, harmless: false }
    }
}

/// What a program writes.
#[derive(Debug, Default)]
struct Output {
    answer: Vec<u8>,
    errors: Vec<u8>,
}

impl Call {
    /// Makes the call and returns what the program wrote to standard output.
    pub(super) async fn make(self) -> Result<Vec<u8>, Failure> {
        let name = self.program.first().map(|name| name.display().to_string()).unwrap_or_default();
        let start =
            |error: io::Error| Failure { message: format!("{name} cannot be started: {error}"), harmless: true };
        let mut group = Group::start(self.command()).map_err(start)?;
        let mut output = Output::default();
        let ended = timeout(self.limit, output.fill(&mut group, self.input.as_bytes())).await;
        // Whatever is left of it ends now, before anybody is told.
        drop(group);
        let words = output.last_words();
        match ended {
            Ok(Ok(status)) if status.success() => Ok(output.answer),
            Ok(Ok(status)) => Err(Failure {
                message: format!("{name} failed with {status}{words}"),
                harmless: status.code() == Some(NOT_DONE),
            }),
            Ok(Err(error)) => Err(Failure::new(format!("{name}: {error}{words}"))),
            Err(_) => Err(Failure::new(format!("{name} did not end within {:?} and was killed{words}", self.limit))),
        }
    }

    fn command(&self) -> Command {
        let mut program = self.program.iter();
        let mut command = Command::new(program.next().map_or_else(Default::default, Clone::clone));
        command.args(program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in &self.withheld {
            command.env_remove(name);
        }
        command.env("HEADCOUNT_POOL", self.pool.as_str());
        command
    }
}

impl Output {
    /// Feeds the program and reads what it writes, until it has ended.
    async fn fill(&mut self, group: &mut Group, input: &[u8]) -> io::Result<ExitStatus> {
        let (stdin, stdout, stderr) = (group.child.stdin.take(), group.child.stdout.take(), group.child.stderr.take());
        let Self { answer, errors } = self;
        let feed = async {
            // A program that does not want its input may have closed it; its answer says what came of that.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input).await;
                let _ = stdin.shutdown().await;
            }
            Ok(())
        };
        let pipes = async { tokio::try_join!(feed, head(stdout, answer), end(stderr, errors)) };
        tokio::pin!(pipes);
        let mut open = true;
        let status = loop {
            tokio::select! {
                biased;
                read = &mut pipes, if open => {
                    read?;
                    open = false;
                }
                status = group.wait() => break status?,
            }
        };
        if open && let Ok(read) = timeout(LINGER, pipes).await {
            read?;
        }
        Ok(status)
    }

    fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.errors);
        let text = tail(text.trim(), LAST_WORDS);
        if text.is_empty() { String::new() } else { format!(": {text}") }
    }
}

/// Reads a stream to its end. More than [`MOST`] is an error at once: its writer would wait for a reader.
async fn head(stream: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(stream) = stream else { return Ok(()) };
    stream.take(MOST as u64 + 1).read_to_end(into).await?;
    if into.len() > MOST {
        return Err(io::Error::other(format!("it writes more than {MOST} bytes")));
    }
    Ok(())
}

/// Reads a stream and keeps its end.
async fn end(stream: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        into.extend_from_slice(&chunk[..length]);
        into.drain(..into.len().saturating_sub(2 * LAST_WORDS));
    }
}

/// A program with everything that it starts. Dropping it kills them all.
#[derive(Debug)]
struct Group {
    child: Child,
    pid: Option<Pid>,
}

impl Group {
    fn start(mut command: Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32));
        Ok(Self { child, pid })
    }

    /// Waits for the program's end, and kills what it has left behind in its group.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // Its number stays taken for as long as its group has members, and the kernel hands out all others first.
        self.kill();
        Ok(status)
    }

    fn kill(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A command for each line of `headcount run`: a durable xargs.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use headcount_queue::{Attempt, JobError, JsonBytes, Outcome, Stop, store::ClaimedJob};
use tokio::select;

use super::{STDERR, called_off, program::Program};
use crate::Handler;

/// What stands for the line in an argument.
const PLACE: &[u8] = b"{}";

/// Which command runs for each line, and where its output goes.
#[derive(Debug, Clone)]
pub struct LineConfig {
    /// The program: see [`find_program`](super::find_program).
    pub program: PathBuf,
    /// Its arguments. Every `{}` in them is replaced by the line; where there is none, the line is the last argument.
    pub args: Vec<OsString>,
    /// The folder for its output.
    pub spool: PathBuf,
    /// How long its process group may take to end after a TERM, before the KILL. Default 5 s.
    pub grace: Duration,
    /// Environment variables that it does not inherit. Default none.
    pub remove_env: Vec<OsString>,
}

impl LineConfig {
    /// This command, with its output in this folder.
    pub fn new(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
        spool: impl Into<PathBuf>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            spool: spool.into(),
            grace: Duration::from_secs(5),
            remove_env: Vec::new(),
        }
    }
}

/// Runs a command for each job, whose payload is a line ([`JsonBytes`]): no shell, an empty stdin, a process group of
/// its own that ends with the attempt (see [`Exec`](super::Exec)).
///
/// What it writes goes to files in the spool, whole. Before the attempt is settled as completed or failed, they are
/// renamed to `done-ID.CLAIM.err` and then `done-ID.CLAIM.out`, the claim being its worker's own count: whoever sees
/// the second has both. An attempt that does not count (given back, cancelled, taken away) leaves nothing.
///
/// Status 0 completes the job. 126, 127 and a program that cannot be started mean that the environment is broken, as
/// for [`Exec`](super::Exec). Everything else fails the attempt, with the status and the end of stderr.
#[derive(Debug)]
pub struct LineCommand {
    program: Arc<Program>,
    args: Vec<OsString>,
    spool: PathBuf,
}

impl LineCommand {
    /// A handler that runs this command.
    pub fn new(config: LineConfig) -> Self {
        let LineConfig { program, args, spool, grace, remove_env } = config;
        Self { program: Program::new(program, remove_env, grace), args, spool }
    }
}

impl Handler for LineCommand {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Result<Outcome, JobError>> {
        let line = serde_json::from_str::<JsonBytes>(&attempt.job().payload);
        let args = line.map(|JsonBytes(line)| arguments(&self.args, &line));
        let (program, spool) = (Arc::clone(&self.program), self.spool.clone());
        Box::pin(async move {
            let args = args.map_err(|error| JobError::fatal(format!("the payload is no line of input: {error}")))?;
            run(program, args, spool, attempt).await
        })
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
    args: Vec<OsString>,
    spool: PathBuf,
    attempt: Attempt,
) -> Result<Outcome, JobError> {
    let (job, stop) = (attempt.job(), attempt.stop());
    let (mut output, stdout, stderr) = match Output::create(spool, job) {
        Ok(created) => created,
        Err(error) => return Err(program.broke(format!("the command's output has nowhere to go: {error}"))),
    };
    let mut command = program.command(job);
    command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut group = match program.start(command) {
        Ok(group) => group,
        Err(result) => return result,
    };
    let told = stop.clone();
    let ended = select! {
        biased;
        status = group.wait() => Ok(status?),
        why = called_off(stop) => Err(why),
    };
    match ended {
        Ok(status) if status.success() => {
            output.publish(&program)?;
            Ok(Outcome::DONE)
        }
        Ok(status) => {
            let error = program.failure(status, &output.last_words());
            if program.broken().is_none() {
                output.publish(&program)?;
            }
            Err(error)
        }
        Err(why) => {
            group.end().await;
            // A timeout is a failure, and what it wrote until then may say why.
            if *told.borrow() == Some(Stop::TimedOut) {
                output.publish(&program)?;
            }
            Err(JobError::retry(why))
        }
    }
}

/// The arguments for this line.
fn arguments(template: &[OsString], line: &[u8]) -> Vec<OsString> {
    let mut placed = false;
    let mut args: Vec<OsString> = template
        .iter()
        .map(|arg| {
            let mut rest = arg.as_bytes();
            let mut whole = Vec::with_capacity(rest.len() + line.len());
            while let Some(at) = rest.windows(PLACE.len()).position(|window| window == PLACE) {
                placed = true;
                whole.extend_from_slice(&rest[..at]);
                whole.extend_from_slice(line);
                rest = &rest[at + PLACE.len()..];
            }
            whole.extend_from_slice(rest);
            OsString::from_vec(whole)
        })
        .collect();
    if !placed {
        args.push(OsStr::from_bytes(line).to_owned());
    }
    args
}

/// The two files of an attempt, removed when dropped unless published.
#[derive(Debug)]
struct Output {
    spool: PathBuf,
    name: String,
    errors: File,
    published: bool,
}

impl Output {
    fn create(spool: PathBuf, job: &ClaimedJob) -> io::Result<(Self, File, File)> {
        let name = format!("{}.{}", job.id, job.token.claim);
        let open = |kind| {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(spool.join(format!("{name}.{kind}")))
        };
        let (out, err) = (open("out")?, open("err")?);
        let errors = err.try_clone()?;
        Ok((Self { spool, name, errors, published: false }, out, err))
    }

    /// The end of what was written to stderr.
    fn last_words(&mut self) -> String {
        let mut end = Vec::new();
        let read = (|| {
            let length = self.errors.seek(SeekFrom::End(0))?;
            self.errors.seek(SeekFrom::Start(length.saturating_sub(STDERR as u64)))?;
            (&self.errors).take(STDERR as u64).read_to_end(&mut end)
        })();
        match read {
            Ok(_) => String::from_utf8_lossy(&end).into_owned(),
            Err(error) => format!("(its stderr cannot be read: {error})"),
        }
    }

    /// Shows the files under their final names, the standard output last.
    fn publish(&mut self, program: &Program) -> Result<(), JobError> {
        for kind in ["err", "out"] {
            let name = format!("{}.{kind}", self.name);
            fs::rename(self.spool.join(&name), self.spool.join(format!("done-{name}")))
                .map_err(|error| program.broke(format!("the output {name} cannot be put in its place: {error}")))?;
        }
        self.published = true;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.published {
            for kind in ["err", "out"] {
                let _ = fs::remove_file(self.spool.join(format!("{}.{kind}", self.name)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_stands_where_the_braces_are_or_last() {
        let args = |template: &[&str], line: &[u8]| {
            let template: Vec<OsString> = template.iter().map(Into::into).collect();
            arguments(&template, line).into_iter().map(OsString::into_vec).collect::<Vec<_>>()
        };
        assert_eq!(args(&["-c", "{}"], b"a b"), [b"-c".to_vec(), b"a b".to_vec()]);
        assert_eq!(args(&["{}={}.bak", "x"], b"{}\xff"), [b"{}\xff={}\xff.bak".to_vec(), b"x".to_vec()]);
        assert_eq!(args(&["-c"], b"l"), [b"-c".to_vec(), b"l".to_vec()]);
        assert_eq!(args(&[], b""), [b"".to_vec()]);
        assert_eq!(args(&["{", "}"], b"l"), [b"{".to_vec(), b"}".to_vec(), b"l".to_vec()]);
    }
}

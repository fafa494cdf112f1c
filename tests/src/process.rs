//! Real programs: started, spoken to, signalled, waited for, and killed with everything they started.

mod binary;
mod tree;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

pub use binary::headcount;
pub use rustix::process::Signal;
pub use tree::Member;

pub(crate) use tree::Tree;

/// A program about to be started.
#[derive(Debug)]
pub struct Program {
    path: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    folder: PathBuf,
    stdin: Vec<u8>,
}

impl Program {
    /// A program that works in this folder and has it for its home. Its standard input is empty.
    pub(crate) fn new(program: &OsStr, folder: &Path) -> Self {
        let home = [("HOME", ""), ("TMPDIR", ""), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")]
            .into_iter()
            .chain([("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache"), ("XDG_RUNTIME_DIR", "runtime")])
            .map(|(name, below)| {
                (name.into(), if below.is_empty() { folder.into() } else { folder.join(below).into() })
            })
            .collect();
        Self { path: program.into(), args: Vec::new(), env: home, folder: folder.into(), stdin: Vec::new() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// Names the store, by `HEADCOUNT_URL`.
    #[must_use]
    pub fn url(self, url: &str) -> Self {
        self.env("HEADCOUNT_URL", url)
    }

    /// Gives it this on standard input, and then the end of it.
    #[must_use]
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = input.into();
        self
    }

    /// Starts it. Must be called within a tokio runtime.
    pub fn start(self) -> Process {
        let tree = Tree::plant();
        let mut command = Command::new(&self.path);
        command.args(&self.args).current_dir(&self.folder);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_kept_from_programs(name)) {
            command.env_remove(name);
        }
        let stdin = if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
        command.envs(&self.env).envs([tree.mark()]);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, as a shell gives: what a test does to one program must not reach the test.
        command.process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        if let Some(mut pipe) = child.stdin.take() {
            let input = self.stdin;
            // A program may end without reading all of it; that is no fault of the test.
            tokio::spawn(async move { pipe.write_all(&input).await });
        }
        let stdout = Captured::of(child.stdout.take().expect("it is piped"));
        let stderr = Captured::of(child.stderr.take().expect("it is piped"));
        let name = [&self.path].into_iter().chain(&self.args).map(|word| word.to_string_lossy().into_owned());
        Process { name: name.collect::<Vec<_>>().join(" "), child, stdout, stderr, tree }
    }
}

/// Whether a program could find by this variable a store or a server that the test did not name, or behave otherwise
/// than its test says.
fn is_kept_from_programs(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    matches!(&*name, "DATABASE_URL" | "DYNO" | "RUST_LOG") || name.starts_with("HEADCOUNT_") || name.starts_with("PG")
}

/// A program that was started. Dropping it kills it and everything it started, wherever that went.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Captured,
    stderr: Captured,
    tree: Tree,
}

impl Process {
    /// Sends it a signal. Whether it was still there to receive it.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32)) else { return false };
        rustix::process::kill_process(pid, signal).is_ok()
    }

    /// Its number, as long as it has not been waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What marks it and everything it started.
    pub(crate) fn marked(&self) -> Tree {
        self.tree.clone()
    }

    /// What it prints, now and later.
    pub(crate) fn printing(&self) -> Printing {
        Printing { stdout: self.stdout.clone(), stderr: self.stderr.clone() }
    }

    /// Waits for its end, for however long that takes.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        self.child.wait().await.expect("a child of ours can be waited for")
    }

    /// Kills it and everything it started, all with KILL, and returns when none of them runs any more.
    pub fn kill_tree(&self) {
        self.tree.kill();
    }

    /// It and everything it started, as far as they still run.
    pub fn tree(&self) -> Vec<Member> {
        self.tree.members()
    }

    /// Waits for a line of its standard output, and returns it.
    ///
    /// # Panics
    /// When none came in time or before its output ended, showing what it printed.
    pub async fn line(&self, what: &str, within: Duration, is_it: impl Fn(&str) -> bool) -> String {
        self.find(&self.stdout, what, within, is_it).await
    }

    /// Waits for a line of its standard error, and returns it.
    ///
    /// # Panics
    /// When none came in time or before its output ended, showing what it printed.
    pub async fn error_line(&self, what: &str, within: Duration, is_it: impl Fn(&str) -> bool) -> String {
        self.find(&self.stderr, what, within, is_it).await
    }

    async fn find(&self, output: &Captured, what: &str, within: Duration, is_it: impl Fn(&str) -> bool) -> String {
        let Ok(found) = timeout(within, output.line(is_it)).await else {
            panic!("{}: {what}: not within {within:?}\n{}", self.name, self.so_far())
        };
        found.unwrap_or_else(|| panic!("{}: {what}: its output ended before\n{}", self.name, self.so_far()))
    }

    /// Waits for its end, however it ends.
    ///
    /// Returns once the program itself has ended and what it printed is read. Something it started may hold its output
    /// open for longer; that is not waited for.
    ///
    /// # Panics
    /// When it has not ended in time, showing what it printed.
    pub async fn ends(&mut self, within: Duration) -> Ended {
        let Ok(status) = timeout(within, self.child.wait()).await else {
            panic!("{}: not ended within {within:?}\n{}", self.name, self.so_far())
        };
        let status = status.expect("a child of ours can be waited for");
        let all = async { (self.stdout.end().await, self.stderr.end().await) };
        // What it wrote before its end is in the pipe already: this is time to read it, not time to write it.
        let _ = timeout(Duration::from_secs(1), all).await;
        Ended { name: self.name.clone(), status, stdout: self.stdout.so_far(), stderr: self.stderr.so_far() }
    }

    /// Waits for its end, which must be with exit status 0.
    ///
    /// # Panics
    /// When it ended otherwise, or not in time, showing what it printed.
    pub async fn ends_well(&mut self, within: Duration) -> Ended {
        let ended = self.ends(within).await;
        assert!(ended.status.success(), "{ended}");
        ended
    }

    fn so_far(&self) -> String {
        show(&self.stdout.so_far(), &self.stderr.so_far())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tree.kill();
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    name: String,
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Ended {
    /// How it ended; none if by a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// How it ended, signal included.
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// What it printed.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it printed, byte for byte.
    pub fn stdout_bytes(&self) -> &[u8] {
        &self.stdout
    }

    /// What it complained of.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// What it printed with `--json`: a value a line.
    ///
    /// # Panics
    /// When a line is not such a value, showing it.
    pub fn json<T: DeserializeOwned>(&self) -> Vec<T> {
        let read =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}\n{self}"));
        self.stdout().lines().map(read).collect()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n{}", self.name, self.status, show(&self.stdout, &self.stderr))
    }
}

fn show(stdout: &[u8], stderr: &[u8]) -> String {
    let [stdout, stderr] = [stdout, stderr].map(String::from_utf8_lossy);
    format!("--- its output:\n{stdout}--- its errors:\n{stderr}---")
}

/// What a program prints, readable while it runs and after its end.
#[derive(Debug, Clone)]
pub(crate) struct Printing {
    stdout: Captured,
    stderr: Captured,
}

impl Printing {
    /// All so far: its output, then its errors.
    pub(crate) fn so_far(&self) -> String {
        let [out, err] = [self.stdout.so_far(), self.stderr.so_far()];
        String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err)
    }
}

/// What was read from a pipe, while more may come.
#[derive(Debug, Clone)]
struct Captured {
    bytes: watch::Receiver<Vec<u8>>,
}

impl Captured {
    fn of(mut pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, bytes) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut chunk = vec![0; 64 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
                sender.send_modify(|bytes| bytes.extend_from_slice(&chunk[..read]));
            }
        });
        Self { bytes }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    /// Waits until the pipe is closed.
    async fn end(&self) {
        let mut bytes = self.bytes.clone();
        while bytes.changed().await.is_ok() {}
    }

    /// The first whole line that `is_it`; none if the pipe was closed before one came.
    async fn line(&self, is_it: impl Fn(&str) -> bool) -> Option<String> {
        let mut bytes = self.bytes.clone();
        loop {
            {
                let now = bytes.borrow_and_update();
                let text = String::from_utf8_lossy(&now);
                let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                if let Some(line) = whole.lines().find(|line| is_it(line)) {
                    return Some(line.to_owned());
                }
            }
            bytes.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests;

//! The Postgres server that is measured: one that is there, or one of the bench's own, with the settings that Postgres
//! comes with.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::geteuid;

use crate::cpu;

/// See `server.sh`.
const KEEPER: &str = include_str!("server.sh");

/// Where Debian and Red Hat put what is not in PATH.
const FOLDERS: [&str; 2] = ["/usr/lib/postgresql", "/usr"];

/// A server, which ends with this value, or with this process, if it is the bench's own.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    keeper: Option<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    process: Child,
    input: Option<ChildStdin>,
    folder: tempfile::TempDir,
}

impl Server {
    /// The one at this URL, or a new one.
    pub(crate) fn at(url: Option<&str>) -> Result<Self> {
        match url {
            Some(url) => Ok(Self { url: url.to_owned(), keeper: None }),
            None => Self::start(),
        }
    }

    fn start() -> Result<Self> {
        let bin = programs().context("no Postgres is installed here to start a server of: name one with --url")?;
        let folder = tempfile::Builder::new().prefix("headcount-bench.").tempdir()?;
        let password = format!("{:032x}", rand::random::<u128>());
        fs::write(folder.path().join("password"), format!("{password}\n"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", KEEPER, "keeper"]).arg(&bin).arg(folder.path()).arg(port.to_string());
        if geteuid().is_root() {
            // Postgres refuses to run as root.
            let (uid, gid) = somebody_else().context("Postgres does not run as root, and there is no other user")?;
            for path in [folder.path().to_owned(), folder.path().join("password")] {
                chown(path, Some(uid), Some(gid))?;
            }
            command.uid(uid).gid(gid);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let input = process.stdin.take();
        let mut said = String::new();
        // It says one line and no more, or why not and ends.
        let mut out = process.stdout.take().context("the keeper's output is a pipe")?;
        let mut byte = [0];
        while out.read(&mut byte)? == 1 && !said.ends_with("ready\n") {
            said.push(char::from(byte[0]));
            if said == "ready\n" {
                break;
            }
        }
        if said != "ready\n" {
            bail!("a Postgres server cannot be started: {}", said.trim());
        }
        let url = format!("postgres://headcount:{password}@127.0.0.1:{port}/postgres");
        Ok(Self { url, keeper: Some(Keeper { process, input, folder }) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The processor time that all its processes have taken so far; nothing if it is another's, or the system does not say.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let folder = self.keeper.as_ref()?.folder.path();
        let postmaster = fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
        let postmaster = postmaster.lines().next()?.parse().ok()?;
        // What has ended counts for the postmaster.
        let mut total = cpu::of_its_ended_children(postmaster)?;
        for process in cpu::children(postmaster) {
            total += cpu::of(process).unwrap_or_default();
        }
        Some(total)
    }

    /// Whether it runs on this machine for the bench alone.
    pub(crate) const fn is_own(&self) -> bool {
        self.keeper.is_some()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// The folder of the newest server programs.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    let mut look = |bin: PathBuf| {
        if !bin.join("pg_ctl").is_file() {
            return;
        }
        let Ok(said) = Command::new(bin.join("initdb")).arg("--version").output() else { return };
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let major = said.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
        found.extend(major.and_then(|major| major.parse().ok()).map(|major| (major, bin)));
    };
    for folder in FOLDERS {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            look(entry.path().join("bin"));
        }
    }
    for folder in std::env::split_paths("/usr/local/bin:/usr/bin:/opt/homebrew/bin") {
        // A link in there leads to where the others are.
        if let Ok(initdb) = fs::canonicalize(folder.join("initdb"))
            && let Some(bin) = initdb.parent()
        {
            look(bin.to_owned());
        }
    }
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// The user and group of `postgres`, or of `nobody`.
fn somebody_else() -> Option<(u32, u32)> {
    let users = fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    let ids = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}

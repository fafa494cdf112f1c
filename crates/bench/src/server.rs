//! The Postgres server that is measured: one that is there, or one of the bench's own, with the settings that Postgres
//! comes with; and a PgBouncer before that one.

use std::{fs, net::TcpListener, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result};

use crate::{cpu, keeper::Keeper};

/// See `server.sh`.
const SERVER: &str = include_str!("server.sh");
/// See `pooler.sh`.
const POOLER: &str = include_str!("pooler.sh");

/// Where Debian and Red Hat put what is not in PATH.
const FOLDERS: [&str; 2] = ["/usr/lib/postgresql", "/usr"];

/// A server, which ends with this value, or with this process, if it is the bench's own.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    password: String,
    port: u16,
    keeper: Option<Keeper>,
}

/// A pooler before it, which ends with this value.
#[derive(Debug)]
pub(crate) struct Pooler {
    /// The store's address through it.
    pub(crate) url: String,
    _keeper: Keeper,
}

impl Server {
    /// The one at this URL, or a new one.
    pub(crate) fn at(url: Option<&str>) -> Result<Self> {
        match url {
            Some(url) => Ok(Self { url: url.to_owned(), password: String::new(), port: 0, keeper: None }),
            None => Self::start(),
        }
    }

    fn start() -> Result<Self> {
        let bin = programs().context("no Postgres is installed here to start a server of: name one with --url")?;
        let (password, port) = (format!("{:032x}", rand::random::<u128>()), free_port()?);
        let keeper = Keeper::start("a Postgres server", SERVER, &format!("{password}\n"), |folder| {
            [bin.into_os_string(), folder.into(), port.to_string().into()]
        })?;
        Ok(Self { url: url(&password, port), password, port, keeper: Some(keeper) })
    }

    /// A PgBouncer before this server, with the settings that it comes with but for `pool_mode = transaction`. None: there
    /// is none installed, or the server is another's, whose password is not ours to write into a file.
    pub(crate) fn pooler(&self) -> Result<Option<Pooler>> {
        if self.keeper.is_none() {
            return Ok(None);
        }
        let Some(program) = find("pgbouncer", "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
        else {
            return Ok(None);
        };
        let port = free_port()?;
        let users = format!("\"headcount\" \"{}\"\n", self.password);
        let keeper = Keeper::start("a PgBouncer", POOLER, &users, |folder| {
            [program.into_os_string(), folder.into(), port.to_string().into(), self.port.to_string().into()]
        })?;
        Ok(Some(Pooler { url: format!("{}?pooler=transaction", url(&self.password, port)), _keeper: keeper }))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The processor time that all its processes have taken so far; nothing if it is another's, or the system does not say.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let folder = self.keeper.as_ref()?.folder();
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

fn url(password: &str, port: u16) -> String {
    format!("postgres://headcount:{password}@127.0.0.1:{port}/postgres")
}

/// A port that nobody listens on just now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A program in one of these folders.
fn find(name: &str, folders: &str) -> Option<PathBuf> {
    std::env::split_paths(folders).map(|folder| folder.join(name)).find(|program| program.is_file())
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

//! A server of the bench's own: a shell that starts it, keeps it for as long as its own input is open, and takes it away.

use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::geteuid;

/// It ends with this value, or with this process, whichever way that ends.
#[derive(Debug)]
pub(crate) struct Keeper {
    process: Child,
    input: Option<ChildStdin>,
    folder: tempfile::TempDir,
}

impl Keeper {
    /// Runs the script, in a folder of its own, which holds `secret` in a file `password`, with the arguments that `args`
    /// makes of the folder. The script says `ready`, or why not, and ends.
    pub(crate) fn start<const N: usize>(
        what: &str,
        script: &str,
        secret: &str,
        args: impl FnOnce(&Path) -> [OsString; N],
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("headcount-bench.").tempdir()?;
        fs::write(folder.path().join("password"), secret)?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "keeper"]).args(args(folder.path()));
        if geteuid().is_root() {
            // Neither Postgres nor PgBouncer runs as root.
            let (uid, gid) =
                somebody_else().with_context(|| format!("{what} does not run as root, and there is no other user"))?;
            for path in [folder.path().to_owned(), folder.path().join("password")] {
                chown(path, Some(uid), Some(gid))?;
            }
            command.uid(uid).gid(gid);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let input = process.stdin.take();
        let mut said = String::new();
        let mut out = process.stdout.take().context("the keeper's output is a pipe")?;
        let mut byte = [0];
        while said != "ready\n" && out.read(&mut byte)? == 1 {
            said.push(char::from(byte[0]));
        }
        if said != "ready\n" {
            bail!("{what} cannot be started: {}", said.trim());
        }
        Ok(Self { process, input, folder })
    }

    /// Where it works.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// The user and group of `postgres`, or of `nobody`.
fn somebody_else() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let ids = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}

//! The program that a handler starts: found once, started for every attempt, its exit status read in one place.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Arc, OnceLock},
    time::Duration,
};

use headcount_queue::{JobError, Outcome, store::ClaimedJob};
use rustix::fs::{Access, access};
use tokio::process::Command;

use super::{
    group::{Group, Reapers},
    guard::Guard,
};

/// How long a job waits when the machine had no room for another process.
const NO_ROOM_WAIT: Duration = Duration::from_secs(30);

/// Why a program cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// It is nowhere.
    #[error("no program {0:?} in any folder of PATH; name it by its path, or extend PATH")]
    NotInPath(OsString),
    /// There is no such file.
    #[error("there is no program {0:?}")]
    NoSuchFile(PathBuf),
    /// It is there and may not be run.
    #[error("{0:?} is not a program that this user may run")]
    NotExecutable(PathBuf),
}

/// Finds a program as a shell does: a name with a slash is a path, any other is looked for in the folders of
/// `path_var`, the value of PATH.
pub fn find_program(name: &OsStr, path_var: Option<&OsStr>) -> Result<PathBuf, FindError> {
    if name.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return match fs::metadata(&path) {
            Err(_) => Err(FindError::NoSuchFile(path)),
            Ok(_) if !is_program(&path) => Err(FindError::NotExecutable(path)),
            Ok(_) => Ok(path),
        };
    }
    let folders = path_var.into_iter().flat_map(std::env::split_paths);
    let candidates = folders.map(|folder| folder.join(name));
    let mut unusable = None;
    for path in candidates.filter(|path| !name.is_empty() && path.is_file()) {
        if is_program(&path) {
            return Ok(path);
        }
        unusable.get_or_insert(path);
    }
    Err(unusable.map_or_else(|| FindError::NotInPath(name.to_owned()), FindError::NotExecutable))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// A program with what every start of it has in common.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    remove_env: Vec<OsString>,
    grace: Duration,
    reapers: Reapers,
    guard: Arc<Guard>,
    broken: OnceLock<String>,
}

impl Program {
    pub(super) fn new(path: PathBuf, remove_env: Vec<OsString>, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            path,
            remove_env,
            grace,
            reapers: Reapers::default(),
            guard: Arc::default(),
            broken: OnceLock::new(),
        })
    }

    /// A command for this job. Arguments and pipes are the caller's.
    pub(super) fn command(&self, job: &ClaimedJob) -> Command {
        let mut command = Command::new(&self.path);
        for name in &self.remove_env {
            command.env_remove(name);
        }
        command
            .env("HEADCOUNT_JOB_ID", job.id.to_string())
            .env("HEADCOUNT_JOB_KIND", &job.kind)
            .env("HEADCOUNT_JOB_QUEUE", &job.queue)
            .env("HEADCOUNT_JOB_ATTEMPT", job.attempt.to_string());
        command
    }

    /// Starts it in a process group of its own. Where that fails: what becomes of the attempt.
    pub(super) fn start(&self, command: Command) -> Result<Group, Result<Outcome, JobError>> {
        Group::start(command, self.grace, self.reapers.clone(), &self.guard).map_err(|error| self.not_started(&error))
    }

    fn not_started(&self, error: &io::Error) -> Result<Outcome, JobError> {
        let path = self.path.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                Err(self.broke(format!("{path} cannot be started: {error}")))
            }
            // The machine's trouble and not the job's, and it passes.
            _ if matches!(error.raw_os_error(), Some(errno) if NO_ROOM.contains(&errno)) => {
                tracing::warn!(%error, "no room for another process: the job waits");
                Ok(Outcome::Snooze(NO_ROOM_WAIT))
            }
            io::ErrorKind::ArgumentListTooLong => {
                Err(JobError::fatal(format!("{path} cannot be started with an argument this long: {error}")))
            }
            io::ErrorKind::InvalidInput => {
                Err(JobError::fatal(format!("{path} cannot be started: an argument holds a NUL byte")))
            }
            // Not in a format that the system runs, and whatever else there is: no job can run here.
            _ => Err(self.broke(format!("{path} cannot be started: {error}"))),
        }
    }

    /// Notes that the environment is broken, for [`Handler::broken`](crate::Handler::broken).
    pub(super) fn broke(&self, why: String) -> JobError {
        let error = JobError::retry(why.clone());
        let _ = self.broken.set(why);
        error
    }

    /// Why it can no longer be started, if so.
    pub(super) fn broken(&self) -> Option<String> {
        self.broken.get().cloned()
    }

    /// What an exit status other than success says about the attempt: its message, with the end of stderr. Status 126
    /// and 127 are a shell's words for "cannot be run" and "not found".
    pub(super) fn failure(&self, status: ExitStatus, stderr: &str) -> JobError {
        let stderr = stderr.trim_end();
        let colon = if stderr.is_empty() { "" } else { ": " };
        match (status.code(), status.signal()) {
            (Some(code @ (126 | 127)), _) => {
                let said = if code == 126 { "cannot be run" } else { "not found" };
                self.broke(format!("{} exited with status {code} ({said}){colon}{stderr}", self.path.display()))
            }
            (Some(code), _) => JobError::retry(format!("exited with status {code}{colon}{stderr}")),
            (None, Some(signal)) => JobError::retry(format!("killed by signal {signal}{colon}{stderr}")),
            (None, None) => JobError::retry(format!("ended with {status}{colon}{stderr}")),
        }
    }

    /// How long ending its group may take: TERM, then KILL after the grace, and a little for the reaping.
    pub(super) fn wind_down(&self) -> Duration {
        self.grace + Duration::from_secs(1)
    }

    /// Ends the groups that dropped attempts left behind.
    pub(super) async fn close(&self, limit: Duration) {
        self.reapers.close(limit).await;
    }
}

/// EAGAIN, ENOMEM, ENFILE, EMFILE: no process, memory or file to be had.
const NO_ROOM: [i32; 4] = [
    rustix::io::Errno::AGAIN.raw_os_error(),
    rustix::io::Errno::NOMEM.raw_os_error(),
    rustix::io::Errno::NFILE.raw_os_error(),
    rustix::io::Errno::MFILE.raw_os_error(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("tool"), "#!/bin/sh\n").unwrap();
        fs::write(path("data"), "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path("tool"), mode).unwrap();
        fs::create_dir(path("folder")).unwrap();
        let path_var = std::env::join_paths([Path::new("/nonexistent"), folder.path()]).unwrap();
        let find = |name: &str| find_program(OsStr::new(name), Some(&path_var));

        assert_eq!(find("tool"), Ok(path("tool")));
        assert_eq!(find("data"), Err(FindError::NotExecutable(path("data"))));
        for missing in ["folder", "nothing", ""] {
            assert_eq!(find(missing), Err(FindError::NotInPath(missing.into())));
        }
        assert_eq!(find_program(OsStr::new("tool"), None), Err(FindError::NotInPath("tool".into())));
        assert_eq!(find(path("tool").to_str().unwrap()), Ok(path("tool")));
        assert_eq!(find("/nonexistent/x"), Err(FindError::NoSuchFile("/nonexistent/x".into())));
        assert_eq!(find(path("folder").to_str().unwrap()), Err(FindError::NotExecutable(path("folder"))));
    }
}

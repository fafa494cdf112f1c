//! A folder per test, and programs that see nothing of the machine outside it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::process::{self, Program};

/// A temporary folder of the test's own, removed at its end.
///
/// Programs started from it have it as their working folder, as their home and for their temporary files; the
/// variables by which a store could be named are taken from them. So a test finds no store but its own, and two tests
/// never meet.
#[derive(Debug)]
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    /// A new, empty folder.
    #[expect(clippy::new_without_default, reason = "making a folder is an act, not a value")]
    pub fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("headcount-test-").tempdir().expect("a temporary folder") }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of a file in it.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// The URL of an embedded store in a file of this name.
    pub fn sqlite(&self, name: &str) -> String {
        format!("sqlite:{}", self.file(name).display())
    }

    /// The `headcount` program with these arguments.
    pub fn headcount<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Program {
        self.program(process::headcount(), args)
    }

    /// Any program with these arguments.
    pub fn program<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Program {
        Program::new(program.as_ref(), self.path()).args(args)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_program_sees_the_folder_and_no_store_from_outside() {
        let folder = Folder::new();
        let ended = folder
            .program("sh", ["-c", "pwd; echo $HOME; echo $XDG_DATA_HOME; echo ${TMPDIR}; env | cut -d = -f 1"])
            .start()
            .ends_well(Duration::from_secs(10))
            .await;
        let out = ended.stdout();
        let lines: Vec<&str> = out.lines().collect();
        let path = folder.path().to_str().unwrap();
        assert_eq!(lines[..4], [path, path, &format!("{path}/data"), path]);
        let store = lines[4..].iter().find(|name| name.starts_with("HEADCOUNT_") || **name == "DATABASE_URL");
        assert_eq!(store, None);
    }

    #[test]
    fn it_is_removed_at_the_end() {
        let folder = Folder::new();
        let path = folder.path().to_owned();
        std::fs::write(folder.file("x"), "x").unwrap();
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }
}

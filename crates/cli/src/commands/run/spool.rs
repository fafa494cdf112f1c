//! What the lines' commands wrote, from files to standard output: each whole, never interleaved, however long.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use headcount_queue::JsonBytes;
use serde::Serialize;

use super::progress::Progress;
use crate::output::reader_gone;

/// The folder into which workers write what their lines' commands wrote.
///
/// A pair `done-ID.CLAIM.err` and `done-ID.CLAIM.out` is complete when the second is there. It is deleted once it is
/// printed, the second file first: a crash between the two prints it again at the worst.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    json: bool,
}

/// A line's output as a row of JSON.
#[derive(Debug, Serialize)]
struct Row {
    id: i64,
    stdout: JsonBytes,
    stderr: JsonBytes,
}

impl Spool {
    /// The spool in this folder. `json`: prints a row of JSON for each line instead of its bytes.
    pub(crate) fn new(folder: PathBuf, json: bool) -> Self {
        Self { folder, json }
    }

    /// Prints what is complete, in the order of the lines, and deletes it.
    pub(crate) fn print(&self, progress: &Progress) -> Result<()> {
        let complete = self.complete().with_context(|| format!("reading {}", self.folder.display()))?;
        if complete.is_empty() {
            return Ok(());
        }
        progress.aside(|| complete.iter().try_for_each(|(id, stem)| self.print_one(*id, stem)))
    }

    fn complete(&self) -> io::Result<Vec<(i64, String)>> {
        let mut complete = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".out")) else { continue };
            let id = stem.strip_prefix("done-").and_then(|rest| rest.split('.').next());
            if let Some(id) = id.and_then(|id| id.parse().ok()) {
                complete.push((id, stem.to_owned()));
            }
        }
        complete.sort();
        Ok(complete)
    }

    fn print_one(&self, id: i64, stem: &str) -> Result<()> {
        let (out, err) = (self.folder.join(format!("{stem}.out")), self.folder.join(format!("{stem}.err")));
        let mut stdout = io::stdout().lock();
        if self.json {
            let row = Row { id, stdout: JsonBytes(fs::read(&out)?), stderr: JsonBytes(read_if_there(&err)?) };
            let mut line = serde_json::to_vec(&row)?;
            line.push(b'\n');
            stdout.write_all(&line).map_err(reader_gone)?;
        } else {
            if let Ok(mut file) = File::open(&err) {
                io::copy(&mut file, &mut io::stderr().lock())?;
            }
            io::copy(&mut File::open(&out)?, &mut stdout).map_err(reader_gone)?;
        }
        stdout.flush().map_err(reader_gone)?;
        fs::remove_file(&out)?;
        let _ = fs::remove_file(&err);
        Ok(())
    }
}

fn read_if_there(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_output_is_taken_in_the_order_of_the_lines() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["done-10.3.out", "done-10.3.err", "done-9.1.err", "done-9.1.out", "done-8.1.err", "7.1.out"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let spool = Spool::new(folder.path().to_owned(), false);
        assert_eq!(spool.complete().unwrap(), [(9, "done-9.1".to_owned()), (10, "done-10.3".to_owned())]);
        spool.print(&Progress::new(true, false)).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

//! A run's own folder: what it needs to be resumed, its store, its output not printed yet.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use headcount_queue::{
    BootId, JsonBytes, StoreUrl,
    limits::{MAX_NAME, PRIVATE_PREFIX, check_name},
};
use serde::{Deserialize, Serialize};

use crate::{
    exit::{refused, usage},
    store::{Choice, Source},
};

/// The longest name: what a dot and a short name leave of that of a queue.
const MAX_RUN_NAME: usize = MAX_NAME - PRIVATE_PREFIX.len() - 7;

/// What a run is, beside its store. It lies in a file that only its owner reads, since whoever writes it chooses the
/// command; for the same reason the command does not lie in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    command: Vec<JsonBytes>,
    /// The queue of its lines. Not the run's name alone: runs of one name, of other users or other machines, may share
    /// a store, and one's workers must never run the other's lines with their own command.
    pub(crate) queue: String,
    /// How often a line that failed is tried again.
    pub(crate) retries: u16,
    /// The store's URL without its password; none for the run's own.
    store: Option<String>,
    /// Whether every line of the input has been taken.
    pub(crate) input_complete: bool,
}

impl Record {
    /// A run of this command that has taken no input yet.
    pub(crate) fn new(command: &[OsString], retries: u16, store: Option<&Choice>) -> Self {
        Self {
            command: command.iter().map(|word| JsonBytes(word.as_bytes().to_vec())).collect(),
            queue: String::new(),
            retries,
            store: store.map(|choice| choice.url.to_string()),
            input_complete: false,
        }
    }

    /// The command and its arguments.
    pub(crate) fn command(&self) -> Vec<OsString> {
        self.command.iter().map(|word| OsString::from_vec(word.0.clone())).collect()
    }
}

/// The folder of a run, locked: nobody else runs or resumes it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    name: String,
    /// What the run is.
    pub(crate) record: Record,
    /// Held for as long as this process lives, kill -9 included.
    _lock: File,
}

impl Folder {
    /// Makes the folder of a new run.
    pub(crate) fn create(runs: &Path, name: Option<&str>, mut record: Record) -> Result<Self> {
        let random = short_name();
        let (name, queue) = name.map_or_else(
            || Ok((random.clone(), random.clone())),
            |name| checked(name).map(|name| (name.to_owned(), format!("{name}.{random}"))),
        )?;
        record.queue = format!("{PRIVATE_PREFIX}{queue}");
        let path = runs.join(&name);
        builder().recursive(true).create(runs).with_context(|| format!("making {}", runs.display()))?;
        builder().create(&path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => usage(format!(
                "there is a run named {name} already: finish it with `headcount run --resume {name}`, or choose another \
                 name"
            )),
            _ => refused(format!("cannot make {}: {error}", path.display())),
        })?;
        let lock = lock(&path, &name)?;
        builder().create(path.join("spool")).with_context(|| format!("making the spool in {}", path.display()))?;
        let folder = Self { path, name, record, _lock: lock };
        folder.save()?;
        Ok(folder)
    }

    /// Opens the folder of a run that was begun before. `store`: the one that was named for it now.
    pub(crate) fn open(runs: &Path, name: &str, store: Option<&StoreUrl>) -> Result<Self> {
        let path = runs.join(checked(name)?);
        let file = path.join("run.json");
        let text = fs::read(&file).map_err(|error| match error.kind() {
            ErrorKind::NotFound => usage(format!("there is no run named {name}{}", others(runs))),
            _ => refused(format!("cannot read {}: {error}", file.display())),
        })?;
        let lock = lock(&path, name)?;
        let record: Record = serde_json::from_slice(&text).map_err(|error| {
            refused(format!("{} is not understood: {error}; is it of this version?", file.display()))
        })?;
        let named = store.map(ToString::to_string);
        if record.store != named {
            let was = record.store.as_deref().unwrap_or("its own file");
            let wish = if record.store.is_some() {
                "name it with --url or HEADCOUNT_URL"
            } else {
                "leave --url and HEADCOUNT_URL away"
            };
            return Err(refused(format!("run {name} keeps its lines in {was}: {wish}")));
        }
        Ok(Self { path, name: name.to_owned(), record, _lock: lock })
    }

    /// The run's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The run's own store.
    pub(crate) fn own_store(&self) -> Choice {
        Choice { url: StoreUrl::Sqlite(Some(self.path.join("store.db"))), source: Source::Embedded }
    }

    /// Where the lines' output lies until it is printed.
    pub(crate) fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// What the workers have to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("workers.log")
    }

    /// Notes that the input was read to its end, and all of it taken.
    pub(crate) fn input_is_complete(&mut self) -> Result<()> {
        self.record.input_complete = true;
        self.save()
    }

    /// Removes the folder: nothing is left of the run.
    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| format!("removing {}", self.path.display()))
    }

    /// Writes the record so that a crash leaves the old one or the new one.
    fn save(&self) -> Result<()> {
        let (new, file) = (self.path.join("run.json.new"), self.path.join("run.json"));
        let write = || -> std::io::Result<()> {
            let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            out.write_all(&serde_json::to_vec_pretty(&self.record).expect("strings always serialize"))?;
            out.sync_all()?;
            fs::rename(&new, &file)?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("writing {}", file.display()))
    }
}

fn builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// A name that is a name of a queue and of a folder.
fn checked(name: &str) -> Result<&str> {
    check_name("a run", name).map_err(|error| usage(error.to_string()))?;
    if name.contains('/') || name.starts_with('.') || name.len() > MAX_RUN_NAME {
        return Err(usage(format!(
            "{name:?} cannot name a run: no slash, no dot in front, at most {MAX_RUN_NAME} bytes"
        )));
    }
    Ok(name)
}

fn short_name() -> String {
    let mut n = BootId::random().0;
    let mut name = String::new();
    for _ in 0..6 {
        name.push(char::from(b"abcdefghijkmnpqrstuvwxyz23456789"[(n % 32) as usize]));
        n /= 32;
    }
    name
}

fn lock(path: &Path, name: &str) -> Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join("lock"));
    let file = file.with_context(|| format!("opening the lock in {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(refused(format!("run {name} is under way in another process"))),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// The runs that could have been meant.
fn others(runs: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    if names.is_empty() { "; none is unfinished".into() } else { format!("; unfinished are: {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::exit::{Exit, status};

    fn record() -> Record {
        Record::new(&["sha256sum".into(), OsString::from_vec(b"\xff{}".to_vec())], 2, None)
    }

    #[test]
    fn a_run_is_read_back_as_it_was_begun_and_its_command_is_nobody_elses_to_read() {
        let runs = tempfile::tempdir().unwrap();
        let mut folder = Folder::create(runs.path(), Some("a"), record()).unwrap();
        folder.input_is_complete().unwrap();
        drop(folder);
        let folder = Folder::open(runs.path(), "a", None).unwrap();
        assert!(folder.record.input_complete);
        assert_eq!((folder.record.command(), folder.record.retries), (record().command(), 2));
        let mode = fs::metadata(runs.path().join("a/run.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        folder.remove().unwrap();
        assert!(!runs.path().join("a").exists());
    }

    #[test]
    fn a_run_has_one_supervisor_at_a_time() {
        let runs = tempfile::tempdir().unwrap();
        let folder = Folder::create(runs.path(), Some("a"), record()).unwrap();
        assert_eq!(status(&Folder::open(runs.path(), "a", None).unwrap_err()), Exit::Refused);
        assert_eq!(status(&Folder::create(runs.path(), Some("a"), record()).unwrap_err()), Exit::Usage);
        drop(folder);
        Folder::open(runs.path(), "a", None).unwrap();
    }

    #[test]
    fn a_run_that_is_not_there_names_those_that_are() {
        let runs = tempfile::tempdir().unwrap();
        drop(Folder::create(runs.path(), Some("thumbs"), record()).unwrap());
        let error = Folder::open(runs.path(), "thumb", None).unwrap_err();
        assert!(error.to_string().contains("unfinished are: thumbs"), "{error}");
        for bad in ["../x", ".x", "a b"] {
            assert_eq!(status(&Folder::open(runs.path(), bad, None).unwrap_err()), Exit::Usage);
        }
    }

    #[test]
    fn a_run_is_resumed_with_the_store_that_it_was_begun_with() {
        let runs = tempfile::tempdir().unwrap();
        let url: StoreUrl = "postgres://u:s3cret@h/d".parse().unwrap();
        let choice = Choice { url: url.clone(), source: Source::Flag };
        drop(Folder::create(runs.path(), Some("a"), Record::new(&["true".into()], 0, Some(&choice))).unwrap());
        let text = fs::read_to_string(runs.path().join("a/run.json")).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        let error = Folder::open(runs.path(), "a", None).unwrap_err();
        assert!(error.to_string().contains("postgres://u@h/d"), "{error}");
        Folder::open(runs.path(), "a", Some(&url)).unwrap();
    }
}

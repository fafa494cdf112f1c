//! The configuration's file: where it is found, and when it has changed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use headcount_scaler::{Config, config::Row};

use crate::{
    env::{self, Env},
    exit::refused,
    output::Table,
};

/// Where it lies if nothing says otherwise.
const DEFAULT: &str = "headcount.toml";

/// The file that was chosen.
#[derive(Debug, Clone)]
pub(super) struct Found {
    path: PathBuf,
}

impl Found {
    /// The one that is named, else that of the environment, else the one in this folder.
    pub(super) fn find(named: Option<&Path>, env: &Env) -> Result<Self> {
        if let Some(path) = named {
            return Ok(Self { path: path.to_owned() });
        }
        if let Some(path) = env.raw(&env::CONFIG) {
            return Ok(Self { path: PathBuf::from(path) });
        }
        let path = PathBuf::from(DEFAULT);
        if path.is_file() {
            return Ok(Self { path });
        }
        Err(refused(format!(
            "there is no configuration: --config and {} are not given, and this folder has no {DEFAULT}. Write one:\n\n{}",
            env::CONFIG.name,
            Config::EXAMPLE
        )))
    }

    /// Reads it whole.
    pub(super) fn read(&self) -> Result<Config> {
        let text = self.text()?;
        Config::parse(&text).map_err(|mistakes| {
            let told: Vec<String> = mistakes.iter().map(|mistake| format!("{self}: {mistake}")).collect();
            refused(told.join("\n"))
        })
    }

    fn text(&self) -> Result<String> {
        fs::read_to_string(&self.path).map_err(|error| refused(format!("{self} cannot be read: {error}")))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// The file, and what it held when it was last looked at.
#[derive(Debug)]
pub(super) struct Watched {
    found: Found,
    seen: Option<String>,
}

impl Watched {
    /// From now on.
    pub(super) fn new(found: Found) -> Self {
        let seen = found.text().ok();
        Self { found, seen }
    }

    /// What it says, if it says something else than when last looked at: by its content, for a time may not tell, and an
    /// editor or a deploy may put another file in its place. One that cannot be read is told once.
    pub(super) fn changed(&mut self) -> Option<Result<Config>> {
        let text = self.found.text();
        let now = text.as_ref().ok().cloned();
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(text.and_then(|_| self.found.read()))
    }
}

/// The values in force.
pub(super) fn table(rows: &[Row<'_>]) -> Table {
    let mut table = Table::new(["POOL", "KEY", "VALUE", ""]);
    for row in rows {
        let default = if row.default { "default" } else { "" };
        table.row([row.pool.to_owned(), row.key.to_owned(), row.value.clone(), default.to_owned()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::status;

    const POOL: &str = "[pool.here]\nqueues = [\"mail\"]\ndriver = { noop = {} }\nmax = 4\n";

    #[test]
    fn without_any_configuration_one_is_shown() {
        let error = Found::find(None, &Env::of([], None)).unwrap_err();
        assert_eq!(status(&error), crate::exit::Exit::Refused);
        let told = error.to_string();
        assert!(told.contains("HEADCOUNT_CONFIG") && told.contains("[pool.here]"), "{told}");
    }

    #[test]
    fn every_mistake_is_told_with_the_file_and_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.toml");
        fs::write(&path, "[pool.here]\nqueues = [\"mail\"]\ndriver = { noop = {} }\nmx = 4\n").unwrap();
        let error = Found::find(Some(&path), &Env::of([], None)).unwrap().read().unwrap_err().to_string();
        assert!(error.contains("h.toml: line 4"), "{error}");
    }

    #[test]
    fn a_change_is_told_once_and_a_file_that_is_gone_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h.toml");
        fs::write(&path, POOL).unwrap();
        let mut watched = Watched::new(Found { path: path.clone() });
        assert!(watched.changed().is_none());
        fs::write(&path, POOL.replace('4', "5")).unwrap();
        assert_eq!(watched.changed().unwrap().unwrap().pools[0].max, 5);
        assert!(watched.changed().is_none());
        fs::remove_file(&path).unwrap();
        assert!(watched.changed().unwrap().is_err());
        assert!(watched.changed().is_none());
        fs::write(&path, POOL).unwrap();
        assert_eq!(watched.changed().unwrap().unwrap().pools[0].max, 4);
    }
}

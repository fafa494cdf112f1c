//! A store of a test's own with a folder beside it, and a way to run one scenario on each store.

use std::time::Duration;

use serde_json::Value;

use crate::{Database, Ended, Folder, Program, eventually};

/// Within which time a command that asks one thing is over. Only a failing test waits that long.
const SOON: Duration = Duration::from_secs(30);

/// A store of a test's own, and the folder in which its commands run.
#[derive(Debug)]
pub struct Place {
    /// The folder.
    pub folder: Folder,
    /// The store's address.
    pub url: String,
    _database: Option<Database>,
}

impl Place {
    /// An embedded store in a file of the folder.
    pub fn sqlite() -> Self {
        let folder = Folder::new();
        Self { url: folder.sqlite("jobs.db"), folder, _database: None }
    }

    /// A database on the shared server.
    pub async fn postgres() -> Self {
        Self::on(Database::fresh().await)
    }

    /// This database, which the test may also look into by itself.
    pub fn on(database: Database) -> Self {
        Self { folder: Folder::new(), url: database.url().to_owned(), _database: Some(database) }
    }

    /// The command with these words, separated by spaces, on this store.
    pub fn headcount(&self, line: &str) -> Program {
        self.folder.headcount(line.split_whitespace()).url(&self.url)
    }

    /// What the command prints, which must end well.
    pub async fn says(&self, line: &str) -> Ended {
        self.headcount(line).start().ends_well(SOON).await
    }

    /// What the command prints with `--json`.
    pub async fn rows(&self, line: &str) -> Vec<Value> {
        self.says(&format!("{line} --json")).await.json()
    }

    /// The one row that the command prints with `--json`.
    pub async fn row(&self, line: &str) -> Value {
        let rows = self.rows(line).await;
        let [row] = rows.as_slice() else { panic!("{line}: {rows:?}") };
        row.clone()
    }

    /// The states of all jobs, in the order of their ids.
    pub async fn states(&self) -> Vec<String> {
        let rows = self.rows("jobs list --limit 0").await;
        rows.iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect()
    }

    /// Enqueues a job and returns its id.
    pub async fn enqueue(&self, line: &str) -> String {
        self.says(&format!("enqueue {line}")).await.stdout().trim().to_owned()
    }

    /// A shell script in the folder, as a handler.
    pub fn handler(&self, script: &str) -> String {
        let path = self.folder.file("handler");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What a handler wrote into a file of the folder, once it has.
    pub async fn written(&self, file: &str, within: Duration) -> String {
        eventually(&format!("{file} is written"), within, async || {
            std::fs::read_to_string(self.folder.file(file)).map_err(|error| error.to_string())
        })
        .await
    }
}

/// Makes of a test that takes a [`Place`] one on each store.
#[macro_export]
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn on_sqlite() {
                super::$name($crate::Place::sqlite()).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                super::$name($crate::Place::postgres().await).await;
            }
        }
    )+};
}

//! The SQLite store: a file that several processes of one machine share, or memory.
//!
//! The file is in WAL mode: readers never wait, and there is one writer at a time. A move is a few statements inside
//! one `BEGIN IMMEDIATE`, so what the Postgres store does with row locks and cursors needs neither here: nothing moves
//! between a claim's look and its take, and a deleted row is gone from the index at once.
//!
//! Times are SQLite's own clock, read once in each transaction after its lock is taken: one clock for all processes of
//! the machine, in milliseconds (kept as microseconds, the unit of both stores).

mod connection;
mod fault;
mod network;
mod migrate;
mod tally;
mod coalesce;
mod enqueue;
mod admit;
mod worker;
mod ending;
mod settle;
mod parking;
mod claim;
mod observe;
mod find;
mod queues;
mod settings;
mod maintain;
mod scale;
mod release;
mod admin;
mod drift;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};

use self::connection::{Durability, Readers, Tx, Writer};
use crate::{Error, Result, store::Options};

/// The embedded store. Cheap to clone: clones share their connections.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    /// Where it lies; `None` in memory.
    path: Option<Arc<PathBuf>>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    readers: Readers,
    limit: Duration,
    /// Where the look through the coalesce keys goes on.
    keys_seen: Arc<std::sync::Mutex<(String, String)>>,
}

impl SqliteStore {
    /// Opens the store in this file, making and migrating it where needed; without a path, a new one in memory, which
    /// lives as long as the handle.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the folder does not exist, the file system is a network's (SQLite's locks and its
    /// shared memory do not work there), the file is no SQLite database, or it was made by a newer program.
    pub async fn open(path: Option<&Path>, options: &Options) -> Result<Self> {
        let limit = options.call_timeout;
        let (path, writer, readers) = match path {
            Some(path) => {
                let path = connection::prepare(path)?;
                let writer = Writer::file(&path, connection::Patience::Others);
                (Some(Arc::new(path.clone())), writer, Readers::file(&path, options))
            }
            None => (None, Writer::memory(), Readers::none()),
        };
        let store =
            Self { path, writer: Arc::new(tokio::sync::Mutex::new(writer)), readers, limit, keys_seen: Arc::default() };
        store.within(migrate::migrate(&store)).await?;
        Ok(store)
    }

    /// A store on the same database whose writer is its own, for the heartbeat; in memory, this very one.
    fn heart(&self) -> Self {
        let writer = match &self.path {
            Some(path) => Arc::new(tokio::sync::Mutex::new(Writer::file(path, connection::Patience::Heart))),
            None => Arc::clone(&self.writer),
        };
        Self { writer, ..self.clone() }
    }

    /// Does the call within the time limit of calls.
    async fn within<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        tokio::time::timeout(self.limit, call).await.unwrap_or(Err(Error::TimedOut(self.limit)))
    }

    /// Runs `work` in a transaction that holds the write lock, within the time limit, and commits if it succeeds.
    async fn write<T>(&self, durability: Durability, work: impl AsyncFnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let call = async {
            let mut writer = self.writer.lock().await;
            writer.write(durability, work).await
        };
        tokio::time::timeout(self.limit, call).await.unwrap_or(Err(Error::TimedOut(self.limit)))
    }

    /// Runs `work` on one view of the store, without a lock, within the time limit.
    async fn read<T>(&self, work: impl AsyncFnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let call = async {
            match self.readers.acquire().await? {
                Some(mut reader) => connection::read(&mut reader, work).await,
                None => connection::read(self.writer.lock().await.connection().await?, work).await,
            }
        };
        tokio::time::timeout(self.limit, call).await.unwrap_or(Err(Error::TimedOut(self.limit)))
    }
}

/// A time of the store's as the rest of the program has it.
fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// A length of time in the store's microseconds.
fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Queues for a statement: ranges of names.
fn ranges(queues: &crate::Binding) -> String {
    let ranges: Vec<_> = queues.ranges().into_iter().map(|range| (range.start, range.end)).collect();
    json(&ranges)
}

/// A list for a statement, which takes lists as JSON.
fn json<T: serde::Serialize + ?Sized>(list: &T) -> String {
    serde_json::to_string(list).expect("numbers, text and lists of them have a JSON form")
}

//! Connections: one that writes, a few that read, and how long one waits for another process's lock.

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Row, Sqlite, SqliteConnection, SqlitePool, Transaction,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    fault::{fault, is_busy},
    network::network,
    tally::Tally,
};
use crate::{Error, Result, store::Options};

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// A crash of the machine: the log is synced before the commit returns.
    Full,
    /// A crash of any process; the machine's may undo the latest ones, in order. For what is done anew by itself then:
    /// claims, beats, promotions.
    Process,
}

/// How a connection waits for the write lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It tries again at the shortest interval, so that beats come first: SQLite's lock has no queue, and who asks more
    /// often gets it sooner.
    Heart,
    /// It backs off to 25 ms.
    Others,
}

impl Patience {
    /// The longest wait before the `n`th new try, in milliseconds, of which a random part is taken.
    fn longest(self, n: u32) -> u64 {
        match self {
            Self::Heart => 1,
            Self::Others => (2_u64 << n.min(4)).min(25),
        }
    }

    async fn wait(self, n: u32) {
        let wait = rand::random_range(1..=self.longest(n));
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// The connection that writes. There is one in a process, since SQLite has one writer at a time anyhow, and a queue
/// inside the process is fair where its lock is not.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    patience: Patience,
    memory: bool,
    connection: Option<SqliteConnection>,
    durability: Option<Durability>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("file", &self.options.get_filename()).finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn file(path: &Path, patience: Patience) -> Self {
        let options = options(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // Waiting is done here, where it has jitter and a deadline and blocks no thread.
            .busy_timeout(Duration::ZERO)
            // A log that grew under a long read is cut back at the next checkpoint.
            .pragma("journal_size_limit", "67108864");
        Self { options, patience, memory: false, connection: None, durability: None }
    }

    /// The only connection there is: its end would be the end of the data, so it is never closed or replaced.
    pub(super) fn memory() -> Self {
        let options = options(Path::new(":memory:"));
        Self { options, patience: Patience::Others, memory: true, connection: None, durability: None }
    }

    /// The connection, opened if it is not.
    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection> {
        if self.connection.is_none() {
            let mut tries = 0;
            // The change to WAL wants the file for itself and waits for nobody: two processes that make it at once.
            self.connection = Some(loop {
                match self.options.connect().await {
                    Ok(connection) => break connection,
                    Err(error) if is_busy(&error) => self.patience.wait(tries).await,
                    Err(error) => return Err(fault(error)),
                }
                tries += 1;
            });
            self.durability = None;
        }
        Ok(self.connection.as_mut().expect("it was opened above"))
    }

    /// Runs `work` in a transaction that holds the write lock, and commits if it succeeds.
    ///
    /// Only the beginning can find the lock taken (also as `BUSY_SNAPSHOT`), and only it is repeated; whoever has begun
    /// immediately reads the newest view and is never refused later.
    pub(super) async fn write<T>(
        &mut self,
        durability: Durability,
        work: impl AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        let result = self.attempt(durability, work).await;
        if matches!(result, Err(Error::Unavailable(_))) && !self.memory {
            // Whatever broke may have been this connection's; the next call opens another.
            self.connection = None;
        }
        result
    }

    async fn attempt<T>(
        &mut self,
        durability: Durability,
        work: impl AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        let patience = self.patience;
        let set = (self.durability != Some(durability) && !self.memory).then_some(durability);
        self.connection().await?;
        if let Some(durability) = set {
            // Forgotten until it is done: the call may be dropped in between.
            self.durability = None;
            let pragma = match durability {
                Durability::Full => "PRAGMA synchronous = FULL",
                Durability::Process => "PRAGMA synchronous = NORMAL",
            };
            sqlx::query(pragma).execute(self.connection().await?).await.map_err(fault)?;
            self.durability = Some(durability);
        }
        let connection = self.connection().await?;
        let mut tries = 0;
        let transaction = loop {
            match connection.begin_with("BEGIN IMMEDIATE").await {
                Ok(transaction) => break transaction,
                Err(error) if is_busy(&error) => patience.wait(tries).await,
                Err(error) => return Err(fault(error)),
            }
            tries += 1;
        };
        let mut tx = Tx::new(Held::Own(transaction)).await?;
        let done = work(&mut tx).await?;
        tx.commit().await?;
        Ok(done)
    }
}

/// Runs `work` on one view of the store.
pub(super) async fn read<T>(
    connection: &mut SqliteConnection,
    work: impl AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
) -> Result<T> {
    let transaction = connection.begin().await.map_err(fault)?;
    let mut tx = Tx::new(Held::Own(transaction)).await?;
    work(&mut tx).await
}

/// The connections that only read; none where the writer's is to serve for that too.
#[derive(Debug, Clone)]
pub(super) struct Readers(Option<SqlitePool>);

impl Readers {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) fn file(path: &Path, store: &Options) -> Self {
        if store.connections < 2 {
            return Self::none();
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(store.connections - 1)
            .acquire_timeout(store.call_timeout)
            .test_before_acquire(false)
            // A reader waits for nobody but a process that repairs the log after a crash.
            .connect_lazy_with(options(path).busy_timeout(store.call_timeout).pragma("query_only", "ON"));
        Self(Some(pool))
    }

    pub(super) async fn acquire(&self) -> Result<Option<PoolConnection<Sqlite>>> {
        match &self.0 {
            Some(pool) => pool.acquire().await.map(Some).map_err(fault),
            None => Ok(None),
        }
    }

    /// Whether a read takes nothing from the writer.
    pub(super) const fn are_apart(&self) -> bool {
        self.0.is_some()
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).foreign_keys(false).disable_statement_logging()
}

/// A transaction, the time at which it began to see the store, and what it has counted.
#[derive(Debug)]
pub(super) struct Tx<'c> {
    connection: Held<'c>,
    /// The store's clock, in microseconds: one time for everything that happens in this transaction.
    pub(super) now: i64,
    pub(super) tally: Tally,
}

#[derive(Debug)]
pub(super) enum Held<'c> {
    /// Ours: rolled back when dropped.
    Own(Transaction<'c, Sqlite>),
    /// An application's, which ends it.
    Callers(&'c mut SqliteConnection),
}

impl<'c> Tx<'c> {
    pub(super) async fn new(mut connection: Held<'c>) -> Result<Self> {
        let now = "SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000";
        let row = sqlx::query(now).fetch_one(&mut *connection).await.map_err(fault)?;
        Ok(Self { connection, now: row.get(0), tally: Tally::default() })
    }

    /// Writes down what was counted, and commits a transaction of ours.
    pub(super) async fn commit(mut self) -> Result<()> {
        let tally = std::mem::take(&mut self.tally);
        let now = self.now;
        tally.write(&mut self, now).await?;
        match self.connection {
            Held::Own(transaction) => transaction.commit().await.map_err(fault),
            Held::Callers(_) => Ok(()),
        }
    }
}

impl Deref for Held<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Own(transaction) => transaction,
            Self::Callers(connection) => connection,
        }
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(transaction) => transaction,
            Self::Callers(connection) => connection,
        }
    }
}

impl Deref for Tx<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// Makes the file if there is none, readable by its owner only, and returns its absolute path.
pub(super) fn prepare(path: &Path) -> Result<PathBuf> {
    let rejected = |why: String| Err(Error::Rejected(format!("cannot keep jobs in {}: {why}", path.display())));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return rejected(format!("the folder {} does not exist; make it first", folder.display()));
    }
    if let Some(name) = network(folder) {
        return rejected(format!(
            "it lies on a network file system ({name}), where SQLite cannot share a file safely; use a local disk"
        ));
    }
    let mut create = std::fs::OpenOptions::new();
    create.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut create, 0o600);
    if let Err(error) = create.open(path) {
        return rejected(error.to_string());
    }
    path.canonicalize().or_else(|error| rejected(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_try_again_sooner_than_anything_else() {
        let heart: Vec<u64> = (0..9).map(|n| Patience::Heart.longest(n)).collect();
        let others: Vec<u64> = (0..9).map(|n| Patience::Others.longest(n)).collect();
        assert!(heart.iter().all(|&ms| ms == 1));
        assert_eq!(others, [2, 4, 8, 16, 25, 25, 25, 25, 25]);
    }
}

//! Connections, time limits, and what an error of the database means to the caller.
//!
//! Not sqlx's pool: that asks the server whether it is there each time a connection comes back, a second round trip for
//! every statement. Here a connection that failed, or whose answer nobody waited for, is closed, and one that has lain
//! idle for a while is asked before it is used.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    Connection, Executor, PgConnection, Postgres, SqlSafeStr, SqlStr,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{NEEDED, address::Pooler, pooler::Way};
use crate::{Error, Result, store::Options};

/// A connection that has lain idle for longer may have been dropped by something on the way.
const STALE: Duration = Duration::from_secs(10);

/// Runs a transaction on a line of these connections, once more if it collided with another: all of it or, if it fails,
/// nothing. A macro and not a function, since nothing can be said of whether a closure's future is Send.
macro_rules! transact {
    ($connections:expr, $line:ident => $work:expr) => {{
        let deadline = $connections.deadline();
        loop {
            let tried = async {
                let mut $line = $connections.line(deadline).await?;
                $line.begin().await?;
                let done = $work;
                $line.commit().await?;
                Ok::<_, $crate::store::postgres::connection::Fault>(done)
            };
            match tried.await {
                Err($crate::store::postgres::connection::Fault::Conflict(error)) => {
                    $connections.collided(error, deadline).await?;
                }
                done => break done.map_err($crate::Error::from),
            }
        }
    }};
}
pub(super) use transact;

/// A few connections, made when they are needed.
pub(super) struct Connections {
    way: Arc<Way>,
    timeout: Duration,
    size: u32,
    free: Semaphore,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
    conflicts: AtomicU64,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold the password.
        f.debug_struct("Connections").field("timeout", &self.timeout).field("free", &self.free).finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(connect: PgConnectOptions, options: &Options, pooler: Option<Pooler>) -> Self {
        let way = Way::new(connect, options, pooler);
        Self::with(Arc::new(way), options.call_timeout, options.connections.max(1))
    }

    fn with(way: Arc<Way>, timeout: Duration, size: u32) -> Self {
        Self {
            way,
            timeout,
            size,
            free: Semaphore::new(size as usize),
            idle: Mutex::default(),
            conflicts: AtomicU64::new(0),
        }
    }

    /// One connection that nothing else uses, to the same database.
    pub(super) fn apart(&self) -> Self {
        Self::with(Arc::clone(&self.way), self.timeout, 1)
    }

    /// The way to the server.
    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// How many there are at most.
    pub(super) const fn size(&self) -> usize {
        self.size as usize
    }

    pub(super) fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// The time limit of a call.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The end of a call that begins now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Runs one statement, once more if it collided with another.
    pub(super) async fn rows<'q>(
        &self,
        deadline: Instant,
        query: impl Fn() -> Query<'q, Postgres, PgArguments> + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        loop {
            let mut line = self.line(deadline).await?;
            match line.rows(query()).await {
                Err(Fault::Conflict(error)) => {
                    drop(line);
                    self.collided(error, deadline).await?;
                }
                done => return Ok(done?),
            }
        }
    }

    /// Counts a collision and waits a moment; gives up when the call's time is over.
    pub(super) async fn collided(&self, error: sqlx::Error, deadline: Instant) -> Result<()> {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
        let pause = Duration::from_micros(rand::random_range(1_000..20_000));
        if Instant::now() + pause >= deadline {
            return Err(Error::Unavailable(error.into()));
        }
        tracing::debug!(%error, "a statement collided with another and is repeated");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// A connection to run statements on until the deadline.
    pub(super) async fn line(&self, deadline: Instant) -> Result<Line<'_>> {
        let permit = match timeout_at(deadline, self.free.acquire()).await {
            Ok(permit) => permit.expect("the semaphore is never closed"),
            Err(_) => return Err(Error::TimedOut(self.timeout)),
        };
        loop {
            let idle = self.idlers().pop();
            let Some((mut connection, since)) = idle else { break };
            if since.elapsed() < STALE || matches!(timeout_at(deadline, connection.ping()).await, Ok(Ok(()))) {
                return Ok(Line { home: self, _permit: permit, connection: Some(connection), deadline, open: false });
            }
        }
        let connection = self.connect(deadline).await?;
        Ok(Line { home: self, _permit: permit, connection: Some(connection), deadline, open: false })
    }

    /// A new connection that is not one of the few.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<PgConnection> {
        match timeout_at(deadline, self.way.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.fault(error).into()),
            Err(_) => Err(Error::TimedOut(self.timeout)),
        }
    }

    fn idlers(&self) -> std::sync::MutexGuard<'_, Vec<(PgConnection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the caller can do about it.
    pub(super) fn fault(&self, error: sqlx::Error) -> Fault {
        let rejected = |text: String| Fault::Other(Error::Rejected(text));
        match &error {
            sqlx::Error::Database(database) => {
                let message = database.message().to_owned();
                match database.code().as_deref().unwrap_or_default() {
                    "40P01" | "40001" => Fault::Conflict(error),
                    // The statement's time limit, or someone's pg_cancel_backend.
                    "57014" => Fault::Other(Error::TimedOut(self.timeout)),
                    "42P01" | "3F000" => Fault::Other(Error::Unmigrated { found: 0, needed: NEEDED }),
                    "28000" | "28P01" | "3D000" | "42501" => rejected(format!(
                        "the database refuses: {message}; check the user, the password and the database in the \
                         store's URL"
                    )),
                    // Connection lost, resources, shutdown and start-up, lock timeout, the server's own failures.
                    code if ["08", "53", "57", "55", "58", "XX"].iter().any(|class| code.starts_with(class)) => {
                        Fault::Other(Error::Unavailable(error.into()))
                    }
                    code => rejected(format!("the database refuses what was asked ({code}): {message}")),
                }
            }
            sqlx::Error::Configuration(why) => rejected(format!("the store's URL or its TLS settings: {why}")),
            sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                rejected(format!("the store holds what this program cannot read: {error}"))
            }
            _ => Fault::Other(Error::Unavailable(error.into())),
        }
    }
}

/// Why a statement failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// It collided with another, changed nothing, and may be repeated.
    Conflict(sqlx::Error),
    /// Anything else.
    Other(Error),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Conflict(error) => Self::Unavailable(error.into()),
            Fault::Other(error) => error,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A connection in use. It goes back when this is dropped, unless it is in doubt.
pub(super) struct Line<'a> {
    home: &'a Connections,
    _permit: SemaphorePermit<'a>,
    /// Absent while a statement runs: whoever drops the call closes the connection, and no answer is left for another.
    connection: Option<PgConnection>,
    deadline: Instant,
    /// A transaction is open.
    open: bool,
}

impl Line<'_> {
    /// Runs one statement.
    pub(super) async fn rows(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Fault> {
        if !self.home.way.is_pooled() {
            return self.fetch(query).await;
        }
        // No name that would stay behind on a connection that is another's next.
        let query = query.persistent(false);
        if self.open {
            return self.fetch(query).await;
        }
        self.begin().await?;
        let done = self.fetch(query).await;
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        match self.end(end).await {
            // What was not committed has no rows to show.
            Err(fault) if done.is_ok() => Err(fault),
            _ => done,
        }
    }

    async fn fetch(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Fault> {
        let mut connection = self.take()?;
        let done = timeout_at(self.deadline, connection.fetch_all(query)).await;
        self.answered(connection, done)
    }

    /// Begins a transaction. Dropping the line without a commit rolls it back.
    pub(super) async fn begin(&mut self) -> Result<(), Fault> {
        self.open = true;
        self.run(self.home.way.begin()).await
    }

    /// Commits the transaction.
    pub(super) async fn commit(mut self) -> Result<(), Fault> {
        self.end("COMMIT").await
    }

    async fn end(&mut self, how: &'static str) -> Result<(), Fault> {
        self.run(how.into_sql_str()).await?;
        self.open = false;
        Ok(())
    }

    async fn run(&mut self, sql: SqlStr) -> Result<(), Fault> {
        let mut connection = self.take()?;
        let done = timeout_at(self.deadline, connection.execute(sql)).await;
        self.answered(connection, done).map(drop)
    }

    fn take(&mut self) -> Result<PgConnection, Fault> {
        self.connection.take().ok_or_else(|| Error::Unavailable("the connection was lost".into()).into())
    }

    fn answered<T>(
        &mut self,
        connection: PgConnection,
        done: Result<sqlx::Result<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, Fault> {
        match done {
            Ok(Ok(answer)) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Ok(Err(error)) => {
                if matches!(error, sqlx::Error::Database(_)) {
                    self.connection = Some(connection);
                } else {
                    // The server may have gone: what it had with us is gone too.
                    self.home.idlers().clear();
                }
                Err(self.home.fault(error))
            }
            Err(_) => Err(Error::TimedOut(self.home.timeout).into()),
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.open) {
            self.home.idlers().push((connection, Instant::now()));
        }
    }
}

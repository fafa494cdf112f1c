//! Databases on a real Postgres server, and servers that a test may break.

mod template;

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

use crate::script::{Script, blocking};

/// A Postgres server.
#[derive(Debug)]
pub struct Server {
    /// The address of a database that is always there, as a user who may make others.
    admin: String,
    /// What runs it, where we do.
    script: Option<Arc<Script>>,
    /// Whether its template has been made.
    template: OnceCell<String>,
}

impl Server {
    /// The server that all tests share: the one at `HEADCOUNT_TEST_POSTGRES`, or one that lives as long as this process.
    ///
    /// # Panics
    /// When no server can be started, saying what is missing.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the tests' own setting; no part of the product reads it"
                )]
                match std::env::var("HEADCOUNT_TEST_POSTGRES") {
                    Ok(admin) => Self::at(admin),
                    // A static is never dropped, but the end of the process closes the pipe that keeps the server up.
                    Err(_) => Self::private().await,
                }
            })
            .await
    }

    /// A server that somebody else runs, at this address.
    pub(crate) fn at(admin: String) -> Self {
        Self { admin, script: None, template: OnceCell::new() }
    }

    /// A new server for this test alone, which may [crash](Server::stop_immediately) it. It goes when this is dropped.
    ///
    /// # Panics
    /// When it does not start, saying why.
    pub async fn private() -> Self {
        let (script, admin) = blocking(|| Script::start("private-postgres", &[])).await;
        Self { admin, script: Some(Arc::new(script)), template: OnceCell::new() }
    }

    /// The address of this database on it.
    pub fn url(&self, database: &str) -> String {
        let (address, query) = self.admin.split_once('?').map_or((&*self.admin, None), |(a, q)| (a, Some(q)));
        let scheme = address.find("://").map_or(0, |at| at + 3);
        let host = address[scheme..].find('/').map_or(address.len(), |at| scheme + at);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}/{database}{query}", &address[..host])
    }

    /// Stops it without warning and without a checkpoint, as a power cut would: what was not committed durably is lost.
    /// Returns when it has stopped.
    ///
    /// # Panics
    /// On a server that is not this test's own.
    pub async fn stop_immediately(&self) {
        self.order("crash").await;
    }

    /// Starts it again, at the same address. Returns when it has recovered and answers.
    ///
    /// # Panics
    /// On a server that is not this test's own, or when it does not start.
    pub async fn start(&self) {
        self.order("start").await;
    }

    async fn order(&self, order: &'static str) {
        let script = self.script.clone().expect("a shared server serves other tests: use Server::private() to stop it");
        blocking(move || script.order(order)).await;
    }

    /// A new database with the tables of the product.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn database(&self) -> Database {
        let template = self.template.get_or_init(|| template::of(self)).await;
        self.make(template).await
    }

    /// A new database with nothing in it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn empty_database(&self) -> Database {
        self.make("template0").await
    }

    async fn make(&self, template: &str) -> Database {
        let name = unique("headcount_test");
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        let mut connection = self.connect().await;
        connection.execute(AssertSqlSafe(sql)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let _ = connection.close().await;
        Database { url: self.url(&name), admin: self.admin.clone(), name }
    }

    async fn connect(&self) -> PgConnection {
        connect(&self.admin).await
    }
}

/// A database of the test's own, dropped at its end.
pub struct Database {
    name: String,
    url: String,
    admin: String,
}

impl Database {
    /// A new database with the tables of the product, on the [shared](Server::shared) server.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn fresh() -> Self {
        Server::shared().await.database().await
    }

    /// A new database with nothing in it, on the [shared](Server::shared) server.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn empty() -> Self {
        Server::shared().await.empty_database().await
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection of the test's own, to look behind the product's back.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.name).finish()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // FORCE: a pool of the test may not have been closed, and a killed program's sessions may not have noticed.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let admin = std::mem::take(&mut self.admin);
        // A thread of its own, since the test's runtime may be the one that drops this, and cannot be waited for there.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let drop = async {
                    let mut connection = PgConnection::connect(&admin).await?;
                    connection.execute(AssertSqlSafe(sql)).await?;
                    connection.close().await
                };
                tokio::time::timeout(Duration::from_secs(10), drop)
                    .await
                    .map_err(std::io::Error::other)?
                    .map_err(std::io::Error::other)
            })
        });
        // A server that the test stopped takes its databases along; so does the end of a private one.
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("the database {} was not dropped: {error}", self.name);
        }
    }
}

async fn connect(url: &str) -> PgConnection {
    let connected = tokio::time::timeout(Duration::from_secs(30), PgConnection::connect(url)).await;
    // Without the address, for it has a password.
    connected.expect("the test server answers within 30 s").unwrap_or_else(|error| panic!("the test server: {error}"))
}

/// A name that no other process takes.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}_{:016x}", std::hash::RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests;

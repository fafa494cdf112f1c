//! The database with the product's tables from which the tests' databases are copied: a copy takes a tenth of the time
//! of the migrations, and there are as many as tests.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use headcount_queue::store::{self, Options};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{Server, connect};

/// The name of the template on this server, which is made if it is not there. Many processes may ask at once.
pub(super) async fn of(server: &Server) -> String {
    let name = format!("headcount_template_{:016x}", migrations());
    let mut connection = server.connect().await;
    if exists(&mut connection, &name).await {
        return name;
    }
    // Held until this session ends, so that a process that dies here hinders nobody.
    run(&mut connection, "SELECT pg_advisory_lock(hashtext('headcount template'))").await;
    if !exists(&mut connection, &name).await {
        let unfinished = format!("{name}_unfinished");
        run(&mut connection, &format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")).await;
        run(&mut connection, &format!("CREATE DATABASE {unfinished} TEMPLATE template0")).await;
        migrate(&server.url(&unfinished)).await;
        // Whoever sees the name sees it whole. No connections: one would keep it from being copied.
        run(&mut connection, &format!("ALTER DATABASE {unfinished} WITH ALLOW_CONNECTIONS false")).await;
        disconnect(&mut connection, &unfinished).await;
        run(&mut connection, &format!("ALTER DATABASE {unfinished} RENAME TO {name}")).await;
    }
    let _ = connection.close().await;
    name
}

async fn migrate(url: &str) {
    let url = url.parse().expect("the server's address is a store's address");
    let store = store::open(&url, &Options::default()).await.expect("the new database can be opened");
    store.migrate().await.expect("the new database can be migrated");
    // Leaves the tables with statistics of their emptiness, as a database has that was migrated a while ago.
    drop(store);
    let mut connection = connect(&url.expose()).await;
    run(&mut connection, "ANALYZE").await;
    let _ = connection.close().await;
}

/// Ends the sessions of this database, and waits until they have ended.
async fn disconnect(connection: &mut PgConnection, database: &str) {
    let sql = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = $1";
    sqlx::query(sql).bind(database).execute(connection).await.expect("sessions of the template can be ended");
}

async fn exists(connection: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(connection)
        .await
        .expect("the server lists its databases")
}

async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// A number that changes with the migrations: a server that outlives a run must not hand out yesterday's tables.
fn migrations() -> u64 {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/queue/src/store/postgres/migrations"));
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut hash = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hash);
        fs::read(file).unwrap_or_default().hash(&mut hash);
    }
    hash.finish()
}

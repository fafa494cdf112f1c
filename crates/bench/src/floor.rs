//! The floors: the least SQL that makes the same moves, on the tables of a migrated schema, indexes and checks and all, in
//! the same server. And the few statements by which the bench looks after its schemas.

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqlSafeStr as _, SqlStr};

/// A floor's statement with the schema put in.
fn told(statement: &str, schema: &str) -> SqlStr {
    AssertSqlSafe(statement.replace("{schema}", schema)).into_sql_str()
}

/// The server's version.
pub(crate) async fn version(connection: &mut PgConnection) -> Result<String> {
    let row = sqlx::query(include_str!("floor/version.sql")).fetch_one(connection).await?;
    Ok(row.get(0))
}

/// A durable commit of as good as nothing.
pub(crate) async fn commit(connection: &mut PgConnection) -> Result<()> {
    sqlx::query(include_str!("floor/commit.sql")).fetch_one(connection).await?;
    Ok(())
}

/// How many bytes the server has written to its log since it was made.
pub(crate) async fn log_position(connection: &mut PgConnection) -> Result<i64> {
    let row = sqlx::query(include_str!("floor/log_position.sql")).fetch_one(connection).await?;
    Ok(row.get(0))
}

/// Removes a schema of the bench's own.
pub(crate) async fn drop_schema(connection: &mut PgConnection, schema: &str) -> Result<()> {
    sqlx::raw_sql(told(include_str!("floor/drop_schema.sql"), schema)).execute(connection).await?;
    Ok(())
}

/// What the tables of jobs and their indexes take up, in bytes.
pub(crate) async fn size(connection: &mut PgConnection, schema: &str) -> Result<i64> {
    let row = sqlx::query(include_str!("floor/size.sql")).bind(schema).fetch_one(connection).await?;
    Ok(row.get(0))
}

/// Leaves statistics of empty tables behind, and switches off what would renew them.
pub(crate) async fn analyse_empty(connection: &mut PgConnection, schema: &str) -> Result<()> {
    // Each by itself: VACUUM refuses to be in a transaction, which several at once are.
    for statement in include_str!("floor/analyse_empty.sql").split_inclusive(';') {
        sqlx::raw_sql(told(statement, schema)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Begins a transaction that holds a snapshot until the connection is closed.
pub(crate) async fn hold_snapshot(connection: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(include_str!("floor/hold_snapshot.sql"))).execute(connection).await?;
    Ok(())
}

/// Inserts so many jobs, each statement so many of them.
pub(crate) async fn insert_select(connection: &mut PgConnection, schema: &str, jobs: usize, each: usize) -> Result<()> {
    let statement = told(include_str!("floor/insert_select.sql"), schema);
    for from in (0..jobs).step_by(each) {
        let count = each.min(jobs - from) as i64;
        sqlx::query(statement.clone()).bind(count).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Inserts so many jobs, a statement each.
pub(crate) async fn insert_each(connection: &mut PgConnection, schema: &str, jobs: usize) -> Result<()> {
    let statement = told(include_str!("floor/insert_one.sql"), schema);
    for _ in 0..jobs {
        sqlx::query(statement.clone()).bind("q").bind("noop").bind("{}").execute(&mut *connection).await?;
    }
    Ok(())
}

/// Copies so many jobs in, all at once: the commit is paid for once.
pub(crate) async fn copy(connection: &mut PgConnection, schema: &str, jobs: usize) -> Result<()> {
    let statement = include_str!("floor/copy.sql").replace("{schema}", schema);
    // Ids of its own: the sequence is not asked.
    let line = |id: usize| format!("{id}\tq\t0\t{id}\tnoop\t{{}}\t0\t25\t0\t0\tnow\tnow\tnow\n");
    let mut copy = connection.copy_in_raw(&statement).await?;
    for from in (0..jobs).step_by(1000) {
        let text = (from..jobs.min(from + 1000)).map(|n| line(n + 1)).collect::<Vec<_>>().concat();
        copy.send(text.into_bytes()).await?;
    }
    ensure!(copy.finish().await? as usize == jobs, "COPY left something out");
    Ok(())
}

/// Moves what one lane holds from ready to running and from there away, so many at a time, until nothing is left. Returns
/// how many there were.
pub(crate) async fn work_off(connection: &mut PgConnection, schema: &str, each: i64) -> Result<usize> {
    sqlx::raw_sql(AssertSqlSafe(include_str!("floor/settings.sql"))).execute(&mut *connection).await?;
    let statement = told(include_str!("floor/move.sql"), schema);
    let (mut ended, mut from, mut moved): (Vec<i64>, i64, usize) = (Vec::new(), 0, 0);
    let boot = i64::from(rand::random::<u32>()) + 1;
    for claim in 1_i64.. {
        let rows = sqlx::query(statement.clone())
            .bind(&ended)
            .bind(from)
            .bind(each)
            .bind(boot)
            .bind(claim)
            .fetch_all(&mut *connection)
            .await?;
        if rows.is_empty() {
            break;
        }
        moved += rows.len();
        from = rows.iter().map(|row| row.get::<i64, _>(1)).max().unwrap_or(from);
        ended = rows.iter().map(|row| row.get(0)).collect();
        ended.sort_unstable();
    }
    Ok(moved)
}

/// A connection's farewell.
pub(crate) async fn close(connection: PgConnection) -> Result<()> {
    Ok(connection.close().await?)
}

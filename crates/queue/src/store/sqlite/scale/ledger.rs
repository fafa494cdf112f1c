//! The ledger: what was decided and why.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    Json, Result,
    store::{
        Decided, NewDecision, Weight,
        sqlite::{connection::Tx, enqueue::allocate, fault::fault, micros, time},
    },
};

/// How long changes are kept.
const CHANGES: Duration = Duration::from_hours(30 * 24);

/// How long holds are kept.
const HOLDS: Duration = Duration::from_hours(3 * 24);

const fn name(weight: Weight) -> &'static str {
    match weight {
        Weight::Change => "change",
        Weight::Hold => "hold",
    }
}

pub(super) async fn record(tx: &mut Tx<'_>, decisions: &[NewDecision]) -> Result<()> {
    for decision in decisions {
        write_down(tx, decision).await?;
        if let Some(state) = &decision.state {
            remember(tx, &decision.pool, state).await?;
        }
    }
    Ok(())
}

pub(super) async fn remember(tx: &mut Tx<'_>, pool: &str, state: &Json) -> Result<()> {
    let query = sqlx::query("UPDATE pool SET state = ?2 WHERE name = ?1").bind(pool).bind(&state.0);
    query.execute(&mut **tx).await.map_err(fault)?;
    Ok(())
}

/// Counts a decision with its pool's latest if it is equal to that; else it is an entry of its own.
async fn write_down(tx: &mut Tx<'_>, decision: &NewDecision) -> Result<()> {
    let latest = sqlx::query(include_str!("latest.sql")).bind(&decision.pool).fetch_optional(&mut **tx).await;
    let equal = |row: &SqliteRow| (row.get(1), row.get(2)) == (name(decision.weight), &*decision.gist);
    let query = match latest.map_err(fault)?.filter(equal) {
        Some(row) => sqlx::query(include_str!("decide_again.sql")).bind(row.get::<i64, _>(0)),
        None => sqlx::query(include_str!("decide.sql"))
            .bind(allocate(tx, 1).await?)
            .bind(&decision.pool)
            .bind(name(decision.weight))
            .bind(&decision.gist),
    };
    query.bind(&decision.detail.0).bind(tx.now).execute(&mut **tx).await.map_err(fault)?;
    Ok(())
}

pub(super) async fn ledger(
    tx: &mut Tx<'_>,
    pool: Option<&str>,
    at: Option<DateTime<Utc>>,
    limit: u32,
) -> Result<Vec<Decided>> {
    let at = at.map(|at| at.timestamp_micros());
    let query = match pool {
        Some(pool) => sqlx::query(include_str!("ledger_of.sql")).bind(at).bind(limit).bind(pool),
        None => sqlx::query(include_str!("ledger.sql")).bind(at).bind(limit),
    };
    Ok(query.fetch_all(&mut **tx).await.map_err(fault)?.iter().map(|row| decided(row, 0)).collect())
}

/// An entry, from this column on.
pub(super) fn decided(row: &SqliteRow, from: usize) -> Decided {
    Decided {
        id: row.get(from),
        pool: row.get(from + 1),
        // The table's constraint allows only the two.
        weight: if row.get::<&str, _>(from + 2) == "change" { Weight::Change } else { Weight::Hold },
        gist: row.get(from + 3),
        detail: Json(row.get(from + 4)),
        first_at: time(row.get(from + 5)),
        last_at: time(row.get(from + 6)),
        count: row.get(from + 7),
    }
}

/// Removes what was decided too long ago.
pub(in crate::store::sqlite) async fn forget(tx: &mut Tx<'_>) -> Result<()> {
    sqlx::query(include_str!("forget_decisions.sql"))
        .bind(tx.now - micros(CHANGES))
        .bind(tx.now - micros(HOLDS))
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(())
}

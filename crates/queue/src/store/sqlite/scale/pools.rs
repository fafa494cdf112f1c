//! Pools: what their scaler made known, and what a person has ordered.

use std::collections::HashMap;

use sqlx::{Row, sqlite::SqliteRow};

use super::ledger;
use crate::{
    Error, Json, Result,
    store::{
        NewPool, Override, PlaceRecord, PoolRecord,
        sqlite::{connection::Tx, fault::fault, json, time},
    },
};

pub(super) async fn publish(tx: &mut Tx<'_>, lease: &str, pools: &[NewPool]) -> Result<()> {
    let named = json(&pools.iter().map(|pool| &*pool.name).collect::<Vec<_>>());
    let gone = sqlx::query(
        "DELETE FROM pool WHERE lease = ?1 AND name NOT IN (SELECT value FROM json_each(?2)) RETURNING name",
    )
    .bind(lease)
    .bind(named)
    .fetch_all(&mut **tx)
    .await
    .map_err(fault)?;
    let gone: Vec<String> = gone.iter().map(|row| row.get(0)).collect();
    sqlx::query("DELETE FROM place WHERE pool IN (SELECT value FROM json_each(?1))")
        .bind(json(&gone))
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    let row = |pool: &NewPool| (pool.name.clone(), pool.queues.to_string(), pool.ordered, pool.spec.0.clone());
    sqlx::query(include_str!("publish.sql"))
        .bind(json(&pools.iter().map(row).collect::<Vec<_>>()))
        .bind(lease)
        .bind(tx.now)
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(())
}

pub(super) async fn order(tx: &mut Tx<'_>, pool: &str, by: &str, order: &Override) -> Result<()> {
    let done = sqlx::query(include_str!("order.sql"))
        .bind(pool)
        .bind(Some(by).filter(|_| *order != Override::default()))
        .bind(order.paused)
        .bind(order.min)
        .bind(order.max)
        .bind(order.until.map(|until| until.timestamp_micros()))
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    if done.rows_affected() == 0 {
        return Err(Error::Rejected(format!(
            "no scaler has made a pool {pool} known: check its name, or start `headcount scale`"
        )));
    }
    Ok(())
}

pub(super) async fn pools(tx: &mut Tx<'_>, name: Option<&str>) -> Result<Vec<PoolRecord>> {
    let mut places: HashMap<String, Vec<PlaceRecord>> = HashMap::new();
    let rows = sqlx::query(include_str!("places.sql")).bind(tx.now).bind(name).fetch_all(&mut **tx).await;
    for row in rows.map_err(fault)? {
        places.entry(row.get(0)).or_default().push(place(&row));
    }
    let rows = sqlx::query(include_str!("pools.sql")).bind(name).fetch_all(&mut **tx).await.map_err(fault)?;
    Ok(rows.iter().map(|row| pool(row, places.remove(row.get::<&str, _>(0)).unwrap_or_default(), tx.now)).collect())
}

fn place(row: &SqliteRow) -> PlaceRecord {
    PlaceRecord {
        instance: row.get(1),
        leaving: row.get(2),
        epoch: row.get(3),
        by: row.get(4),
        until: row.get::<Option<i64>, _>(5).map(time),
        since: time(row.get(6)),
    }
}

fn pool(row: &SqliteRow, places: Vec<PlaceRecord>, now: i64) -> PoolRecord {
    let until: Option<i64> = row.get(10);
    let by = row.get::<Option<String>, _>(6).filter(|_| until.is_none_or(|until| until > now));
    let order = Override { paused: row.get(7), min: row.get(8), max: row.get(9), until: until.map(time) };
    PoolRecord {
        name: row.get(0),
        // Names were checked when they were written.
        queues: row.get::<&str, _>(1).parse().unwrap_or_default(),
        ordered: row.get(2),
        spec: Json(row.get(3)),
        published_at: time(row.get(4)),
        state: row.get::<Option<String>, _>(5).map(Json),
        overridden: by.is_some().then_some(order),
        overridden_by: by,
        places,
        latest: row.get::<Option<i64>, _>(11).map(|_| ledger::decided(row, 11)),
        read_at: time(now),
    }
}

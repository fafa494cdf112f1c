//! Drained places. What a place is told stands in its row, for whatever comes up there, and in those of the workers that
//! are there, for their claims.

use std::collections::HashMap;

use sqlx::Row;

use crate::{
    Result,
    store::{
        BootId,
        sqlite::{connection::Tx, enqueue::allocate, fault::fault, json},
    },
};

/// A pool and an instance in it.
pub(in crate::store::sqlite) type Place = (String, String);

/// Writes down which drains have ended by now. Whatever changes drains begins with it, so that it finds only those in
/// force.
pub(in crate::store::sqlite) async fn end_drains(tx: &mut Tx<'_>) -> Result<()> {
    for statement in [
        "DELETE FROM place WHERE drain_until <= ?1",
        "UPDATE place SET leaving_until = NULL WHERE leaving_until <= ?1",
        include_str!("end_drains.sql"),
    ] {
        sqlx::query(statement).bind(tx.now).execute(&mut **tx).await.map_err(fault)?;
    }
    Ok(())
}

/// Drains places and all workers there that are not leaving; says the number of each.
pub(in crate::store::sqlite) async fn drain(
    tx: &mut Tx<'_>,
    places: &[Place],
    by: &str,
    until: Option<i64>,
) -> Result<Vec<i64>> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let first = allocate(tx, places.len()).await?;
    let rows: Vec<_> = places.iter().zip(first..).map(|((pool, instance), number)| (pool, instance, number)).collect();
    let rows = sqlx::query(include_str!("withhold.sql"))
        .bind(json(&rows))
        .bind(by)
        .bind(until)
        .bind(tx.now)
        .fetch_all(&mut **tx)
        .await
        .map_err(fault)?;
    tell(tx, places, false).await?;
    // RETURNING has no order.
    let numbers: HashMap<Place, i64> = rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    Ok(places.iter().map(|place| numbers[place]).collect())
}

async fn tell(tx: &mut Tx<'_>, places: &[Place], leaving: bool) -> Result<()> {
    sqlx::query(include_str!("tell.sql")).bind(json(places)).bind(leaving).execute(&mut **tx).await.map_err(fault)?;
    Ok(())
}

/// Ends the drains of these places that are neither a person's nor leaving, and names the workers that may claim again.
pub(super) async fn restore(tx: &mut Tx<'_>, places: &[Place]) -> Result<Vec<BootId>> {
    let rows = sqlx::query(
        "DELETE FROM place
        WHERE (pool, instance) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
            AND drain_until IS NOT NULL
            AND leaving_until IS NULL
        RETURNING pool, instance",
    )
    .bind(json(places))
    .fetch_all(&mut **tx)
    .await
    .map_err(fault)?;
    open(tx, &rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<_>>()).await
}

/// Ends the drains of these places, whoever's they are.
pub(in crate::store::sqlite) async fn end(tx: &mut Tx<'_>, places: &[Place]) -> Result<()> {
    forget(tx, places).await?;
    open(tx, places).await.map(drop)
}

/// Lets the workers claim that drain at these places.
async fn open(tx: &mut Tx<'_>, places: &[Place]) -> Result<Vec<BootId>> {
    let rows = sqlx::query(
        "UPDATE worker
        SET state = 'active'
        WHERE (pool, instance) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1)) AND state = 'draining'
        RETURNING boot",
    )
    .bind(json(places))
    .fetch_all(&mut **tx)
    .await
    .map_err(fault)?;
    Ok(rows.iter().map(|row| BootId(row.get(0))).collect())
}

/// Lets a place go with all workers there, if it may go.
pub(super) async fn let_go(tx: &mut Tx<'_>, place: &Place, epoch: i64, until: i64) -> Result<bool> {
    let done = sqlx::query(include_str!("let_place_go.sql"))
        .bind(&place.0)
        .bind(&place.1)
        .bind(epoch)
        .bind(until)
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    let goes = done.rows_affected() > 0;
    if goes {
        tell(tx, std::slice::from_ref(place), true).await?;
    }
    Ok(goes)
}

/// Sets leaving places back to drained.
pub(super) async fn keep(tx: &mut Tx<'_>, places: &[Place]) -> Result<()> {
    let rows = sqlx::query(
        "UPDATE place
        SET leaving_until = NULL
        WHERE (pool, instance) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1)) AND leaving_until IS NOT NULL
        RETURNING pool, instance",
    )
    .bind(json(places))
    .fetch_all(&mut **tx)
    .await
    .map_err(fault)?;
    tell(tx, &rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<_>>(), true).await
}

/// Forgets places. Their workers stay as they were told: they may be about to be removed.
pub(super) async fn forget(tx: &mut Tx<'_>, places: &[Place]) -> Result<()> {
    sqlx::query("DELETE FROM place WHERE (pool, instance) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))")
        .bind(json(places))
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(())
}

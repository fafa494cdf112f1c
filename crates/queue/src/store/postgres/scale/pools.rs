//! Pools: what their scaler made known, and what a person has ordered.

use std::collections::HashMap;

use sqlx::postgres::PgRow;

use super::{
    super::{
        PostgresStore, clean, column,
        connection::{Fault, Line},
    },
    ledger,
};
use crate::{
    Binding, Error, Json, Result,
    store::{NewPool, Override, PlaceRecord, PoolRecord},
};

impl PostgresStore {
    pub(super) async fn published(&self, line: &mut Line<'_>, lease: &str, pools: &[NewPool]) -> Result<(), Fault> {
        let names: Vec<_> = pools.iter().map(|pool| pool.name.clone()).collect();
        line.rows(sqlx::query(self.statements.forget_pools.clone()).bind(lease).bind(&names)).await?;
        if pools.is_empty() {
            return Ok(());
        }
        let queues: Vec<_> = pools.iter().map(|pool| pool.queues.entries().map(|entries| entries.join(","))).collect();
        let query = sqlx::query(self.statements.publish.clone())
            .bind(lease)
            .bind(names)
            .bind(queues)
            .bind(pools.iter().map(|pool| pool.ordered).collect::<Vec<_>>())
            .bind(pools.iter().map(|pool| pool.spec.0.clone()).collect::<Vec<_>>());
        line.rows(query).await.map(drop)
    }

    pub(super) async fn ordered(&self, pool: &str, by: &str, order: &Override) -> Result<()> {
        let by = Some(clean(by)).filter(|_| *order != Override::default());
        let rows = self
            .ask(&self.statements.order, |query| {
                query
                    .bind(pool.to_owned())
                    .bind(by.clone())
                    .bind(order.paused)
                    .bind(order.min.map(i64::from))
                    .bind(order.max.map(i64::from))
                    .bind(order.until)
            })
            .await?;
        if rows.is_empty() {
            return Err(Error::Rejected(format!(
                "no scaler has made a pool {pool} known: check its name, or start `headcount scale`"
            )));
        }
        Ok(())
    }

    pub(super) async fn known_pools(&self, name: Option<&str>) -> Result<Vec<PoolRecord>> {
        let name = name.map(str::to_owned);
        let mut places: HashMap<String, Vec<PlaceRecord>> = HashMap::new();
        for row in &self.ask(&self.statements.places, |query| query.bind(name.clone())).await? {
            places.entry(column(row, "pool")?).or_default().push(place(row)?);
        }
        let rows = self.ask(&self.statements.pools, |query| query.bind(name.clone())).await?;
        rows.iter().map(|row| pool(row, places.remove(column::<&str>(row, "name")?).unwrap_or_default())).collect()
    }
}

fn place(row: &PgRow) -> Result<PlaceRecord> {
    Ok(PlaceRecord {
        instance: column(row, "instance")?,
        leaving: column(row, "leaving")?,
        epoch: column(row, "epoch")?,
        by: column(row, "drained_by")?,
        until: column(row, "drain_until")?,
        since: column(row, "drained_at")?,
    })
}

fn pool(row: &PgRow, places: Vec<PlaceRecord>) -> Result<PoolRecord> {
    let by: Option<String> = column(row, "overridden_by")?;
    let bound = |name| column::<Option<i64>>(row, name).map(|bound| bound.map(|bound| bound as u32));
    let order = Override {
        paused: column(row, "override_paused")?,
        min: bound("override_min")?,
        max: bound("override_max")?,
        until: column(row, "override_until")?,
    };
    Ok(PoolRecord {
        name: column(row, "name")?,
        queues: column::<Option<Vec<String>>>(row, "queues")?.map_or(Binding::Any, Binding::Queues),
        ordered: column(row, "ordered")?,
        spec: Json(column(row, "spec")?),
        published_at: column(row, "published_at")?,
        state: column::<Option<String>>(row, "state")?.map(Json),
        overridden: by.is_some().then_some(order),
        overridden_by: by,
        places,
        latest: column::<Option<i64>>(row, "id")?.map(|_| ledger::decided(row)).transpose()?,
        read_at: column(row, "read_at")?,
    })
}

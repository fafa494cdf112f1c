//! Drained places. What a place is told stands in its row, for whatever comes up there, and in those of the workers that
//! are there, for their claims.
//!
//! All of it happens while the lock on the pool is held, alone (`fence.sql`, `lock_pools.sql`), and in several statements:
//! each sees what was committed before it began, so that what a lock was waited for is seen by the statement after it.

use std::{collections::HashMap, time::Duration};

use sqlx::{Postgres, SqlStr, postgres::PgArguments, query::Query};

use super::super::{
    PostgresStore, column,
    connection::{Fault, Line},
    millis,
};
use crate::{Result, store::BootId};

/// A pool and an instance in it.
type Place = (String, String);

/// Places as the statements take them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::store::postgres) struct Places {
    pools: Vec<String>,
    instances: Vec<String>,
}

impl Places {
    /// These of one pool.
    pub(super) fn of(pool: &str, instances: &[String]) -> Self {
        instances.iter().map(|instance| (pool.to_owned(), instance.clone())).collect()
    }

    const fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    pub(super) fn bind(&self, statement: &SqlStr) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(statement.clone()).bind(self.pools.clone()).bind(self.instances.clone())
    }

    /// The numbers of these places.
    pub(super) fn in_order(&self, numbers: &HashMap<Place, i64>) -> Vec<i64> {
        let places = self.pools.iter().cloned().zip(self.instances.iter().cloned());
        places.map(|place| numbers[&place]).collect()
    }
}

impl FromIterator<Place> for Places {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        let (pools, instances) = places.into_iter().unzip();
        Self { pools, instances }
    }
}

impl PostgresStore {
    /// Drains places and all workers there that are not leaving; says the number of each.
    pub(super) async fn drain_places(
        &self,
        line: &mut Line<'_>,
        places: &Places,
        by: &str,
        lease: Option<Duration>,
    ) -> Result<HashMap<Place, i64>, Fault> {
        self.end_drains(line, places).await?;
        self.drain_standing(line, places, by, lease).await
    }

    /// The same where drains that have ended are gone already.
    async fn drain_standing(
        &self,
        line: &mut Line<'_>,
        places: &Places,
        by: &str,
        lease: Option<Duration>,
    ) -> Result<HashMap<Place, i64>, Fault> {
        if places.is_empty() {
            return Ok(HashMap::new());
        }
        let withhold = places.bind(&self.statements.withhold).bind(by.to_owned()).bind(lease.map(millis));
        let rows = line.rows(withhold).await?;
        self.tell(line, places, false).await?;
        let number = |row| Ok(((column(row, "pool")?, column(row, "instance")?), column(row, "epoch")?));
        rows.iter().map(number).collect()
    }

    /// Writes down which drains of these places have ended by now.
    async fn end_drains(&self, line: &mut Line<'_>, places: &Places) -> Result<(), Fault> {
        if places.is_empty() {
            return Ok(());
        }
        line.rows(places.bind(&self.statements.end_drains)).await.map(drop)
    }

    /// `leaving`: also those that leave.
    async fn tell(&self, line: &mut Line<'_>, places: &Places, leaving: bool) -> Result<(), Fault> {
        if places.is_empty() {
            return Ok(());
        }
        line.rows(places.bind(&self.statements.tell).bind(leaving)).await.map(drop)
    }

    /// Ends the drains of these places that are neither a person's nor leaving, and names the workers that may claim
    /// again.
    pub(super) async fn restored(&self, line: &mut Line<'_>, places: &Places) -> Result<Vec<BootId>, Fault> {
        self.end_drains(line, places).await?;
        let rows = line.rows(places.bind(&self.statements.restore)).await?;
        rows.iter().map(|row| Ok(BootId(column(row, "boot")?))).collect()
    }

    /// Lets a place go with all workers there, if it may go.
    pub(super) async fn let_place_go(
        &self,
        line: &mut Line<'_>,
        place: &Places,
        epoch: i64,
        lease: Duration,
    ) -> Result<bool, Fault> {
        let (pool, instance) = (&place.pools[0], &place.instances[0]);
        line.rows(sqlx::query(self.statements.lock_place.clone()).bind(pool).bind(instance)).await?;
        // A later statement, which sees what the claims took that the locks have waited for.
        let go = sqlx::query(self.statements.let_place_go.clone());
        let goes = !line.rows(go.bind(pool).bind(instance).bind(epoch).bind(millis(lease))).await?.is_empty();
        if goes {
            self.tell(line, place, true).await?;
        }
        Ok(goes)
    }

    /// Sets leaving places back to drained.
    pub(super) async fn kept(&self, line: &mut Line<'_>, places: &Places) -> Result<(), Fault> {
        self.end_drains(line, places).await?;
        let rows = line.rows(places.bind(&self.statements.keep)).await?;
        let kept = rows.iter().map(|row| Ok((column(row, "pool")?, column(row, "instance")?)));
        let kept: Places = kept.collect::<Result<Vec<Place>, Fault>>()?.into_iter().collect();
        self.tell(line, &kept, true).await
    }

    /// A person's drain of workers: of their places, or of themselves where they have none.
    pub(in crate::store::postgres) async fn drain_workers(
        &self,
        line: &mut Line<'_>,
        boots: &[i64],
        by: &str,
        lease: Option<Duration>,
    ) -> Result<Vec<(BootId, i64)>, Fault> {
        let places = self.lock_places_of(line, boots).await?;
        if !places.is_empty() {
            self.end_drains(line, &places).await?;
            // Who is dead or leaves is not drained, and who does is known only now.
            let (places, _) = self.places_of(line, boots).await?;
            self.drain_standing(line, &places, by, lease).await?;
        }
        let drain = sqlx::query(self.statements.drain.clone()).bind(boots).bind(by).bind(lease.map(millis));
        line.rows(drain).await?;
        let rows = line.rows(sqlx::query(self.statements.drained.clone()).bind(boots)).await?;
        rows.iter().map(|row| Ok((BootId(column(row, "boot")?), column(row, "drain_epoch")?))).collect()
    }

    /// Ends the drains of these workers and of their places. Names those of them that may claim again.
    pub(in crate::store::postgres) async fn recall_workers(
        &self,
        line: &mut Line<'_>,
        boots: &[i64],
    ) -> Result<Vec<BootId>, Fault> {
        let places = self.lock_places_of(line, boots).await?;
        self.end_drains(line, &places).await?;
        let rows = line.rows(sqlx::query(self.statements.recall.clone()).bind(boots)).await?;
        let recalled = rows.iter().map(|row| column(row, "boot")).collect::<Result<Vec<i64>>>()?;
        Ok(recalled.into_iter().filter(|boot| boots.contains(boot)).map(BootId).collect())
    }

    /// Takes the locks on the pools of these workers, and says which places are theirs. A worker's place never changes,
    /// so that it can be asked for before.
    async fn lock_places_of(&self, line: &mut Line<'_>, boots: &[i64]) -> Result<Places, Fault> {
        let (_, places) = self.places_of(line, boots).await?;
        if !places.is_empty() {
            line.rows(sqlx::query(self.statements.lock_pools.clone()).bind(&places.pools)).await?;
        }
        Ok(places)
    }

    /// The places of those of these workers that may be drained, and of all of them.
    async fn places_of(&self, line: &mut Line<'_>, boots: &[i64]) -> Result<(Places, Places), Fault> {
        let rows = line.rows(sqlx::query(self.statements.places_of.clone()).bind(boots)).await?;
        let (mut standing, mut all) = (Vec::new(), Vec::new());
        for row in &rows {
            let place: Place = (column(row, "pool")?, column(row, "instance")?);
            if ["active", "draining"].contains(&column::<&str>(row, "state")?) {
                standing.push(place.clone());
            }
            all.push(place);
        }
        Ok((standing.into_iter().collect(), all.into_iter().collect()))
    }
}

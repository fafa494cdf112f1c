//! The ledger: what was decided and why.

use std::collections::{BTreeMap, HashSet};

use sqlx::postgres::PgRow;

use super::super::{
    PostgresStore, clean, column,
    connection::{Fault, Line},
};
use crate::{
    Error, Json, Result,
    store::{Decided, NewDecision, Weight},
};

const fn name(weight: Weight) -> &'static str {
    match weight {
        Weight::Change => "change",
        Weight::Hold => "hold",
    }
}

/// Equal decisions of one pool in a row, as the statement takes them.
#[derive(Debug, PartialEq, Eq)]
struct Run<'a> {
    pool: &'a str,
    weight: &'static str,
    gist: String,
    /// Of the last of them.
    detail: &'a str,
    count: i64,
    /// Whether it is its pool's first.
    first: bool,
}

/// What is between two decisions of a pool is of other pools, and no reason to tell them apart.
fn runs(decisions: &[NewDecision]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    let mut pools = HashSet::new();
    for decision in decisions {
        let (weight, gist) = (name(decision.weight), clean(&decision.gist));
        let last = runs.iter_mut().rev().find(|run| run.pool == decision.pool);
        match last.filter(|run| run.weight == weight && run.gist == gist) {
            Some(run) => {
                run.count += 1;
                run.detail = &decision.detail.0;
            }
            None => runs.push(Run {
                pool: &decision.pool,
                weight,
                gist,
                detail: &decision.detail.0,
                count: 1,
                first: pools.insert(&*decision.pool),
            }),
        }
    }
    runs
}

impl PostgresStore {
    pub(super) async fn recorded(&self, line: &mut Line<'_>, decisions: &[NewDecision]) -> Result<(), Fault> {
        let runs = runs(decisions);
        if runs.is_empty() {
            return Ok(());
        }
        let query = sqlx::query(self.statements.record.clone())
            .bind(runs.iter().map(|run| run.pool.to_owned()).collect::<Vec<_>>())
            .bind(runs.iter().map(|run| run.weight.to_owned()).collect::<Vec<_>>())
            .bind(runs.iter().map(|run| run.gist.clone()).collect::<Vec<_>>())
            .bind(runs.iter().map(|run| run.detail.to_owned()).collect::<Vec<_>>())
            .bind(runs.iter().map(|run| run.count).collect::<Vec<_>>())
            .bind(runs.iter().map(|run| run.first).collect::<Vec<_>>());
        line.rows(query).await?;
        let states = decisions.iter().filter_map(|decision| Some((&decision.pool, decision.state.as_ref()?)));
        self.remembered(line, states).await
    }

    /// The last state of each pool.
    pub(super) async fn remembered<'s>(
        &self,
        line: &mut Line<'_>,
        states: impl Iterator<Item = (&'s String, &'s Json)>,
    ) -> Result<(), Fault> {
        let states = states.map(|(pool, state)| (pool.clone(), state.0.clone())).collect::<BTreeMap<_, _>>();
        let (pools, states): (Vec<_>, Vec<_>) = states.into_iter().unzip();
        if !pools.is_empty() {
            line.rows(sqlx::query(self.statements.remember.clone()).bind(pools).bind(states)).await?;
        }
        Ok(())
    }
}

pub(super) fn decided(row: &PgRow) -> Result<Decided> {
    Ok(Decided {
        id: column(row, "id")?,
        pool: column(row, "pool")?,
        weight: match column(row, "weight")? {
            "change" => Weight::Change,
            "hold" => Weight::Hold,
            other => {
                let why = format!("a decision weighs {other:?}, which this program does not know: update it");
                return Err(Error::Rejected(why));
            }
        },
        gist: column(row, "gist")?,
        detail: Json(column(row, "detail")?),
        first_at: column(row, "first_at")?,
        last_at: column(row, "last_at")?,
        count: column(row, "count")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_decisions_of_a_pool_in_a_row_are_one_run_whatever_is_between_them_of_others() {
        let decision = |pool: &str, gist: &str, detail: &str| NewDecision {
            pool: pool.into(),
            weight: Weight::Hold,
            gist: gist.into(),
            detail: Json(detail.into()),
            state: None,
        };
        let decisions = [
            decision("a", "x", "1"),
            decision("b", "x", "2"),
            decision("a", "x", "3"),
            NewDecision { weight: Weight::Change, ..decision("a", "x", "4") },
            decision("a", "x", "5"),
        ];
        let runs = runs(&decisions);
        let shape: Vec<_> = runs.iter().map(|run| (run.pool, run.weight, run.detail, run.count, run.first)).collect();
        assert_eq!(
            shape,
            [
                ("a", "hold", "3", 2, true),
                ("b", "hold", "2", 1, true),
                ("a", "change", "4", 1, false),
                ("a", "hold", "5", 1, false),
            ]
        );
    }
}

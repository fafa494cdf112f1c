//! What a transaction counts: summed while it runs, and added to the counters right before it commits.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use sqlx::SqliteConnection;

use super::{fault::fault, json};
use crate::{Depth, Flow, Result, State};

/// Which counters: a queue, a priority, a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) queue: String,
    pub(super) priority: i16,
    pub(super) kind: String,
}

/// Where a job is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Ready,
    Held,
    Later,
    Running,
    Finished(State),
}

/// A change of one lane's counters.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Change {
    pub(super) depth: Depth,
    pub(super) flow: Flow,
}

impl Change {
    /// A job came to this place.
    pub(super) fn enter(&mut self, place: Place) {
        *self.at(place) += 1;
    }

    /// A job left this place.
    pub(super) fn leave(&mut self, place: Place) {
        *self.at(place) -= 1;
    }

    /// A job that had become claimable so long ago started.
    pub(super) fn start(&mut self, delay: Duration, start_within: Duration) {
        self.flow.started += 1;
        self.flow.late += i64::from(delay > start_within);
        self.flow.delays.add(delay);
    }

    fn at(&mut self, place: Place) -> &mut i64 {
        let depth = &mut self.depth;
        match place {
            Place::Ready => &mut depth.ready,
            Place::Held => &mut depth.held,
            Place::Later => &mut depth.scheduled,
            Place::Running => &mut depth.running,
            Place::Finished(State::Failed) => &mut depth.failed,
            Place::Finished(State::Cancelled) => &mut depth.cancelled,
            Place::Finished(_) => &mut depth.completed,
        }
    }
}

/// The changes of one transaction.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Lane, Change>);

impl Tally {
    /// The change of this lane so far.
    pub(super) fn lane(&mut self, lane: &Lane) -> &mut Change {
        if !self.0.contains_key(lane) {
            self.0.insert(lane.clone(), Change::default());
        }
        self.0.get_mut(lane).expect("it was inserted above")
    }

    /// Adds the changes to the counters.
    pub(super) async fn write(self, connection: &mut SqliteConnection) -> Result<()> {
        let changes: Vec<Row<'_>> =
            self.0.iter().filter(|(_, change)| **change != Change::default()).map(row).collect();
        if changes.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("count.sql")).bind(json(&changes)).execute(&mut *connection).await.map_err(fault)?;
        let mut delays = Vec::new();
        for (lane, change) in &self.0 {
            for (bucket, n) in change.flow.delays.0.iter().enumerate().filter(|&(_, &n)| n > 0) {
                delays.push((&lane.queue, lane.priority, &lane.kind, bucket, n));
            }
        }
        if !delays.is_empty() {
            sqlx::query(include_str!("count_delays.sql"))
                .bind(json(&delays))
                .execute(&mut *connection)
                .await
                .map_err(fault)?;
        }
        Ok(())
    }
}

/// In the order of the columns of `queue_state`.
#[derive(Serialize)]
struct Row<'a>(&'a str, i16, &'a str, [i64; 7], [i64; 9]);

fn row<'a>((lane, change): (&'a Lane, &Change)) -> Row<'a> {
    let (d, f) = (&change.depth, &change.flow);
    Row(
        &lane.queue,
        lane.priority,
        &lane.kind,
        [d.ready, d.scheduled, d.held, d.running, d.completed, d.failed, d.cancelled],
        [f.arrived, f.deferred, f.promoted, f.returned, f.started, f.late, f.completed, f.failed, f.run_ms],
    )
}

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
    /// Among the held, and one of those that count as demand.
    Suspect,
    Later,
    Running,
    Parked,
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
        self.add(place, 1);
    }

    /// A job left this place.
    pub(super) fn leave(&mut self, place: Place) {
        self.add(place, -1);
    }

    /// A job that had become claimable so long ago started.
    pub(super) fn start(&mut self, delay: Duration, start_within: Duration) {
        self.flow.started += 1;
        self.flow.late += i64::from(delay > start_within);
        self.flow.delays.add(delay);
    }

    fn add(&mut self, place: Place, n: i64) {
        let depth = &mut self.depth;
        if place == Place::Suspect {
            depth.suspects += n;
        }
        *match place {
            Place::Ready => &mut depth.ready,
            Place::Held | Place::Suspect => &mut depth.held,
            Place::Later => &mut depth.scheduled,
            Place::Running => &mut depth.running,
            Place::Parked => &mut depth.parked,
            Place::Finished(State::Failed) => &mut depth.failed,
            Place::Finished(State::Cancelled) => &mut depth.cancelled,
            Place::Finished(_) => &mut depth.completed,
        } += n;
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

    /// Adds the changes to the counters, which are remembered as they were when this minute began.
    pub(super) async fn write(self, connection: &mut SqliteConnection, now: i64) -> Result<()> {
        let changes: Vec<Row<'_>> =
            self.0.iter().filter(|(_, change)| **change != Change::default()).map(row).collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.remember(connection, now).await?;
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

    /// Keeps the flows that are about to change, for whoever asks later what happened since this minute began.
    async fn remember(&self, connection: &mut SqliteConnection, now: i64) -> Result<()> {
        let flows = self.0.iter().filter(|(_, change)| change.flow != Flow::default());
        let lanes: Vec<_> = flows.map(|(lane, _)| (&lane.queue, lane.priority, &lane.kind)).collect();
        if !lanes.is_empty() {
            sqlx::query(include_str!("remember.sql"))
                .bind(json(&lanes))
                .bind(minute(now))
                .execute(connection)
                .await
                .map_err(fault)?;
        }
        Ok(())
    }
}

/// The beginning of the minute.
pub(super) const fn minute(at: i64) -> i64 {
    at - at.rem_euclid(60_000_000)
}

/// In the order of the columns of `queue_state`.
#[derive(Serialize)]
struct Row<'a>(&'a str, i16, &'a str, [i64; 9], [i64; 9]);

fn row<'a>((lane, change): (&'a Lane, &Change)) -> Row<'a> {
    let (d, f) = (&change.depth, &change.flow);
    Row(
        &lane.queue,
        lane.priority,
        &lane.kind,
        [d.ready, d.scheduled, d.held, d.suspects, d.running, d.parked, d.completed, d.failed, d.cancelled],
        [f.arrived, f.deferred, f.promoted, f.returned, f.started, f.late, f.completed, f.failed, f.run_ms],
    )
}

//! The counters: kept with every move, and a reading of them for each minute.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use headcount_queue::{Depth, Flow, LaneState, Recent, State};

use super::tables::{Hold, Place, Row};

/// Counters of every lane, and the flows as they stood at the end of each minute in which anything was called.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) lanes: BTreeMap<(String, i16, String), LaneState>,
    made_at: DateTime<Utc>,
    readings: BTreeMap<DateTime<Utc>, BTreeMap<String, Flow>>,
}

const MINUTE: TimeDelta = TimeDelta::minutes(1);

impl Counters {
    pub(crate) const fn new(now: DateTime<Utc>) -> Self {
        Self { lanes: BTreeMap::new(), made_at: now, readings: BTreeMap::new() }
    }

    /// Takes a reading when a minute has passed. Nothing happens between two calls, so what stands now stood at the end
    /// of the minute of the call before.
    pub(crate) fn pass_time(&mut self, last: DateTime<Utc>, now: DateTime<Utc>) {
        let end = last.duration_trunc(MINUTE).unwrap_or(last) + MINUTE;
        if end > now {
            return;
        }
        let mut flows: BTreeMap<String, Flow> = BTreeMap::new();
        for lane in self.lanes.values() {
            *flows.entry(lane.queue.clone()).or_default() += &lane.flow;
        }
        self.readings.insert(end, flows);
        if let Some(&base) = self.readings.range(..=now - MINUTE * 5).next_back().map(|(at, _)| at) {
            self.readings = self.readings.split_off(&base);
        }
    }

    /// The counters of a job's lane.
    pub(crate) fn lane(&mut self, row: &Row) -> Lane<'_> {
        let job = &row.job;
        let key = (job.queue.clone(), job.priority, job.kind.clone());
        let lane = || LaneState {
            queue: job.queue.clone(),
            priority: job.priority,
            kind: job.kind.clone(),
            ..LaneState::default()
        };
        Lane(self.lanes.entry(key).or_insert_with(lane))
    }

    /// What happened in the last five to six minutes: all that is younger than a reading that is as old as that.
    pub(crate) fn recent(&self, queue: &str, flow: &Flow, now: DateTime<Utc>) -> Recent {
        let base = self.readings.range(..=now - MINUTE * 5).next_back();
        let since = base.map_or(self.made_at, |(at, _)| *at);
        let before = base.and_then(|(_, flows)| flows.get(queue)).cloned().unwrap_or_default();
        let over = (now - since).to_std().unwrap_or_default();
        // If the reading is older, nothing was called between its minute and the last six.
        Recent { over: over.min(Duration::from_mins(6)), flow: flow.since(&before) }
    }
}

/// One lane's counters.
pub(crate) struct Lane<'c>(&'c mut LaneState);

impl Lane<'_> {
    /// One more job stands there, or one fewer.
    pub(crate) const fn stands(self, place: Place, n: i64) {
        count(&mut self.0.depth, place, n);
    }

    /// Something happened.
    pub(crate) fn happens(self, what: impl FnOnce(&mut Flow)) {
        what(&mut self.0.flow);
    }
}

/// Counts a job into a depth.
pub(crate) const fn count(depth: &mut Depth, place: Place, n: i64) {
    if let Place::Held(Hold::Suspect) = place {
        depth.suspects += n;
    }
    let counter = match place {
        Place::Ready => &mut depth.ready,
        Place::Later => &mut depth.scheduled,
        Place::Held(_) => &mut depth.held,
        Place::Running(_) => &mut depth.running,
        Place::Parked(_) => &mut depth.parked,
        Place::Finished(State::Completed) => &mut depth.completed,
        Place::Finished(State::Failed) => &mut depth.failed,
        Place::Finished(_) => &mut depth.cancelled,
    };
    *counter += n;
}

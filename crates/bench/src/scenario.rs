//! What is measured, one file an idea.

mod bulk;
mod single;
mod work_off;
mod churn;
mod idle;
mod probe;
mod other_ways;

use std::{fmt, str::FromStr};

use anyhow::Result;
use headcount_queue::NewJob;

use crate::{figure::Sample, stage::Stage};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// 50,000 jobs go in, a thousand a statement.
    Bulk,
    /// Jobs go in one at a time, by one connection and by 16.
    Single,
    /// 50,000 jobs that do nothing are worked off by one process, by 2 and by 4.
    WorkOff,
    /// The same by one process, a million waiting behind them.
    Deep,
    /// The same, of 20 queues with three priorities each.
    Lanes,
    /// The same, a coalescing key on each.
    Keys,
    /// The same, each with a payload of 10 KB.
    Payloads,
    /// A million jobs come at once into tables that were analysed empty.
    Cold,
    /// Jobs come and go for a minute, some delayed and some failing, beside a transaction that holds a snapshot.
    Churn,
    /// The same for half an hour.
    LongChurn,
    /// A job now and then into an idle queue.
    Idle,
    /// What the scaler and the dashboards ask, with little and with much that waits.
    Probe,
    /// Jobs go in and are worked off through PgBouncer, beside the straight way.
    Pooled,
    /// Jobs go in and are worked off in the embedded store.
    Embedded,
}

impl Scenario {
    /// Every scenario, in the order in which a round runs them.
    pub const ALL: &'static [Self] = &[
        Self::Bulk,
        Self::Single,
        Self::WorkOff,
        Self::Deep,
        Self::Lanes,
        Self::Keys,
        Self::Payloads,
        Self::Cold,
        Self::Churn,
        Self::LongChurn,
        Self::Idle,
        Self::Probe,
        Self::Pooled,
        Self::Embedded,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Single => "single",
            Self::WorkOff => "work-off",
            Self::Deep => "deep",
            Self::Lanes => "lanes",
            Self::Keys => "keys",
            Self::Payloads => "payloads",
            Self::Cold => "cold",
            Self::Churn => "churn",
            Self::LongChurn => "long-churn",
            Self::Idle => "idle",
            Self::Probe => "probe",
            Self::Pooled => "pooled",
            Self::Embedded => "embedded",
        }
    }

    /// Whether it takes so long that it is run by name only.
    pub const fn is_long(self) -> bool {
        matches!(self, Self::LongChurn)
    }

    /// Measures it once.
    pub(crate) async fn run(self, stage: &Stage, round: u32) -> Result<Vec<Sample>> {
        // Who comes first in one round comes last in the next.
        let floor_first = round.is_multiple_of(2);
        match self {
            Self::Bulk => bulk::run(stage, floor_first).await,
            Self::Single => single::run(stage, floor_first).await,
            Self::WorkOff => work_off::plain(stage, floor_first).await,
            Self::Deep => work_off::deep(stage, floor_first).await,
            Self::Lanes => work_off::lanes(stage, floor_first).await,
            Self::Keys => work_off::keys(stage, floor_first).await,
            Self::Payloads => work_off::payloads(stage, floor_first).await,
            Self::Cold => work_off::cold(stage).await,
            Self::Churn => churn::run(stage, churn::MINUTE).await,
            Self::LongChurn => churn::run(stage, churn::HALF_AN_HOUR).await,
            Self::Idle => idle::run(stage).await,
            Self::Probe => probe::run(stage).await,
            Self::Pooled => other_ways::pooled(stage, floor_first).await,
            Self::Embedded => other_ways::embedded(stage).await,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|scenario| scenario.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|scenario| scenario.name()).collect();
            format!("there is no scenario {name:?}, there are {}", names.join(", "))
        })
    }
}

/// A job that does nothing, in the one queue of the floors.
fn noop(_: usize) -> NewJob {
    NewJob::new("noop", "{}").queue("q")
}

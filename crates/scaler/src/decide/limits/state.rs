//! What the limits of a pool remember from tick to tick, and from one scaler to the next.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Connections, Orders, budget::Spending, futile::Futility, manual::Manual, pace::Changes};
use crate::{
    driver::{Applied, Change, DriverError},
    observe::source::Backlog,
    pool::PoolSpec,
    price::Money,
};

/// The version of the text that [`State::save`] writes. Another one is not read.
const VERSION: u32 = 1;

/// What the limits of a pool remember. Kept with its decisions and read back by the next scaler.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    pub(super) changes: Changes,
    pub(super) manual: Manual,
    pub(super) spending: Spending,
    pub(super) futility: Futility,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    #[serde(flatten)]
    state: State,
}

/// What the limits go by at one tick.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The store's time.
    pub now: DateTime<Utc>,
    /// How old the platform's reading is.
    pub platform_age: Duration,
    /// The workers that claim or are about to: [`Observation::current`](crate::observe::Observation::current).
    pub current: u32,
    /// Every instance that is paid for, whatever it does.
    pub instances: u32,
    /// What an instance costs in an hour, by the pool's own rules or by its platform; `None`: not known, and no budget
    /// binds.
    pub price: Option<Money>,
    /// The size that the platform aims for, where a person may change that; `None` where it is this scaler's alone, as on
    /// this machine, where a worker that crashed would look like one that somebody took away.
    pub desired: Option<u32>,
    /// The pool's work, as its counters tell it; `None`: not known.
    pub flow: Option<Flow>,
    /// The database's connections; `None`: not known, or none are needed.
    pub connections: Option<Connections>,
    /// What the pool's source says, where that knows no workers: nobody can be drained. `None` where workers beat.
    pub foreign: Option<Backlog>,
    /// What an operator has ordered.
    pub orders: &'a Orders,
}

/// What has become of a pool's jobs: counters that only rise, and what is so now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// Jobs that started, ever.
    pub started: u64,
    /// Of these, the ones that started late.
    pub late: u64,
    /// Jobs that finished, ever.
    pub finished: u64,
    /// Slots that run a job now.
    pub busy: u32,
    /// How long a job runs on average; `None`: not known.
    pub run_time: Option<Duration>,
    /// How long a worker takes to come up.
    pub boot: Duration,
}

impl State {
    /// Reads what an earlier scaler saved. What cannot be read, is of another version or from a time to come is left,
    /// and a fresh state begins: limits that begin anew are safe, only less patient. Says why.
    pub fn load(text: &str, now: DateTime<Utc>) -> (Self, Option<String>) {
        let fresh = |why: String| (Self::default(), Some(why));
        match serde_json::from_str::<Saved>(text) {
            Err(error) => fresh(format!("the saved state of the limits cannot be read: {error}")),
            Ok(saved) if saved.version != VERSION => {
                fresh(format!("the saved state of the limits is of version {}, not {VERSION}", saved.version))
            }
            Ok(Saved { state, .. }) if !state.futility.is_sound() => {
                fresh("the saved state of the limits holds a rate that is none".into())
            }
            Ok(Saved { state, .. }) if state.latest().is_some_and(|at| at > now + TimeDelta::minutes(1)) => {
                fresh("the saved state of the limits is from a time to come".into())
            }
            Ok(Saved { state, .. }) => (state, None),
        }
    }

    /// The state as text, for [`State::load`].
    pub fn save(&self) -> String {
        let saved = Saved { version: VERSION, state: self.clone() };
        serde_json::to_string(&saved).expect("numbers, times and lists of them can be written as JSON")
    }

    /// Takes note of what is seen, at each good reading and before the [`Range`](super::Range) is asked for.
    pub fn observe(&mut self, spec: &PoolSpec, inputs: &Inputs<'_>) {
        let Inputs { now, flow, .. } = *inputs;
        if let Some(desired) = inputs.desired {
            self.manual.observe(desired, now - TimeDelta::from_std(inputs.platform_age).unwrap_or_default());
        }
        self.spending.observe(spec.rules_in_force(), inputs, now);
        if let Some(flow) = flow {
            self.futility.observe(&flow, inputs.current, now);
        }
    }

    /// Takes note of what the platform answered. Only what changed something starts a cool-down.
    pub fn asked(&mut self, change: &Change, answer: &Result<Applied, DriverError>, at: DateTime<Utc>) {
        self.manual.asked(change, answer, at);
        if let (Change::GrowTo { .. }, Ok(Applied { changed: true, .. })) = (change, answer) {
            self.changes.grew_at = Some(at);
            self.changes.changed_at = Some(at);
            self.futility.grew(at);
        }
    }

    /// Workers were drained: that is how a pool shrinks. Their removal is the end of it and no other change.
    pub fn drained(&mut self, at: DateTime<Utc>) {
        self.changes.changed_at = Some(at);
    }

    /// What was spent today, at this price of an instance for an hour.
    pub fn spent(&self, price: Money) -> Money {
        self.spending.spent(price)
    }

    fn latest(&self) -> Option<DateTime<Utc>> {
        let Changes { grew_at, changed_at } = self.changes;
        [grew_at, changed_at, self.manual.latest(), self.spending.latest(), self.futility.latest()]
            .into_iter()
            .flatten()
            .max()
    }
}

//! What one tick did for one pool: seen, decided, done.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use headcount_queue::{
    Json,
    store::{NewDecision, Weight},
};
use serde::{Deserialize, Serialize};

use crate::{
    account::Account,
    act::Action,
    decide::Decision,
    driver::{Ended, PoolRef, Trouble},
    observe::{Demand, Observation, Standing},
};

/// What one tick did for one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickRecord {
    /// The pool.
    pub pool: PoolRef,
    /// When, by the store's clock; none if the store could not be read.
    pub at: Option<DateTime<Utc>>,
    /// What was seen, in numbers; none if something could not be read.
    pub counts: Option<Counts>,
    /// What was decided, and why.
    pub decision: Decision,
    /// What was done, in order.
    pub actions: Vec<Action>,
    /// Its target, what it costs, and its cold starts.
    pub account: Account,
    /// Instances that ended by themselves since the tick before.
    pub lost: Vec<Ended>,
    /// So many instances seem gone, but they are more than half of the pool: the reading is doubted and none is buried.
    pub doubted: usize,
    /// What keeps new instances from coming up. If it [lasts](Trouble::is_lasting), the pool has failed.
    pub trouble: Option<Trouble>,
    /// How long the tick took for all pools, the platform's and the store's answers included.
    pub took: Duration,
}

/// A pool in numbers, as the tick found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Workers that claim.
    pub up: u32,
    /// Workers asked for that do not work yet.
    pub booting: u32,
    /// Instances whose worker should have come up by now.
    pub overdue: u32,
    /// Workers that may live on one of those, for they do not say where they live.
    #[serde(default)]
    pub strays: u32,
    /// Workers that claim nothing and finish what they run.
    pub draining: u32,
    /// Instances being removed.
    pub leaving: u32,
    /// Jobs that run on workers that claim.
    pub running: u32,
    /// Jobs that run on workers that are draining or leaving.
    pub finishing: u32,
    /// The work that waits.
    pub demand: Demand,
}

/// What the ledger keeps of a tick: enough to tell, in words and in numbers, what was seen, which rule bound, what was
/// asked and what the platform answered. What an older scaler did not write reads as nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// All of it, as the log says it.
    pub said: String,
    /// What was to be done.
    pub step: String,
    /// How many workers should be claiming; none while holding.
    pub wanted: Option<u32>,
    /// Why.
    pub reason: String,
    /// The limit that bound.
    pub bound: Option<String>,
    /// What was seen, in numbers; none if something could not be read.
    pub seen: Option<Counts>,
    /// What was done, and what came of it.
    pub actions: Vec<String>,
    /// Its target, what it costs, and its cold starts.
    pub account: Account,
    /// Instances that ended by themselves.
    pub lost: Vec<String>,
    /// What keeps new instances from coming up.
    pub trouble: Option<String>,
    /// How long the tick took, in milliseconds.
    pub took_ms: u64,
}

impl Counts {
    pub(crate) fn of(seen: &Observation) -> Self {
        let running = seen.running();
        Self {
            up: seen.count(Standing::Active),
            booting: seen.booting(),
            overdue: seen.useless() - seen.count(Standing::Withheld),
            strays: seen.strays,
            draining: seen.recallable() + seen.count(Standing::Withheld),
            leaving: seen.count(Standing::Leaving),
            running,
            finishing: seen.members.iter().map(|member| member.running).sum::<u32>().saturating_sub(running),
            demand: seen.demand,
        }
    }
}

impl TickRecord {
    /// How many workers should be claiming; none while holding.
    pub fn wanted(&self) -> Option<u32> {
        self.decision.step.target()
    }

    /// What the ledger keeps of it.
    pub fn detail(&self) -> Detail {
        Detail {
            said: self.to_string(),
            step: self.decision.step.to_string(),
            wanted: self.wanted(),
            reason: self.decision.reason.to_string(),
            bound: self.decision.bound.map(|bound| bound.to_string()),
            seen: self.counts,
            actions: self.actions.iter().map(ToString::to_string).collect(),
            account: self.account.clone(),
            lost: self.lost.iter().map(|lost| format!("{}: {}", lost.id, lost.how)).collect(),
            trouble: self.trouble.as_ref().map(ToString::to_string),
            took_ms: self.took.as_millis() as u64,
        }
    }

    /// This record as an entry of the ledger.
    pub(crate) fn entry(&self) -> NewDecision {
        let changed = !self.actions.is_empty();
        let said = self.to_string();
        NewDecision {
            pool: self.pool.to_string(),
            weight: if changed { Weight::Change } else { Weight::Hold },
            // Two changes are never the same one; two holds are if only their numbers differ.
            gist: if changed { said } else { format!("{}: {}", self.decision.step, unnumbered(&self.decision)) },
            detail: Json(serde_json::to_string(&self.detail()).expect("numbers and texts are JSON")),
            state: None,
        }
    }

    /// Whether this tick changed anything or met anything that a person should know.
    pub fn is_notable(&self) -> bool {
        !(self.actions.is_empty() && self.lost.is_empty() && self.doubted == 0)
    }
}

/// Why, without the numbers, which change from tick to tick.
fn unnumbered(decision: &Decision) -> String {
    let mut why = decision.reason.to_string();
    if let Some(bound) = &decision.bound {
        why = format!("{why} ({bound})");
    }
    let mut gist = String::with_capacity(why.len());
    for c in why.chars() {
        match c {
            '0'..='9' | '.' if gist.ends_with('#') => {}
            '0'..='9' => gist.push('#'),
            c => gist.push(c),
        }
    }
    gist
}

impl fmt::Display for TickRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}: {}", self.pool, self.decision)?;
        for lost in &self.lost {
            write!(f, "; {} ended by itself: {}", lost.id, lost.how)?;
        }
        if self.doubted > 0 {
            write!(f, "; {} seem gone, too many to believe", self.doubted)?;
        }
        if let Some(Counts { overdue: overdue @ 1.., strays: strays @ 1.., .. }) = self.counts {
            write!(
                f,
                "; {overdue} instances without a worker are kept, for {strays} workers do not say on which instance they \
                 live: set HEADCOUNT_INSTANCE"
            )?;
        }
        self.actions.iter().try_for_each(|action| write!(f, "; {action}"))
    }
}

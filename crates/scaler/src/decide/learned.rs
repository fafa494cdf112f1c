//! What a pool has learned of its platform and its jobs: how long a boot takes, and how long a job runs.

mod boots;
mod runs;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::driver::Limits;

pub use boots::Boots;
pub use runs::RunTime;

/// The run times of so many kinds are kept apart; those of any further kind are in the mean of all.
const MAX_KINDS: usize = 500;

/// What a pool has learned.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Learned {
    /// How long its workers took to come up.
    pub boots: Boots,
    /// How long its jobs ran, by kind.
    pub kinds: BTreeMap<String, RunTime>,
}

impl Learned {
    /// The platform's limits with the boot time that was measured in place of the one that was assumed.
    pub fn limits(&self, limits: Limits) -> Limits {
        Limits { boot: self.boots.usual(limits.boot), overdue: self.boots.overdue(limits.overdue), ..limits }
    }

    /// Notes that so many jobs of a kind have ended, which ran for so long together.
    pub fn ran(&mut self, kind: &str, jobs: u64, together: Duration) {
        if let Some(known) = self.kinds.get_mut(kind) {
            known.add(jobs, together);
        } else if jobs > 0 && self.kinds.len() < MAX_KINDS {
            self.kinds.entry(kind.to_owned()).or_default().add(jobs, together);
        }
    }

    /// Whether numbers from elsewhere make sense.
    pub(super) fn is_sane(&self) -> bool {
        self.boots.is_sane() && self.kinds.values().all(RunTime::is_sane)
    }
}

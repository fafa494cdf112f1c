//! What the policy remembers of one target.

use serde::{Deserialize, Serialize};

use super::{Arrivals, Safety};
use crate::decide::learned::RunTime;

/// What is remembered of the queues that share a target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(in crate::decide) struct Target {
    pub(in crate::decide) arrivals: Arrivals,
    pub(in crate::decide) safety: Safety,
    /// How long its jobs run, of whatever kind.
    pub(in crate::decide) run: RunTime,
}

impl Target {
    pub(in crate::decide) fn is_sane(&self) -> bool {
        self.arrivals.is_sane() && self.safety.is_sane() && self.run.is_sane()
    }
}

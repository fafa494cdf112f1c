//! Drains that take longer than the pool allows: their places are given back, and left alone for as long again. Pure.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    driver::InstanceId,
    observe::{Member, Observation, Standing},
};

/// The places whose drain was given up, and when.
///
/// It is kept by the process alone: after a takeover a place may be drained again a little sooner.
#[derive(Debug, Default)]
pub struct GivenBack(HashMap<InstanceId, DateTime<Utc>>);

impl GivenBack {
    /// The places whose drain has lasted for longer than `timeout` although something still runs on them. They are noted.
    pub(super) fn overlong(&mut self, seen: &Observation, timeout: Option<Duration>) -> Vec<InstanceId> {
        let Some(timeout) = timeout else {
            self.0.clear();
            return Vec::new();
        };
        let since = |at: DateTime<Utc>| (seen.at - at).to_std().unwrap_or_default();
        self.0.retain(|_, given_back| since(*given_back) < timeout);
        let overlong = |member: &&Member| {
            member.standing == Standing::Drained
                && member.running > 0
                && member.drained_for.is_some_and(|drained| drained >= timeout)
        };
        let found: Vec<InstanceId> = seen.members.iter().filter(overlong).map(|member| member.id.clone()).collect();
        self.0.extend(found.iter().map(|id| (id.clone(), seen.at)));
        found
    }

    /// Whether this place is left alone: it was drained in vain a short while ago.
    pub(super) fn spares(&self, id: &InstanceId) -> bool {
        self.0.contains_key(id)
    }
}

//! Which workers a decision is about. Pure.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use headcount_queue::{BootId, store::WorkerState};

use crate::{
    decide::Decision,
    driver::InstanceId,
    observe::{Member, Observation, Standing},
    pool::PoolSpec,
};

/// What is to be done for a pool in one tick.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Draining workers that are to claim again.
    pub recall: Vec<BootId>,
    /// Instances whose removal did not happen: back to draining.
    pub stay: Vec<Member>,
    /// Instances to drain.
    pub drain: Vec<Member>,
    /// Drained instances that stay drained.
    pub renew: Vec<Member>,
    /// Those of them that have been idle for long enough to go.
    pub remove: Vec<Member>,
    /// The size to ask the platform for, if it is to grow.
    pub grow_to: Option<u32>,
    /// How many instances the platform aims for now.
    pub desired: u32,
}

/// The removals that were asked for and have not been seen to happen.
#[derive(Debug, Default)]
pub struct Removals(HashMap<InstanceId, DateTime<Utc>>);

impl Removals {
    /// A removal was sent.
    pub fn sent(&mut self, instances: &[InstanceId], at: DateTime<Utc>) {
        for instance in instances {
            self.0.insert(instance.clone(), at);
        }
    }

    /// The platform has refused: nothing is under way.
    pub fn refused(&mut self, instances: &[InstanceId]) {
        for instance in instances {
            self.0.remove(instance);
        }
    }

    /// Leaving instances whose removal is seen not to have happened: still up for longer than `patience` after it was
    /// sent. One that an earlier life of this scaler sent counts from when it is first seen.
    fn undone(&mut self, seen: &Observation, patience: Duration) -> Vec<Member> {
        let leaving = |member: &&Member| member.standing == Standing::Leaving && member.listed && !member.ending;
        let still: Vec<&Member> = seen.members.iter().filter(leaving).collect();
        self.0.retain(|id, _| still.iter().any(|member| member.id == *id));
        still
            .into_iter()
            .filter(|member| {
                let sent = *self.0.entry(member.id.clone()).or_insert(seen.at);
                (seen.at - sent).to_std().is_ok_and(|age| age > patience)
            })
            .cloned()
            .collect()
    }
}

/// Chooses the workers. `patience`: how long after a removal was sent a reading that shows it undone is believed.
pub fn plan(
    spec: &PoolSpec,
    seen: &Observation,
    decision: &Decision,
    removals: &mut Removals,
    patience: Duration,
) -> Plan {
    let mut plan = Plan { desired: seen.desired, ..Plan::default() };
    let Some(target) = decision.step.target() else { return plan };
    let current = seen.current();
    plan.stay = removals.undone(seen, patience);

    // Among several workers of one instance that claims, none is to be left draining.
    let stragglers = standing(seen, Standing::Active);
    plan.recall.extend(stragglers.iter().flat_map(|member| draining(member)));

    // The busiest first: the idle ones are nearest to being removed.
    let mut drained = standing(seen, Standing::Drained);
    drained.sort_by_key(|member| (Reverse(member.running), member.idle_for));
    let missing = target.saturating_sub(current) as usize;
    let recalled: Vec<&Member> = drained.drain(..missing.min(drained.len())).collect();
    plan.recall.extend(recalled.iter().flat_map(|member| draining(member)));
    let starting = (missing - recalled.len()) as u32;
    plan.grow_to = (starting > 0).then(|| seen.desired + starting);

    // The idlest first, of these the youngest: what has proved itself stays.
    let mut surplus: Vec<&Member> = standing(seen, Standing::Active);
    surplus.retain(|member| member.listed);
    surplus.sort_by_key(|member| (member.running, Reverse(member.started_at)));
    surplus.truncate(current.saturating_sub(target) as usize);
    plan.drain = surplus.into_iter().cloned().collect();
    plan.recall.retain(|boot| !plan.drain.iter().any(|member| member.boots.iter().any(|b| b.boot == *boot)));

    let remove_after = spec.remove_after_for(&seen.limits);
    let due = |member: &&&Member| member.listed && member.idle_for.is_some_and(|idle| idle >= remove_after);
    plan.remove = drained.iter().filter(due).copied().cloned().collect();
    plan.renew = drained.into_iter().cloned().collect();
    plan
}

fn standing(seen: &Observation, standing: Standing) -> Vec<&Member> {
    seen.members.iter().filter(|member| member.standing == standing).collect()
}

/// Its workers that this scaler drained; a person's drain is a person's to end.
fn draining(member: &Member) -> impl Iterator<Item = BootId> {
    member.boots.iter().filter(|boot| boot.state == WorkerState::Draining && boot.ours).map(|boot| boot.boot)
}

#[cfg(test)]
mod tests;

//! Which places a decision is about. Pure.
//!
//! What may be removed depends on the platform ([`Removal`]). Where it takes names, whatever is drained and idle. Where it
//! removes the highest numbers, the unbroken run of those at the top, never "as many as are idle": with 8 and 9 idle and
//! 10 at work that kills 10. Where nobody knows, nothing before everything is idle.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use headcount_queue::JobId;

use super::{GivenBack, unheard};
use crate::{
    decide::{Bound, DRAIN_PLATFORM, Decision, Reason},
    driver::{InstanceId, Removal},
    observe::{Member, Observation, Standing},
    pool::PoolSpec,
};

/// What is to be done for a pool in one tick.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Drained places whose workers are to claim again.
    pub recall: Vec<InstanceId>,
    /// Places whose removal did not happen: back to drained.
    pub keep: Vec<InstanceId>,
    /// Those recalled because their drain took longer than the pool allows.
    pub given_back: Vec<InstanceId>,
    /// Places to drain.
    pub drain: Vec<InstanceId>,
    /// Drained places that stay drained.
    pub renew: Vec<InstanceId>,
    /// Those of them that have been idle for long enough to go, with the numbers of their drains, in the order in which
    /// they are let go.
    pub remove: Vec<(InstanceId, i64)>,
    /// Instances to end without a drain, since none of the pool's workers would hear of one.
    pub end: Vec<InstanceId>,
    /// Places where nothing is any more.
    pub forget: Vec<InstanceId>,
    /// Below this instance nothing is drained, for it keeps working: this job, for so long by now.
    pub blocked_by: Option<(InstanceId, JobId, Duration)>,
    /// The size to ask the platform for, if it is to grow.
    pub grow_to: Option<u32>,
    /// How many instances the platform aims for now.
    pub desired: u32,
    /// Places that the platform is ending, and waits for word, which may still claim: to drain, or to stay drained.
    pub shut: Vec<InstanceId>,
    /// Those of them that are drained and idle, with the numbers of their drains: to let go, and then
    /// to leave to the platform.
    pub dismiss: Vec<(InstanceId, i64)>,
    /// Those where jobs run: the platform is to wait on.
    pub extend: Vec<InstanceId>,
    /// Whether those to be removed are one run from the top: where one of them is not let go, the rest is not either.
    pub run: bool,
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
    fn undone(&mut self, seen: &Observation, patience: Duration) -> Vec<InstanceId> {
        let leaving = |member: &&Member| member.standing == Standing::Leaving && member.listed && !member.ending;
        let still: Vec<&Member> = seen.members.iter().filter(leaving).collect();
        self.0.retain(|id, _| still.iter().any(|member| member.id == *id));
        let read_at = seen.at - seen.platform_age;
        still
            .into_iter()
            .filter(|member| {
                let sent = *self.0.entry(member.id.clone()).or_insert(seen.at);
                (read_at - sent).to_std().is_ok_and(|age| age > patience)
            })
            .map(|member| member.id.clone())
            .collect()
    }
}

/// Chooses the places. `patience`: how long after a removal was sent a reading that shows it undone is believed.
pub fn plan(
    spec: &PoolSpec,
    seen: &Observation,
    decision: &Decision,
    removals: &mut Removals,
    given_back: &mut GivenBack,
    patience: Duration,
) -> Plan {
    if let Some(backlog) = seen.foreign {
        return unheard::plan(seen, decision, backlog);
    }
    let removal = seen.limits.removal;
    let mut plan = Plan { desired: seen.desired, run: removal == Removal::Highest, ..Plan::default() };
    // Whatever is decided: the platform ends these, and does not wait for ever.
    attend(seen, &mut plan);
    let Some(target) = decision.step.target() else { return plan };
    let current = seen.current();
    plan.keep = removals.undone(seen, patience);
    plan.forget.clone_from(&seen.vacant);

    let paused = matches!(decision.bound, Some(Bound::Paused(_)));
    let remove_after = spec.remove_after_for(&seen.limits);
    let patient = spec.hold_for(&seen.limits).max(remove_after);
    plan.given_back = given_back.overlong(seen, spec.rules_in_force().drain_timeout);
    let blocker = (removal == Removal::Highest).then(|| blocker(seen, patient, given_back)).flatten();

    // The busiest first: the idle ones are nearest to being removed. Where the highest go first, the lowest come back.
    let (silent, mut drained): (Vec<_>, Vec<_>) =
        standing(seen, Standing::Drained).into_iter().partition(|member| member.overdue);
    match removal {
        Removal::Highest => drained.sort_by_key(|member| member.ordinal),
        // One whose worker has left may never have another.
        Removal::Chosen | Removal::Unknown => {
            drained.sort_by_key(|member| (member.boots.is_empty(), Reverse(member.running), member.idle_for));
        }
    }
    // Drained in vain for as long as the pool allows: it claims again, whether or not it is missed.
    drained.retain(|member| !plan.given_back.contains(&member.id));
    plan.recall.clone_from(&plan.given_back);
    let missing = (target.saturating_sub(current) as usize).saturating_sub(plan.recall.len());
    let recalled: Vec<&Member> = drained.drain(..missing.min(drained.len())).collect();
    let starting = (missing - recalled.len()) as u32;
    plan.recall.extend(recalled.iter().map(|member| member.id.clone()));
    plan.grow_to = (starting > 0).then(|| seen.desired + starting);
    // What is drained below one that keeps working cannot go before it does, and is paid for: let it work.
    if let Some(blocker) = blocker {
        let below = |member: &Member| member.ordinal < blocker.ordinal;
        plan.recall.extend(drained.iter().filter(|member| below(member)).map(|member| member.id.clone()));
        drained.retain(|member| !below(member));
    }

    // No worker comes up there: it is nobody's help, and goes with the drained.
    drained.extend(silent);

    let mut surplus: Vec<&Member> = standing(seen, Standing::Active);
    surplus.retain(|member| member.listed && !given_back.spares(&member.id));
    match removal {
        Removal::Highest => {
            surplus.sort_by_key(|member| Reverse(member.ordinal));
            if let Some(blocker) = blocker
                && let Some(at) = surplus.iter().position(|member| member.ordinal <= blocker.ordinal)
                && at < current.saturating_sub(target) as usize
            {
                surplus.truncate(at);
                plan.blocked_by = blocker.oldest.map(|(job, age)| (blocker.id.clone(), job, age));
            }
        }
        // The idlest first, of these the youngest: what has proved itself stays.
        Removal::Chosen => surplus.sort_by_key(|member| (member.running, Reverse(member.started_at))),
        // Whichever it takes, so all must be idle: a pool that still has work keeps all of its workers.
        Removal::Unknown if seen.running() > 0 || !seen.demand.is_none() => surplus.clear(),
        Removal::Unknown => {}
    }
    let all_or_none = removal == Removal::Unknown && current > target;
    if !all_or_none {
        surplus.truncate(current.saturating_sub(target) as usize);
    }
    if !paused && may_let_silent_go(seen, decision) {
        surplus.extend(overdue(seen, target));
    }
    plan.drain = surplus.into_iter().map(|member| member.id.clone()).collect();

    let due = |member: &&Member| {
        let nobodys = !member.boots.is_empty() || seen.strays == 0;
        member.listed && nobodys && member.idle_for.is_some_and(|idle| idle >= remove_after)
    };
    let going: Vec<&Member> = match removal {
        Removal::Chosen => drained.iter().copied().filter(|member| due(member)).collect(),
        Removal::Highest => top_run(seen, |member| drained.iter().any(|d| d.id == member.id) && due(&member)),
        Removal::Unknown => {
            let there = seen.members.iter().filter(|member| member.listed && !member.ending);
            let all = seen.unlisted == 0 && there.clone().all(|member| drained.contains(&member) && due(&member));
            if all { there.collect() } else { Vec::new() }
        }
    };
    // One that is paused keeps what it has, drained ones too.
    let going = if paused { Vec::new() } else { going };
    plan.remove = going.into_iter().filter_map(|member| Some((member.id.clone(), member.epoch?))).collect();
    plan.renew = drained.into_iter().map(|member| member.id.clone()).collect();
    plan
}

/// What is due to those that the platform is ending and waits for word about, whoever had it end them.
///
/// Each is drained, for its worker may not have heard of its end. Where jobs run, the platform is asked to wait on. Where
/// none do, the store lets the place go, which it refuses if one has been claimed meanwhile, and the platform is told.
fn attend(seen: &Observation, plan: &mut Plan) {
    for member in seen.members.iter().filter(|member| member.held) {
        let id = member.id.clone();
        if member.running > 0 {
            plan.extend.push(id.clone());
        }
        plan.shut.push(id.clone());
        // One that was let go before is let go again: what was to follow may not have happened.
        if let Some(epoch) =
            member.epoch.filter(|_| member.running == 0 && (seen.strays == 0 || !member.boots.is_empty()))
        {
            plan.dismiss.push((id, epoch));
        }
    }
}

/// Whether instances without a worker may be drained: not on the word of an old reading, nor while a whole fleet restarts,
/// nor while a worker does not say on which instance it lives, for that may be one of them.
fn may_let_silent_go(seen: &Observation, decision: &Decision) -> bool {
    let restarts = matches!(decision.reason, Reason::Release { .. });
    !restarts && seen.strays == 0 && seen.platform_age <= DRAIN_PLATFORM
}

/// Instances whose worker should have come up long ago, as far as they can be removed before any that works. Those that are
/// needed are replaced, and these cost as much as others.
fn overdue(seen: &Observation, target: u32) -> Vec<&Member> {
    let mut overdue = standing(seen, Standing::Overdue);
    overdue.retain(|member| member.listed);
    match seen.limits.removal {
        Removal::Highest => {
            let there = seen.members.iter().filter(|member| member.listed && !member.ending);
            let kept = there.filter(|member| !matches!(member.standing, Standing::Overdue | Standing::Drained));
            let top = kept.filter_map(|member| member.ordinal).max();
            overdue.retain(|member| member.ordinal > top);
        }
        Removal::Unknown if target > 0 || seen.running() > 0 || !seen.demand.is_none() => overdue.clear(),
        Removal::Chosen | Removal::Unknown => {}
    }
    overdue
}

/// The unbroken run at the top, the highest first: from the number that the platform aims for down to the first that may
/// not go. All instances of one number go or none.
fn top_run(seen: &Observation, may_go: impl Fn(&Member) -> bool) -> Vec<&Member> {
    let mut run = Vec::new();
    for ordinal in (1..=seen.desired).rev() {
        let mut there = seen.members.iter().filter(|member| member.ordinal == Some(ordinal)).peekable();
        // One that is asked for and not listed yet boots.
        if there.peek().is_none() || !there.clone().all(&may_go) {
            break;
        }
        run.extend(there);
    }
    run
}

/// The highest instance whose work is expected to outlast the time in which those below could be gone, or has outlasted
/// its drain. Nothing is known of a job's length but its age: one
/// that has run for so long is expected to run for as long again.
fn blocker<'s>(seen: &'s Observation, patient: Duration, given_back: &GivenBack) -> Option<&'s Member> {
    let works = |member: &&Member| {
        let long = member.oldest.is_some_and(|(_, age)| age > patient) || given_back.spares(&member.id);
        member.listed && !member.ending && long
    };
    seen.members.iter().filter(works).max_by_key(|member| member.ordinal)
}

fn standing(seen: &Observation, standing: Standing) -> Vec<&Member> {
    seen.members.iter().filter(|member| member.standing == standing).collect()
}

#[cfg(test)]
mod tests;

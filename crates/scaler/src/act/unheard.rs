//! A pool whose workers do not beat, since its numbers come from another queue: nobody can be drained. Pure.
//!
//! What is too much is ended without a drain, and only while the source says that nothing waits and nothing runs. A job
//! that starts between that reading and the end has the platform's grace.

use std::cmp::Reverse;

use super::Plan;
use crate::{
    decide::Decision,
    driver::Removal,
    observe::{Backlog, Member, Observation, Standing},
};

/// Chooses whom to end, or how many to start.
pub(super) fn plan(seen: &Observation, decision: &Decision, backlog: Backlog) -> Plan {
    let mut plan = Plan { desired: seen.desired, ..Plan::default() };
    let Some(target) = decision.step.target() else { return plan };
    let current = seen.current();
    if target > current {
        plan.grow_to = Some(seen.desired + (target - current));
    }
    let surplus = current.saturating_sub(target) as usize;
    if surplus == 0 || !backlog.is_still() {
        return plan;
    }
    let mut there: Vec<&Member> = seen.members.iter().filter(|member| member.standing == Standing::Active).collect();
    match seen.limits.removal {
        // The youngest: what has proved itself stays.
        Removal::Chosen => there.sort_by_key(|member| Reverse(member.born_at)),
        // From the number that the platform aims for down; one that is asked for and not listed yet is in the way.
        Removal::Highest => {
            there.sort_by_key(|member| Reverse(member.ordinal));
            let top = (0..seen.desired).map(|below| Some(seen.desired - below));
            let run = there.iter().zip(top).take_while(|(member, number)| member.ordinal == *number).count();
            there.truncate(run);
        }
        // Whichever it takes: all, or none.
        Removal::Unknown if target == 0 && seen.booting() == 0 => {}
        Removal::Unknown => there.clear(),
    }
    there.truncate(surplus);
    plan.end = there.into_iter().map(|member| member.id.clone()).collect();
    plan
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::{
        decide::{Reason, Step},
        driver::{InstanceId, Limits},
        observe::{Demand, Workload},
    };

    const STILL: Backlog = Backlog { pending: 0, oldest: None, running: Some(0) };

    fn seen(removal: Removal, numbers: &[u32], desired: u32) -> Observation {
        let member = |&n: &u32| Member {
            id: InstanceId::from(format!("i-{n}")),
            ordinal: (removal == Removal::Highest).then_some(n),
            listed: true,
            ending: false,
            held: false,
            overdue: false,
            standing: Standing::Active,
            epoch: None,
            boots: Vec::new(),
            slots: 1,
            running: 0,
            oldest: None,
            born_at: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(n.into())),
            started_at: None,
            drained_for: None,
            idle_for: None,
        };
        Observation {
            at: DateTime::UNIX_EPOCH,
            platform_age: std::time::Duration::ZERO,
            demand: Demand::default(),
            workload: Workload::default(),
            members: numbers.iter().map(member).collect(),
            vacant: Vec::new(),
            strays: 0,
            strangers: 0,
            desired,
            unlisted: desired.saturating_sub(numbers.len() as u32),
            trouble: None,
            release: None,
            foreign: Some(STILL),
            peers: Vec::new(),
            limits: Limits { removal, ..Limits::DEFAULT },
        }
    }

    fn ended(seen: &Observation, to: u32, backlog: Backlog) -> Vec<&str> {
        let step = Step::Shrink { from: seen.current(), to };
        let decision = Decision {
            step,
            wish: Some(to),
            reason: Reason::Unseen(crate::observe::Unseen::Store(String::new())),
            bound: None,
        };
        let plan = plan(seen, &decision, backlog);
        assert!(plan.drain.is_empty() && plan.remove.is_empty(), "nobody hears of a drain");
        let names = plan.end.iter().map(|id| seen.members.iter().find(|member| member.id == *id).unwrap().id.as_str());
        names.collect()
    }

    #[test]
    fn whom_the_platform_lets_one_choose_or_takes_by_itself() {
        let chosen = seen(Removal::Chosen, &[1, 2, 3], 3);
        assert_eq!(ended(&chosen, 1, STILL), ["i-3", "i-2"]);
        let highest = seen(Removal::Highest, &[1, 2, 3], 3);
        assert_eq!(ended(&highest, 1, STILL), ["i-3", "i-2"]);
        assert_eq!(ended(&seen(Removal::Highest, &[1, 2, 3], 4), 1, STILL), [""; 0], "worker 4 boots");
        assert_eq!(ended(&seen(Removal::Highest, &[1, 3], 3), 0, STILL), ["i-3"], "so does worker 2");
        let unknown = seen(Removal::Unknown, &[1, 2], 2);
        assert_eq!(ended(&unknown, 1, STILL), [""; 0]);
        assert_eq!(ended(&unknown, 0, STILL), ["i-1", "i-2"]);
    }

    #[test]
    fn nobody_is_ended_while_anything_waits_runs_or_is_unknown() {
        for (pending, running) in [(1, Some(0)), (0, Some(1)), (0, None)] {
            let backlog = Backlog { pending, oldest: None, running };
            assert_eq!(ended(&seen(Removal::Chosen, &[1, 2], 2), 0, backlog), [""; 0], "{backlog:?}");
        }
    }
}

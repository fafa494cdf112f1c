//! What is remembered of a group from reading to reading, since no single one shows it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use aws_sdk_autoscaling::types::{Activity, LifecycleHook, ScalingActivityStatusCode};
use tokio::time::Instant;

use super::{
    calls::WRITE,
    failure::Failure,
    reading::{Reading, Stage},
};
use crate::driver::{Instance, InstanceId, InstanceState, PoolStatus, Trouble};

/// So often a group's hooks are read; they change when somebody changes the infrastructure.
const HOOKS_FOR: Duration = Duration::from_mins(5);
/// So often, if that failed.
const HOOKS_AGAIN: Duration = Duration::from_secs(30);
/// So often it is asked why instances do not come.
const ASK_WHY: Duration = Duration::from_secs(30);
/// How long a terminating instance has when nobody says otherwise.
const GRACE: Duration = Duration::from_mins(2);

/// What the driver knows of one group.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The latest reading.
    pub(super) reading: Option<Reading>,
    seen: HashMap<InstanceId, Instant>,
    removals: HashMap<InstanceId, Removal>,
    /// When the hooks of each that waits in them were last told to wait on.
    signs: HashMap<InstanceId, Instant>,
    short: Option<Short>,
    hooks: Hooks,
}

/// A termination that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removal {
    /// When the call was over.
    pub(super) sent: Instant,
    /// Whether it was answered.
    pub(super) certain: bool,
    /// Whether its wait in the termination hooks was ended.
    let_go: bool,
}

/// Since when the group has fewer instances than it aims for.
#[derive(Debug)]
struct Short {
    since: Instant,
    asked: Option<Instant>,
    trouble: Option<Trouble>,
}

/// The termination hooks of a group, by name, and how long each waits for a sign.
#[derive(Debug, Default)]
struct Hooks {
    read: Option<Instant>,
    known: Option<HashMap<String, Duration>>,
    failure: Option<String>,
}

/// What is to be asked beside the group itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chores {
    /// Which hooks it has.
    pub(super) hooks: bool,
    /// Why its instances do not come.
    pub(super) activities: bool,
}

impl Memory {
    /// Takes a reading that was begun then.
    pub(super) fn note(&mut self, reading: Reading, begun: Instant, now: Instant) {
        let listed: HashSet<&InstanceId> = reading.members.iter().map(|member| &member.id).collect();
        self.seen.retain(|id, _| listed.contains(id));
        self.signs.retain(|id, _| listed.contains(id));
        for &id in &listed {
            self.seen.entry(id.clone()).or_insert(begun);
        }
        self.removals.retain(|id, removal| match reading.member(id) {
            None => false,
            Some(member) if member.stage.is_ending() => true,
            // It may yet happen until the call's time has passed twice. One that was answered was decremented: it is
            // remembered for as long as it is there, for a second call would take another instance's place.
            Some(_) => removal.certain || begun.saturating_duration_since(removal.sent) <= 2 * WRITE,
        });
        if reading.missing() == 0 {
            self.short = None;
        } else {
            self.short.get_or_insert(Short { since: now, asked: None, trouble: None });
        }
        self.reading = Some(reading);
    }

    /// What it is time to ask.
    pub(super) fn chores(&self, boot: Duration, now: Instant) -> Chores {
        let every = if self.hooks.failure.is_some() {
            HOOKS_AGAIN
        } else if self.hooks.known.as_ref().is_some_and(HashMap::is_empty) && self.waits() {
            // In a hook that is new, and that is to be told before it runs out.
            Duration::ZERO
        } else {
            HOOKS_FOR
        };
        let due = |short: &Short| {
            now - short.since >= boot && short.asked.is_none_or(|asked| now - asked >= ASK_WHY.min(boot))
        };
        Chores {
            hooks: self.hooks.read.is_none_or(|read| now - read >= every),
            activities: self.short.as_ref().is_some_and(due),
        }
    }

    /// Takes the group's hooks.
    pub(super) fn note_hooks(&mut self, answer: Result<Vec<LifecycleHook>, Failure>, now: Instant) {
        self.hooks.read = Some(now);
        match answer {
            Ok(hooks) => {
                let ending =
                    |hook: &LifecycleHook| hook.lifecycle_transition() == Some("autoscaling:EC2_INSTANCE_TERMINATING");
                let hook = |hook: LifecycleHook| {
                    let heartbeat = hook.heartbeat_timeout.unwrap_or(3600).max(0) as u64;
                    Some((hook.lifecycle_hook_name?, Duration::from_secs(heartbeat)))
                };
                self.hooks.known = Some(hooks.into_iter().filter(ending).filter_map(hook).collect());
                self.hooks.failure = None;
            }
            Err(failure) => self.hooks.failure = Some(failure.to_string()),
        }
    }

    /// Takes the group's latest activities, the latest first, or that they could not be read.
    pub(super) fn note_activities(&mut self, answer: Result<Vec<Activity>, Failure>, now: Instant) {
        let Some(short) = &mut self.short else { return };
        short.asked = Some(now);
        short.trouble = match answer {
            Ok(activities) => failed_launches(&activities),
            Err(failure) => Some(Trouble {
                message: format!("its instances do not come, and it cannot be read why: {failure}"),
                failures: 1,
                retry_in: Some(Duration::ZERO),
            }),
        };
    }

    /// The removal of this instance, if one was sent and has not been seen to end.
    pub(super) fn removal(&self, id: &InstanceId) -> Option<Removal> {
        self.removals.get(id).copied()
    }

    /// Its removal was sent. `certain`: and answered.
    pub(super) fn removing(&mut self, id: &InstanceId, certain: bool, now: Instant) {
        self.removals.insert(id.clone(), Removal { sent: now, certain, let_go: false });
        if let (true, Some(reading)) = (certain, &mut self.reading) {
            let weight = reading.member(id).map_or(1, |member| member.weight);
            reading.desired = reading.desired.saturating_sub(weight);
        }
    }

    /// Its wait in the hooks was ended.
    pub(super) fn let_go(&mut self, id: &InstanceId) {
        if let Some(removal) = self.removals.get_mut(id) {
            removal.let_go = true;
        }
    }

    /// Those that this driver removed, idle as they were, and that wait in a termination hook for nothing.
    pub(super) fn waiting_for_nothing(&self) -> Vec<InstanceId> {
        let waits = |id: &InstanceId| {
            self.reading.as_ref().and_then(|reading| reading.member(id)).is_some_and(|m| m.stage == Stage::EndHook)
        };
        let ours = self.removals.iter().filter(|(id, removal)| !removal.let_go && waits(id));
        ours.map(|(id, _)| id.clone()).collect()
    }

    fn waits(&self) -> bool {
        self.reading.iter().flat_map(|reading| &reading.members).any(|member| member.stage == Stage::EndHook)
    }

    /// Those of these that wait in a termination hook.
    pub(super) fn waiting(&self, instances: &[InstanceId]) -> Vec<InstanceId> {
        let member = |id: &InstanceId| self.reading.as_ref()?.member(id);
        let waits = |id: &&InstanceId| member(id).is_some_and(|member| member.stage == Stage::EndHook);
        instances.iter().filter(waits).cloned().collect()
    }

    /// Those of these that wait in a termination hook and have to give a sign: a third of its time has passed, so that two
    /// may be lost.
    pub(super) fn due_for_a_sign(&self, instances: &[InstanceId], now: Instant) -> Vec<InstanceId> {
        let shortest = self.hooks.known.iter().flat_map(HashMap::values).min().copied().unwrap_or_default();
        let due = |id: &InstanceId| self.signs.get(id).is_none_or(|&signed| now - signed >= shortest / 3);
        self.waiting(instances).into_iter().filter(due).collect()
    }

    /// It has given a sign.
    pub(super) fn signed(&mut self, id: &InstanceId, at: Instant) {
        self.signs.insert(id.clone(), at);
    }

    /// The names of the termination hooks.
    pub(super) fn hooks(&self) -> Vec<String> {
        self.hooks.known.iter().flat_map(HashMap::keys).cloned().collect()
    }

    /// Whether the hooks are known, and what kept them from being read.
    pub(super) fn hooks_known(&self) -> (Option<usize>, Option<&str>) {
        (self.hooks.known.as_ref().map(HashMap::len), self.hooks.failure.as_deref())
    }

    /// How long a terminating instance has.
    pub(super) fn grace(&self) -> Duration {
        self.hooks.known.iter().flat_map(HashMap::values).max().copied().unwrap_or(GRACE)
    }

    /// Those that have waited in a launch hook for longer than booting takes.
    pub(super) fn held_back(&self, boot: Duration, now: Instant) -> Vec<InstanceId> {
        let members = self.reading.iter().flat_map(|reading| &reading.members);
        let held = members.filter(|member| member.stage == Stage::LaunchHook && self.age(&member.id, now) > boot);
        held.map(|member| member.id.clone()).collect()
    }

    /// The status, but for warnings.
    pub(super) fn status(&self, now: Instant) -> PoolStatus {
        let Some(reading) = &self.reading else { return PoolStatus::default() };
        let instances = reading.members.iter().map(|member| Instance {
            id: member.id.clone(),
            pid: None,
            ordinal: None,
            age: self.age(&member.id, now),
            state: match member.stage {
                Stage::Up | Stage::LaunchHook => InstanceState::Up,
                Stage::Ending => InstanceState::Ending,
                Stage::EndHook => InstanceState::Held,
            },
        });
        PoolStatus {
            desired: reading.size(),
            instances: instances.collect(),
            trouble: self.short.as_ref().and_then(|short| short.trouble.clone()),
            ..PoolStatus::default()
        }
    }

    /// How long it has been listed, as far as this driver has seen: Auto Scaling does not say when it was launched.
    fn age(&self, id: &InstanceId, now: Instant) -> Duration {
        self.seen.get(id).map_or(Duration::ZERO, |&seen| now.saturating_duration_since(seen))
    }
}

/// The launches that failed since the last one that did not.
fn failed_launches(activities: &[Activity]) -> Option<Trouble> {
    use ScalingActivityStatusCode as Code;
    let launches = activities.iter().filter(|activity| {
        activity.description().is_some_and(|text| text.starts_with("Launching"))
            && matches!(activity.status_code(), Some(Code::Failed | Code::Cancelled | Code::Successful))
    });
    let failed: Vec<&Activity> =
        launches.take_while(|activity| activity.status_code() != Some(&Code::Successful)).collect();
    let latest = failed.first()?;
    let why = latest.status_message().or(latest.cause()).unwrap_or("no reason is given");
    Some(Trouble {
        message: format!("its instances do not come up: {why}"),
        failures: failed.len() as u32,
        // Auto Scaling tries again by itself, for as long as its desired capacity says so.
        retry_in: Some(Duration::ZERO),
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance as Sdk, LifecycleState};

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn reading(desired: i32, instances: &[(&str, LifecycleState)]) -> Reading {
        let one = |(id, state): &(&str, LifecycleState)| {
            Sdk::builder().instance_id(*id).lifecycle_state(state.clone()).health_status("Healthy").build()
        };
        let instances = instances.iter().map(one).collect();
        Reading::of(&AutoScalingGroup::builder().desired_capacity(desired).set_instances(Some(instances)).build())
    }

    #[test]
    fn a_removal_that_was_answered_is_remembered_until_the_instance_is_gone() {
        let (mut memory, start, id) = (Memory::default(), Instant::now(), InstanceId::from("i-1"));
        let up = || reading(2, &[("i-1", LifecycleState::InService), ("i-2", LifecycleState::InService)]);
        memory.note(up(), start, start);
        memory.removing(&id, true, start);
        assert_eq!(memory.status(start).desired, 1, "it is decremented before a reading says so");
        for after in [S, 60 * S, 3600 * S] {
            memory.note(up(), start + after, start + after);
            assert!(memory.removal(&id).is_some(), "{after:?}");
        }
        let waits = reading(1, &[("i-1", LifecycleState::TerminatingWait), ("i-2", LifecycleState::InService)]);
        memory.note(waits, start, start);
        assert_eq!(memory.waiting_for_nothing(), std::slice::from_ref(&id));
        memory.let_go(&id);
        assert!(memory.waiting_for_nothing().is_empty());
        memory.note(reading(1, &[("i-2", LifecycleState::InService)]), start, start);
        assert_eq!(memory.removal(&id), None);
    }

    #[test]
    fn one_that_was_not_answered_is_forgotten_once_it_cannot_happen_any_more() {
        let (mut memory, start, id) = (Memory::default(), Instant::now(), InstanceId::from("i-1"));
        let up = || reading(1, &[("i-1", LifecycleState::InService)]);
        memory.note(up(), start, start);
        memory.removing(&id, false, start);
        assert_eq!(memory.status(start).desired, 1);
        // A reading that was begun before is no proof, however late its answer came.
        memory.note(up(), start + 2 * WRITE, start + 10 * WRITE);
        assert!(memory.removal(&id).is_some());
        memory.note(up(), start + 2 * WRITE + S, start + 2 * WRITE + S);
        assert_eq!(memory.removal(&id), None);
    }

    #[test]
    fn only_a_lack_that_lasts_is_looked_into() {
        let (mut memory, start, boot) = (Memory::default(), Instant::now(), 90 * S);
        memory.note(reading(1, &[]), start, start);
        memory.note_hooks(Ok(Vec::new()), start);
        let chores = |memory: &Memory, after| memory.chores(boot, start + after);
        let none = Chores { hooks: false, activities: false };
        assert_eq!(chores(&memory, 89 * S), none);
        assert!(chores(&memory, 90 * S).activities);
        let failed = |code: ScalingActivityStatusCode, why: &str| {
            let activity = Activity::builder().description("Launching a new EC2 instance").status_code(code);
            activity.status_message(why).build()
        };
        let (lost, won) = (ScalingActivityStatusCode::Failed, ScalingActivityStatusCode::Successful);
        let history =
            [failed(lost.clone(), "no capacity"), failed(lost.clone(), "none"), failed(won, ""), failed(lost, "old")];
        memory.note_activities(Ok(history.to_vec()), start + 90 * S);
        assert_eq!(chores(&memory, 100 * S), none, "not at every tick");
        assert!(chores(&memory, 120 * S).activities);
        let trouble = memory.status(start).trouble.expect("two launches failed");
        assert!(trouble.message.contains("no capacity") && trouble.failures == 2, "{trouble:?}");
        memory.note(reading(1, &[("i-1", LifecycleState::Pending)]), start, start);
        assert_eq!(memory.status(start).trouble, None, "nothing is missing any more");
    }
}

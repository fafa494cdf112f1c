//! What `DescribeAutoScalingGroups` says of a group, in the driver's terms.

use aws_sdk_autoscaling::types::{AutoScalingGroup, LifecycleState};

use super::units::{Units, weight};
use crate::driver::InstanceId;

/// A group as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// The fewest units.
    pub(super) min: u32,
    /// The most units.
    pub(super) max: u32,
    /// The units aimed for.
    pub(super) desired: u32,
    /// What a unit is.
    pub(super) units: Units,
    /// The instances that are the group's, those that end included.
    pub(super) members: Vec<GroupMember>,
    /// Instances that are set aside or that nobody knows how to count, with their state.
    pub(super) aside: Vec<(InstanceId, String)>,
    /// In how many zones it may launch.
    pub(super) zones: usize,
    /// Whether it is being deleted.
    pub(super) going: bool,
    suspended: Vec<String>,
}

/// An instance of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupMember {
    pub(super) id: InstanceId,
    pub(super) stage: Stage,
    /// How many units it counts.
    pub(super) weight: u32,
}

/// Where an instance stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It boots or runs, and is part of the desired capacity.
    Up,
    /// The same, but a launch hook holds it back.
    LaunchHook,
    /// It is being terminated.
    Ending,
    /// The same, and a termination hook holds it back.
    EndHook,
}

impl Stage {
    /// Whether it is being terminated.
    pub(super) fn is_ending(self) -> bool {
        matches!(self, Self::Ending | Self::EndHook)
    }
}

impl Reading {
    /// A group's answer. What is missing of it is zero, as Auto Scaling leaves nothing out.
    pub(super) fn of(group: &AutoScalingGroup) -> Self {
        let count = |number: Option<i32>| number.unwrap_or_default().max(0) as u32;
        let mut reading = Self {
            min: count(group.min_size()),
            max: count(group.max_size()),
            desired: count(group.desired_capacity()),
            units: Units::of(group),
            members: Vec::new(),
            aside: Vec::new(),
            zones: group.availability_zones().len(),
            going: group.status().is_some(),
            suspended: group.suspended_processes().iter().filter_map(|p| p.process_name().map(Into::into)).collect(),
        };
        // One that fails its health checks is terminated and replaced without anybody asking, unless that is off.
        let culled = !["HealthCheck", "ReplaceUnhealthy", "Terminate"].iter().any(|&off| reading.is_suspended(off));
        for instance in group.instances() {
            let Some(id) = instance.instance_id().map(InstanceId::from) else { continue };
            let lifecycle = instance.lifecycle_state().unwrap_or(&LifecycleState::Pending);
            let sick = instance.health_status().is_some_and(|health| health.eq_ignore_ascii_case("unhealthy"));
            match stage(lifecycle) {
                Some(stage) => {
                    let stage = if sick && culled && !stage.is_ending() { Stage::Ending } else { stage };
                    let weight = weight(instance.weighted_capacity());
                    reading.members.push(GroupMember { id, stage, weight });
                }
                // It is the group's no longer: a worker that still beats there is counted by its beat.
                None if matches!(
                    lifecycle,
                    LifecycleState::Terminated | LifecycleState::Detaching | LifecycleState::Detached
                ) => {}
                None => reading.aside.push((id, lifecycle.as_str().to_owned())),
            }
        }
        reading
    }

    /// Whether the group does not do this on its own at the moment.
    pub(super) fn is_suspended(&self, process: &str) -> bool {
        self.suspended.iter().any(|suspended| suspended == process)
    }

    /// An instance of it.
    pub(super) fn member(&self, id: &InstanceId) -> Option<&GroupMember> {
        self.members.iter().find(|member| member.id == *id)
    }

    /// The desired capacity in instances.
    pub(super) fn size(&self) -> u32 {
        let up = self.members.iter().filter(|member| !member.stage.is_ending());
        let (there, present) = up.fold((0, 0), |(there, present), member| (there + 1, present + member.weight));
        self.units.to_instances(self.desired, there, present)
    }

    /// How many instances are to come that are not there.
    pub(super) fn missing(&self) -> u32 {
        let up = self.members.iter().filter(|member| !member.stage.is_ending()).count() as u32;
        self.size().saturating_sub(up)
    }
}

/// Where an instance in this state stands; nowhere if it is not capacity.
fn stage(state: &LifecycleState) -> Option<Stage> {
    use LifecycleState as S;
    Some(match state {
        S::InService
        | S::Pending
        | S::PendingProceed
        | S::ReplacingRootVolume
        | S::ReplacingRootVolumeWait
        | S::ReplacingRootVolumeProceed
        | S::RootVolumeReplaced => Stage::Up,
        S::PendingWait => Stage::LaunchHook,
        S::Terminating | S::TerminatingProceed | S::TerminatingRetained => Stage::Ending,
        S::TerminatingWait => Stage::EndHook,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::types::{Instance, SuspendedProcess};

    use super::*;

    fn group(instances: &[(&str, &str)], suspended: &[&str]) -> AutoScalingGroup {
        let one = |(at, (state, health)): (usize, &(&str, &str))| {
            let instance = Instance::builder().instance_id(format!("i-{at}")).health_status(*health);
            instance.lifecycle_state(LifecycleState::from(*state)).build()
        };
        let suspended = suspended.iter().map(|process| SuspendedProcess::builder().process_name(*process).build());
        AutoScalingGroup::builder()
            .desired_capacity(3)
            .set_instances(Some(instances.iter().enumerate().map(one).collect()))
            .set_suspended_processes(Some(suspended.collect()))
            .build()
    }

    #[test]
    fn every_state_that_the_service_knows_is_placed() {
        for (state, placed) in [
            ("InService", Some(Stage::Up)),
            ("Pending", Some(Stage::Up)),
            ("Pending:Proceed", Some(Stage::Up)),
            ("Pending:Wait", Some(Stage::LaunchHook)),
            ("ReplacingRootVolume:Wait", Some(Stage::Up)),
            ("Terminating", Some(Stage::Ending)),
            ("Terminating:Wait", Some(Stage::EndHook)),
            ("Terminating:Proceed", Some(Stage::Ending)),
            ("Terminated", None),
            ("Detaching", None),
            ("Standby", None),
            ("EnteringStandby", None),
            ("Warmed:Stopped", None),
            ("Quarantined", None),
            ("SomethingNew", None),
        ] {
            let reading = Reading::of(&group(&[(state, "Healthy")], &[]));
            assert_eq!(reading.members.first().map(|member| member.stage), placed, "{state}");
            let gone = matches!(state, "Terminated" | "Detaching");
            assert_eq!(reading.aside.len(), usize::from(placed.is_none() && !gone), "{state}");
        }
    }

    #[test]
    fn what_ends_is_no_capacity_and_what_is_missing_is_seen() {
        let states = ["InService", "Pending:Wait", "Terminating:Wait", "Standby"].map(|state| (state, "Healthy"));
        let reading = Reading::of(&group(&states, &[]));
        assert_eq!((reading.size(), reading.missing()), (3, 1));
    }

    #[test]
    fn an_unhealthy_instance_is_ending_unless_the_group_leaves_it_be() {
        let sick = [("InService", "Unhealthy")];
        assert_eq!(Reading::of(&group(&sick, &[])).members[0].stage, Stage::Ending);
        for off in ["HealthCheck", "ReplaceUnhealthy", "Terminate"] {
            assert_eq!(Reading::of(&group(&sick, &[off])).members[0].stage, Stage::Up, "{off}");
        }
    }
}

//! Desired capacity counts units, and a pool counts instances.
//!
//! Where all instances weigh the same, the one is a multiple of the other. Where they do not (a mixed instances policy
//! with several weights, or a capacity in vCPUs or memory), nobody can say how many instances a capacity becomes: what
//! is there is counted one by one, what is missing as the fewest that would fill the gap, and growing is refused.

use std::collections::BTreeSet;

use aws_sdk_autoscaling::types::{AutoScalingGroup, LaunchTemplate};

/// How many units an instance of a group counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Units {
    /// All the same.
    Each(u32),
    /// Up to so many.
    UpTo(u32),
}

impl Units {
    /// Those of a group: by the weights that its policy names, and by the weights that its instances have, which may be
    /// of an earlier policy.
    pub(super) fn of(group: &AutoScalingGroup) -> Self {
        let overrides = group
            .mixed_instances_policy()
            .and_then(|policy| policy.launch_template())
            .map(LaunchTemplate::overrides)
            .unwrap_or_default();
        let mut weights: BTreeSet<u32> = overrides.iter().map(|one| weight(one.weighted_capacity())).collect();
        weights.extend(group.instances().iter().map(|instance| weight(instance.weighted_capacity())));
        let largest = weights.last().copied().unwrap_or(1);
        // The other types count vCPUs or mebibytes, of which the next instance may bring any number.
        let counted = group.desired_capacity_type().is_none_or(|kind| kind == "units");
        if counted && weights.len() <= 1 { Self::Each(largest) } else { Self::UpTo(largest) }
    }

    /// So many instances in units, where that can be said.
    pub(super) fn units_for(self, instances: u32) -> Option<u32> {
        match self {
            Self::Each(weight) => Some(instances.saturating_mul(weight)),
            Self::UpTo(_) => None,
        }
    }

    /// How many instances a bound of so many units lets be.
    pub(super) fn within(self, units: u32) -> u32 {
        let (Self::Each(weight) | Self::UpTo(weight)) = self;
        units / weight
    }

    /// How many instances so many units come to, of which `there` instances with `present` units are there.
    pub(super) fn to_instances(self, units: u32, there: u32, present: u32) -> u32 {
        match self {
            // Auto Scaling launches until the capacity is met, so part of an instance is one.
            Self::Each(weight) => units.div_ceil(weight),
            Self::UpTo(largest) if units >= present => there + (units - present).div_ceil(largest),
            Self::UpTo(largest) => there.saturating_sub((present - units).div_ceil(largest)),
        }
    }
}

/// A weight as it is written; 1 where there is none.
pub(super) fn weight(written: Option<&str>) -> u32 {
    written.and_then(|weight| weight.parse().ok()).filter(|&weight| weight > 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::types::{Instance, LaunchTemplateOverrides, MixedInstancesPolicy};

    use super::*;

    fn group(overrides: &[Option<&str>], instances: &[Option<&str>], kind: Option<&str>) -> AutoScalingGroup {
        let one = |weight: Option<&str>| {
            LaunchTemplateOverrides::builder().set_weighted_capacity(weight.map(str::to_owned)).build()
        };
        let template = LaunchTemplate::builder().set_overrides(Some(overrides.iter().copied().map(one).collect()));
        let policy = MixedInstancesPolicy::builder().launch_template(template.build()).build();
        let one = |weight: Option<&str>| Instance::builder().set_weighted_capacity(weight.map(str::to_owned)).build();
        AutoScalingGroup::builder()
            .mixed_instances_policy(policy)
            .set_instances(Some(instances.iter().copied().map(one).collect()))
            .set_desired_capacity_type(kind.map(str::to_owned))
            .build()
    }

    #[test]
    fn the_units_are_those_of_the_policy_and_of_the_instances() {
        for (overrides, instances, kind, units) in [
            (&[][..], &[][..], None, Units::Each(1)),
            (&[None, None], &[None], Some("units"), Units::Each(1)),
            (&[Some("4"), Some("4")], &[Some("4")], None, Units::Each(4)),
            (&[Some("4"), Some("8")], &[], None, Units::UpTo(8)),
            (&[Some("4")], &[Some("4"), Some("2")], None, Units::UpTo(4)),
            (&[None], &[Some("2")], Some("vcpu"), Units::UpTo(2)),
            (&[], &[], Some("memory-mib"), Units::UpTo(1)),
        ] {
            assert_eq!(Units::of(&group(overrides, instances, kind)), units, "{overrides:?} {instances:?} {kind:?}");
        }
    }

    #[test]
    fn units_become_instances_and_back() {
        let each = Units::Each(4);
        assert_eq!(each.units_for(3), Some(12));
        assert_eq!([0, 1, 4, 5, 12].map(|units| each.to_instances(units, 9, 9)), [0, 1, 1, 2, 3]);
        assert_eq!([3, 4, 11].map(|units| each.within(units)), [0, 1, 2]);
        let up_to = Units::UpTo(8);
        assert_eq!(up_to.units_for(3), None);
        // Two instances with 12 units are there.
        assert_eq!([12, 13, 20, 21].map(|units| up_to.to_instances(units, 2, 12)), [2, 3, 3, 4]);
        assert_eq!([11, 4, 0].map(|units| up_to.to_instances(units, 2, 12)), [1, 1, 0]);
        assert_eq!(up_to.within(20), 2);
    }
}

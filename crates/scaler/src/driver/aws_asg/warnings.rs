//! What an operator should know of a group before it hurts. The texts name no changing number, as each is told once.

use std::time::Duration;

use tokio::time::Instant;

use super::{config::PoolGroup, memory::Memory, units::Units};
use crate::driver::{PoolRef, Trouble};

/// What keeps this group from growing, whatever its launches come to.
pub(super) fn hindrance(group: &str, memory: &Memory) -> Option<Trouble> {
    let reading = memory.reading.as_ref()?;
    let message = if reading.is_suspended("Launch") {
        format!(
            "the process Launch of the Auto Scaling group {group} is suspended: resume it with \
             `aws autoscaling resume-processes --auto-scaling-group-name {group} --scaling-processes Launch`"
        )
    } else if let Units::UpTo(_) = reading.units {
        mixed(group)
    } else {
        return None;
    };
    Some(Trouble { message, failures: 1, retry_in: None })
}

/// Why a group with several weights cannot be grown.
pub(super) fn mixed(group: &str) -> String {
    format!(
        "the instances of the Auto Scaling group {group} have different weights, so no desired capacity stands for a \
         number of workers: give all its instance types the same weight, or none"
    )
}

/// Everything else.
pub(super) fn warnings(
    pool: &PoolRef,
    group: &PoolGroup,
    memory: &Memory,
    boot: Duration,
    now: Instant,
) -> Vec<String> {
    let Some(reading) = &memory.reading else { return Vec::new() };
    let name = &group.name;
    let mut warnings = Vec::new();
    if reading.is_suspended("Terminate") {
        warnings.push(format!(
            "the process Terminate of the Auto Scaling group {name} is suspended: it may keep instances"
        ));
    }
    if reading.zones > 1 && !reading.is_suspended("AZRebalance") {
        warnings.push(format!(
            "the Auto Scaling group {name} rebalances its zones, for which it terminates instances that work: suspend \
             it with `aws autoscaling suspend-processes --auto-scaling-group-name {name} --scaling-processes \
             AZRebalance`"
        ));
    }
    let most = reading.units.within(reading.max);
    if most < group.max {
        warnings.push(format!(
            "the Auto Scaling group {name} takes at most {most} instances, and pool {pool} may want {}: raise its \
             MaxSize, or lower the pool's max",
            group.max
        ));
    }
    let least = reading.units.to_instances(reading.min, 0, 0);
    if least > group.min {
        warnings.push(format!(
            "the Auto Scaling group {name} keeps at least {least} instances, and pool {pool} may go down to {}: lower \
             its MinSize, or raise the pool's min",
            group.min
        ));
    }
    match memory.hooks_known() {
        (_, Some(failure)) => {
            warnings.push(format!("the lifecycle hooks of the Auto Scaling group {name} cannot be read: {failure}"));
        }
        (Some(0), None) => warnings.push(format!(
            "the Auto Scaling group {name} has no termination hook: what it terminates on its own has no time to \
             finish its jobs. Add one for autoscaling:EC2_INSTANCE_TERMINATING"
        )),
        _ => {}
    }
    for id in memory.held_back(boot, now) {
        warnings.push(format!("{id} waits in a launch hook of the Auto Scaling group {name} (Pending:Wait)"));
    }
    for (id, state) in &reading.aside {
        warnings.push(format!(
            "{id} of the Auto Scaling group {name} is in state {state}: it is neither counted nor removed"
        ));
    }
    warnings
}

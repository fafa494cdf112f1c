//! Auto Scaling groups of AWS: a pool is a group, an instance is an EC2 instance.
//!
//! Growing sets the desired capacity. Shrinking never does, for then Auto Scaling would choose whom to kill: each
//! instance is terminated by its name, with the decrement of the desired capacity in the same call, and never twice,
//! since the second decrement would cost another instance its place.
//!
//! The one region and account that a driver speaks to is in its [`AwsConfig`]. It asks `DescribeAutoScalingGroups` once
//! for all its groups at every look, and beside it, every few minutes, for the lifecycle hooks, and for the activities
//! of a group whose instances do not come. It needs these permissions, all `autoscaling:`: `DescribeAutoScalingGroups`,
//! `DescribeScalingActivities`, `DescribeLifecycleHooks`, `SetDesiredCapacity`,
//! `TerminateInstanceInAutoScalingGroup`, `CompleteLifecycleAction`, `RecordLifecycleActionHeartbeat`.
//!
//! A worker's instance name must be the instance's id (`i-0123456789abcdef0`), as `headcount work` finds it on EC2.
//!
//! What the group ends on its own waits in its termination hook while jobs run there, and is let go as soon as they are
//! settled. A scaler that was killed is followed by another within 30 s: a hook that waits for 60 s or more bridges that.
//! No hook can be made to wait for longer than a hundred times its own time, or 48 h.

mod calls;
mod config;
mod failure;
mod hooks;
mod memory;
mod reading;
mod removal;
mod units;
mod warnings;

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_autoscaling::types::AutoScalingGroup;
use futures::future::join_all;
use tokio::time::Instant;

use super::{Applied, Change, DriverError, Limits, PoolRef, PoolStatus, Removal, ScalerDriver};
use calls::{Calls, READ, WRITE};
use config::PoolGroup;
use failure::Failure;
use memory::{Chores, Memory};
use reading::Reading;

pub use config::AwsConfig;

/// How long each thing that is asked beside a reading may hold it up.
const ASIDE: Duration = Duration::from_secs(3);

/// Keeps pools in the Auto Scaling groups of one region and account.
///
/// Desired capacity is translated where all instances of a group have one weight. A group with several is looked at and
/// shrunk, but not grown.
///
/// To be used on a tokio runtime.
pub struct AwsDriver {
    config: AwsConfig,
    calls: Calls,
    memories: Mutex<HashMap<PoolRef, Memory>>,
}

impl AwsDriver {
    /// A driver for these groups. Reads the environment and the AWS configuration files as the SDK does; asks nobody
    /// yet, so what is wrong with the credentials shows at the first look.
    pub async fn new(config: AwsConfig) -> Self {
        let calls = Calls::new(&config).await;
        Self { config, calls, memories: Mutex::default() }
    }

    fn group(&self, pool: &PoolRef) -> Result<&PoolGroup, DriverError> {
        let none = || DriverError::Refused(format!("pool {pool} has no Auto Scaling group"));
        self.config.groups.get(pool).ok_or_else(none)
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<PoolRef, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with what is known of a pool; holds the lock meanwhile.
    fn with<T>(&self, pool: &PoolRef, work: impl FnOnce(&mut Memory) -> T) -> T {
        work(self.memories().entry(pool.clone()).or_default())
    }

    /// Takes a pool's group out of an answer, notes it and completes the picture.
    async fn look(
        &self,
        pool: &PoolRef,
        groups: &[AutoScalingGroup],
        begun: Instant,
        deadline: Instant,
    ) -> Result<PoolStatus, DriverError> {
        let group = self.group(pool)?;
        let reading = self.find(group, groups)?;
        let now = Instant::now();
        let Chores { hooks, activities } = self.with(pool, |memory| {
            memory.note(reading, begun, now);
            memory.chores(self.config.boot, now)
        });
        let soon = || deadline.min(Instant::now() + ASIDE);
        if hooks {
            let answer = self.calls.hooks(&group.name, soon()).await;
            self.with(pool, |memory| memory.note_hooks(answer, now));
        }
        if activities {
            let answer = self.calls.activities(&group.name, soon()).await;
            self.with(pool, |memory| memory.note_activities(answer, now));
        }
        for id in self.with(pool, |memory| memory.waiting_for_nothing()) {
            // Whatever goes wrong is tried again at the next look, and the hook has a time limit of its own.
            if let Err(failure) = self.let_go(pool, group, &id, soon()).await {
                tracing::warn!(instance = %id, group = group.name, %failure, "could not end its wait in the termination hook");
            }
        }
        let mut status = self.with(pool, |memory| {
            let mut status = memory.status(now);
            status.warnings = warnings::warnings(pool, group, memory, self.config.boot, now);
            status.trouble = warnings::hindrance(&group.name, memory).or(status.trouble);
            status
        });
        status.age = begun.elapsed();
        Ok(status)
    }

    fn find(&self, group: &PoolGroup, groups: &[AutoScalingGroup]) -> Result<Reading, DriverError> {
        let (name, region) = (&group.name, &self.config.region);
        let found = groups.iter().find(|found| found.auto_scaling_group_name() == Some(name));
        let found = found.ok_or_else(|| {
            DriverError::Refused(format!(
                "there is no Auto Scaling group {name} in {region}, as far as these credentials can see"
            ))
        })?;
        let reading = Reading::of(found);
        if reading.going {
            return Err(DriverError::Refused(format!("the Auto Scaling group {name} in {region} is being deleted")));
        }
        Ok(reading)
    }

    /// Makes the changes of one pool, one after the other.
    async fn change(&self, changes: Vec<&Change>, deadline: Instant) -> Vec<Result<Applied, DriverError>> {
        let mut answers = Vec::new();
        for change in changes {
            answers.push(match (self.group(change.pool()), change) {
                (Err(error), _) => Err(error),
                (Ok(group), Change::GrowTo { pool, size }) => self.grow(pool, group, *size, deadline).await,
                (Ok(group), Change::Remove { pool, instances, .. }) => {
                    self.remove(pool, group, instances, deadline).await
                }
                (Ok(group), Change::Complete { pool, instances }) => {
                    self.complete(pool, group, instances, deadline).await
                }
                (Ok(group), Change::Extend { pool, instances }) => self.extend(pool, group, instances, deadline).await,
            });
        }
        answers
    }

    async fn grow(
        &self,
        pool: &PoolRef,
        group: &PoolGroup,
        size: u32,
        deadline: Instant,
    ) -> Result<Applied, DriverError> {
        // Right before: if somebody has raised it since the last look, the absolute number would lower it, and Auto
        // Scaling would pick instances to kill.
        let names = [group.name.clone()];
        let groups = self.calls.groups(&names, deadline).await.map_err(Failure::of_read)?;
        let reading = self.find(group, &groups)?;
        let unsaid = || DriverError::Refused(warnings::mixed(&group.name));
        let units = reading.units.units_for(size).ok_or_else(unsaid)?;
        if reading.desired >= units {
            return Ok(Applied { desired: reading.size(), changed: false });
        }
        self.calls.set_desired(&group.name, units, deadline).await.map_err(Failure::of_write)?;
        self.with(pool, |memory| {
            if let Some(reading) = &mut memory.reading {
                reading.desired = units;
            }
        });
        Ok(Applied { desired: size, changed: true })
    }
}

impl fmt::Debug for AwsDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsDriver").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Display for AwsDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "aws: {}", self.config.region)
    }
}

#[async_trait]
impl ScalerDriver for AwsDriver {
    fn limits(&self, pool: &PoolRef) -> Limits {
        let boot = self.config.boot;
        let (max, grace) = self.with(pool, |memory| {
            (memory.reading.as_ref().map(|reading| reading.units.within(reading.max)), memory.grace())
        });
        // Linux is billed by the second, from a minute on.
        Limits {
            max,
            min_bill: Duration::from_mins(1),
            boot,
            overdue: 3 * boot,
            removal: Removal::Chosen,
            grace,
            shared: true,
        }
    }

    async fn status(&self, pools: &[PoolRef]) -> Vec<Result<PoolStatus, DriverError>> {
        let begun = Instant::now();
        let deadline = begun + READ;
        let names: Vec<String> = pools.iter().filter_map(|pool| Some(self.group(pool).ok()?.name.clone())).collect();
        // Without a name it would answer with every group of the account.
        let groups = if names.is_empty() { Ok(Vec::new()) } else { self.calls.groups(&names, deadline).await };
        match groups {
            Ok(groups) => join_all(pools.iter().map(|pool| self.look(pool, &groups, begun, deadline))).await,
            Err(failure) => {
                let error = failure.of_read();
                pools.iter().map(|pool| self.group(pool).and(Err(error.clone()))).collect()
            }
        }
    }

    async fn apply(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>> {
        let deadline = Instant::now() + WRITE;
        let mut pools: Vec<&PoolRef> = Vec::new();
        for change in changes {
            if !pools.contains(&change.pool()) {
                pools.push(change.pool());
            }
        }
        let of = |pool| changes.iter().filter(move |change| change.pool() == pool);
        let answers = join_all(pools.iter().map(|&pool| self.change(of(pool).collect(), deadline))).await;
        let mut answers: Vec<_> = pools.into_iter().zip(answers.into_iter().map(Vec::into_iter)).collect();
        let mut next = |change: &Change| {
            let (_, answers) = answers.iter_mut().find(|(pool, _)| *pool == change.pool())?;
            answers.next()
        };
        changes.iter().map(|change| next(change).expect("each change of a pool has its answer")).collect()
    }
}

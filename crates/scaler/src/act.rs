//! Act: from a decision to calls of the store and the platform, in an order that kills no job.
//!
//! Recall comes before growth. Removal comes last and in steps, each in a tick of its own: a place is drained; a later
//! reading shows it drained and without a job; the store lets it go, which it refuses if any of that has changed; only then
//! is the platform told to remove it. If the platform refuses, the place goes back to drained, from where it can be
//! recalled. One that is leaving never is.
//!
//! What the platform ends on its own (a zone is rebalanced, a Spot instance is taken back) goes the same way, as far as the
//! platform waits for word: it is drained, it gets more time while jobs run there, and the platform may end it once the
//! store has let it go.
//!
//! A drain belongs to the place and not to the process: what the platform restarts there comes up drained.

pub mod plan;
mod overlong;
mod unheard;

use std::{fmt, time::Duration};

use headcount_queue::{
    BootId, JobId, Result,
    store::{Fence, Store},
};

use crate::driver::{Applied, Change, DriverError, InstanceId, PoolRef};

pub use overlong::GivenBack;
pub use plan::{Plan, Removals, plan};

/// How long a drain lasts unless it is renewed: if the scaler dies, its workers claim again.
pub const DRAIN_LEASE: Duration = Duration::from_mins(1);

/// How long the drain of a place lasts whose removal was sent: until a reading tells what came of it.
pub const REMOVAL_LEASE: Duration = Duration::from_mins(10);

/// Something that was done for a pool, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The drains of these places were ended; their workers claim again.
    Recalled(Vec<InstanceId>),
    /// These were drained for as long as the pool allows, and still run something: they claim again.
    GivenBack(Vec<InstanceId>),
    /// These were drained.
    Drained(Vec<InstanceId>),
    /// Nothing below this instance is drained, since it works on this job, for so long by now.
    Blocked {
        /// The instance.
        by: InstanceId,
        /// Its job.
        job: JobId,
        /// How long it has had it.
        age: Duration,
    },
    /// These were let go by the scaler and are still there: they are drained again.
    Stayed(Vec<InstanceId>),
    /// The platform was asked.
    Asked {
        /// For what.
        change: Change,
        /// What it answered.
        answer: Result<Applied, DriverError>,
    },
    /// The jobs of these workers were freed, as their processes are gone.
    Buried(Vec<BootId>),
    /// The store failed in between, or the lease was about to run out; the rest is done at the next tick.
    Failed(String),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recalled(instances) => list(f, "recalled", instances),
            Self::GivenBack(instances) => {
                list(f, "recalled, since drain_timeout has passed and they still work:", instances)
            }
            Self::Drained(instances) => list(f, "drained", instances),
            Self::Blocked { by, job, age } => {
                write!(f, "nothing below {by} is drained: it has run job {job} for {age:.0?}")
            }
            Self::Stayed(instances) => list(f, "not removed after all:", instances),
            Self::Asked { change, answer: Ok(_) } => change.fmt(f),
            Self::Asked { change, answer: Err(error) } => write!(f, "{change}: {error}"),
            Self::Buried(boots) => write!(f, "freed the jobs of {} that ended", boots.len()),
            Self::Failed(error) => write!(f, "broke off: {error}"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, instances: &[InstanceId]) -> fmt::Result {
    f.write_str(what)?;
    instances.iter().enumerate().try_for_each(|(i, id)| write!(f, "{} {id}", if i == 0 { "" } else { "," }))
}

/// Does what the store has to do for a plan, and returns what is left to ask of the platform.
///
/// A failure of the store breaks it off and is noted among the actions. What has been let go until then is still
/// removed: the store has said yes to it.
pub async fn prepare(
    store: &dyn Store,
    fence: &Fence,
    pool: &PoolRef,
    plan: &Plan,
    actions: &mut Vec<Action>,
) -> Vec<Change> {
    let mut leaving = Vec::new();
    let mut complete = Vec::new();
    let done = in_store(store, fence, pool, plan, actions, (&mut leaving, &mut complete)).await;
    if let Err(error) = done {
        actions.push(Action::Failed(error.to_string()));
    }
    let mut changes = Vec::new();
    if !leaving.is_empty() {
        let size = plan.desired.saturating_sub(leaving.len() as u32);
        changes.push(Change::Remove { pool: pool.clone(), instances: leaving, size });
    }
    if !plan.end.is_empty() {
        let size = plan.desired.saturating_sub(plan.end.len() as u32);
        changes.push(Change::Remove { pool: pool.clone(), instances: plan.end.clone(), size });
    }
    if let Some(size) = plan.grow_to {
        changes.push(Change::GrowTo { pool: pool.clone(), size });
    }
    if !plan.extend.is_empty() {
        changes.push(Change::Extend { pool: pool.clone(), instances: plan.extend.clone() });
    }
    if !complete.is_empty() {
        changes.push(Change::Complete { pool: pool.clone(), instances: complete });
    }
    changes
}

async fn in_store(
    store: &dyn Store,
    fence: &Fence,
    pool: &PoolRef,
    plan: &Plan,
    actions: &mut Vec<Action>,
    (leaving, complete): (&mut Vec<InstanceId>, &mut Vec<InstanceId>),
) -> Result<()> {
    let pool = pool.as_str();
    // These first: the platform's patience with them has an end.
    if !plan.shut.is_empty() {
        store.withhold(fence, pool, &names(&plan.shut), DRAIN_LEASE).await?;
    }
    for (instance, epoch) in &plan.dismiss {
        if store.let_go(fence, pool, instance.as_str(), *epoch, REMOVAL_LEASE).await? {
            complete.push(instance.clone());
        }
    }
    if !plan.forget.is_empty() {
        store.forget(fence, pool, &names(&plan.forget)).await?;
    }
    if !plan.recall.is_empty() {
        store.restore(fence, pool, &names(&plan.recall)).await?;
        let (vain, wanted): (Vec<_>, Vec<_>) = plan.recall.iter().cloned().partition(|id| plan.given_back.contains(id));
        actions.extend((!wanted.is_empty()).then_some(Action::Recalled(wanted)));
        actions.extend((!vain.is_empty()).then_some(Action::GivenBack(vain)));
    }
    if !plan.keep.is_empty() {
        store.keep(fence, pool, &names(&plan.keep)).await?;
        actions.push(Action::Stayed(plan.keep.clone()));
    }
    if let Some((by, job, age)) = plan.blocked_by.clone() {
        actions.push(Action::Blocked { by, job, age });
    }
    if !plan.drain.is_empty() {
        store.withhold(fence, pool, &names(&plan.drain), DRAIN_LEASE).await?;
        actions.push(Action::Drained(plan.drain.clone()));
    }
    if !plan.renew.is_empty() {
        store.withhold(fence, pool, &names(&plan.renew), DRAIN_LEASE).await?;
    }
    for (instance, epoch) in &plan.remove {
        if store.let_go(fence, pool, instance.as_str(), *epoch, REMOVAL_LEASE).await? {
            leaving.push(instance.clone());
        } else if plan.run {
            break;
        }
    }
    Ok(())
}

fn names(instances: &[InstanceId]) -> Vec<String> {
    instances.iter().map(ToString::to_string).collect()
}

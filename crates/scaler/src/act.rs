//! Act: from a decision to calls of the store and the platform, in an order that kills no job.
//!
//! Recall comes before growth. Removal comes last and in steps, each in a tick of its own: a worker is drained; a later
//! reading shows it draining and without a job; the store lets it leave, which it refuses if any of that has changed;
//! only then is the platform told to remove exactly that instance. If the platform refuses, the worker goes back to
//! draining, from where it can be recalled. One that is leaving never is.

pub mod plan;

use std::{fmt, time::Duration};

use headcount_queue::{
    BootId, Result,
    store::{Store, WorkerState},
};

use crate::{
    driver::{Applied, Change, DriverError, InstanceId, PoolRef},
    observe::Member,
};

pub use plan::{Plan, Removals, plan};

/// How long a drain lasts unless it is renewed: if the scaler dies, its workers claim again.
pub const DRAIN_LEASE: Duration = Duration::from_mins(1);

/// Something that was done for a pool, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// So many draining workers claim again.
    Recalled(Vec<BootId>),
    /// These were drained.
    Drained(Vec<InstanceId>),
    /// These were let go by the scaler and are still there: they are draining again.
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
    /// The store failed in between; the rest is done at the next tick.
    Failed(String),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recalled(boots) => write!(f, "recalled {}", boots.len()),
            Self::Drained(instances) => list(f, "drained", instances),
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
    by: &str,
    pool: &PoolRef,
    plan: &Plan,
    actions: &mut Vec<Action>,
) -> Vec<Change> {
    let mut leaving = Vec::new();
    if let Err(error) = in_store(store, by, plan, actions, &mut leaving).await {
        actions.push(Action::Failed(error.to_string()));
    }
    let mut changes = Vec::new();
    if !leaving.is_empty() {
        let size = plan.desired.saturating_sub(leaving.len() as u32);
        changes.push(Change::Remove { pool: pool.clone(), instances: leaving, size });
    }
    if let Some(size) = plan.grow_to {
        changes.push(Change::GrowTo { pool: pool.clone(), size });
    }
    changes
}

async fn in_store(
    store: &dyn Store,
    by: &str,
    plan: &Plan,
    actions: &mut Vec<Action>,
    leaving: &mut Vec<InstanceId>,
) -> Result<()> {
    if !plan.recall.is_empty() {
        let recalled = store.recall(&plan.recall).await?;
        if !recalled.is_empty() {
            actions.push(Action::Recalled(recalled));
        }
    }
    if !plan.stay.is_empty() {
        stay(store, &plan.stay).await?;
        actions.push(Action::Stayed(plan.stay.iter().map(|member| member.id.clone()).collect()));
    }
    if !plan.drain.is_empty() {
        store.drain(&boots(&plan.drain), by, Some(DRAIN_LEASE)).await?;
        actions.push(Action::Drained(plan.drain.iter().map(|member| member.id.clone()).collect()));
    }
    // Renewing gives the drains' numbers too: those to be removed are among the renewed.
    let renew = boots(&plan.renew);
    let epochs = if renew.is_empty() { Vec::new() } else { store.drain(&renew, by, Some(DRAIN_LEASE)).await? };
    for member in &plan.remove {
        if leave(store, member, &epochs).await? {
            leaving.push(member.id.clone());
        }
    }
    Ok(())
}

/// Lets all workers of an instance go, or none.
async fn leave(store: &dyn Store, member: &Member, epochs: &[(BootId, i64)]) -> Result<bool> {
    let mut gone = Vec::new();
    for boot in &member.boots {
        let epoch = epochs.iter().find(|(drained, _)| *drained == boot.boot).map(|&(_, epoch)| epoch);
        let left = match epoch {
            Some(epoch) => store.leave(boot.boot, epoch).await?,
            None => false,
        };
        if !left {
            for boot in gone {
                store.stay(boot).await?;
            }
            return Ok(false);
        }
        gone.push(boot.boot);
    }
    Ok(true)
}

/// Sets the leaving workers of these instances back to draining.
pub async fn stay(store: &dyn Store, members: &[Member]) -> Result<()> {
    for boot in members.iter().flat_map(|member| &member.boots) {
        store.stay(boot.boot).await?;
    }
    Ok(())
}

fn boots(members: &[Member]) -> Vec<BootId> {
    let boots = members.iter().flat_map(|member| &member.boots);
    boots.filter(|boot| boot.state != WorkerState::Leaving).map(|boot| boot.boot).collect()
}

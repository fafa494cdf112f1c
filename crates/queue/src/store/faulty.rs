//! A store that fails, loses replies or stalls on cue: what a worker's tests hold instead of a network that breaks.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use headcount_queue::store::{Store, faulty::{Call, Fault, Faulty, When}};
//! # async fn test(store: Arc<dyn Store>) {
//! let store = Faulty::new(store);
//! // The reply to every fifth claim is lost after the claim has committed.
//! let losing = store.rule(Call::Claim, Fault::LoseReply, When::Every(5));
//! // … run a worker on `store.clone()` …
//! losing.lift();
//! // The store is down for everyone, the heartbeat included, until this is dropped.
//! let outage = store.down();
//! drop(outage);
//! # }
//! ```

mod rules;
mod claim;
mod scale;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Acted, Action, Admin, Beat, BeatAnswer, BootId, Cancel, Claim, Claimer, Difference, Drift, Enqueue, Enqueued,
    Expired, Filter, Grants, Maintain, NewWorker, Observe, Outstanding, Promoted, Rescued, Resolve, Setting, Settings,
    Step, Store, Target, Token, Transaction, Wakes, WorkerState,
};
use crate::{AttemptRecord, Binding, JobId, JobRecord, NewJob, QueueState, Resolution, Result, Secret, WorkerRecord};

use claim::FaultyClaim;
use rules::Rules;
pub use rules::{Call, Calls, Fault, Rule, When};

/// A store that does what another does, except where a [rule](Faulty::rule) says that it fails. Cheap to clone; clones
/// share their rules and counts, and so do its claimers and its [hearts](Claim::heart).
#[derive(Clone)]
pub struct Faulty {
    store: Arc<dyn Store>,
    claim: FaultyClaim,
    rules: Arc<Rules>,
}

impl Faulty {
    /// A store without a fault yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let rules = Arc::<Rules>::default();
        let claim = FaultyClaim::new(store.clone(), rules.clone());
        Self { store, claim, rules }
    }

    /// The same store, for whose part that workers use another stands in: to have them told of jobs on cue, say.
    #[must_use]
    pub fn claiming_through(mut self, claim: Arc<dyn Claim>) -> Self {
        self.claim = FaultyClaim::new(claim, self.rules.clone());
        self
    }

    /// The store behind it, which never fails: for looking while this one is down.
    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// From now on these calls suffer this fault, until the rule is lifted or dropped. Of several rules that apply to
    /// one call the earliest made decides.
    pub fn rule(&self, calls: impl Into<Calls>, fault: Fault, when: When) -> Rule {
        self.rules.add(calls.into(), fault, when)
    }

    /// No call gets through until the rule is lifted or dropped.
    pub fn down(&self) -> Rule {
        self.rule(Calls::ALL, Fault::Fail, When::Always)
    }

    /// How many calls of this sort were made, those that failed included.
    pub fn calls(&self, call: Call) -> u64 {
        self.rules.calls(call)
    }

    /// How many of them suffered a fault.
    pub fn faults(&self, call: Call) -> u64 {
        self.rules.faults(call)
    }

    /// Waits until so many calls of this sort have suffered a fault since the store was made. A call that stalls counts
    /// when it begins to, so this is how a test learns that one hangs.
    pub async fn until_faults(&self, call: Call, faults: u64) {
        self.rules.until(|rules| rules.faults(call) >= faults).await;
    }

    /// Waits until so many calls of this sort have been made.
    pub async fn until_calls(&self, call: Call, calls: u64) {
        self.rules.until(|rules| rules.calls(call) >= calls).await;
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("store", &self.store).field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[async_trait]
impl Enqueue for Faulty {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        self.rules.through(Call::Enqueue.into(), self.store.enqueue(jobs)).await
    }

    async fn enqueue_in(&self, tx: Transaction<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        self.rules.through(Call::Enqueue.into(), self.store.enqueue_in(tx, jobs)).await
    }

    async fn flush(&self) -> Result<()> {
        self.rules.through(Call::Wake.into(), self.store.flush()).await
    }
}

#[async_trait]
impl Claim for Faulty {
    async fn register(&self, worker: &NewWorker) -> Result<WorkerState> {
        self.claim.register(worker).await
    }

    async fn deregister(&self, boot: BootId) -> Result<bool> {
        self.claim.deregister(boot).await
    }

    fn claimer(&self, boot: BootId, queues: &Binding, aging: Option<std::time::Duration>) -> Box<dyn Claimer> {
        self.claim.claimer(boot, queues, aging)
    }

    fn claimers(&self, boot: BootId, queues: &Binding, aging: Option<std::time::Duration>) -> Vec<Box<dyn Claimer>> {
        self.claim.claimers(boot, queues, aging)
    }

    async fn listen(&self, queues: &Binding) -> Result<Option<Box<dyn Wakes>>> {
        self.claim.listen(queues).await
    }

    async fn sleep(&self, queues: &Binding, asleep: bool) -> Result<()> {
        self.claim.sleep(queues, asleep).await
    }

    async fn beat(&self, beat: &Beat) -> Result<BeatAnswer> {
        self.claim.beat(beat).await
    }

    async fn callback(&self, id: JobId, token: Token, digest: &str) -> Result<()> {
        self.claim.callback(id, token, digest).await
    }

    async fn heart(&self) -> Result<Arc<dyn Claim>> {
        self.claim.heart().await
    }
}

#[async_trait]
impl Observe for Faulty {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.rules.through(Call::Observe.into(), self.store.now()).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.rules.through(Call::Observe.into(), self.store.job(id)).await
    }

    async fn jobs(&self, filter: &Filter, limit: u32) -> Result<Vec<JobRecord>> {
        self.rules.through(Call::Observe.into(), self.store.jobs(filter, limit)).await
    }

    async fn count(&self, filter: &Filter) -> Result<u64> {
        self.rules.through(Call::Observe.into(), self.store.count(filter)).await
    }

    async fn settings(&self) -> Result<Vec<Settings>> {
        self.rules.through(Call::Observe.into(), self.store.settings()).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>> {
        self.rules.through(Call::Observe.into(), self.store.attempts(id)).await
    }

    async fn queues(&self) -> Result<Vec<QueueState>> {
        self.rules.through(Call::Observe.into(), self.store.queues()).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.rules.through(Call::Observe.into(), self.store.workers()).await
    }

    async fn outstanding(&self, queues: &Binding) -> Result<Outstanding> {
        self.rules.through(Call::Observe.into(), self.store.outstanding(queues)).await
    }

    async fn next_due(&self, queues: &Binding) -> Result<Option<std::time::Duration>> {
        self.rules.through(Call::Observe.into(), self.store.next_due(queues)).await
    }
}

#[async_trait]
impl Maintain for Faulty {
    async fn promote(&self, limit: u32) -> Result<Promoted> {
        self.rules.through(Call::Maintain.into(), self.store.promote(limit)).await
    }

    async fn fold(&self) -> Result<u64> {
        self.rules.through(Call::Maintain.into(), self.store.fold()).await
    }

    async fn release(&self, limit: u32) -> Result<u64> {
        self.rules.through(Call::Maintain.into(), self.store.release(limit)).await
    }

    async fn expire(&self, limit: u32) -> Result<Vec<Expired>> {
        self.rules.through(Call::Maintain.into(), self.store.expire(limit)).await
    }

    async fn purge(&self, limit: u32) -> Result<u64> {
        self.rules.through(Call::Maintain.into(), self.store.purge(limit)).await
    }

    async fn audit(&self) -> Result<Vec<Drift>> {
        self.rules.through(Call::Maintain.into(), self.store.audit()).await
    }

    async fn mark_dead(&self, window: std::time::Duration) -> Result<Vec<BootId>> {
        self.rules.through(Call::Rescue.into(), self.store.mark_dead(window)).await
    }

    async fn bury(&self, boots: &[BootId]) -> Result<Vec<BootId>> {
        self.rules.through(Call::Rescue.into(), self.store.bury(boots)).await
    }

    async fn rescue_dead(&self, blame: bool) -> Result<Vec<Rescued>> {
        self.rules.through(Call::Rescue.into(), self.store.rescue_dead(blame)).await
    }
}

#[async_trait]
impl Admin for Faulty {
    async fn cancel(&self, id: JobId) -> Result<Cancel> {
        self.rules.through(Call::Admin.into(), self.store.cancel(id)).await
    }

    async fn retry(&self, id: JobId) -> Result<()> {
        self.rules.through(Call::Admin.into(), self.store.retry(id)).await
    }

    async fn resolve(&self, id: JobId, secret: &Secret, resolution: &Resolution) -> Result<Resolve> {
        self.rules.through(Call::Admin.into(), self.store.resolve(id, secret, resolution)).await
    }

    async fn delete(&self, id: JobId) -> Result<()> {
        self.rules.through(Call::Admin.into(), self.store.delete(id)).await
    }

    async fn act(&self, action: Action, filter: &Filter, limit: u32) -> Result<Acted> {
        self.rules.through(Call::Admin.into(), self.store.act(action, filter, limit)).await
    }

    async fn set(&self, target: &Target, setting: Setting) -> Result<()> {
        self.rules.through(Call::Admin.into(), self.store.set(target, setting)).await
    }

    async fn drain(
        &self,
        boots: &[BootId],
        by: &str,
        lease: Option<std::time::Duration>,
    ) -> Result<Vec<(BootId, i64)>> {
        self.rules.through(Call::Admin.into(), self.store.drain(boots, by, lease)).await
    }

    async fn recall(&self, boots: &[BootId]) -> Result<Vec<BootId>> {
        self.rules.through(Call::Admin.into(), self.store.recall(boots)).await
    }

    async fn leave(&self, boot: BootId, drain: i64) -> Result<bool> {
        self.rules.through(Call::Admin.into(), self.store.leave(boot, drain)).await
    }

    async fn stay(&self, boot: BootId) -> Result<bool> {
        self.rules.through(Call::Admin.into(), self.store.stay(boot)).await
    }

    async fn migrate(&self) -> Result<i64> {
        self.rules.through(Call::Admin.into(), self.store.migrate()).await
    }

    async fn plan(&self) -> Result<Vec<Step>> {
        self.rules.through(Call::Admin.into(), self.store.plan()).await
    }

    async fn drift(&self) -> Result<Vec<Difference>> {
        self.rules.through(Call::Admin.into(), self.store.drift()).await
    }

    async fn grant(&self, grants: &Grants) -> Result<()> {
        self.rules.through(Call::Admin.into(), self.store.grant(grants)).await
    }

    async fn check_version(&self) -> Result<()> {
        self.rules.through(Call::Admin.into(), self.store.check_version()).await
    }
}

#[cfg(test)]
mod tests;

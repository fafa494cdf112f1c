//! Keeping the store in order beside the jobs: every worker does, and the store lets one at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use headcount_queue::{
    Result, State,
    rescue::{Rescuer, Vigil},
    store::{Rescue, Store},
};
use tokio::{sync::Notify, task::JoinSet};

use crate::outage::{Outage, jittered};

/// Due jobs made claimable in one call.
const PROMOTE: u32 = 1000;
/// Jobs purged in one call.
const PURGE: u32 = 1000;
/// Held jobs let go in one call.
const RELEASE: u32 = 1000;
/// The statements that end a job or resume a kind release what they see; what they miss waits no longer than this.
const RELEASE_EVERY: Duration = Duration::from_secs(1);
/// A deadline that has passed is found no later than this.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);
/// Parked jobs whose wait is ended in one call.
const EXPIRE: u32 = 1000;
const FOLD_EVERY: Duration = Duration::from_secs(1);
const PURGE_EVERY: Duration = Duration::from_mins(1);
const AUDIT_EVERY: Duration = Duration::from_hours(1);

/// Starts the loops; they end when the set is dropped. `poke` is notified when jobs became claimable.
pub(crate) fn start(store: &Arc<dyn Store>, poll: Duration, vigil: Vigil, poke: &Arc<Notify>) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    loops.spawn(promote(Arc::clone(store), poll, Arc::clone(poke)));
    loops.spawn(release(Arc::clone(store), Arc::clone(poke)));
    loops.spawn(expire(Arc::clone(store), Arc::clone(poke)));
    loops.spawn(every(FOLD_EVERY, "adding up the counters", Arc::clone(store), fold));
    loops.spawn(every(PURGE_EVERY, "purging finished jobs", Arc::clone(store), purge));
    loops.spawn(every(AUDIT_EVERY, "auditing the counters", Arc::clone(store), audit));
    loops.spawn(rescue(Arc::clone(store), vigil, Arc::clone(poke)));
    loops
}

/// Makes due jobs claimable, at each poll and when the next falls due.
async fn promote(store: Arc<dyn Store>, poll: Duration, poke: Arc<Notify>) {
    let mut outage = Outage::of("promoting due jobs");
    loop {
        let pause = match store.promote(PROMOTE).await {
            Ok(promoted) => {
                outage.over();
                if promoted.jobs > 0 {
                    poke.notify_one();
                }
                if promoted.jobs >= u64::from(PROMOTE) {
                    continue;
                }
                // A little after it is due rather than a little before.
                let due = promoted.next_due.map(|due| due + Duration::from_millis(1));
                jittered(poll).min(due.unwrap_or(Duration::MAX))
            }
            Err(error) => outage.failed(&error),
        };
        tokio::time::sleep(pause).await;
    }
}

/// Makes held jobs claimable that nothing holds back any more.
async fn release(store: Arc<dyn Store>, poke: Arc<Notify>) {
    let mut outage = Outage::of("releasing held jobs");
    let mut pause = RELEASE_EVERY.mul_f64(rand::random_range(0.0..1.0));
    loop {
        tokio::time::sleep(pause).await;
        pause = match store.release(RELEASE).await {
            Ok(released) => {
                outage.over();
                if released > 0 {
                    poke.notify_one();
                }
                if released >= u64::from(RELEASE) { Duration::ZERO } else { jittered(RELEASE_EVERY) }
            }
            Err(error) => outage.failed(&error),
        };
    }
}

/// Ends the wait of parked jobs whose deadline has passed.
async fn expire(store: Arc<dyn Store>, poke: Arc<Notify>) {
    let mut outage = Outage::of("ending the wait of parked jobs");
    let mut pause = EXPIRE_EVERY.mul_f64(rand::random_range(0.0..1.0));
    loop {
        tokio::time::sleep(pause).await;
        pause = match store.expire(EXPIRE).await {
            Ok(expired) => {
                outage.over();
                for job in &expired {
                    let (id, state) = (job.id, job.state);
                    tracing::warn!(%id, %state, "nobody answered for a parked job before its deadline");
                }
                if expired.iter().any(|job| job.state == State::Queued) {
                    poke.notify_one();
                }
                if expired.len() >= EXPIRE as usize { Duration::ZERO } else { jittered(EXPIRE_EVERY) }
            }
            Err(error) => outage.failed(&error),
        };
    }
}

/// Adds up the counters, for the scaler and the dashboards.
async fn fold(store: Arc<dyn Store>) -> Result<()> {
    store.fold().await.map(drop)
}

/// Removes what has been kept for long enough.
async fn purge(store: Arc<dyn Store>) -> Result<()> {
    while store.purge(PURGE).await? >= u64::from(PURGE) {}
    Ok(())
}

/// Compares the counters with a recount.
async fn audit(store: Arc<dyn Store>) -> Result<()> {
    for drift in store.audit().await? {
        tracing::error!(?drift, "counters had drifted from a recount and were repaired: please report this defect");
    }
    Ok(())
}

/// Puts the jobs of dead workers back.
async fn rescue(store: Arc<dyn Store>, vigil: Vigil, poke: Arc<Notify>) {
    let mut watch = Rescuer::new(vigil);
    let mut outage = Outage::of("watching over the workers").patient_for(vigil.scan);
    loop {
        let began = Instant::now();
        let pause = match watch.scan(store.as_ref()).await {
            Ok(rescued) => {
                outage.over();
                if !rescued.is_empty() {
                    poke.notify_one();
                }
                for job in rescued {
                    let (id, worker) = (job.id, job.boot);
                    match job.rescue {
                        Rescue::Requeued => tracing::warn!(%id, %worker, "job of a dead worker is queued again"),
                        Rescue::Isolated => tracing::warn!(%id, %worker, "job of a dead worker will run alone"),
                        Rescue::Cancelled => tracing::info!(%id, %worker, "job of a dead worker is cancelled"),
                        Rescue::Quarantined => tracing::error!(
                            %id, %worker, "job of a dead worker is failed: its process died under it once too often"
                        ),
                    }
                }
                vigil.scan.saturating_sub(began.elapsed())
            }
            Err(error) => outage.failed(&error),
        };
        tokio::time::sleep(pause).await;
    }
}

/// Does something at this interval, the first time after a random part of it, so that a fleet's workers take turns.
async fn every<F>(interval: Duration, what: &'static str, store: Arc<dyn Store>, pass: fn(Arc<dyn Store>) -> F)
where
    F: Future<Output = Result<()>>,
{
    let mut outage = Outage::of(what);
    let mut pause = interval.mul_f64(rand::random_range(0.0..1.0));
    loop {
        tokio::time::sleep(pause).await;
        pause = match pass(Arc::clone(&store)).await {
            Ok(()) => {
                outage.over();
                jittered(interval)
            }
            Err(error) => outage.failed(&error),
        };
    }
}

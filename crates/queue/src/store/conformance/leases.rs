//! The lease: one acts at a time, and what is written under an older one is refused.

use std::time::Duration;

use super::{
    scaling::{POOL, ask, hold, let_go, names, place, pool, scaler, withhold},
    trial::{HOUR, Trial, tick},
};
use crate::{
    Error, Json, Result,
    store::{Fence, Lease, LeaseRecord, NewDecision, Weight, WorkerState},
};

/// Short enough to be waited for.
const BRIEFLY: Duration = Duration::from_millis(100);

async fn record(trial: &Trial<'_>, lease: &str) -> LeaseRecord {
    let leases = trial.store.leases().await.expect("the leases are shown");
    leases.into_iter().find(|record| record.lease == lease).expect("the lease is shown")
}

/// The others are told who has it and for how much longer; another name is another lease.
pub async fn a_lease_is_held_by_one(trial: &Trial<'_>) {
    assert_eq!(trial.store.leases().await.unwrap(), []);
    let before = trial.now().await;
    let fence = hold(trial, "scaler", "a", HOUR).await;
    let after = trial.now().await;
    assert_eq!(fence.lease, "scaler");
    let other = trial.another_handle().await;
    for store in [&trial.store, &other] {
        match store.lease("scaler", "b", HOUR).await.unwrap() {
            Lease::Taken { by, left } => {
                assert_eq!(by, "a");
                assert!(left <= HOUR && left > HOUR / 2, "{left:?} are left of {HOUR:?}");
            }
            Lease::Held(fence) => panic!("it was given twice: {fence:?}"),
        }
    }
    let shown = record(trial, "scaler").await;
    assert_eq!((shown.holder.as_str(), shown.epoch), ("a", fence.epoch));
    assert!(before <= shown.since && shown.since <= after);
    assert!(before + HOUR <= shown.until && shown.until <= after + HOUR);
    assert!(shown.read_at >= after);

    assert_eq!(hold(trial, "another", "b", HOUR).await.lease, "another");
    assert_eq!(trial.store.leases().await.unwrap().len(), 2);
}

/// A holder that goes on holding it goes on writing under the same number.
pub async fn a_renewal_keeps_the_number(trial: &Trial<'_>) {
    let first = hold(trial, "scaler", "a", HOUR).await;
    let before = record(trial, "scaler").await;
    tick(&*trial.store).await;
    assert_eq!(hold(trial, "scaler", "a", 2 * HOUR).await, first);
    let after = record(trial, "scaler").await;
    assert_eq!((after.epoch, after.since), (before.epoch, before.since));
    assert!(after.until > before.until + HOUR / 2, "it counts from the renewal");
    trial.store.publish(&first, &[]).await.expect("its number still holds");
}

/// And then under a higher number. The old holder finds it taken.
pub async fn a_lease_is_taken_only_after_its_end(trial: &Trial<'_>) {
    let old = hold(trial, "scaler", "a", BRIEFLY).await;
    let end = record(trial, "scaler").await.until;
    let new = super::trial::eventually("a lease runs out", async || match ask(trial, "scaler", "b", HOUR).await {
        Lease::Held(fence) => Some(fence),
        Lease::Taken { by, left } => {
            assert_eq!(by, "a");
            assert!(left <= BRIEFLY);
            None
        }
    })
    .await;
    assert!(new.epoch > old.epoch);
    let shown = record(trial, "scaler").await;
    assert_eq!((shown.holder.as_str(), shown.epoch), ("b", new.epoch));
    assert!(shown.since >= end, "it was taken before its end");
    assert!(matches!(ask(trial, "scaler", "a", HOUR).await, Lease::Taken { by, .. } if by == "b"));
}

/// Who has lost it in between may not have acted alone: its own last holder, too, begins anew.
pub async fn a_lease_that_ran_out_is_another_also_for_its_holder(trial: &Trial<'_>) {
    let first = hold(trial, "scaler", "a", BRIEFLY).await;
    trial.until_past(trial.now().await + BRIEFLY).await;
    let second = hold(trial, "scaler", "a", HOUR).await;
    assert!(second.epoch > first.epoch);
    trial.store.release_lease(&second).await.unwrap();
    let third = hold(trial, "scaler", "a", HOUR).await;
    assert!(third.epoch > second.epoch);
}

/// A scaler that ends lets the next one act without a wait.
pub async fn a_lease_given_back_is_free_at_once(trial: &Trial<'_>) {
    let old = hold(trial, "scaler", "a", HOUR).await;
    trial.store.release_lease(&old).await.unwrap();
    let shown = record(trial, "scaler").await;
    assert_eq!((shown.holder.as_str(), shown.epoch), ("a", old.epoch), "who had it last is still shown");
    assert!(shown.until <= shown.read_at);
    assert_superseded("release_lease again", &trial.store.release_lease(&old).await);
    let new = hold(trial, "scaler", "b", HOUR).await;
    assert!(new.epoch > old.epoch);
    assert_superseded("release_lease of another's", &trial.store.release_lease(&old).await);
    assert!(matches!(ask(trial, "scaler", "c", HOUR).await, Lease::Taken { by, .. } if by == "b"));
}

/// However many ask in the same moment, through whatever handle.
pub async fn of_many_that_ask_at_once_one_gets_it(trial: &Trial<'_>) {
    let other = trial.another_handle().await;
    for round in 0..10 {
        let lease = format!("scaler-{round}");
        let mut tasks = Vec::new();
        for n in 0..8 {
            let (store, lease) = (if n % 2 == 0 { trial.store.clone() } else { other.clone() }, lease.clone());
            tasks.push(tokio::spawn(async move { store.lease(&lease, &format!("holder-{n}"), HOUR).await }));
        }
        let (mut held, mut holders) = (0, Vec::new());
        for task in tasks {
            match task.await.unwrap().unwrap() {
                Lease::Held(_) => held += 1,
                Lease::Taken { by, .. } => holders.push(by),
            }
        }
        assert_eq!((held, holders.len()), (1, 7));
        assert!(holders.iter().all(|holder| *holder == holders[0]), "{holders:?}");
    }
}

/// By another's time, by a number that was never given, by another lease: no call does anything.
pub async fn what_is_written_under_another_number_is_refused(trial: &Trial<'_>) {
    let old = hold(trial, "scaler", "a", HOUR).await;
    trial.store.release_lease(&old).await.unwrap();
    let new = scaler(trial).await;
    let elsewhere = hold(trial, "elsewhere", "a", HOUR).await;
    let unknown = Fence { lease: "unknown".into(), epoch: new.epoch };
    assert!(new.epoch > old.epoch);
    let mut wrong = vec![old, Fence { epoch: new.epoch + 1, ..new.clone() }, unknown];
    if elsewhere.epoch != new.epoch {
        wrong.push(Fence { epoch: elsewhere.epoch, ..new.clone() });
    }
    let stage = Stage::new(trial, &new).await;
    for fence in wrong {
        stage.assert_refused(&fence).await;
    }
    // And all of it passes under the right one: each of these calls would have changed something.
    stage.assert_passes(&new).await;
}

/// Nobody else has taken it: that its holder stopped renewing it is enough.
pub async fn what_is_written_after_the_lease_ran_out_is_refused(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    let stage = Stage::new(trial, &fence).await;
    assert_eq!(hold(trial, "scaler", "scaler-1", BRIEFLY).await, fence);
    trial.until_past(trial.now().await + BRIEFLY).await;
    stage.assert_refused(&fence).await;
}

fn assert_superseded<T: std::fmt::Debug>(call: &str, answer: &Result<T>) {
    assert!(matches!(answer, Err(Error::Superseded)), "{call}: {answer:?}");
}

/// A pool with a place that is drained and one that is leaving, where every write would change something.
struct Stage<'t, 'f> {
    trial: &'t Trial<'f>,
    drained: i64,
}

impl<'t, 'f> Stage<'t, 'f> {
    async fn new(trial: &'t Trial<'f>, fence: &Fence) -> Self {
        super::scaling::comes_up(trial, "i-1", WorkerState::Active).await;
        super::scaling::comes_up(trial, "i-3", WorkerState::Active).await;
        let drained = withhold(trial, fence, "i-1").await;
        let leaving = withhold(trial, fence, "i-2").await;
        assert!(let_go(trial, fence, "i-2", leaving).await);
        let stage = Self { trial, drained };
        trial.store.record(fence, &[stage.decision()]).await.unwrap();
        stage
    }

    fn decision(&self) -> NewDecision {
        let (gist, detail) = (format!("the drain {}", self.drained), Json("{}".into()));
        NewDecision { pool: POOL.into(), weight: Weight::Change, gist, detail, state: Some(Json("{\"z\":1}".into())) }
    }

    /// All that a write could change, without the time of the reading.
    async fn look(&self) -> String {
        let (mut pools, mut workers) =
            (self.trial.store.pools(None).await.unwrap(), self.trial.store.workers().await.unwrap());
        let mut leases = self.trial.store.leases().await.unwrap();
        let time = chrono::DateTime::UNIX_EPOCH;
        for pool in &mut pools {
            pool.read_at = time;
        }
        for worker in &mut workers {
            worker.read_at = time;
        }
        for lease in &mut leases {
            lease.read_at = time;
        }
        let ledger = self.trial.store.ledger(None, None, 100).await.unwrap();
        format!("{pools:#?} {workers:#?} {leases:#?} {ledger:#?}")
    }

    async fn assert_refused(&self, fence: &Fence) {
        let store = &self.trial.store;
        let before = self.look().await;
        assert_superseded("publish", &store.publish(fence, &[pool("other")]).await);
        assert_superseded("withhold", &store.withhold(fence, POOL, &names(["i-1", "i-3"]), 2 * HOUR).await);
        assert_superseded("withhold of none", &store.withhold(fence, POOL, &[], HOUR).await);
        assert_superseded("restore", &store.restore(fence, POOL, &names(["i-1"])).await);
        assert_superseded("let_go", &store.let_go(fence, POOL, "i-1", self.drained, HOUR).await);
        assert_superseded("keep", &store.keep(fence, POOL, &names(["i-2"])).await);
        assert_superseded("forget", &store.forget(fence, POOL, &names(["i-1", "i-2"])).await);
        assert_superseded("record", &store.record(fence, &[self.decision()]).await);
        assert_superseded("release_lease", &store.release_lease(fence).await);
        assert_eq!(self.look().await, before, "under {fence:?}");
    }

    async fn assert_passes(&self, fence: &Fence) {
        let store = &self.trial.store;
        store.keep(fence, POOL, &names(["i-2"])).await.unwrap();
        assert!(!place(self.trial, "i-2").await.unwrap().leaving);
        assert_eq!(store.withhold(fence, POOL, &names(["i-1", "i-3"]), 2 * HOUR).await.unwrap()[0], self.drained);
        assert!(let_go(self.trial, fence, "i-1", self.drained).await);
        assert_eq!(store.restore(fence, POOL, &names(["i-3"])).await.unwrap().len(), 1);
        store.forget(fence, POOL, &names(["i-2"])).await.unwrap();
        assert_eq!(place(self.trial, "i-2").await, None);
        store.record(fence, &[self.decision()]).await.unwrap();
        assert_eq!(store.ledger(None, None, 9).await.unwrap()[0].count, 2);
        store.publish(fence, &[]).await.unwrap();
        assert_eq!(store.pools(None).await.unwrap(), []);
        store.release_lease(fence).await.unwrap();
    }
}

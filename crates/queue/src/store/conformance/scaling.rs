//! What the cases of the scaler's role are made of: a lease, a pool, and workers at places.

use std::time::Duration;

use super::trial::{HOUR, Hand, Trial, new_worker};
use crate::{
    Json, WorkerRecord,
    store::{BootId, Fence, Gate, Lease, NewPool, NewWorker, PlaceRecord, PoolRecord, WorkerState},
};

/// The pool of most cases.
pub(super) const POOL: &str = "web";

/// Asks for the lease of this name.
pub(super) async fn ask(trial: &Trial<'_>, lease: &str, holder: &str, length: Duration) -> Lease {
    trial.store.lease(lease, holder, length).await.expect("a lease is asked for")
}

/// The lease of this name, which must be free or this holder's.
pub(super) async fn hold(trial: &Trial<'_>, lease: &str, holder: &str, length: Duration) -> Fence {
    match ask(trial, lease, holder, length).await {
        Lease::Held(fence) => fence,
        Lease::Taken { by, .. } => panic!("{holder} asks for {lease}, which {by} holds"),
    }
}

/// A pool of this name.
pub(super) fn pool(name: &str) -> NewPool {
    let queues = "q".parse().expect("a binding");
    NewPool { name: name.into(), queues, ordered: false, spec: Json("{\"max\":5}".into()) }
}

/// A scaler that holds its lease and has made [`POOL`] known.
pub(super) async fn scaler(trial: &Trial<'_>) -> Fence {
    let fence = hold(trial, "scaler", "scaler-1", HOUR).await;
    trial.store.publish(&fence, &[pool(POOL)]).await.expect("a pool is published");
    fence
}

/// A pool that must be known.
pub(super) async fn known_pool(trial: &Trial<'_>, name: &str) -> PoolRecord {
    let mut pools = trial.store.pools(Some(name)).await.expect("a pool is shown");
    assert_eq!(pools.len(), 1, "the pool {name} is known");
    pools.remove(0)
}

/// A drained place as its pool shows it.
pub(super) async fn place(trial: &Trial<'_>, instance: &str) -> Option<PlaceRecord> {
    known_pool(trial, POOL).await.places.into_iter().find(|place| place.instance == instance)
}

/// A worker of this pool on this instance; it serves the queue `q`.
pub(super) fn at(pool: &str, instance: &str) -> NewWorker {
    NewWorker { instance: Some(instance.into()), pool: Some(pool.into()), ..new_worker("q") }
}

/// A worker that comes up on this instance of [`POOL`], in this state.
pub(super) async fn comes_up(trial: &Trial<'_>, instance: &str, state: WorkerState) -> Hand {
    let (hand, found) = Hand::announce(trial.store.clone(), at(POOL, instance)).await;
    assert_eq!(found, state, "the state in which a worker comes up at {instance}");
    assert_eq!(shown(trial, hand.boot).await.state, state);
    hand
}

/// A worker as it is shown.
pub(super) async fn shown(trial: &Trial<'_>, boot: BootId) -> WorkerRecord {
    let workers = trial.store.workers().await.expect("the workers are shown");
    workers.into_iter().find(|worker| worker.boot == boot).expect("the worker is shown")
}

/// The worker claims nothing, and is told this.
pub(super) async fn assert_shut(hand: &mut Hand, gate: Gate) {
    for alone in [false, true] {
        let claimed = hand.next(&[], 5, alone).await;
        assert_eq!((claimed.gate, claimed.jobs), (gate, vec![]));
    }
}

/// Drains this place of [`POOL`] for long, and says its number.
pub(super) async fn withhold(trial: &Trial<'_>, fence: &Fence, instance: &str) -> i64 {
    withhold_for(trial, fence, instance, HOUR).await
}

/// Drains this place of [`POOL`] for so long, and says its number.
pub(super) async fn withhold_for(trial: &Trial<'_>, fence: &Fence, instance: &str, lease: Duration) -> i64 {
    let numbers = trial.store.withhold(fence, POOL, &[instance.into()], lease).await.expect("a place is drained");
    assert_eq!(numbers.len(), 1, "one number for one place");
    numbers[0]
}

/// Lets this place of [`POOL`] go for long, if it may go.
pub(super) async fn let_go(trial: &Trial<'_>, fence: &Fence, instance: &str, number: i64) -> bool {
    trial.store.let_go(fence, POOL, instance, number, HOUR).await.expect("a place is asked to go")
}

/// These names, as the calls want them.
pub(super) fn names<const N: usize>(instances: [&str; N]) -> Vec<String> {
    instances.map(Into::into).to_vec()
}

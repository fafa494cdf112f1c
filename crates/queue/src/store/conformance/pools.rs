//! Pools: what a scaler makes known, what a person orders, and which workers are to claim first.

use std::time::Duration;

use super::{
    scaling::{POOL, at, comes_up, hold, known_pool, names, place, pool, scaler, withhold},
    trial::{HOUR, Hand, Trial, eventually, tick},
};
use crate::{
    Binding, Error, Json,
    store::{Fence, NewDecision, NewPool, Override, Weight, WorkerState},
};

async fn known(trial: &Trial<'_>) -> Vec<String> {
    trial.store.pools(None).await.expect("the pools are shown").into_iter().map(|pool| pool.name).collect()
}

async fn order(trial: &Trial<'_>, pool: &str, by: &str, order: Override) {
    trial.store.order(pool, by, &order).await.expect("an order is taken");
}

/// With everything that was said of it, by name; others' pools beside it.
pub async fn a_published_pool_is_shown(trial: &Trial<'_>) {
    assert_eq!(trial.store.pools(None).await.unwrap(), []);
    let fence = hold(trial, "scaler", "a", HOUR).await;
    let before = trial.now().await;
    let mail = NewPool {
        name: "mail".into(),
        queues: "mail.*,news".parse().unwrap(),
        ordered: true,
        spec: Json("{\"max\": 7, \"größe\": [1]}".into()),
    };
    let any = NewPool { queues: Binding::Any, ..pool("web") };
    trial.store.publish(&fence, &[any.clone(), mail.clone()]).await.unwrap();
    let after = trial.now().await;
    let shown = trial.store.pools(None).await.unwrap();
    assert_eq!(shown.len(), 2);
    for (shown, new) in shown.iter().zip([mail, any]) {
        let NewPool { name, queues, ordered, spec } = new;
        assert_eq!((&shown.name, &shown.queues, shown.ordered, &shown.spec), (&name, &queues, ordered, &spec));
        assert!(before <= shown.published_at && shown.published_at <= after && after <= shown.read_at);
        assert_eq!((&shown.overridden, &shown.overridden_by, &shown.state), (&None, &None, &None));
        assert_eq!((&shown.places, &shown.latest), (&vec![], &None));
    }
    assert_eq!(known_pool(trial, "mail").await.name, "mail");
    assert_eq!(trial.store.pools(Some("other")).await.unwrap(), []);
}

/// What changed is replaced, what is missing is forgotten, and what stays keeps all that it has.
pub async fn publishing_replaces_what_the_lease_made_known_before(trial: &Trial<'_>) {
    let fence = hold(trial, "scaler", "a", HOUR).await;
    trial.store.publish(&fence, &[pool(POOL), pool("mail"), pool("old")]).await.unwrap();
    let paused = Override { paused: true, ..Override::default() };
    for pool in [POOL, "old"] {
        order(trial, pool, "ann", paused).await;
        trial.store.withhold(&fence, pool, &names(["i-1"]), HOUR).await.unwrap();
        let decision = decision(pool);
        trial.store.record(&fence, &[decision]).await.unwrap();
    }
    let before = known_pool(trial, POOL).await;
    tick(&*trial.store).await;

    let changed = NewPool { queues: Binding::Any, ordered: true, spec: Json("[]".into()), ..pool(POOL) };
    trial.store.publish(&fence, &[changed, pool("new"), pool("mail")]).await.unwrap();
    assert_eq!(known(trial).await, ["mail", "new", "web"]);
    let after = known_pool(trial, POOL).await;
    assert_eq!((after.queues, after.ordered, after.spec), (Binding::Any, true, Json("[]".into())));
    assert!(after.published_at > before.published_at);
    assert_eq!((after.overridden, after.overridden_by.as_deref()), (Some(paused), Some("ann")));
    assert_eq!((after.places, after.state, after.latest), (before.places, before.state, before.latest));
    comes_up(trial, "i-1", WorkerState::Draining).await;

    // Of what was forgotten nothing is left but the ledger, should it come back.
    let (_, state) = Hand::announce(trial.store.clone(), at("old", "i-1")).await;
    assert_eq!(state, WorkerState::Active);
    assert_eq!(trial.store.ledger(Some("old"), None, 9).await.unwrap().len(), 1);
    trial.store.publish(&fence, &[pool("old")]).await.unwrap();
    let again = known_pool(trial, "old").await;
    assert_eq!((again.overridden, again.state, again.places), (None, None, vec![]));
    assert_eq!(known(trial).await, ["old"]);
}

/// Two scalers of one store, each under a lease of its own, are in nobody's way.
pub async fn the_pools_of_another_lease_stay(trial: &Trial<'_>) {
    let one = hold(trial, "one", "a", HOUR).await;
    let two = hold(trial, "two", "b", HOUR).await;
    trial.store.publish(&one, &[pool("a"), pool("b")]).await.unwrap();
    trial.store.publish(&two, &[pool("c")]).await.unwrap();
    assert_eq!(known(trial).await, ["a", "b", "c"]);
    trial.store.publish(&two, &[]).await.unwrap();
    assert_eq!(known(trial).await, ["a", "b"]);
    // The next holder of a lease publishes for it; a pool that moves from one scaler to another is the latter's.
    trial.store.release_lease(&one).await.unwrap();
    let next = hold(trial, "one", "c", HOUR).await;
    trial.store.publish(&two, &[pool("b")]).await.unwrap();
    trial.store.publish(&next, &[]).await.unwrap();
    assert_eq!(known(trial).await, ["b"]);
}

/// In place of what was ordered before, until it is undone.
pub async fn an_order_stands_until_another_comes(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    trial.store.publish(&fence, &[pool(POOL), pool("mail")]).await.unwrap();
    let refused = trial.store.order("unknown", "ann", &Override::default()).await;
    assert!(matches!(refused, Err(Error::Rejected(_))), "{refused:?}");
    let all = Override { paused: true, min: Some(0), max: Some(u32::MAX >> 1), until: None };
    order(trial, POOL, "ann", all).await;
    let shown = known_pool(trial, POOL).await;
    assert_eq!((shown.overridden, shown.overridden_by.as_deref()), (Some(all), Some("ann")));
    assert_eq!(known_pool(trial, "mail").await.overridden, None);
    let max = Override { max: Some(3), ..Override::default() };
    order(trial, POOL, "bob", max).await;
    let shown = known_pool(trial, POOL).await;
    assert_eq!(
        (shown.overridden, shown.overridden_by.as_deref()),
        (Some(max), Some("bob")),
        "nothing of before is left"
    );
    // An order that orders nothing undoes.
    order(trial, POOL, "ann", Override::default()).await;
    let shown = known_pool(trial, POOL).await;
    assert_eq!((shown.overridden, shown.overridden_by), (None, None));
}

/// By the store's clock, and without anyone's help.
pub async fn an_order_ends_at_its_time(trial: &Trial<'_>) {
    scaler(trial).await;
    let until = trial.now().await + HOUR;
    order(trial, POOL, "ann", Override { min: Some(2), until: Some(until), ..Override::default() }).await;
    let shown = known_pool(trial, POOL).await.overridden.expect("it stands");
    assert_eq!(shown.min, Some(2));
    assert_eq!(shown.until.map(|until| until.timestamp_micros()), Some(until.timestamp_micros()));
    let until = trial.now().await + Duration::from_millis(50);
    order(trial, POOL, "ann", Override { paused: true, until: Some(until), ..Override::default() }).await;
    trial.until_past(until).await;
    let shown = known_pool(trial, POOL).await;
    assert_eq!((shown.overridden, shown.overridden_by), (None, None));
}

/// A pool whose workers are removed from the top.
async fn ordered(trial: &Trial<'_>) -> Fence {
    let fence = scaler(trial).await;
    trial.store.publish(&fence, &[NewPool { ordered: true, ..pool(POOL) }, pool("plain")]).await.unwrap();
    fence
}

/// It claims only what those below it leave, so it hears at each beat how much they can take.
pub async fn a_beat_tells_the_free_slots_below(trial: &Trial<'_>) {
    let fence = ordered(trial).await;
    trial.fill("q", 20).await;
    let free = async |hand: &Hand| {
        let answer = trial.store.beat(&crate::store::Beat { through: 0, ..hand.sign(&[], &[]) }).await.unwrap();
        answer.free_below
    };
    // Each has eight slots.
    let mut first = comes_up(trial, "worker.1", WorkerState::Active).await;
    let third = comes_up(trial, "worker.3", WorkerState::Active).await;
    let mut tenth = comes_up(trial, "worker.10", WorkerState::Active).await;
    assert_eq!(free(&first).await, Some(0));
    assert_eq!(free(&third).await, Some(8));
    assert_eq!(free(&tenth).await, Some(16), "by number, not by name");
    let jobs = first.take(5).await;
    assert_eq!(free(&third).await, Some(3));
    assert_eq!(tenth.take(1).await.len(), 1);
    assert_eq!(free(&tenth).await, Some(11), "its own are not below it");
    let twin = comes_up(trial, "worker.3", WorkerState::Active).await;
    assert_eq!(free(&twin).await, Some(3), "nor are those of its own instance");
    assert_eq!(free(&tenth).await, Some(19));
    first.settle(&jobs[0], super::trial::completed()).await;
    assert_eq!(free(&third).await, Some(4));
    // More than it has slots for, as after a change of its settings: it has none free, and not fewer.
    assert_eq!(first.take(8).await.len(), 8);
    assert_eq!(free(&third).await, Some(0));
    assert_eq!(free(&tenth).await, Some(16));

    // Who claims nothing leaves everything.
    withhold(trial, &fence, "worker.3").await;
    assert_eq!(free(&tenth).await, Some(0));
    trial.store.restore(&fence, POOL, &names(["worker.3"])).await.unwrap();
    trial.store.bury(&[twin.boot]).await.unwrap();
    assert_eq!(free(&tenth).await, Some(8));
    assert_eq!(place(trial, "worker.3").await, None);
}

/// A pool whose platform removes whichever is named needs no order, and neither does a worker without a number.
pub async fn without_an_order_no_beat_tells_of_free_slots(trial: &Trial<'_>) {
    ordered(trial).await;
    comes_up(trial, "worker.1", WorkerState::Active).await;
    for worker in [
        at("plain", "worker.2"),
        at("unknown", "worker.2"),
        at(POOL, "i-1234"),
        at(POOL, "worker.a"),
        crate::store::NewWorker { pool: None, ..at(POOL, "worker.2") },
        crate::store::NewWorker { instance: None, ..at(POOL, "worker.2") },
    ] {
        let (hand, _) = Hand::announce(trial.store.clone(), worker.clone()).await;
        assert_eq!(hand.beat(&[], &[]).await.free_below, None, "{worker:?}");
    }
    let hand = comes_up(trial, "worker.2", WorkerState::Active).await;
    assert_eq!(hand.beat(&[], &[]).await.free_below, Some(8), "those without a number are below nobody");
    // Workers of another pool are none of its.
    let (hand, _) = Hand::announce(trial.store.clone(), at("plain", "worker.9")).await;
    assert_eq!(hand.beat(&[], &[]).await.free_below, None);
    trial.store.bury(&[hand.boot]).await.unwrap();
    assert_eq!(hand.beat(&[], &[]).await.free_below, None);
}

/// Else the others would leave jobs to it for as long as it takes to know that it is dead.
pub async fn a_silent_worker_is_not_counted_on(trial: &Trial<'_>) {
    ordered(trial).await;
    comes_up(trial, "worker.1", WorkerState::Active).await;
    let alive = comes_up(trial, "worker.2", WorkerState::Active).await;
    let hand = comes_up(trial, "worker.3", WorkerState::Active).await;
    assert_eq!(hand.beat(&[], &[]).await.free_below, Some(16));
    eventually("a silent worker is counted out", async || {
        alive.beat(&[], &[]).await;
        (hand.beat(&[], &[]).await.free_below == Some(8)).then_some(())
    })
    .await;
}

fn decision(pool: &str) -> NewDecision {
    NewDecision {
        pool: pool.into(),
        weight: Weight::Change,
        gist: "grow".into(),
        detail: Json("{}".into()),
        state: Some(Json("{\"z\":1}".into())),
    }
}

//! Drained places: whatever comes up there claims nothing, until the drain ends or is taken back.

use std::{sync::Arc, time::Duration};

use super::{
    scaling::{POOL, assert_shut, at, comes_up, known_pool, names, place, pool, scaler, shown, withhold, withhold_for},
    trial::{HOUR, Hand, Trial, completed, end, eventually, ids, plain},
};
use crate::{
    State,
    store::{BootId, ClaimedJob, Filter, Gate, NewWorker, Store, WorkerState},
};

/// Short enough to be waited for.
const BRIEFLY: Duration = Duration::from_millis(100);

/// All that are there: two processes on one instance are one place.
pub async fn a_drained_place_drains_every_worker_there(trial: &Trial<'_>) {
    trial.fill("q", 3).await;
    let fence = scaler(trial).await;
    let mut one = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut two = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut elsewhere = comes_up(trial, "i-2", WorkerState::Active).await;
    let held = one.take_one().await;
    let before = trial.now().await;
    let number = withhold(trial, &fence, "i-1").await;
    let after = trial.now().await;

    for hand in [&mut one, &mut two] {
        assert_shut(hand, Gate::Draining).await;
        assert_eq!(hand.beat(&[], &[]).await.state, WorkerState::Draining);
        let worker = shown(trial, hand.boot).await;
        assert_eq!((worker.state, worker.drain_epoch), (WorkerState::Draining, number));
        assert_eq!(worker.drained_by.as_deref(), Some("scaler-1"));
        assert_eq!(worker.drain_until, place(trial, "i-1").await.unwrap().until);
    }
    let shown = place(trial, "i-1").await.expect("a drained place is shown");
    assert_eq!((shown.epoch, shown.leaving, shown.by.as_str()), (number, false, "scaler-1"), "by the lease's holder");
    assert!(before <= shown.since && shown.since <= after);
    let until = shown.until.expect("a lease has an end");
    assert!(before + HOUR <= until && until <= after + HOUR);
    assert_eq!(known_pool(trial, POOL).await.places.len(), 1);
    // It keeps what it runs: here the beat that did not name it has given it back.
    trial.assert_state(held.id, State::Queued).await;
    assert_eq!(elsewhere.take(5).await.len(), 3);
}

/// A worker that is cycled, crashes or is released while it is drained comes up drained.
pub async fn what_registers_at_a_drained_place_comes_up_draining(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let gone = comes_up(trial, "i-1", WorkerState::Active).await;
    let number = withhold(trial, &fence, "i-1").await;
    trial.store.deregister(gone.boot).await.unwrap();
    let mut next = comes_up(trial, "i-1", WorkerState::Draining).await;
    assert_shut(&mut next, Gate::Draining).await;
    let worker = shown(trial, next.boot).await;
    assert_eq!((worker.drain_epoch, worker.drained_by.as_deref()), (number, Some("scaler-1")));
    assert_eq!(worker.drain_until, place(trial, "i-1").await.unwrap().until);
    assert_eq!(withhold(trial, &fence, "i-1").await, number);
    assert_eq!(trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap(), [next.boot]);
    assert_eq!(ids(&next.take(1).await), [id]);
    comes_up(trial, "i-1", WorkerState::Active).await;
}

/// The drain does not ask whether anybody is there.
pub async fn a_place_without_a_worker_is_drained_too(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let numbers = trial.store.withhold(&fence, POOL, &names(["i-3", "i-1", "i-2"]), HOUR).await.unwrap();
    assert_eq!(numbers.len(), 3);
    for (instance, number) in ["i-3", "i-1", "i-2"].into_iter().zip(&numbers) {
        assert_eq!(place(trial, instance).await.expect("it is drained").epoch, *number, "in the order asked");
    }
    let shown: Vec<String> = known_pool(trial, POOL).await.places.into_iter().map(|place| place.instance).collect();
    assert_eq!(shown, names(["i-1", "i-2", "i-3"]), "by name");
    let mut hand = comes_up(trial, "i-2", WorkerState::Draining).await;
    assert_shut(&mut hand, Gate::Draining).await;
    assert_eq!(trial.store.restore(&fence, POOL, &names(["i-1", "i-3"])).await.unwrap(), []);
    assert_eq!(trial.store.withhold(&fence, POOL, &[], HOUR).await.unwrap(), [0; 0]);
    assert_eq!(trial.store.restore(&fence, POOL, &[]).await.unwrap(), []);
    assert_eq!(known_pool(trial, POOL).await.places.len(), 1);
}

/// Renewed before its end it is the same drain; after that it is another.
pub async fn a_renewed_drain_keeps_its_number_and_a_lapsed_one_gets_another(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let mut hand = comes_up(trial, "i-1", WorkerState::Active).await;
    let first = withhold(trial, &fence, "i-1").await;
    let since = place(trial, "i-1").await.unwrap().since;
    let renewed = trial.store.withhold(&fence, POOL, &names(["i-2", "i-1"]), BRIEFLY).await.unwrap();
    assert_eq!(renewed[1], first);
    trial.until_past(trial.now().await + BRIEFLY).await;
    assert_eq!(place(trial, "i-1").await, None, "a drain that has ended is none");
    let second = withhold(trial, &fence, "i-1").await;
    assert_ne!(second, first);
    assert!(place(trial, "i-1").await.unwrap().since > since);
    assert_eq!(shown(trial, hand.boot).await.drain_epoch, second);
    assert_shut(&mut hand, Gate::Draining).await;
    trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap();
    assert_ne!(withhold(trial, &fence, "i-1").await, second, "nor is one that was taken back renewed");
}

/// A scaler that dies leaves nobody drained: neither who was there nor who comes.
pub async fn the_end_of_a_drain_needs_nobody(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let fence = scaler(trial).await;
    let mut there = comes_up(trial, "i-1", WorkerState::Active).await;
    withhold_for(trial, &fence, "i-1", HOUR).await;
    let mut came = comes_up(trial, "i-1", WorkerState::Draining).await;
    let before = trial.now().await;
    withhold_for(trial, &fence, "i-1", Duration::from_secs(1)).await;
    for hand in [&mut there, &mut came] {
        let claimed = hand.next(&[], 1, false).await;
        if trial.now().await < before + Duration::from_secs(1) {
            assert_eq!((claimed.gate, claimed.jobs), (Gate::Draining, vec![]));
        }
    }
    trial.until_past(trial.now().await + Duration::from_secs(1)).await;
    for hand in [&there, &came] {
        let worker = shown(trial, hand.boot).await;
        assert_eq!((worker.state, worker.drained_by, worker.drain_until), (WorkerState::Active, None, None));
        assert_eq!(hand.beat(&[], &[]).await.state, WorkerState::Active);
    }
    let mut claimed = ids(&there.take(1).await);
    claimed.extend(ids(&came.take(1).await));
    claimed.extend(ids(&comes_up(trial, "i-1", WorkerState::Active).await.take(1).await));
    assert_eq!(claimed, jobs);
    assert_eq!(trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap(), [], "they could already");
}

/// What a person drains is drained whichever process comes up there, and no scaler shortens or ends it.
pub async fn a_persons_drain_covers_the_place_and_stands_above_the_scalers(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let mut hand = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut mate = comes_up(trial, "i-1", WorkerState::Active).await;
    let drained = trial.store.drain(&[hand.boot], "ann", None).await.unwrap();
    assert_eq!(drained.len(), 1, "those that were asked for are named");
    let number = drained[0].1;
    let shown_place = place(trial, "i-1").await.expect("the place is drained");
    assert_eq!((shown_place.by.as_str(), shown_place.until, shown_place.epoch), ("ann", None, number));
    let mut came = comes_up(trial, "i-1", WorkerState::Draining).await;
    for hand in [&mut hand, &mut mate, &mut came] {
        assert_shut(hand, Gate::Draining).await;
    }

    assert_eq!(withhold_for(trial, &fence, "i-1", Duration::from_millis(1)).await, number, "it keeps its number");
    trial.until_past(trial.now().await + Duration::from_millis(2)).await;
    assert_eq!(place(trial, "i-1").await, Some(shown_place), "it is not shortened, and stays in that person's name");
    assert_eq!(trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap(), []);
    for hand in [&mut hand, &mut mate, &mut came] {
        assert_shut(hand, Gate::Draining).await;
        let worker = shown(trial, hand.boot).await;
        assert_eq!((worker.drained_by.as_deref(), worker.drain_until), (Some("ann"), None));
    }
    comes_up(trial, "i-1", WorkerState::Draining).await;
}

/// A person drains what the scaler drains already: it is that person's from then on.
pub async fn a_persons_drain_takes_a_scalers_over(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    let hand = comes_up(trial, "i-1", WorkerState::Active).await;
    let number = withhold(trial, &fence, "i-1").await;
    assert_eq!(trial.store.drain(&[hand.boot], "ann", None).await.unwrap(), [(hand.boot, number)]);
    let shown = place(trial, "i-1").await.unwrap();
    assert_eq!((shown.by.as_str(), shown.until, shown.epoch), ("ann", None, number));
    assert_eq!(trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap(), []);
    comes_up(trial, "i-1", WorkerState::Draining).await;
}

/// By whoever it was drained: all that are there claim again, and so does what comes.
pub async fn a_recall_ends_the_drain_of_the_place(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let fence = scaler(trial).await;
    let mut hand = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut mate = comes_up(trial, "i-1", WorkerState::Active).await;
    for round in 0..2 {
        if round == 0 {
            withhold(trial, &fence, "i-1").await;
        } else {
            trial.store.drain(&[mate.boot], "ann", None).await.unwrap();
        }
        assert_eq!(trial.store.recall(&[hand.boot]).await.unwrap(), [hand.boot], "those that were asked for are named");
        assert_eq!(place(trial, "i-1").await, None);
        assert_eq!(shown(trial, mate.boot).await.state, WorkerState::Active);
    }
    let mut came = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut claimed = Vec::new();
    for hand in [&mut hand, &mut mate, &mut came] {
        claimed.extend(ids(&hand.take(1).await));
    }
    assert_eq!(claimed, jobs);
}

/// It names whoever may claim again, and nobody else.
pub async fn a_restored_place_claims_again(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let mut one = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut two = comes_up(trial, "i-1", WorkerState::Active).await;
    let dead = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut still = comes_up(trial, "i-2", WorkerState::Active).await;
    let active = comes_up(trial, "i-3", WorkerState::Active).await;
    trial.store.withhold(&fence, POOL, &names(["i-1", "i-2"]), HOUR).await.unwrap();
    trial.store.bury(&[dead.boot]).await.unwrap();
    let mut restored = trial.store.restore(&fence, POOL, &names(["i-1", "i-3", "unknown"])).await.unwrap();
    restored.sort();
    let mut expected = [one.boot, two.boot];
    expected.sort();
    assert_eq!(restored, expected);
    assert_eq!(shown(trial, active.boot).await.state, WorkerState::Active);
    let worker = shown(trial, one.boot).await;
    assert_eq!((worker.state, worker.drained_by, worker.drain_until), (WorkerState::Active, None, None));
    assert_eq!(ids(&one.take(1).await), [id]);
    assert!(two.take(1).await.is_empty());
    assert_shut(&mut still, Gate::Draining).await;
}

/// An instance's name means something in its pool only, and a worker without pool or instance has no place.
pub async fn a_place_belongs_to_its_pool(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    trial.store.publish(&fence, &[pool(POOL), pool("mail")]).await.unwrap();
    let number = withhold(trial, &fence, "i-1").await;
    let (mut other, state) = Hand::announce(trial.store.clone(), at("mail", "i-1")).await;
    assert_eq!(state, WorkerState::Active);
    for worker in [
        NewWorker { pool: None, ..at(POOL, "i-1") },
        NewWorker { instance: None, ..at(POOL, "i-1") },
        NewWorker { instance: Some("I-1".into()), ..at(POOL, "i-1") },
    ] {
        assert_eq!(trial.store.register(&worker).await.unwrap(), WorkerState::Active, "{worker:?}");
    }
    assert_eq!(trial.store.restore(&fence, "mail", &names(["i-1"])).await.unwrap(), []);
    assert!(!trial.store.let_go(&fence, "mail", "i-1", number, HOUR).await.unwrap());
    trial.store.forget(&fence, "mail", &names(["i-1"])).await.unwrap();
    assert_eq!(place(trial, "i-1").await.map(|place| place.epoch), Some(number));
    assert_eq!(known_pool(trial, "mail").await.places, []);

    let theirs = trial.store.withhold(&fence, "mail", &names(["i-1"]), HOUR).await.unwrap()[0];
    assert_shut(&mut other, Gate::Draining).await;
    trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap();
    assert_eq!(known_pool(trial, "mail").await.places[0].epoch, theirs);
    assert_shut(&mut other, Gate::Draining).await;
}

/// A drain of a worker that has no place is its own.
pub async fn a_worker_without_a_place_is_drained_for_itself(trial: &Trial<'_>) {
    let bare = || NewWorker { pool: None, instance: None, ..at(POOL, "i-1") };
    let (mut hand, _) = Hand::announce(trial.store.clone(), bare()).await;
    let mut lost = trial.store.drain(&[hand.boot, BootId::random()], "ann", None).await.unwrap();
    assert_eq!(lost.remove(0).0, hand.boot);
    assert_shut(&mut hand, Gate::Draining).await;
    assert_eq!(Hand::announce(trial.store.clone(), bare()).await.1, WorkerState::Active);
    assert_eq!(trial.store.recall(&[hand.boot]).await.unwrap(), [hand.boot]);
    assert!(hand.take(1).await.is_empty());
}

/// What is forgotten is drained no more for whatever comes. Who is still there goes on as it was told: it may be about to
/// be removed, and what it claimed now would be killed.
pub async fn a_forgotten_place_is_open_to_whatever_comes(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let mut there = comes_up(trial, "i-1", WorkerState::Active).await;
    let number = withhold(trial, &fence, "i-1").await;
    let kept = withhold(trial, &fence, "i-2").await;
    trial.store.forget(&fence, POOL, &names(["i-1", "unknown"])).await.unwrap();
    assert_eq!(place(trial, "i-1").await, None);
    assert_eq!(place(trial, "i-2").await.map(|place| place.epoch), Some(kept));
    comes_up(trial, "i-1", WorkerState::Active).await;
    assert_shut(&mut there, Gate::Draining).await;
    assert_ne!(withhold(trial, &fence, "i-1").await, number, "the next drain is another");
}

/// While workers of the place come up and claim without pause, a drain returns; from then on no job starts there.
pub async fn once_a_place_is_drained_no_claim_lands(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    let other = trial.another_handle().await;
    let running = Filter { queue: Some("q".into()), states: vec![State::Running], ..Filter::default() };
    for round in 0..10 {
        let instance = format!("i-{round}");
        trial.fill("q", 200).await;
        let mut tasks = Vec::new();
        for n in 0..4 {
            let store = if n % 2 == 0 { trial.store.clone() } else { other.clone() };
            tasks.push(tokio::spawn(claim_until_shut(store, at(POOL, &instance))));
        }
        eventually("the claims are under way", async || (trial.jobs(&running).await.len() > round).then_some(())).await;
        withhold(trial, &fence, &instance).await;
        let at_return = trial.jobs(&running).await.len();
        let mut claimed = Vec::new();
        let mut hand = None;
        for task in tasks {
            let (worker, jobs) = task.await.expect("no claim fails");
            claimed.extend(jobs);
            hand = Some(worker);
        }
        assert_eq!(trial.jobs(&running).await.len(), at_return, "a claim landed after the drain had returned");
        assert_eq!(claimed.len(), at_return, "what was claimed runs, and nothing else");
        let ended: Vec<_> = claimed.iter().map(|job| end(job, completed())).collect();
        hand.expect("there are workers").settle_all(&ended).await;
    }
}

/// Comes up, and claims until the gate has been shut a few times.
async fn claim_until_shut(store: Arc<dyn Store>, worker: NewWorker) -> (Hand, Vec<ClaimedJob>) {
    let (mut hand, state) = Hand::announce(store, worker).await;
    let (mut claimed, mut shut) = (Vec::new(), usize::from(state == WorkerState::Draining));
    while shut < 5 {
        let answer = hand.next(&[], 1, false).await;
        match answer.gate {
            Gate::Draining => {
                assert!(answer.jobs.is_empty(), "a shut gate lets nothing through");
                shut += 1;
            }
            gate => assert_eq!((gate, shut), (Gate::Open, 0), "once shut it stays shut"),
        }
        claimed.extend(answer.jobs);
    }
    (hand, claimed)
}

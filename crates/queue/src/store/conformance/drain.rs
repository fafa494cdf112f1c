//! The drain's gate: what is drained claims nothing, keeps what it runs, and may be recalled.

use std::time::Duration;

use super::trial::{HOUR, Hand, Trial, completed, end, eventually, ids, plain};
use crate::{
    State,
    store::{BootId, Filter, Gate, Want, WorkerState},
};

async fn drain_now(trial: &Trial<'_>, boot: BootId) -> i64 {
    let drained = trial.store.drain(&[boot], "the suite", None).await.expect("a drain passes");
    assert_eq!(drained.len(), 1, "one worker is draining");
    assert_eq!(drained[0].0, boot);
    drained[0].1
}

async fn shown(trial: &Trial<'_>, boot: BootId) -> crate::WorkerRecord {
    let workers = trial.store.workers().await.expect("the workers are shown");
    workers.into_iter().find(|worker| worker.boot == boot).expect("the worker is shown")
}

/// It gets nothing though jobs wait, says why, and loses nothing that it has; others go on.
pub async fn a_draining_worker_claims_nothing_and_keeps_what_it_runs(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let mut other = trial.worker("q").await;
    let held = worker.take_one().await;
    let before = trial.job(held.id).await;
    let number = drain_now(trial, worker.boot).await;

    for alone in [false, true] {
        let claimed = worker.next(&[], 5, alone).await;
        assert_eq!((claimed.gate, claimed.jobs), (Gate::Draining, vec![]));
    }
    assert_eq!(trial.job(held.id).await, before);
    let record = shown(trial, worker.boot).await;
    assert_eq!(
        (record.state, record.drain_epoch, record.running, record.drained_by.as_deref(), record.drain_until),
        (WorkerState::Draining, number, 1, Some("the suite"), None)
    );
    assert_eq!(ids(&other.take(5).await), jobs[1..]);
    assert_eq!(shown(trial, other.boot).await.state, WorkerState::Active);
    worker.settle(&held, completed()).await;
    assert_eq!(trial.find(held.id).await, None);
    assert_eq!(shown(trial, worker.boot).await.running, 0);
}

/// The gate shuts claims, not settlements, also in one call.
pub async fn a_draining_worker_settles_and_claims_nothing_in_the_same_call(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let held = worker.take(2).await;
    drain_now(trial, worker.boot).await;
    let settled = [end(&held[0], completed()), end(&held[1], crate::store::Verdict::Return)];
    let claimed = worker.next(&settled, 5, false).await;
    assert_eq!((claimed.gate, claimed.jobs), (Gate::Draining, vec![]));
    assert_eq!(trial.find(jobs[0]).await, None);
    trial.assert_state(jobs[1], State::Queued).await;
}

/// At its next poll it claims again, as if nothing had been.
pub async fn a_recalled_worker_claims_again(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    let mut claimer = worker.claimer();
    let held = claimer.next(&[], worker.want(1)).await.unwrap();
    assert_eq!(ids(&held.jobs), jobs[..1]);
    let first = drain_now(trial, worker.boot).await;
    assert_eq!(claimer.next(&[], worker.want(1)).await.unwrap().gate, Gate::Draining);
    assert_eq!(trial.store.recall(&[worker.boot]).await.unwrap(), [worker.boot]);
    let record = shown(trial, worker.boot).await;
    assert_eq!((record.state, record.drain_until), (WorkerState::Active, None));
    let claimed = claimer.next(&[], worker.want(5)).await.unwrap();
    assert_eq!((ids(&claimed.jobs), claimed.gate), (jobs[1..].to_vec(), Gate::Open));
    assert_ne!(drain_now(trial, worker.boot).await, first, "another drain has another number");
}

/// A scaler that dies leaves nobody drained for ever.
pub async fn a_drain_ends_with_its_lease(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let number = trial.store.drain(&[worker.boot], "a scaler", Some(Duration::from_secs(1))).await.unwrap()[0].1;
    let until = shown(trial, worker.boot).await.drain_until.expect("a lease has an end");
    let claimed = worker.next(&[], 1, false).await;
    if trial.now().await < until {
        assert_eq!((claimed.gate, claimed.jobs), (Gate::Draining, vec![]));
        trial.until_past(until).await;
        assert_eq!(ids(&worker.take(1).await), [id]);
    }
    assert_eq!(shown(trial, worker.boot).await.state, WorkerState::Active, "an ended drain is none");
    assert!(!trial.store.leave(worker.boot, number).await.unwrap(), "whoever may claim cannot be removed");
    assert_ne!(drain_now(trial, worker.boot).await, number, "one that had ended is not renewed: the next is another");
}

/// A lease is renewed by draining again, before it ends.
pub async fn a_renewed_drain_outlasts_its_first_lease(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let drained = trial.store.drain(&[worker.boot], "a scaler", Some(Duration::from_secs(1))).await.unwrap();
    let first = shown(trial, worker.boot).await.drain_until.expect("a lease has an end");
    let renewed = trial.store.drain(&[worker.boot], "a scaler", Some(HOUR)).await.unwrap();
    if trial.now().await < first {
        assert_eq!(renewed, drained, "it is the same drain, with the same number");
    }
    let second = shown(trial, worker.boot).await.drain_until.expect("a lease has an end");
    assert!(second > first);
    trial.until_past(first).await;
    let claimed = worker.next(&[], 1, false).await;
    assert_eq!((claimed.gate, claimed.jobs), (Gate::Draining, vec![]));
    assert!(trial.store.leave(worker.boot, renewed[0].1).await.unwrap(), "the number it returned is the drain's");
}

/// What a person ordered has no end, and no scaler that drains the same worker gives it one.
pub async fn a_persons_drain_is_not_shortened_by_a_lease(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    trial.store.drain(&[worker.boot], "a scaler", Some(HOUR)).await.unwrap();
    let number = drain_now(trial, worker.boot).await;
    let record = shown(trial, worker.boot).await;
    assert_eq!(
        (record.drained_by.as_deref(), record.drain_until),
        (Some("the suite"), None),
        "a person's comes on top"
    );
    let renewed = trial.store.drain(&[worker.boot], "a scaler", Some(Duration::from_millis(1))).await.unwrap();
    assert_eq!(renewed, [(worker.boot, number)]);
    let record = shown(trial, worker.boot).await;
    assert_eq!((record.drained_by.as_deref(), record.drain_until), (Some("the suite"), None));
    trial.until_past(trial.now().await + Duration::from_millis(2)).await;
    let claimed = worker.next(&[], 1, false).await;
    assert_eq!((claimed.gate, claimed.jobs), (Gate::Draining, vec![]));
}

/// Whoever still runs something, was recalled in between, or was never drained is not removed.
pub async fn a_worker_leaves_only_when_idle_and_by_its_drains_number(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let held = worker.take_one().await;
    assert!(!trial.store.leave(worker.boot, 0).await.unwrap(), "an active worker");
    let number = drain_now(trial, worker.boot).await;
    assert!(!trial.store.leave(worker.boot, number).await.unwrap(), "one that runs a job");
    assert!(!trial.store.leave(BootId::random(), number).await.unwrap(), "one that is unknown");
    worker.settle(&held, completed()).await;
    assert!(!trial.store.leave(worker.boot, number + 1).await.unwrap(), "by another drain's number");
    assert_eq!(shown(trial, worker.boot).await.state, WorkerState::Draining);

    trial.store.recall(&[worker.boot]).await.unwrap();
    assert!(!trial.store.leave(worker.boot, number).await.unwrap(), "one that was recalled");
    let again = drain_now(trial, worker.boot).await;
    assert!(!trial.store.leave(worker.boot, number).await.unwrap(), "by the number of the drain before");
    assert!(trial.store.leave(worker.boot, again).await.unwrap());
    assert_eq!(shown(trial, worker.boot).await.state, WorkerState::Leaving);
}

/// Its removal may be under way: only a refusal of the platform brings it back.
pub async fn a_leaving_worker_cannot_be_recalled_until_it_stays(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    assert!(!trial.store.stay(worker.boot).await.unwrap(), "an active worker is not leaving");
    let number = drain_now(trial, worker.boot).await;
    assert!(!trial.store.stay(worker.boot).await.unwrap(), "a draining worker is not leaving");
    assert!(trial.store.leave(worker.boot, number).await.unwrap());

    assert_eq!(trial.store.recall(&[worker.boot]).await.unwrap(), []);
    assert_eq!(trial.store.drain(&[worker.boot], "another", None).await.unwrap(), [], "it is past draining");
    let claimed = worker.next(&[], 1, true).await;
    assert_eq!((claimed.gate, claimed.jobs), (Gate::Leaving, vec![]));
    assert_eq!(worker.beat(&[], &[]).await.state, WorkerState::Leaving);

    assert!(trial.store.stay(worker.boot).await.unwrap());
    assert_eq!(shown(trial, worker.boot).await.state, WorkerState::Draining);
    assert_eq!(worker.next(&[], 1, false).await.gate, Gate::Draining);
    assert_eq!(trial.store.recall(&[worker.boot]).await.unwrap(), [worker.boot]);
    assert_eq!(ids(&worker.take(1).await), [id]);
}

/// Who is not on the books must register before it claims.
pub async fn a_worker_that_is_unknown_or_dead_finds_the_gate_gone(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut claimer = trial.store.claimer(BootId::random(), &"q".parse().unwrap(), None);
    let claimed =
        claimer.next(&[], Want { claim: 1, jobs: 1, alone: true, sweep: true, ..Want::default() }).await.unwrap();
    assert_eq!((claimed.gate, claimed.jobs), (Gate::Gone, vec![]));

    let mut buried = trial.worker("q").await;
    assert_eq!(trial.store.bury(&[buried.boot]).await.unwrap(), [buried.boot]);
    let claimed = buried.next(&[], 1, false).await;
    assert_eq!((claimed.gate, claimed.jobs), (Gate::Gone, vec![]));
    let mut left = trial.worker("q").await;
    assert!(trial.store.deregister(left.boot).await.unwrap());
    let claimed = left.next(&[], 1, false).await;
    assert_eq!((claimed.gate, claimed.jobs), (Gate::Gone, vec![]));
    trial.assert_state(id, State::Queued).await;
}

/// Many at once, with some that are unknown: the answer names those that it is true of.
pub async fn drains_and_recalls_name_whom_they_changed(trial: &Trial<'_>) {
    let a = trial.worker("q").await.boot;
    let b = trial.worker("q").await.boot;
    let dead = trial.worker("q").await.boot;
    trial.store.bury(&[dead]).await.unwrap();
    let unknown = BootId::random();
    let mut drained = trial.store.drain(&[a, unknown, dead, b], "the suite", None).await.unwrap();
    drained.sort();
    let mut both = [a, b];
    both.sort();
    assert_eq!(drained.iter().map(|&(boot, _)| boot).collect::<Vec<_>>(), both);
    let again = trial.store.drain(&[a], "the suite", None).await.unwrap();
    assert_eq!(again.len(), 1, "whoever drains already is draining now");
    assert_eq!(trial.store.recall(&[a, unknown, dead]).await.unwrap(), [a]);
    assert_eq!(trial.store.recall(&[a]).await.unwrap(), [], "an active worker is not recalled");
    assert_eq!(trial.store.recall(&[]).await.unwrap(), []);
    assert_eq!(trial.store.drain(&[], "the suite", None).await.unwrap(), []);
    assert_eq!(shown(trial, b).await.state, WorkerState::Draining);
}

/// While many workers claim without pause, a drain returns; from then on no job starts on those drained.
pub async fn once_a_drain_has_returned_no_claim_lands(trial: &Trial<'_>) {
    const ROUNDS: usize = 15;
    let other = trial.another_handle().await;
    for round in 0..ROUNDS {
        let queue = format!("q{round}");
        trial.fill(&queue, 200).await;
        let mut boots = Vec::new();
        let mut tasks = Vec::new();
        for n in 0..4 {
            let store = if n % 2 == 0 { trial.store.clone() } else { other.clone() };
            let worker = Hand::register(store, &queue).await;
            boots.push(worker.boot);
            tasks.push(tokio::spawn(claim_until_shut(worker)));
        }
        let running = Filter { queue: Some(queue.clone()), states: vec![State::Running], ..Filter::default() };
        eventually("the claims are under way", async || {
            (trial.store.jobs(&running, 1000).await.unwrap().len() > round).then_some(())
        })
        .await;

        let drained = trial.store.drain(&boots, "the suite", None).await.unwrap();
        let at_return = trial.jobs(&running).await.len();
        assert_eq!(drained.len(), boots.len());
        let mut claimed = 0;
        for task in tasks {
            claimed += task.await.expect("no claim fails");
        }
        assert_eq!(trial.jobs(&running).await.len(), at_return, "a claim landed after the drain had returned");
        assert_eq!(claimed, at_return, "what was claimed runs, and nothing else");
    }
}

/// Claims until the gate shuts, a few times more, and says how many jobs it was given.
async fn claim_until_shut(mut worker: Hand) -> usize {
    let mut claimed = 0;
    let mut shut = 0;
    while shut < 5 {
        let answer = worker.next(&[], 1, false).await;
        claimed += answer.jobs.len();
        match answer.gate {
            Gate::Draining => {
                assert!(answer.jobs.is_empty(), "a shut gate lets nothing through");
                shut += 1;
            }
            gate => assert_eq!((gate, shut), (Gate::Open, 0), "once shut it stays shut"),
        }
    }
    claimed
}

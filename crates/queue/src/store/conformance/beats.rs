//! The beat: a sign of life that accounts for every claim, and brings back orders.

use super::trial::{Trial, cancelled, completed, ids, interrupt, new_worker, plain, tick};
use crate::{
    State,
    store::{Beat, BootId, Cancel, WorkerState},
};

/// A claim committed and its answer never came: nobody runs those jobs, so they come back and have paid nothing.
pub async fn jobs_of_a_claim_whose_answer_was_lost_come_back_by_the_beat(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let lost = worker.take(2).await;
    let kept = worker.take_one().await;
    let answer = worker.beat(&[&kept], &[]).await;
    assert_eq!((answer.given_back, answer.state), (2, WorkerState::Active));
    assert_eq!((answer.lost, answer.cancelled), (vec![], vec![]));
    for &id in &jobs[..2] {
        let job = trial.job(id).await;
        assert_eq!((job.state, job.attempt, job.interruptions, job.deaths), (State::Queued, 0, 0, 0));
        assert_eq!(trial.store.attempts(id).await.unwrap(), []);
    }
    trial.assert_state(kept.id, State::Running).await;
    // The attempt that was lost is over: should its answer turn up after all, its verdict is a stale one.
    worker.settle(&lost[0], completed()).await;
    trial.assert_state(jobs[0], State::Queued).await;
    assert_eq!(ids(&worker.take(5).await), jobs[..2]);
    let flow = trial.queue("q").await.flow;
    assert_eq!((flow.started, flow.returned), (5, 2));
}

/// What is named is held, and a claim above `through` may still be answered.
pub async fn a_beat_keeps_what_it_names_and_what_is_still_under_way(trial: &Trial<'_>) {
    trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let first = worker.take_one().await;
    let second = worker.take_one().await;
    let under_way = worker.take_one().await;
    let beat = Beat { through: second.token.claim, ..worker.sign(&[&first, &second], &[&first]) };
    for _ in 0..2 {
        let answer = trial.store.beat(&beat).await.unwrap();
        assert_eq!((answer.given_back, answer.lost), (0, vec![]));
    }
    for job in [&first, &second, &under_way] {
        trial.assert_state(job.id, State::Running).await;
    }
    // A beat that accounts for nothing gives nothing back.
    let answer = trial.store.beat(&Beat { through: 0, ..worker.sign(&[], &[]) }).await.unwrap();
    assert_eq!(answer.given_back, 0);
    // Other workers' jobs are none of its business, whatever their claims' numbers.
    let silent = trial.worker("q").await;
    let answer = trial.store.beat(&Beat { through: 1_000, ..silent.sign(&[], &[]) }).await.unwrap();
    assert_eq!(answer.given_back, 0);
    for job in [&first, &second, &under_way] {
        trial.assert_state(job.id, State::Running).await;
    }
}

/// Settled by a call whose answer was lost, or never its own: the worker is told to let go.
pub async fn a_beat_names_as_lost_what_its_worker_no_longer_holds(trial: &Trial<'_>) {
    trial.fill("q", 4).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(3).await;
    let mut other = trial.worker("q").await;
    let others = other.take_one().await;
    worker.settle(&claimed[0], completed()).await;
    worker.settle(&claimed[1], interrupt()).await;

    let holds: Vec<_> = claimed.iter().chain([&others]).collect();
    let mut answer = worker.beat(&holds, &[]).await;
    answer.lost.sort();
    let mut expected = [&claimed[0], &claimed[1], &others].map(|job| (job.id, job.token.claim));
    expected.sort();
    assert_eq!(answer.lost, expected);
    assert_eq!(answer.given_back, 0);
    trial.assert_state(claimed[2].id, State::Running).await;
    trial.assert_state(others.id, State::Running).await;
    assert_eq!(other.beat(&[&others], &[]).await.lost, []);
}

/// A worker that holds the attempt before does not hold the one that runs.
pub async fn an_older_attempt_at_the_same_job_is_not_the_one_that_runs(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let old = worker.take_one().await;
    worker.settle(&old, interrupt()).await;
    let new = worker.take_one().await;
    assert_eq!(new.id, id);
    let answer = worker.beat(&[&old, &new], &[]).await;
    assert_eq!((answer.lost, answer.given_back), (vec![(id, old.token.claim)], 0));
    trial.assert_state(id, State::Running).await;
    let answer = worker.beat(&[&old], &[]).await;
    assert_eq!((answer.lost, answer.given_back), (vec![(id, old.token.claim)], 1));
    trial.assert_state(id, State::Queued).await;
}

/// An order may be lost with its reply, so it is repeated until the job is settled.
pub async fn a_beat_brings_the_cancelled_ones_each_time(trial: &Trial<'_>) {
    trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    let holds = [&claimed[0], &claimed[1]];
    assert_eq!(worker.beat(&holds, &holds).await.cancelled, []);
    assert_eq!(trial.store.cancel(claimed[1].id).await.unwrap(), Cancel::Asked);
    for _ in 0..3 {
        let answer = worker.beat(&holds, &holds).await;
        assert_eq!(answer.cancelled, [(claimed[1].id, claimed[1].token.claim)]);
        assert_eq!(answer.lost, []);
    }
    let other = trial.worker("q").await;
    assert_eq!(other.beat(&[], &[]).await.cancelled, [], "it is told to whom it concerns");
    worker.settle(&claimed[1], cancelled()).await;
    assert_eq!(worker.beat(&holds[..1], &holds[..1]).await.cancelled, []);
}

/// So a worker that claims nothing, since it has no free slot, still hears of its drain.
pub async fn a_beat_brings_the_workers_state(trial: &Trial<'_>) {
    let worker = trial.worker("q").await;
    assert_eq!(worker.beat(&[], &[]).await.state, WorkerState::Active);
    let drained = trial.store.drain(&[worker.boot], "the suite", None).await.unwrap();
    assert_eq!(worker.beat(&[], &[]).await.state, WorkerState::Draining);
    assert!(trial.store.leave(worker.boot, drained[0].1).await.unwrap());
    assert_eq!(worker.beat(&[], &[]).await.state, WorkerState::Leaving);
    assert!(trial.store.stay(worker.boot).await.unwrap());
    trial.store.recall(&[worker.boot]).await.unwrap();
    assert_eq!(worker.beat(&[], &[]).await.state, WorkerState::Active);
}

/// It is shown when a worker last beat, and how many jobs it then held.
pub async fn a_beat_renews_the_sign_of_life(trial: &Trial<'_>) {
    trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    let mut last = trial.store.workers().await.unwrap()[0].beat_at;
    for holds in [vec![&claimed[0], &claimed[1]], vec![&claimed[0]]] {
        tick(&*trial.store).await;
        worker.beat(&holds, &holds).await;
        let shown = trial.store.workers().await.unwrap().remove(0);
        assert!(shown.beat_at > last, "a beat counts");
        assert!(shown.read_at >= shown.beat_at);
        assert_eq!(shown.busy as usize, holds.len());
        assert_eq!(shown.running as usize, holds.len());
        last = shown.beat_at;
    }
}

/// Its jobs may run elsewhere by now: it must drop them, and no beat gives any of them back.
pub async fn a_dead_workers_beat_changes_nothing(trial: &Trial<'_>) {
    trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    worker.beat(&[&claimed[0], &claimed[1]], &[&claimed[0]]).await;
    trial.store.bury(&[worker.boot]).await.unwrap();
    let before = (trial.store.workers().await.unwrap().remove(0).beat_at, trial.jobs_of("q").await);

    tick(&*trial.store).await;
    let answer = worker.beat(&[], &[]).await;
    assert_eq!((answer.state, answer.given_back), (WorkerState::Dead, 0));
    let after = (trial.store.workers().await.unwrap().remove(0).beat_at, trial.jobs_of("q").await);
    assert_eq!(after, before);
    // That the first had started is still known.
    let rescued = trial.store.rescue_dead(true).await.unwrap();
    assert_eq!(rescued.len(), 2);
    assert_eq!(trial.job(claimed[0].id).await.deaths, 1);
    assert_eq!(trial.job(claimed[1].id).await.deaths, 0);
}

/// Its row is gone with the last of its jobs: the answer is the same as for a dead one's beat.
pub async fn a_beat_of_an_unknown_worker_says_that_it_must_register(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let beat = Beat { boot: BootId::random(), holds: vec![(id, 1)], started: vec![id], through: 5, grace: None };
    let answer = trial.store.beat(&beat).await.expect("it is answered");
    assert_eq!((answer.state, answer.given_back), (WorkerState::Dead, 0));
    assert_eq!(trial.store.workers().await.unwrap(), [], "a beat does not register anybody");
    trial.assert_state(id, State::Queued).await;
}

/// The handle that a heartbeat has for itself speaks to the same store, for any worker.
pub async fn the_heartbeats_own_handle_beats_like_the_store(trial: &Trial<'_>) {
    trial.fill("q", 2).await;
    let heart = trial.store.heart().await.expect("a heart beats");
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    trial.store.cancel(claimed[0].id).await.unwrap();
    let answer = heart.beat(&worker.sign(&[&claimed[0]], &[])).await.unwrap();
    assert_eq!(answer.cancelled, [(claimed[0].id, claimed[0].token.claim)]);
    assert_eq!(answer.given_back, 1);
    trial.assert_state(claimed[1].id, State::Queued).await;
    // It can do all the rest as well: what is left of a worker may be settled through it.
    let other = new_worker("q");
    assert_eq!(heart.register(&other).await.unwrap(), WorkerState::Active);
    assert!(heart.deregister(other.boot).await.unwrap());
}

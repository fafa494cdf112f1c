//! Each fault, seen through the store that it befalls and through the one behind it.

#![expect(clippy::similar_names, reason = "a claimer and what it claimed")]

use std::{sync::Arc, time::Duration};

use super::{Call, Calls, Fault, Faulty, When};
use crate::{
    Error, JobId, NewJob, State,
    store::{
        self, Admin, Beat, BootId, Claim, Claimed, Claimer, Enqueue, Filter, Maintain, NewWorker, Observe, Options,
        Settlement, Verdict, Want, WorkerState,
    },
};

async fn faulty() -> Faulty {
    let url = "sqlite::memory:".parse().unwrap();
    Faulty::new(store::open(&url, &Options::default()).await.unwrap())
}

async fn worker(store: &Faulty) -> (BootId, Box<dyn Claimer>) {
    let worker = NewWorker {
        boot: BootId::random(),
        instance: None,
        host: "host".into(),
        pid: 1,
        pool: None,
        queues: "q".parse().unwrap(),
        kinds: vec![],
        slots: 1,
    };
    assert_eq!(store.inner().register(&worker).await.unwrap(), WorkerState::Active);
    (worker.boot, store.claimer(worker.boot, &worker.queues, None))
}

async fn fill(store: &Faulty, jobs: usize) -> Vec<JobId> {
    let jobs = vec![NewJob::new("kind", "{}").queue("q"); jobs];
    store.inner().enqueue(&jobs).await.unwrap().into_iter().map(|enqueued| enqueued.id).collect()
}

fn claim(number: i64) -> Want {
    Want { claim: number, jobs: 1, sweep: true, ..Want::default() }
}

fn completed(claimed: &Claimed) -> Vec<Settlement> {
    let verdict = || Verdict::Completed { output: None, keep: Duration::ZERO };
    let end =
        |job: &store::ClaimedJob| Settlement { id: job.id, token: job.token, verdict: verdict(), ran: Duration::ZERO };
    claimed.jobs.iter().map(end).collect()
}

async fn state(store: &Faulty, id: JobId) -> Option<State> {
    store.inner().job(id).await.unwrap().map(|job| job.state)
}

/// Polls the future once, so that whatever it does before it hangs is done.
async fn hangs<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::time::timeout(Duration::from_millis(50), future).await.is_err()
}

#[tokio::test]
async fn without_a_rule_it_is_the_store_that_it_wraps() {
    let store = faulty().await;
    let (boot, mut claimer) = worker(&store).await;
    let id = store.enqueue(&[NewJob::new("kind", "{}").queue("q")]).await.unwrap()[0].id;
    let claimed = claimer.next(&[], claim(1)).await.unwrap();
    assert_eq!(claimed.jobs[0].id, id);
    claimer.next(&completed(&claimed), Want::default()).await.unwrap();
    assert_eq!(store.job(id).await.unwrap(), None);
    let heart = store.heart().await.unwrap();
    let beat = Beat { boot, holds: vec![], started: vec![], through: 1, grace: None };
    assert_eq!(heart.beat(&beat).await.unwrap().state, WorkerState::Active);
    store.beat(&beat).await.unwrap();
    for (call, calls) in [(Call::Enqueue, 1), (Call::Claim, 1), (Call::Settle, 1), (Call::Beat, 2), (Call::Heart, 1)] {
        assert_eq!((store.calls(call), store.faults(call)), (calls, 0), "{call:?}");
    }
}

#[tokio::test]
async fn a_call_that_fails_never_happened() {
    let store = faulty().await;
    let rule = store.rule(Call::Enqueue, Fault::Fail, When::First(2));
    for _ in 0..2 {
        let error = store.enqueue(&[NewJob::new("kind", "{}")]).await.unwrap_err();
        assert!(error.is_unknown(), "to the caller it may have happened: {error:?}");
    }
    assert_eq!(store.inner().jobs(&Filter::default(), 10).await.unwrap(), []);
    store.enqueue(&[NewJob::new("kind", "{}")]).await.unwrap();
    rule.lift();
    assert_eq!((store.calls(Call::Enqueue), store.faults(Call::Enqueue)), (3, 2));
    assert_eq!(store.inner().jobs(&Filter::default(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_reply_is_one_to_a_call_that_took_effect() {
    let store = faulty().await;
    let (_, mut claimer) = worker(&store).await;
    let ids = fill(&store, 3).await;
    let _rule = store.rule(Call::Claim, Fault::LoseReply, When::Every(2));
    claimer.next(&[], claim(1)).await.unwrap();
    assert!(matches!(claimer.next(&[], claim(2)).await, Err(Error::Unavailable(_))));
    assert_eq!(state(&store, ids[1]).await, Some(State::Running), "nobody was told");
    let third = claimer.next(&[], claim(3)).await.unwrap();
    assert_eq!(third.jobs[0].id, ids[2]);
    // The store's own no is no lost reply.
    let _rule = store.rule(Call::Admin, Fault::LoseReply, When::Always);
    assert!(matches!(store.cancel(JobId(999)).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_rule_on_settling_spares_a_mere_claim_and_hits_one_that_settles_too() {
    let store = faulty().await;
    let (_, mut claimer) = worker(&store).await;
    let ids = fill(&store, 3).await;
    let rule = store.rule(Call::Settle, Fault::LoseReply, When::Always);
    let claimed = claimer.next(&[], claim(1)).await.unwrap();
    claimer.next(&completed(&claimed), claim(2)).await.unwrap_err();
    assert_eq!(state(&store, ids[0]).await, None);
    assert_eq!(state(&store, ids[1]).await, Some(State::Running));
    assert_eq!((store.faults(Call::Claim), store.faults(Call::Settle)), (1, 1), "it was both");
    rule.lift();
    claimer.next(&completed(&claimed), Want::default()).await.unwrap();
    assert_eq!((store.calls(Call::Claim), store.calls(Call::Settle)), (2, 2));
}

#[tokio::test]
async fn a_call_stalled_on_its_way_happens_when_the_rule_is_lifted_or_never() {
    let store = faulty().await;
    let id = fill(&store, 1).await[0];
    let rule = store.rule(Call::Admin, Fault::StallBefore, When::Always);
    let mut given_up = store.cancel(id);
    assert!(hangs(&mut given_up).await);
    drop(given_up);

    let mut cancel = store.cancel(id);
    assert!(hangs(&mut cancel).await);
    assert_eq!(state(&store, id).await, Some(State::Queued));
    store.until_faults(Call::Admin, 2).await;
    rule.lift();
    cancel.await.unwrap();
    assert_eq!(state(&store, id).await, Some(State::Cancelled));
}

#[tokio::test]
async fn a_call_whose_reply_stalls_has_happened_already() {
    let store = faulty().await;
    let id = fill(&store, 1).await[0];
    let rule = store.rule(Call::Admin, Fault::StallAfter, When::First(1));
    let mut cancel = store.cancel(id);
    assert!(hangs(&mut cancel).await);
    assert_eq!(state(&store, id).await, Some(State::Cancelled));
    // Others are not held up by it.
    store.retry(id).await.unwrap();
    rule.lift();
    cancel.await.unwrap();
}

#[tokio::test]
async fn while_it_is_down_nothing_gets_through_by_any_handle() {
    let store = faulty().await;
    let clone = store.clone();
    let (boot, mut claimer) = worker(&store).await;
    let heart = store.heart().await.unwrap();
    let beat = Beat { boot, holds: vec![], started: vec![], through: 0, grace: None };
    fill(&store, 1).await;
    {
        let _outage = store.down();
        let silent = store.inner().workers().await.unwrap()[0].beat_at;
        clone.enqueue(&[NewJob::new("kind", "{}")]).await.unwrap_err();
        claimer.next(&[], claim(1)).await.unwrap_err();
        heart.beat(&beat).await.unwrap_err();
        heart.heart().await.unwrap_err();
        clone.now().await.unwrap_err();
        clone.promote(1).await.unwrap_err();
        clone.mark_dead(Duration::ZERO).await.unwrap_err();
        clone.check_version().await.unwrap_err();
        assert_eq!(store.inner().workers().await.unwrap()[0].beat_at, silent);
    }
    clone.now().await.unwrap();
    heart.beat(&beat).await.unwrap();
    assert_eq!(claimer.next(&[], claim(2)).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn the_rule_made_first_decides_and_each_counts_its_own_calls() {
    let store = faulty().await;
    let _second_fails = store.rule(Call::Observe, Fault::Fail, When::After(1));
    let stalled = store.rule(Calls::ALL, Fault::StallBefore, When::Every(2));
    store.now().await.unwrap();
    store.now().await.unwrap_err();
    store.promote(1).await.unwrap();
    let mut fourth = store.promote(1);
    assert!(hangs(&mut fourth).await);
    drop(stalled);
    fourth.await.unwrap();
}

#[tokio::test]
async fn a_test_waits_for_a_call_or_a_fault_to_come() {
    let store = Arc::new(faulty().await);
    let _rule = store.rule(Call::Observe, Fault::Fail, When::Every(3));
    let calls = {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..3 {
                let _ = store.now().await;
                tokio::task::yield_now().await;
            }
        })
    };
    store.until_calls(Call::Observe, 2).await;
    store.until_faults(Call::Observe, 1).await;
    assert_eq!(store.calls(Call::Observe), 3);
    calls.await.unwrap();
}

//! How long a job holds its coalesce key, and to whom the key goes then.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::trial::{
    HOUR, Hand, Trial, again, broken, cancelled, completed, done, eventually, failed, ids, interrupt, kept, keyed,
    park, park_for, retry, snooze,
};
use crate::{
    Conflict, Error, Expiry, JobId, Resolution, Retention, Scope, State,
    limits::MAX_INTERRUPTIONS,
    store::{Admission, Cancel, Enqueued, Rescue, Store, Verdict},
};

/// How a running job comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Completed,
    Kept,
    Failed,
    Cancelled,
    /// Cancelled; its worker says that it wants to run it again.
    CancelledAnyway,
    /// Cancelled, and its worker dies.
    CancelledAndDied,
    /// Given back so often that it is failed.
    Interrupted,
    /// It has killed its process once more.
    Died,
    /// Given back, and cancelled while it waits.
    GivenBackAndCancelled,
    /// To be tried again, and cancelled while it is scheduled.
    RetriedAndCancelled,
    GivenBackAndDeleted,
    SnoozedAndDeleted,
    /// Parked, and answered for.
    Answered,
    AnsweredAsFailed,
    /// Answered for before it was parked, with nothing to be kept.
    AnsweredEarly,
    /// Parked, and nobody answers.
    Unanswered,
    ParkedAndCancelled,
    ParkedAndDeleted,
}

const ENDS: [End; 18] = [
    End::Completed,
    End::Kept,
    End::Failed,
    End::Cancelled,
    End::CancelledAnyway,
    End::CancelledAndDied,
    End::Interrupted,
    End::Died,
    End::GivenBackAndCancelled,
    End::RetriedAndCancelled,
    End::GivenBackAndDeleted,
    End::SnoozedAndDeleted,
    End::Answered,
    End::AnsweredAsFailed,
    End::AnsweredEarly,
    End::Unanswered,
    End::ParkedAndCancelled,
    End::ParkedAndDeleted,
];

/// Handed to a third party; once it has completed it is gone.
fn unkept_park() -> Verdict {
    Verdict::Park { wait: HOUR, expiry: Expiry::Retry, keep: Retention::DEFAULT, retry: HOUR }
}

impl End {
    /// Whether the job is failed, for then some keep their key.
    const fn fails(self) -> bool {
        matches!(self, Self::Failed | Self::Interrupted | Self::Died | Self::AnsweredAsFailed | Self::Unanswered)
    }

    /// Brings a job to the point where it runs for the last time.
    async fn prepare(self, trial: &Trial<'_>, queue: &str, id: JobId) {
        match self {
            Self::Died => trial.make_suspect(queue, id).await,
            Self::Interrupted => {
                let mut worker = trial.worker(queue).await;
                for _ in 1..MAX_INTERRUPTIONS {
                    let job = worker.take_one().await;
                    worker.settle(&job, interrupt()).await;
                }
            }
            _ => {}
        }
    }

    /// Ends the job that this worker runs.
    async fn end(self, trial: &Trial<'_>, worker: &Hand, job: &crate::store::ClaimedJob) {
        let cancel = async |expected| {
            assert_eq!(trial.store.cancel(job.id).await.expect("a cancel passes"), expected, "{self:?}");
        };
        match self {
            Self::Completed => worker.settle(job, completed()).await,
            Self::Kept => worker.settle(job, kept("done")).await,
            Self::Failed => worker.settle(job, failed()).await,
            Self::Interrupted => worker.settle(job, interrupt()).await,
            Self::Cancelled => {
                cancel(Cancel::Asked).await;
                worker.settle(job, cancelled()).await;
            }
            Self::CancelledAnyway => {
                cancel(Cancel::Asked).await;
                worker.settle(job, retry(HOUR)).await;
            }
            Self::CancelledAndDied => {
                cancel(Cancel::Asked).await;
                trial.dies(worker, &[job], &[job]).await;
            }
            Self::Died => {
                worker.beat(&[job], &[job]).await;
                trial.store.bury(&[worker.boot]).await.expect("a burial passes");
                let rescued = trial.store.rescue_dead(true).await.expect("a rescue passes");
                assert_eq!(rescued.iter().map(|r| r.rescue).collect::<Vec<_>>(), [Rescue::Quarantined]);
            }
            Self::GivenBackAndCancelled => {
                worker.settle(job, Verdict::Return).await;
                cancel(Cancel::Done).await;
            }
            Self::RetriedAndCancelled => {
                worker.settle(job, retry(HOUR)).await;
                cancel(Cancel::Done).await;
            }
            Self::GivenBackAndDeleted | Self::SnoozedAndDeleted => {
                worker.settle(job, if self == Self::SnoozedAndDeleted { snooze(HOUR) } else { Verdict::Return }).await;
                trial.store.delete(job.id).await.expect("a waiting job is deleted");
            }
            Self::Answered | Self::AnsweredAsFailed => {
                let secret = worker.callback(job).await;
                worker.settle(job, park()).await;
                let answer = if self == Self::Answered { done("by them") } else { broken() };
                trial.store.resolve(job.id, &secret, &answer).await.expect("a parked job is answered for");
            }
            Self::AnsweredEarly => {
                let secret = worker.callback(job).await;
                trial.store.resolve(job.id, &secret, &done("early")).await.expect("an early answer is heard");
                worker.settle(job, unkept_park()).await;
            }
            Self::Unanswered => {
                worker.settle(job, park_for(Duration::from_millis(1), Expiry::Fail)).await;
                assert_eq!(trial.until_expired(job.id).await, State::Failed);
            }
            Self::ParkedAndCancelled => {
                worker.settle(job, park()).await;
                cancel(Cancel::Done).await;
            }
            Self::ParkedAndDeleted => {
                worker.settle(job, park()).await;
                trial.store.delete(job.id).await.expect("a parked job is deleted");
            }
        }
    }
}

/// Whoever comes after the end is a new job, whatever the end was; only a failure may hold the key, where its scope
/// says so.
pub async fn whatever_ends_a_job_lets_its_key_go(trial: &Trial<'_>) {
    for scope in [Scope::Unfinished, Scope::UnfinishedOrFailed] {
        for how in ENDS {
            let queue = format!("{scope}.{how:?}");
            let job = keyed(&queue, "k", scope, Conflict::Keep);
            let id = trial.enqueue(job.clone()).await;
            how.prepare(trial, &queue, id).await;
            let mut worker = trial.worker(&queue).await;
            let running = worker.take_one().await;
            assert_eq!(trial.admit(job.clone()).await, Enqueued::coalesced(id, Admission::Kept), "{queue}");
            how.end(trial, &worker, &running).await;
            let after = trial.admit(job).await;
            let holds = scope == Scope::UnfinishedOrFailed && how.fails();
            assert_eq!(after.is_new(), !holds, "{queue}: {after:?}");
        }
        // And one that never ran.
        for (queue, delay) in [("queued", Duration::ZERO), ("scheduled", HOUR)] {
            let job = keyed(queue, "k", scope, Conflict::Keep).delay(delay);
            let cancelled = trial.enqueue(job.clone()).await;
            trial.store.cancel(cancelled).await.unwrap();
            let deleted = trial.admit(job.clone()).await;
            assert!(deleted.is_new(), "{queue}: a cancelled job lets its key go");
            trial.store.delete(deleted.id).await.unwrap();
            let last = trial.admit(job).await;
            assert!(last.is_new(), "{queue}: a deleted job lets its key go");
            trial.store.delete(last.id).await.unwrap();
        }
    }
    trial.assert_counted().await;
}

/// The one that waits for the end gets the key and may run at once; nobody has to release it.
pub async fn the_one_that_waits_takes_over_however_the_holder_ends(trial: &Trial<'_>) {
    for conflict in [Conflict::RunAgain, Conflict::Replace] {
        for how in ENDS {
            let queue = format!("{conflict}.{how:?}");
            let job = keyed(&queue, "k", Scope::Unfinished, conflict);
            let holder = trial.enqueue(job.clone()).await;
            how.prepare(trial, &queue, holder).await;
            let mut worker = trial.worker(&queue).await;
            let running = worker.take_one().await;
            let waiting = trial.admit(job.clone()).await;
            assert_eq!(waiting.admission, Admission::Again { holder }, "{queue}");
            let before = trial.now().await;
            how.end(trial, &worker, &running).await;

            let shown = trial.job(waiting.id).await;
            assert_eq!((shown.state, shown.reason), (State::Queued, None), "{queue}");
            assert!(shown.ready_at.is_some_and(|at| at >= before), "{queue}: it is claimable since the end");
            let expected = if conflict == Conflict::Replace { Admission::Replaced } else { Admission::Kept };
            assert_eq!(trial.admit(job.clone()).await, Enqueued::coalesced(waiting.id, expected), "{queue}");
            let mut next = trial.worker(&queue).await;
            let claimed = next.take(10).await;
            assert_eq!(ids(&claimed), [waiting.id], "{queue}");
            // It holds the key as it would have if it had been the first.
            let again = trial.admit(job).await;
            assert_eq!(again.admission, Admission::Again { holder: waiting.id }, "{queue}");
            next.settle(&claimed[0], completed()).await;
            assert_eq!(ids(&next.take(10).await), [again.id], "{queue}");
        }
    }
    trial.assert_counted().await;
}

/// Until someone retries or deletes it, or it expires: a broken job does not come again under another id.
pub async fn a_failed_job_goes_on_holding_its_key_where_its_scope_says_so(trial: &Trial<'_>) {
    for last in ["retried", "deleted", "expired"] {
        let job = keyed(last, "k", Scope::UnfinishedOrFailed, Conflict::Keep);
        let again = keyed(last, "k", Scope::UnfinishedOrFailed, Conflict::RunAgain);
        let id = trial.enqueue(job.clone()).await;
        let mut worker = trial.worker(last).await;
        let running = worker.take_one().await;
        let keep = (last == "expired").then_some(Duration::from_millis(1));
        worker.settle(&running, Verdict::Failed { error: "it broke".into(), keep }).await;
        let kept = Enqueued::coalesced(id, Admission::Kept);
        assert_eq!(trial.admit(job.clone()).await, kept, "a failed job holds its key until it is {last}");
        let waiting = trial.admit(again).await;
        assert_eq!(waiting.admission, Admission::Again { holder: id }, "{last}");
        trial.release_all().await;
        assert_eq!(worker.take(10).await, [], "its failure is not its end");

        match last {
            "retried" => {
                trial.store.retry(id).await.expect("the key is its own");
                assert_eq!(trial.admit(job.clone()).await, kept);
                let running = worker.take(10).await;
                assert_eq!(ids(&running), [id]);
                worker.settle(&running[0], completed()).await;
            }
            "deleted" => trial.store.delete(id).await.unwrap(),
            _ => {
                eventually("what has expired is purged", async || {
                    (trial.store.purge(100).await.unwrap() > 0).then_some(())
                })
                .await;
            }
        }
        assert_eq!(trial.admit(job.clone()).await, Enqueued::coalesced(waiting.id, Admission::Kept), "{last}");
        let claimed = worker.take(10).await;
        assert_eq!(ids(&claimed), [waiting.id], "{last}");
        worker.settle(&claimed[0], completed()).await;
        assert!(trial.admit(job).await.is_new(), "{last}");
    }
    trial.assert_counted().await;
}

/// Its key went with its first claim: its retry is beside whoever holds the key by then, and takes nothing from him.
pub async fn under_pending_a_retry_does_not_take_the_key_back(trial: &Trial<'_>) {
    for (queue, verdict) in [("retry", retry(HOUR)), ("snooze", snooze(HOUR)), ("return", Verdict::Return)] {
        let job = keyed(queue, "k", Scope::Pending, Conflict::Keep);
        let first = trial.enqueue(job.clone()).await;
        let mut worker = trial.worker(queue).await;
        let running = worker.take_one().await;
        worker.settle(&running, verdict).await;
        let second = trial.admit(job.clone()).await;
        assert!(second.is_new(), "{queue}: {second:?}");
        assert_ne!(second.id, first);
        let kept = Enqueued::coalesced(second.id, Admission::Kept);
        trial.store.delete(first).await.unwrap();
        assert_eq!(trial.admit(job.clone()).await, kept, "{queue}: the end of one that holds nothing frees nothing");
        let running = worker.take(10).await;
        assert_eq!(ids(&running), [second.id]);
        worker.settle(&running[0], completed()).await;
        assert!(trial.admit(job).await.is_new(), "{queue}");
    }
    trial.assert_counted().await;
}

/// A person's retry makes it a job that waits, which holds its key like any other.
pub async fn a_retry_by_hand_takes_the_key_again(trial: &Trial<'_>) {
    for scope in [Scope::Pending, Scope::Unfinished, Scope::UnfinishedOrFailed] {
        for ends in [failed(), cancelled()] {
            let queue = format!("{scope}.{}", if ends == failed() { "failed" } else { "cancelled" });
            let job = keyed(&queue, "k", scope, Conflict::Keep);
            let id = trial.enqueue(job.clone()).await;
            let mut worker = trial.worker(&queue).await;
            let running = worker.take_one().await;
            worker.settle(&running, ends).await;
            trial.store.retry(id).await.unwrap_or_else(|error| panic!("{queue}: {error}"));
            assert_eq!(trial.admit(job.clone()).await, Enqueued::coalesced(id, Admission::Kept), "{queue}");
            let running = worker.take(10).await;
            assert_eq!(ids(&running), [id], "{queue}");
            let beside = trial.admit(job.clone()).await;
            assert_eq!(beside.is_new(), scope == Scope::Pending, "{queue}: {beside:?}");
            worker.settle(&running[0], completed()).await;
        }
    }
    trial.assert_counted().await;
}

/// It says who has it, changes nothing, and passes when the key is free.
pub async fn a_retry_by_hand_is_refused_while_another_holds_the_key(trial: &Trial<'_>) {
    for scope in [Scope::Pending, Scope::Unfinished] {
        for cancels in [false, true] {
            let queue = format!("{scope}.{cancels}");
            let job = keyed(&queue, "k", scope, Conflict::Keep);
            let id = trial.enqueue(job.clone()).await;
            let mut worker = trial.worker(&queue).await;
            if cancels {
                trial.store.cancel(id).await.unwrap();
            } else {
                let running = worker.take_one().await;
                worker.settle(&running, failed()).await;
            }
            let holder = trial.enqueue(job).await;
            assert_ne!(holder, id);
            let before = trial.job(id).await;
            let attempts = trial.store.attempts(id).await.unwrap();
            for _ in 0..2 {
                let refused = trial.store.retry(id).await;
                let named = matches!(refused, Err(Error::KeyTaken { id: i, holder: h }) if (i, h) == (id, holder));
                assert!(named, "{queue}: {refused:?}");
            }
            assert_eq!(trial.job(id).await, before, "{queue}");
            assert_eq!(trial.store.attempts(id).await.unwrap(), attempts, "{queue}");
            let running = worker.take(10).await;
            assert_eq!(ids(&running), [holder], "{queue}");
            worker.settle(&running[0], completed()).await;
            trial.store.retry(id).await.unwrap_or_else(|error| panic!("{queue}: {error}"));
            assert_eq!(ids(&worker.take(10).await), [id], "{queue}");
        }
    }
    trial.assert_counted().await;
}

/// It comes back without having ended: a stop, a lost answer and a death let nobody pass it.
pub async fn a_job_that_comes_back_keeps_its_key(trial: &Trial<'_>) {
    let job = keyed("q", "k", Scope::Unfinished, Conflict::Keep);
    let id = trial.enqueue(job.clone()).await;
    let held = async |after: &str| {
        let answer = trial.admit(job.clone()).await;
        assert_eq!(answer, Enqueued::coalesced(id, Admission::Kept), "after {after}");
        assert_eq!(trial.job(id).await.key.as_deref(), Some("k"), "after {after}");
        assert_eq!(trial.jobs_of("q").await.len(), 1, "after {after}");
    };
    let mut worker = trial.worker("q").await;
    for verdict in [Verdict::Return, interrupt(), retry(Duration::ZERO), snooze(Duration::ZERO)] {
        let running = worker.take_one().await;
        held("the claim").await;
        worker.settle(&running, verdict.clone()).await;
        held(&format!("{verdict:?}")).await;
        trial.until_promoted(id).await;
        held("the promotion").await;
    }
    worker.park_one(park_for(Duration::from_millis(1), Expiry::Retry)).await;
    held("the park").await;
    trial.until_expired(id).await;
    held("a deadline that passed").await;
    let (_, secret) = worker.park_one(park()).await;
    for answer in [Resolution::StillWaiting(HOUR), again(Some(Duration::ZERO))] {
        trial.store.resolve(id, &secret, &answer).await.unwrap();
        held(&format!("{answer:?}")).await;
    }
    trial.until_promoted(id).await;
    worker.take_one().await;
    worker.beat(&[], &[]).await;
    held("a lost answer").await;
    for after in ["a rescue", "its isolation"] {
        let mut worker = trial.worker("q").await;
        let running = worker.take_one().await;
        trial.dies(&worker, &[&running], &[&running]).await;
        held(after).await;
    }
    trial.release_all().await;
    held("a release").await;
    let mut worker = trial.worker("q").await;
    let running = worker.take_one().await;
    worker.settle(&running, completed()).await;
    assert!(trial.admit(job).await.is_new());
    trial.assert_counted().await;
}

/// It holds nothing yet: its end changes nothing for the holder, and the next change makes another one wait.
pub async fn the_one_that_waits_may_be_cancelled_or_deleted(trial: &Trial<'_>) {
    let job = keyed("q", "k", Scope::Unfinished, Conflict::RunAgain);
    let keeping = keyed("q", "k", Scope::Unfinished, Conflict::Keep);
    let holder = trial.enqueue(job.clone()).await;
    let mut worker = trial.worker("q").await;
    let running = worker.take_one().await;
    let cancelled = trial.admit(job.clone()).await.id;
    assert_eq!(trial.store.cancel(cancelled).await.unwrap(), Cancel::Done);
    trial.assert_state(cancelled, State::Cancelled).await;
    assert_eq!(trial.admit(keeping.clone()).await, Enqueued::coalesced(holder, Admission::Kept));
    let refused = trial.store.retry(cancelled).await;
    assert!(matches!(refused, Err(Error::KeyTaken { holder: h, .. }) if h == holder), "{refused:?}");

    let deleted = trial.admit(job.clone()).await;
    assert_eq!(deleted.admission, Admission::Again { holder });
    assert_ne!(deleted.id, cancelled);
    trial.store.delete(deleted.id).await.unwrap();
    assert_eq!(trial.find(deleted.id).await, None);
    assert_eq!(trial.admit(keeping.clone()).await, Enqueued::coalesced(holder, Admission::Kept));
    let last = trial.admit(job).await;
    assert_eq!(last.admission, Admission::Again { holder });
    worker.settle(&running, completed()).await;
    let claimed = worker.take(10).await;
    assert_eq!(ids(&claimed), [last.id]);
    worker.settle(&claimed[0], completed()).await;
    trial.release_all().await;
    assert_eq!(worker.take(10).await, [], "nothing else waited");
    assert!(trial.admit(keeping).await.is_new());
    trial.assert_counted().await;
}

/// Six enqueue the same three keys while three workers work them off: after each enqueue its key runs once more, no two
/// of one key run beside each other, and in the end nothing waits and every key is free.
pub async fn no_change_is_lost_while_jobs_of_one_key_come_and_go(trial: &Trial<'_>) {
    const KEYS: usize = 3;
    const ENQUEUERS: usize = 6;
    let handles = [trial.store.clone(), trial.another_handle().await];
    let open = Arc::new(AtomicUsize::new(ENQUEUERS));
    let enqueuers = (0..ENQUEUERS).map(|n| {
        let (store, open) = (handles[n % handles.len()].clone(), open.clone());
        tokio::spawn(async move {
            let mut last = BTreeMap::new();
            for round in 0..25 {
                let key = format!("k{}", (n + round) % KEYS);
                let rule = if round % 5 == 4 { Conflict::Replace } else { Conflict::RunAgain };
                let before = store.now().await.expect("the store tells the time");
                let job = keyed("q", &key, Scope::Unfinished, rule);
                store.enqueue(&[job]).await.expect("the job is taken in");
                last.insert(key, before);
            }
            open.fetch_sub(1, Ordering::SeqCst);
            last
        })
    });
    let enqueuers: Vec<_> = enqueuers.collect();
    let workers = (0..3).map(|n| work_off(handles[n % handles.len()].clone(), open.clone()));
    let runs = futures::future::join_all(workers).await.concat();
    let mut enqueued: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
    for task in enqueuers {
        for (key, at) in task.await.expect("no enqueue fails") {
            let latest = enqueued.entry(key).or_insert(at);
            *latest = at.max(*latest);
        }
    }
    for (n, (key, at)) in enqueued.into_iter().enumerate() {
        let mut own: Vec<&Run> = runs.iter().filter(|run| run.key == key).collect();
        own.sort_by_key(|run| run.began);
        assert!(own.last().is_some_and(|run| run.began >= at), "{key}: it ran after the last change at {at}");
        for pair in own.windows(2) {
            assert!(pair[0].ended <= pair[1].began, "{key}: {:?} beside {:?}", pair[0], pair[1]);
        }
        let free = trial.admit(keyed("q", &key, Scope::Unfinished, Conflict::Keep)).await;
        assert!(free.is_new(), "{key} is free");
        assert_eq!(trial.jobs_of("q").await.len(), n + 1, "nothing else is left");
    }
    trial.assert_counted().await;
}

/// A run of a job of this key, by the store's clock: from its claim to a time at which its end had not been asked for.
#[derive(Debug, Clone)]
struct Run {
    key: String,
    began: DateTime<Utc>,
    ended: DateTime<Utc>,
}

/// Works until all who enqueue are done and the queue is empty.
async fn work_off(store: Arc<dyn Store>, open: Arc<AtomicUsize>) -> Vec<Run> {
    let mut worker = Hand::register(store.clone(), "q").await;
    let mut runs = Vec::new();
    eventually("all changes have run", async || {
        // Whether more may come is asked before the look.
        let over = open.load(Ordering::SeqCst) == 0;
        for job in worker.next(&[], 2, false).await.jobs {
            let shown = store.job(job.id).await.expect("the store shows a job");
            let key = shown.and_then(|shown| shown.key).expect("a running job is there, with its key");
            // Now and then one is given back or handed over first, which must not let its key go.
            let back = job.id.0 % 7 == 0 && job.interruptions == 0;
            let handed = if job.id.0 % 5 == 0 { Some(worker.callback(&job).await) } else { None };
            if handed.is_some() && !back {
                worker.settle(&job, unkept_park()).await;
            }
            let ended = store.now().await.expect("the store tells the time");
            match handed {
                _ if back => worker.settle(&job, interrupt()).await,
                None => worker.settle(&job, completed()).await,
                Some(secret) => {
                    store.resolve(job.id, &secret, &done("by them")).await.expect("a parked job is answered for");
                }
            }
            if !back {
                runs.push(Run { key, began: job.started_at, ended });
            }
        }
        store.release(100).await.expect("a release passes");
        let left = store.outstanding(&"q".parse().expect("a binding")).await.expect("an exact look");
        (over && left.is_empty()).then_some(())
    })
    .await;
    runs
}

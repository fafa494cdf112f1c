//! What goes in, and that it comes out as it went in.

use std::time::Duration;

use super::trial::{HOUR, Hand, Trial, again, done, ids, kept, park, park_for, plain, retry, snooze, verdicts};
use crate::{
    Backoff, Error, Expiry, JobId, JobRecord, Json, NewJob, Resolution, Retention, State,
    limits::{INLINE_BYTES, MAX_OUTPUT, MAX_PAYLOAD},
    store::{ClaimedJob, Filter, Verdict},
};

/// JSON texts that a store which parses and prints again would change.
fn odd_payloads() -> Vec<String> {
    let string = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    vec![
        "{}".into(),
        "null".into(),
        "\"\"".into(),
        "  { \"b\" :1,\n\t\"a\":  [ ] , \"b\":2 }\r\n ".into(),
        "123456789012345678901234567890.000100".into(),
        "[1e400, -0, -0.0, 1E+2, 9007199254740993]".into(),
        "\"\\u00e9 \\/ \\ud83d\\ude00 \\u007f\"".into(),
        "\"größe 漢字 😀 \u{2028} \u{feff} e\u{301}\"".into(),
        "\"%s $1 ? ' '' \\\\ -- ; ${x} {} {{}}\"".into(),
        string(INLINE_BYTES - 1),
        string(INLINE_BYTES),
        string(INLINE_BYTES + 1),
        format!("[{}\"ß漢😀\"]", " \n".repeat(40_000)),
        string(MAX_PAYLOAD),
    ]
}

/// In the order of the bulk, and above those of every bulk before.
pub async fn a_bulks_ids_ascend_in_its_order(trial: &Trial<'_>) {
    let mut last = JobId(0);
    for bulk in 0..3 {
        let jobs: Vec<NewJob> = (0..50)
            .map(|n| {
                let job = plain(&format!("q{}", n % 3)).priority(-n).meta(format!("[{bulk},{n}]"));
                if n % 2 == 0 { job } else { job.delay(HOUR) }
            })
            .collect();
        let enqueued = trial.store.enqueue(&jobs).await.unwrap();
        assert_eq!(enqueued.len(), jobs.len());
        for (n, job) in enqueued.into_iter().enumerate() {
            assert!(job.id > last, "ids ascend, and never come again");
            last = job.id;
            let shown = trial.job(job.id).await;
            assert_eq!(shown.meta, Some(Json(format!("[{bulk},{n}]"))), "answers stand in the order of the jobs");
        }
    }
    // The highest id is not given again when its job is gone.
    trial.store.delete(last).await.unwrap();
    assert!(trial.enqueue(plain("q")).await > last);
}

/// Wherever it stands in the bulk.
pub async fn one_invalid_job_refuses_the_whole_bulk(trial: &Trial<'_>) {
    for at in [0, 10, 19] {
        let mut jobs = vec![plain("q"); 20];
        jobs[at] = NewJob::new("kind", "{\"unfinished\":").queue("q");
        let refused = trial.store.enqueue(&jobs).await;
        assert!(matches!(refused, Err(Error::Rejected(_))), "{refused:?}");
    }
    assert_eq!(trial.jobs(&Filter::default()).await, []);
    assert!(trial.queues().await.values().all(|queue| queue.flow.arrived == 0));
}

/// It is no error, and no job.
pub async fn an_empty_bulk_is_nothing(trial: &Trial<'_>) {
    assert_eq!(trial.store.enqueue(&[]).await.unwrap(), []);
    assert_eq!(trial.jobs(&Filter::default()).await, []);
    assert!(trial.queues().await.is_empty());
}

/// They come out in the order in which they went in.
pub async fn ten_thousand_jobs_go_in_at_once(trial: &Trial<'_>) {
    const JOBS: usize = 10_000;
    let jobs = trial.fill("q", JOBS).await;
    assert_eq!(jobs.len(), JOBS);
    assert!(jobs.is_sorted());
    let mut worker = trial.worker("q").await;
    let mut claimed = Vec::new();
    while claimed.len() < JOBS {
        let batch = worker.take(1000).await;
        assert!(!batch.is_empty(), "only {} of {JOBS} came out", claimed.len());
        claimed.extend(ids(&batch));
    }
    assert_eq!(claimed, jobs);
    let queue = trial.queue("q").await;
    assert_eq!((queue.depth.running, queue.flow.arrived, queue.flow.started), (10_000, 10_000, 10_000));
}

/// Text is data: no byte is added, dropped, reordered or understood.
pub async fn payloads_and_labels_come_out_byte_for_byte(trial: &Trial<'_>) {
    let payloads = odd_payloads();
    let jobs: Vec<NewJob> = payloads
        .iter()
        .map(|payload| {
            let meta = if payload.len() > 100_000 { "{ }".to_owned() } else { payload.clone() };
            NewJob::new("kind", payload.clone()).queue("q").meta(meta)
        })
        .chain([plain("q")])
        .collect();
    let enqueued = trial.store.enqueue(&jobs).await.unwrap();
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(100).await;
    assert_eq!(claimed.len(), jobs.len());
    for ((job, enqueued), claimed) in jobs.iter().zip(enqueued).zip(claimed) {
        let begin: String = job.payload().unwrap().chars().take(80).collect();
        assert_eq!(claimed.id, enqueued.id);
        assert!(claimed.payload == job.payload().unwrap(), "the payload {begin} as claimed");
        assert!(claimed.meta == job.meta, "the labels of {begin} as claimed");
        let shown = trial.job(claimed.id).await;
        assert!(shown.payload.0 == job.payload().unwrap(), "the payload {begin} as shown");
        assert!(shown.meta.map(|meta| meta.0) == job.meta, "the labels of {begin} as shown");
    }
}

/// Through every move that can be made: its data, its labels and what was set for it stay the same.
pub async fn a_job_is_whole_after_every_move(trial: &Trial<'_>) {
    let sizes = [2, INLINE_BYTES, INLINE_BYTES + 1, MAX_PAYLOAD];
    for (n, bytes) in sizes.into_iter().enumerate() {
        let queue = format!("q{n}");
        let job = NewJob::new("odd \u{e9}kind".replace(' ', "-"), format!("\"{}\"", "p".repeat(bytes - 2)))
            .queue(&queue)
            .priority(-7)
            .max_attempts(9)
            .timeout(Duration::from_millis(1500))
            .max_run_time(Duration::from_hours(3))
            .backoff(Backoff { base: Duration::from_millis(250), factor: 1.5, cap: HOUR, jitter: 0.125 })
            .retention(Retention { completed: Duration::from_secs(77), failed: Some(Duration::from_millis(88_001)) })
            .meta(" {\"tenant\" : 7}")
            .delay(Duration::from_millis(1));
        let id = trial.enqueue(job.clone()).await;
        let enqueued_at = trial.job(id).await.enqueued_at;

        let whole = async |after: &str| {
            let shown = trial.job(id).await;
            let JobRecord { queue, kind, priority, max_attempts, payload, meta, .. } = shown;
            assert!(payload.0 == job.payload().unwrap(), "the payload of {bytes} bytes after {after}");
            assert_eq!(meta.map(|meta| meta.0), job.meta, "the labels after {after}");
            assert_eq!((&queue, &kind, priority), (&job.queue, &job.kind, job.priority), "after {after}");
            assert_eq!((max_attempts, shown.enqueued_at), (job.max_attempts, enqueued_at), "after {after}");
        };
        let whole_claimed = |claimed: &ClaimedJob| {
            assert_eq!(claimed.id, id);
            assert!(claimed.payload == job.payload().unwrap(), "the payload of {bytes} bytes as claimed");
            assert_eq!((&claimed.kind, claimed.priority, &claimed.meta), (&job.kind, job.priority, &job.meta));
            assert_eq!((claimed.timeout, claimed.max_run_time), (job.timeout, job.max_run_time));
            assert_eq!((claimed.backoff, claimed.retention), (job.backoff, job.retention));
            assert_eq!((claimed.max_attempts, claimed.enqueued_at), (job.max_attempts, enqueued_at));
        };

        whole("the enqueue").await;
        let mut worker = trial.worker(&queue).await;
        for (verdict, _) in verdicts() {
            let verdict = match verdict {
                // Gone, and nothing to be seen of it.
                Verdict::Completed { .. } => continue,
                Verdict::Retry { .. } => retry(Duration::ZERO),
                Verdict::Snooze { .. } => snooze(Duration::ZERO),
                other => other,
            };
            if trial.state(id).await == State::Scheduled {
                trial.until_promoted(id).await;
                whole("the promotion").await;
            }
            let claimed = worker.take_one().await;
            whole_claimed(&claimed);
            whole("the claim").await;
            let secret = worker.callback(&claimed).await;
            whole("the note of a secret").await;
            worker.settle(&claimed, verdict.clone()).await;
            whole(&format!("{verdict:?}")).await;
            if trial.state(id).await == State::WaitAsync {
                for answer in [Resolution::StillWaiting(HOUR), again(Some(Duration::ZERO))] {
                    trial.store.resolve(id, &secret, &answer).await.unwrap();
                    whole(&format!("{answer:?}")).await;
                }
            }
            if matches!(trial.state(id).await, State::Failed | State::Cancelled) {
                trial.store.retry(id).await.unwrap();
                whole("a retry by hand").await;
            }
        }
        // Parked, until its deadline passed; and answered for before it was parked.
        worker.park_one(park_for(Duration::from_millis(1), Expiry::Retry)).await;
        trial.until_expired(id).await;
        whole("a deadline that passed").await;
        whole_claimed(&answered_early(trial, &mut worker, &again(Some(Duration::ZERO))).await);
        trial.until_promoted(id).await;
        whole("an early answer").await;
        // Taken back by a beat, taken away by a rescue, isolated as a suspect.
        worker.take_one().await;
        worker.beat(&[], &[]).await;
        whole("a lost answer").await;
        trial.make_suspect(&queue, id).await;
        whole("a rescue").await;
        let mut worker = trial.worker(&queue).await;
        let claimed = worker.take_one().await;
        whole_claimed(&claimed);
        trial.dies(&worker, &[&claimed], &[&claimed]).await;
        trial.assert_state(id, State::Failed).await;
        whole("a quarantine").await;
        trial.store.retry(id).await.unwrap();
        trial.store.cancel(id).await.unwrap();
        whole("a cancel").await;
        trial.store.retry(id).await.unwrap();
        let mut worker = trial.worker(&queue).await;
        // A long output lies beside a long payload, by whichever way it comes.
        let output = "o".repeat(bytes.min(MAX_OUTPUT));
        if n % 2 == 0 {
            let claimed = worker.take_one().await;
            whole_claimed(&claimed);
            worker.settle(&claimed, kept(&output)).await;
        } else {
            let (claimed, secret) = worker.park_one(park()).await;
            whole_claimed(&claimed);
            trial.store.resolve(id, &secret, &done(&output)).await.unwrap();
        }
        trial.assert_state(id, State::Completed).await;
        whole("its completion").await;
        assert!(trial.job(id).await.output == Some(output), "the output beside {bytes} bytes");
    }
}

/// The next job as it was claimed, answered for while it runs, and parked.
async fn answered_early(trial: &Trial<'_>, worker: &mut Hand, answer: &Resolution) -> ClaimedJob {
    let claimed = worker.take_one().await;
    let secret = worker.callback(&claimed).await;
    trial.store.resolve(claimed.id, &secret, answer).await.expect("an early answer is heard");
    worker.settle(&claimed, park()).await;
    claimed
}

/// What was left out is left out, and what was set is there to the last digit.
pub async fn every_attribute_reaches_the_worker(trial: &Trial<'_>) {
    let set = NewJob::new("kind", "[1]")
        .queue("q")
        .priority(i16::MAX)
        .max_attempts(crate::limits::MAX_ATTEMPTS)
        .timeout(Duration::from_millis(1))
        .max_run_time(crate::limits::MAX_DELAY)
        .backoff(Backoff::fixed(Duration::from_secs(3)))
        .retention(Retention { completed: crate::limits::MAX_DELAY, failed: None })
        .meta("{\"a\":1}");
    let bare = plain("q");
    trial.store.enqueue(&[set.clone(), bare]).await.unwrap();
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    assert_eq!(
        (claimed[0].timeout, claimed[0].max_run_time, claimed[0].backoff, claimed[0].retention),
        (set.timeout, set.max_run_time, set.backoff, set.retention)
    );
    assert_eq!((&*claimed[0].queue, &*claimed[0].kind, &*claimed[0].payload), ("q", "kind", "[1]"));
    assert_eq!((claimed[0].priority, claimed[0].max_attempts), (i16::MAX, crate::limits::MAX_ATTEMPTS));
    assert_eq!(claimed[0].meta.as_deref(), Some("{\"a\":1}"));
    assert_eq!(
        (claimed[1].timeout, claimed[1].max_run_time, claimed[1].backoff, claimed[1].retention, &claimed[1].meta),
        (None, None, None, None, &None)
    );
    assert_eq!((claimed[1].priority, claimed[1].max_attempts, claimed[1].attempt), (0, 5, 1));
}

/// Each bulk's ids ascend, and no number is given twice.
pub async fn concurrent_bulks_never_share_an_id(trial: &Trial<'_>) {
    let other = trial.another_handle().await;
    let mut tasks = Vec::new();
    for n in 0..8 {
        let store = if n % 2 == 0 { trial.store.clone() } else { other.clone() };
        tasks.push(tokio::spawn(async move {
            let mut bulks = Vec::new();
            for _ in 0..5 {
                let jobs = vec![plain("q"); 20];
                bulks.push(store.enqueue(&jobs).await.expect("a bulk is taken in"));
            }
            bulks
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        for bulk in task.await.expect("no enqueue fails") {
            let ids: Vec<JobId> = bulk.into_iter().map(|enqueued| enqueued.id).collect();
            assert!(ids.is_sorted());
            all.extend(ids);
        }
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 800);
    let mut worker = trial.worker("q").await;
    let mut claimed = ids(&worker.take(1000).await);
    claimed.sort();
    assert_eq!(claimed, all);
}

/// With the application's commit they are there, and after its rollback they never were.
pub async fn a_transaction_decides_whether_its_jobs_exist(trial: &Trial<'_>) {
    let jobs = [plain("q").meta("1"), plain("q").delay(HOUR).meta("2"), plain("q").meta("3")];
    let Some(rolled_back) = trial.enqueue_in_transaction(&jobs, false).await else {
        // Its callers have no transactions.
        return;
    };
    for job in rolled_back.unwrap() {
        assert_eq!(trial.find(job.id).await, None);
    }
    assert_eq!(trial.jobs(&Filter::default()).await, []);
    assert!(trial.queues().await.values().all(|queue| queue.flow.arrived == 0 && queue.flow.deferred == 0));
    let mut worker = trial.worker("q").await;
    assert_eq!(worker.take(10).await, []);

    let committed = trial.enqueue_in_transaction(&jobs, true).await.expect("it did so before").unwrap();
    let committed: Vec<JobId> = committed.into_iter().map(|enqueued| enqueued.id).collect();
    assert!(committed.is_sorted());
    for (id, meta) in committed.iter().zip(["1", "2", "3"]) {
        assert_eq!(trial.job(*id).await.meta, Some(Json(meta.into())));
    }
    assert_eq!(ids(&worker.take(10).await), [committed[0], committed[2]]);
    let queue = trial.queue("q").await;
    assert_eq!((queue.flow.arrived, queue.flow.deferred), (2, 1));

    let invalid = [plain("q"), plain("q").max_attempts(0)];
    let refused = trial.enqueue_in_transaction(&invalid, true).await.expect("it did so before");
    assert!(matches!(refused, Err(Error::Rejected(_))), "{refused:?}");
    assert_eq!(trial.jobs(&Filter::default()).await.len(), 3);
}

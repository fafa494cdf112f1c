//! Claims among claims, drains and changes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use headcount_queue::{
    JobId, NewJob,
    store::{Admin, Beat, Claim, Enqueue, Gate, Maintain, Verdict},
};
use headcount_tests::{Database, eventually};
use sqlx::Executor;
use tokio::task::JoinSet;

use super::ground::{COMPLETED, Worker, claim_by_hand, end, jobs, number, open};

/// Others update the rows between a claim's view and its lock. What the delete did not take must not be claimed, or the
/// job runs twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_changes_under_the_claim_is_claimed_once() {
    const JOBS: usize = 3000;
    let database = Database::fresh().await;
    let store = open(&database, 6);
    store.enqueue(&jobs("q", JOBS)).await.unwrap();

    let changes = tokio::spawn({
        let mut connection = database.connect().await;
        async move {
            // As a newer release might: every row, again and again.
            let sql = "UPDATE headcount.ready SET extra = '{\"seen\": true}' WHERE id % 5 = (random() * 4)::int";
            let mut changed = 0;
            loop {
                match sqlx::query(sql).execute(&mut connection).await {
                    Ok(done) if done.rows_affected() == 0 && changed > 0 => return changed,
                    Ok(done) => changed += done.rows_affected(),
                    Err(_) => {}
                }
            }
        }
    });
    let mut claimers = JoinSet::new();
    for _ in 0..4 {
        let mut worker = Worker::new(&store, "q").await;
        claimers.spawn(async move {
            let (mut seen, mut settled) = (Vec::new(), Vec::new());
            loop {
                let claimed = worker.next(&settled, 20).await;
                seen.extend(claimed.jobs.iter().map(|job| job.id));
                settled = end(&claimed.jobs, &COMPLETED);
                if claimed.jobs.is_empty() && claimed.gate == Gate::Open {
                    return seen;
                }
            }
        });
    }
    let mut seen: Vec<JobId> = claimers.join_all().await.concat();
    // Rows that were being changed at the last look are left: they are claimable, once the changes have ended.
    changes.abort();
    let mut last = Worker::new(&store, "q").await;
    let left = last.next(&[], 3000).await.jobs;
    seen.extend(left.iter().map(|job| job.id));
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (JOBS, JOBS), "each job is claimed exactly once");
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.ready").await, 0);
}

/// Finish and claim in one statement, give-backs, beats, promotions and folds all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_claimers_never_deadlock_and_do_each_job_once() {
    const JOBS: usize = 6000;
    let database = Database::fresh().await;
    let store = open(&database, 18);
    let mut bulk = Vec::new();
    for n in 0..JOBS {
        let job = NewJob::new(if n % 3 == 0 { "a" } else { "b" }, "{}").queue(format!("q{}", n % 4));
        bulk.push(job.priority((n % 3) as i16));
    }
    store.enqueue(&bulk).await.unwrap();

    let upkeep = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            loop {
                store.promote(100).await.unwrap();
                store.fold().await.unwrap();
                store.mark_dead(Duration::from_mins(1)).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut claimers = JoinSet::new();
    for n in 0..16_usize {
        let store = Arc::clone(&store);
        claimers.spawn(async move {
            let mut worker = Worker::new(&store, "").await;
            let (mut done, mut settled, mut round) = (Vec::new(), Vec::new(), n);
            let mut given_back = HashSet::new();
            loop {
                let claimed = worker.next(&settled, 25).await;
                round += 1;
                settled.clear();
                for job in &claimed.jobs {
                    // One in fifty comes round again, once from each hand.
                    if job.id.0 % 50 == 7 && given_back.insert(job.id) {
                        settled.extend(end(std::slice::from_ref(job), &Verdict::Return));
                    } else {
                        done.push(job.id);
                        settled.extend(end(std::slice::from_ref(job), &COMPLETED));
                    }
                }
                if round % 8 == 0 {
                    let holds: Vec<_> = claimed.jobs.iter().map(|job| (job.id, job.token.claim)).collect();
                    let beat =
                        Beat { boot: worker.boot, holds, started: Vec::new(), through: worker.through(), grace: None };
                    assert_eq!(store.beat(&beat).await.unwrap().lost, []);
                }
                if claimed.jobs.is_empty() && claimed.gate == Gate::Open {
                    return done;
                }
            }
        });
    }
    let mut done = claimers.join_all().await.concat();
    upkeep.abort();
    // What the last ones gave back when the others had gone.
    let mut last = Worker::new(&store, "").await;
    let left = last.next(&[], JOBS as u32).await.jobs;
    done.extend(left.iter().map(|job| job.id));
    last.next(&end(&left, &COMPLETED), 0).await;
    let distinct: HashSet<_> = done.iter().collect();
    assert_eq!((done.len(), distinct.len()), (JOBS, JOBS), "each job is done exactly once");
    assert_eq!(store.conflicts(), 0, "statements of the store never collide");
    assert_eq!(store.audit().await.unwrap(), []);
}

/// A claim takes from the lanes in order and stops: what it does not take stays free for others.
#[tokio::test]
async fn a_claim_locks_only_what_it_takes() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    for queue in ["a", "b", "c"] {
        store.enqueue(&jobs(queue, 100)).await.unwrap();
    }
    let worker = Worker::new(&store, "").await;
    let mut claiming = database.connect().await;
    claiming.execute("BEGIN").await.unwrap();
    let taken = claim_by_hand(&mut claiming, worker.boot, 10, &[("a", 0), ("b", 0), ("c", 0)]).await;
    assert_eq!(taken, 10);

    let mut other = database.connect().await;
    let free = "SELECT count(*) FROM (SELECT FROM headcount.ready FOR UPDATE SKIP LOCKED) r";
    assert_eq!(number(&mut other, free).await, 290);
    // And who comes next is given the next ones of the same lane, not held up.
    let mut second = Worker::new(&store, "").await;
    let next = second.next(&[], 95).await.jobs;
    let of = |queue: &str| next.iter().filter(|job| job.queue == queue).count();
    assert_eq!((of("a"), of("b"), of("c")), (90, 5, 0));
}

/// The drain's answer means that nothing is in flight, so that "no running jobs" afterwards is true for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_the_claim_in_flight_and_leaving_sees_what_it_took() {
    let database = Database::fresh().await;
    let store = open(&database, 4);
    store.enqueue(&jobs("q", 5)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let boot = worker.boot;
    let mut claiming = database.connect().await;
    claiming.execute("BEGIN").await.unwrap();
    assert_eq!(claim_by_hand(&mut claiming, boot, 2, &[("q", 0)]).await, 2);

    let drain = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.drain(&[boot], "the test", None).await.unwrap() }
    });
    let mut looking = database.connect().await;
    eventually("the drain waits for the claim", Duration::from_secs(20), async || {
        match number(&mut looking, "SELECT count(*) FROM pg_locks WHERE NOT granted").await {
            0 => Err("nobody waits"),
            _ => Ok(()),
        }
    })
    .await;
    assert!(!drain.is_finished());
    claiming.execute("COMMIT").await.unwrap();
    let drained = drain.await.unwrap();
    assert_eq!(drained.len(), 1);
    let claimed = worker.next(&[], 5).await;
    assert_eq!((claimed.jobs.len(), claimed.gate), (0, Gate::Draining));
    assert!(!store.leave(boot, drained[0].1).await.unwrap(), "it owns two jobs");
    assert!(!store.deregister(boot).await.unwrap());
}

/// The same for taking a worker off the books: it may not lose sight of jobs that a claim in flight gives it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_not_deregistered_over_a_claim_in_flight() {
    let database = Database::fresh().await;
    let store = open(&database, 4);
    store.enqueue(&jobs("q", 1)).await.unwrap();
    let boot = Worker::new(&store, "q").await.boot;
    let mut claiming = database.connect().await;
    claiming.execute("BEGIN").await.unwrap();
    assert_eq!(claim_by_hand(&mut claiming, boot, 1, &[("q", 0)]).await, 1);
    let leaving = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.deregister(boot).await.unwrap() }
    });
    let mut looking = database.connect().await;
    eventually("it waits for the claim", Duration::from_secs(20), async || {
        match number(&mut looking, "SELECT count(*) FROM pg_locks WHERE NOT granted").await {
            0 => Err("nobody waits"),
            _ => Ok(()),
        }
    })
    .await;
    claiming.execute("COMMIT").await.unwrap();
    assert!(!leaving.await.unwrap(), "it owns the job");
}

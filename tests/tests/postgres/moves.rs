//! Moves by id against everything that moves jobs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use headcount_queue::{
    Error,
    store::{Admin, Enqueue, Maintain, Observe, Verdict},
};
use headcount_tests::Database;
use tokio::task::JoinSet;

use super::ground::{Worker, end, jobs, number, open};

/// A cancel that races a claim matches the job in neither table; it must look again before it says "unknown".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_on_the_move_is_never_unknown_and_never_in_two_places() {
    const ROUNDS: usize = 150;
    let database = Database::fresh().await;
    let store = open(&database, 10);
    let ids: Vec<_> = store.enqueue(&jobs("q", 3)).await.unwrap().into_iter().map(|job| job.id).collect();
    let over = Arc::new(AtomicBool::new(false));
    let mut movers = JoinSet::new();
    for n in 0..3 {
        let (store, over) = (Arc::clone(&store), Arc::clone(&over));
        let mut worker = Worker::new(&store, "q").await;
        movers.spawn(async move {
            let verdicts = [Verdict::Return, Verdict::Snooze { reason: None, after: Duration::ZERO }, Verdict::Return];
            let mut settled = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let claimed = worker.next(&settled, 1).await;
                settled = end(&claimed.jobs, &verdicts[n]);
                store.promote(10).await.unwrap();
            }
            worker.next(&settled, 0).await;
        });
    }
    let mut hands = JoinSet::new();
    for &id in &ids {
        let store = Arc::clone(&store);
        hands.spawn(async move {
            let (mut cancelled, mut refused) = (0, 0);
            for _ in 0..ROUNDS {
                assert!(store.job(id).await.unwrap().is_some(), "{id} is somewhere");
                match store.cancel(id).await {
                    Ok(_) => cancelled += 1,
                    Err(Error::WrongState { .. } | Error::Busy(_)) => refused += 1,
                    Err(other) => panic!("a cancel of {id}: {other}"),
                }
                match store.retry(id).await {
                    Ok(()) => {}
                    Err(Error::WrongState { .. } | Error::Busy(_)) => refused += 1,
                    Err(other) => panic!("a retry of {id}: {other}"),
                }
            }
            (cancelled, refused)
        });
    }
    let mut looking = database.connect().await;
    let twice = "SELECT count(*) FROM (SELECT id FROM headcount.jobs GROUP BY id HAVING count(*) > 1) t";
    let mut looks = 0;
    while !hands.is_empty() {
        assert_eq!(number(&mut looking, twice).await, 0, "a job is in two places");
        assert_eq!(number(&mut looking, "SELECT count(*) FROM headcount.jobs").await, 3, "a job is in no place");
        looks += 1;
        while let Some(hand) = hands.try_join_next() {
            assert!(hand.unwrap().0 > 0, "some cancels took hold");
        }
    }
    assert!(looks > 1);
    over.store(true, Ordering::Relaxed);
    movers.join_all().await;
    assert_eq!(store.audit().await.unwrap(), []);
}

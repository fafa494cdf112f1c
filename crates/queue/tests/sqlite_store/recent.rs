//! What counts as recent, whatever the time is.

use headcount_queue::store::{Enqueue, Maintain, Observe};

use crate::ground::{bulk, connect, open, work_off, worker};

#[tokio::test]
async fn recent_is_what_happened_since_five_to_six_minutes_ago() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    let mut raw = connect(&path).await;
    let mut age = async |minutes: i64| {
        for statement in ["UPDATE migration SET at = at - ?1", "UPDATE history SET at = at - ?1"] {
            sqlx::query(statement).bind(minutes * 60_000_000).execute(&mut raw).await.unwrap();
        }
    };
    let mut claimer = worker(&store).await;
    for n in [1, 2, 4] {
        store.enqueue(&bulk(n)).await.unwrap();
        work_off(&mut claimer, 10).await;
        age(4).await;
    }
    // They came 12, 8 and 4 minutes ago.
    let queue = store.queues().await.unwrap().remove(0);
    assert_eq!((queue.flow.arrived, queue.recent.flow.arrived), (7, 4));
    assert_eq!((queue.recent.flow.started, queue.recent.flow.delays.0.iter().sum::<i64>()), (4, 4));
    let minutes = queue.recent.over.as_secs_f64() / 60.0;
    assert!((5.0..6.0).contains(&minutes), "{minutes}");
    age(4).await;
    assert_eq!(store.queues().await.unwrap()[0].recent.flow, headcount_queue::Flow::default());
    // Old minutes are forgotten, and what is recent stays right.
    age(9 * 24 * 60).await;
    store.enqueue(&bulk(1)).await.unwrap();
    store.purge(1).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM history").fetch_one(&mut raw).await.unwrap();
    assert_eq!((left, store.queues().await.unwrap()[0].recent.flow.arrived), (1, 1));
}

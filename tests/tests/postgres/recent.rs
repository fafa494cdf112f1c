//! What happened lately: differences of the counters, kept a minute at a time.

use std::time::Duration;

use headcount_queue::{
    NewJob, QueueState,
    store::{Enqueue, Maintain, Observe, postgres::PostgresStore},
};
use headcount_tests::Database;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::ground::{jobs, number, open};

/// Makes everything that was counted as old as this.
async fn pass(connection: &mut PgConnection, time: &str) {
    for (table, column) in [("queue_state", "at"), ("history", "at"), ("migration", "installed_on")] {
        let back = format!("UPDATE headcount.{table} SET {column} = {column} - interval '{time}'");
        connection.execute(AssertSqlSafe(back)).await.unwrap();
    }
}

async fn queue(store: &PostgresStore) -> QueueState {
    store.queues().await.unwrap().remove(0)
}

const WINDOW: std::ops::Range<Duration> = Duration::from_mins(5)..Duration::from_mins(6);

#[tokio::test]
async fn the_recent_past_is_the_difference_to_the_reading_of_five_minutes_ago() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    store.enqueue(&jobs("q", 3)).await.unwrap();
    store.fold().await.unwrap();
    let recent = queue(&store).await.recent;
    assert_eq!(recent.flow.arrived, 3, "all there is");

    pass(&mut connection, "10 minutes").await;
    let recent = queue(&store).await.recent;
    assert_eq!((recent.flow.arrived, recent.rate(3) > 0.0), (0, true));
    assert!(WINDOW.contains(&recent.over), "{recent:?}");

    store.enqueue(&jobs("q", 2)).await.unwrap();
    store.fold().await.unwrap();
    store.enqueue(&jobs("q", 2)).await.unwrap();
    store.fold().await.unwrap();
    let state = queue(&store).await;
    assert_eq!((state.flow.arrived, state.recent.flow.arrived), (7, 4));
    assert!(WINDOW.contains(&state.recent.over), "{state:?}");

    // Three minutes on, that is recent still; eight minutes on it is the reading to start from.
    pass(&mut connection, "3 minutes").await;
    assert_eq!(queue(&store).await.recent.flow.arrived, 4);
    pass(&mut connection, "5 minutes").await;
    assert_eq!(queue(&store).await.recent.flow.arrived, 0);
    store.enqueue(&jobs("q", 1)).await.unwrap();
    store.fold().await.unwrap();
    assert_eq!(queue(&store).await.recent.flow.arrived, 1);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.history").await, 2, "one for each such minute");
}

#[tokio::test]
async fn history_goes_after_eight_days_but_the_reading_to_start_from_stays() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    for _ in 0..3 {
        store.enqueue(&jobs("q", 1)).await.unwrap();
        store.fold().await.unwrap();
        pass(&mut connection, "1 hour").await;
    }
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.history").await, 2);
    store.purge(10).await.unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.history").await, 2);
    pass(&mut connection, "8 days").await;
    store.purge(10).await.unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.history").await, 1);
    store.enqueue(&jobs("q", 1)).await.unwrap();
    store.fold().await.unwrap();
    assert_eq!(queue(&store).await.recent.flow.arrived, 1);
}

#[tokio::test]
async fn each_priority_shows_what_waits_and_for_how_long() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    let job = |kind: &str, priority| NewJob::new(kind, "{}").queue("q").priority(priority);
    store.enqueue(&[job("a", 0), job("b", 0), job("a", 5)]).await.unwrap();
    let wait = "UPDATE headcount.ready SET ready_at = ready_at - interval '1 hour' WHERE priority = 0";
    connection.execute(wait).await.unwrap();
    store.fold().await.unwrap();
    let state = queue(&store).await;
    let shown: Vec<_> = state.priorities.iter().map(|one| (one.priority, one.ready)).collect();
    assert_eq!(shown, [(5, 1), (0, 2)]);
    let oldest: Vec<_> = state.priorities.iter().map(|one| one.oldest.unwrap() >= Duration::from_hours(1)).collect();
    assert_eq!(oldest, [false, true]);
    assert!(state.oldest.unwrap() >= Duration::from_hours(1));
}

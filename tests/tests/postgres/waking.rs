//! Workers that sleep hear of jobs, and nobody speaks while none sleeps.

use std::{sync::Arc, time::Duration};

use headcount_queue::{
    Binding, NewJob,
    store::{Admin, Claim, Enqueue, Maintain, Setting, Target, Wakes, postgres::PostgresStore},
};
use headcount_tests::{Database, eventually};
use sqlx::{Executor, postgres::PgListener};
use tokio::time::timeout;

use super::ground::{Worker, jobs, number, open};

/// Three times what a notice may take, and more: only a failing test waits so long.
const SOON: Duration = Duration::from_secs(20);

fn binding(text: &str) -> Binding {
    text.parse().expect("names of queues")
}

async fn listen(store: &PostgresStore, queues: &str) -> Box<dyn Wakes> {
    store.listen(&binding(queues)).await.expect("the store listens").expect("it can tell")
}

/// Whether news come.
async fn wakes(wakes: &mut Box<dyn Wakes>) -> bool {
    timeout(SOON, wakes.next()).await.is_ok()
}

/// Everything that is told, to count it.
async fn everything(database: &Database) -> PgListener {
    let mut listener = PgListener::connect(database.url()).await.unwrap();
    listener.listen("headcount.wake").await.unwrap();
    listener
}

/// The notices so far, up to a mark of our own: what was sent before it comes before it.
async fn so_far(listener: &mut PgListener, database: &Database) -> Vec<String> {
    database.connect().await.execute("SELECT pg_notify('headcount.wake', 'the mark')").await.unwrap();
    let mut heard = Vec::new();
    loop {
        let notice = timeout(SOON, listener.recv()).await.expect("the mark comes").unwrap();
        if notice.payload() == "the mark" {
            return heard;
        }
        heard.push(notice.payload().to_owned());
    }
}

#[tokio::test]
async fn a_sleeper_hears_of_every_way_in_which_jobs_become_claimable() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let queues = binding("mail.*");
    let mut ear = listen(&store, "mail.*").await;
    store.sleep(&queues, true).await.unwrap();

    store.enqueue(&jobs("mail.a", 1)).await.unwrap();
    assert!(wakes(&mut ear).await, "an enqueue");

    store.enqueue(&[NewJob::new("kind", "{}").queue("mail.b").delay(Duration::from_millis(1))]).await.unwrap();
    assert!(wakes(&mut ear).await, "one that is due later: whoever promotes may sleep");
    eventually("it is promoted", SOON, async || match store.promote(10).await.unwrap().jobs {
        0 => Err("not due"),
        _ => Ok(()),
    })
    .await;
    assert!(wakes(&mut ear).await, "a promotion");

    let cancelled = store.enqueue(&jobs("mail.c", 1)).await.unwrap()[0].id;
    assert!(wakes(&mut ear).await);
    store.cancel(cancelled).await.unwrap();
    store.retry(cancelled).await.unwrap();
    assert!(wakes(&mut ear).await, "a retry by hand");

    store.set(&Target::Queue("mail.c".into()), Setting::Paused(true)).await.unwrap();
    store.set(&Target::Queue("mail.c".into()), Setting::Paused(false)).await.unwrap();
    assert!(wakes(&mut ear).await, "a queue goes on");

    store.fold().await.unwrap();
    store.set(&Target::Kind("kind".into()), Setting::Paused(true)).await.unwrap();
    store.set(&Target::Kind("kind".into()), Setting::Paused(false)).await.unwrap();
    assert!(wakes(&mut ear).await, "a kind goes on");
    store.flush().await.unwrap();
    while timeout(Duration::from_millis(200), ear.next()).await.is_ok() {}

    let mut dying = Worker::new(&store, "mail.*").await;
    assert_eq!(dying.next(&[], 1).await.jobs.len(), 1);
    store.bury(&[dying.boot]).await.unwrap();
    assert_eq!(store.rescue_dead(false).await.unwrap().len(), 1);
    assert!(wakes(&mut ear).await, "a rescue");

    // By SQL, as a trigger might.
    database.connect().await.execute("SELECT pg_notify('headcount.wake', 'mail.z')").await.unwrap();
    assert!(wakes(&mut ear).await, "plain SQL");
}

#[tokio::test]
async fn nobody_is_told_while_nobody_sleeps_and_nobody_of_queues_that_are_not_his() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let mut all = everything(&database).await;
    for (asleep, enqueued, heard) in [
        (&[][..], &["a", "mail.x", "run:x"][..], &[][..]),
        (&["a"], &["a", "b"], &["a"]),
        (&["mail.*"], &["a", "mail.x", "mail"], &["mail.x"]),
        (&["r*"], &["red", "run:x"], &["red"]),
        (&["run:*"], &["red", "run:x"], &["run:x"]),
        (&[""], &["b", "run:x"], &["b"]),
    ] {
        for queues in asleep {
            store.sleep(&binding(queues), true).await.unwrap();
        }
        for queue in enqueued {
            store.enqueue(&jobs(queue, 1)).await.unwrap();
        }
        store.flush().await.unwrap();
        let mut told = so_far(&mut all, &database).await;
        told.sort();
        assert_eq!(told, heard, "{asleep:?} sleep");
        for queues in asleep {
            store.sleep(&binding(queues), false).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_worker_is_not_woken_for_the_queues_of_another() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let (mut a, mut b) = (listen(&store, "a").await, listen(&store, "b").await);
    store.sleep(&binding("a"), true).await.unwrap();
    store.enqueue(&jobs("a", 1)).await.unwrap();
    assert!(wakes(&mut a).await);
    // Both have heard it by then, as far as they hear anything: the next one is for both.
    database.connect().await.execute("NOTIFY \"headcount.wake\"").await.unwrap();
    assert!(wakes(&mut b).await, "a notice without a queue means all");
    assert!(timeout(Duration::from_millis(50), b.next()).await.is_err(), "it was one notice for b");
}

#[tokio::test]
async fn a_burst_gives_few_notices_and_its_last_job_is_always_told() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let mut all = everything(&database).await;
    store.sleep(&binding("q"), true).await.unwrap();
    let began = std::time::Instant::now();
    for _ in 0..100 {
        store.enqueue(&jobs("q", 1)).await.unwrap();
    }
    let took = began.elapsed();
    store.flush().await.unwrap();
    let told = so_far(&mut all, &database).await.len();
    let most = took.as_millis() as usize / 15 + 2;
    assert!((1..=most).contains(&told), "{told} notices in {took:?}, at most {most}");

    // Without a flush too: each of these is told, be it in the moment of another notice.
    let mut ear = listen(&store, "q").await;
    for round in 0..20 {
        for _ in 0..3 {
            store.enqueue(&jobs("q", 1)).await.unwrap();
        }
        let ready = number(&mut database.connect().await, "SELECT count(*) FROM headcount.ready").await;
        assert_eq!(ready, 100 + 3 * (round + 1));
        assert!(wakes(&mut ear).await, "round {round}");
    }
}

#[tokio::test]
async fn what_is_pending_is_told_when_the_process_closes() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let mut all = everything(&database).await;
    store.sleep(&binding(""), true).await.unwrap();
    // The second lies in the moment after the first.
    store.enqueue(&jobs("q", 1)).await.unwrap();
    store.enqueue(&jobs("q", 1)).await.unwrap();
    store.flush().await.unwrap();
    assert!(!so_far(&mut all, &database).await.is_empty());
    store.flush().await.unwrap();
    assert_eq!(so_far(&mut all, &database).await, [""; 0], "nothing is told twice");

    store.enqueue(&jobs("q", 1)).await.unwrap();
    assert_eq!(Arc::strong_count(&store), 1);
    drop(store);
    let told = timeout(SOON, all.recv()).await.expect("a store that is dropped tells the rest").unwrap();
    assert_eq!(told.payload(), "q");
}

#[tokio::test]
async fn a_listener_whose_connection_is_cut_comes_back_and_counts_that_as_news() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let mut ear = listen(&store, "q").await;
    store.sleep(&binding("q"), true).await.unwrap();
    let mut other = database.connect().await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(number(&mut other, cut).await, 1);
    assert!(wakes(&mut ear).await, "it is back");
    store.enqueue(&jobs("q", 1)).await.unwrap();
    assert!(wakes(&mut ear).await, "and hears");
    drop(ear);
    eventually("its connection goes with it", SOON, async || {
        let left = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        match number(&mut other, left).await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
}

#[tokio::test]
async fn the_flag_is_written_only_where_it_changes_and_a_claim_reads_it() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let mut worker = Worker::new(&store, "a, mail.*").await;
    let mut look = database.connect().await;
    let both = binding("a, mail.*");
    let rows = "SELECT count(*) FROM headcount.queue";
    store.sleep(&both, false).await.unwrap();
    assert_eq!(number(&mut look, rows).await, 0, "nothing to say");
    store.sleep(&binding("a"), true).await.unwrap();
    assert!(!worker.next(&[], 1).await.asleep, "not all of its rows");
    store.sleep(&both, true).await.unwrap();
    assert!(worker.next(&[], 1).await.asleep);
    let version = "SELECT sum(xmin::text::bigint)::bigint FROM headcount.queue";
    let before = number(&mut look, version).await;
    store.sleep(&both, true).await.unwrap();
    assert_eq!(number(&mut look, version).await, before, "no row was written");
    store.sleep(&both, false).await.unwrap();
    assert!(!worker.next(&[], 1).await.asleep);
}

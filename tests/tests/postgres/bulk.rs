//! Filters, and what is done to all that they find.

use std::time::Duration;

use headcount_queue::{
    JobId, NewJob, State,
    store::{Action, Admin, Enqueue, Filter, Maintain, Observe, Verdict},
};
use headcount_tests::Database;
use sqlx::Executor;

use super::ground::{Worker, end, jobs, open};

#[tokio::test]
async fn a_filter_narrows_by_each_of_its_fields() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    let long = format!(r#"{{"user":{{"id":7}},"text":"{}"}}"#, "x".repeat(2000));
    let payloads = [
        r#"{"user":{"id":7},"list":["a","b"]}"#,
        r#"{"user":{"id":8}}"#,
        &long,
        "{}",
        "{}",
        r#"{"user":{"id":7},"whole":"\ud83d\ude00"}"#,
    ];
    let all: Vec<_> = payloads.iter().map(|payload| NewJob::new("kind", *payload).queue("q")).collect();
    let ids: Vec<JobId> = store.enqueue(&all).await.unwrap().into_iter().map(|enqueued| enqueued.id).collect();
    let old = "UPDATE headcount.ready SET enqueued_at = enqueued_at - interval '2 hours', \
               extra = '{\"key\":\"k\",\"scope\":\"unfinished\"}' WHERE id = (SELECT min(id) FROM headcount.ready)";
    connection.execute(old).await.unwrap();

    // No text to Postgres, and yet json to it: neither may fail the look.
    for (id, odd) in [(ids[3], r"\u0000"), (ids[4], r"\ud800")] {
        let set = "UPDATE headcount.ready SET payload = $2::text::json WHERE id = $1";
        let payload = format!(r#"{{"user":{{"id":7}},"odd":"{odd}"}}"#);
        sqlx::query(set).bind(id.0).bind(payload).execute(&mut connection).await.unwrap();
    }

    let found = async |filter: Filter| {
        let jobs = store.jobs(&filter, 100).await.unwrap();
        assert_eq!(store.count(&filter).await.unwrap(), jobs.len() as u64);
        jobs.iter().map(|job| ids.iter().position(|id| *id == job.id).unwrap()).collect::<Vec<_>>()
    };
    let payload =
        |path: &str, value: &str| Filter { payload: Some((path.to_owned(), value.to_owned())), ..Filter::default() };
    assert_eq!(found(payload("user.id", "7")).await, [0, 2, 5]);
    assert_eq!(found(payload("list.1", "b")).await, [0]);
    assert_eq!(found(payload("user.name", "7")).await, [0; 0]);
    assert_eq!(found(Filter { key: Some("k".into()), ..Filter::default() }).await, [0]);
    assert_eq!(found(Filter { older_than: Some(Duration::from_hours(1)), ..Filter::default() }).await, [0]);
    assert_eq!(found(Filter { ids: vec![ids[4], ids[1]], ..Filter::default() }).await, [1, 4]);
    let after = Filter { ids: vec![ids[4], ids[1]], after: Some(ids[1]), ..Filter::default() };
    assert_eq!(found(after).await, [4]);
    assert_eq!(found(Filter { states: vec![State::Failed], ..Filter::default() }).await, [0; 0]);

    let mut worker = Worker::new(&store, "q").await;
    let first = worker.next(&[], 1).await.jobs;
    let verdict = Verdict::Failed { error: "host 10% of_them unreachable".into(), keep: None };
    worker.next(&end(&first, &verdict), 0).await;
    for (text, there) in [("10% of_", true), ("1_%", false), ("unreach", true)] {
        let filter = Filter { error: Some(text.into()), ..Filter::default() };
        assert_eq!(found(filter).await, if there { vec![0] } else { vec![] }, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_are_cancelled_retried_and_deleted_page_by_page() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let ids: Vec<JobId> =
        store.enqueue(&jobs("q", 1000)).await.unwrap().into_iter().map(|enqueued| enqueued.id).collect();
    store.enqueue(&jobs("other", 3)).await.unwrap();
    let filter = Filter { queue: Some("q".into()), ..Filter::default() };

    let began = std::time::Instant::now();
    let all = store.act(Action::Cancel, &filter, 1000).await.unwrap();
    println!("1000 jobs were cancelled in {:?}", began.elapsed());
    assert_eq!((&all.done, all.last), (&ids, ids.last().copied()));
    let rest = store.act(Action::Cancel, &Filter { after: all.last, ..filter.clone() }, 1000).await.unwrap();
    assert_eq!((rest.done.len(), rest.last), (0, None));
    let again = store.act(Action::Cancel, &filter, 1000).await.unwrap();
    assert_eq!((again.done.len(), again.last), (0, None), "they are cancelled already");

    let half = store.act(Action::Retry, &filter, 500).await.unwrap();
    assert_eq!((&*half.done, half.last), (&ids[..500], Some(ids[499])));
    let deleted = store.act(Action::Delete, &filter, 2000).await.unwrap();
    assert_eq!((deleted.done.len(), deleted.last), (1000, None));
    store.fold().await.unwrap();
    assert_eq!(store.count(&Filter::default()).await.unwrap(), 3);
    assert!(store.audit().await.unwrap().is_empty());
}

#[tokio::test]
async fn running_jobs_are_asked_once_and_what_may_not_be_moved_is_passed_over() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    store.enqueue(&jobs("q", 3)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let running: Vec<_> = worker.next(&[], 2).await.jobs.iter().map(|job| job.id).collect();
    let all = Filter::default();
    assert_eq!(store.act(Action::Retry, &all, 10).await.unwrap().done, []);
    assert_eq!(store.act(Action::Delete, &all, 10).await.unwrap().done.len(), 1, "not those that run");
    assert_eq!(store.act(Action::Cancel, &all, 10).await.unwrap().done, running);
    assert_eq!(store.act(Action::Cancel, &all, 10).await.unwrap().done, [], "that was asked for already");
}

/// Of a bulk nothing stands in a worker's way while one of its jobs waits for an application.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_an_application_has_locked_holds_up_nothing_but_itself() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let mut worker = Worker::new(&store, "q").await;
    store.enqueue(&jobs("q", 20)).await.unwrap();
    let running = worker.next(&[], 10).await.jobs;
    let mut application = database.connect().await;
    let lock = "BEGIN; SELECT FROM headcount.ready WHERE id = (SELECT min(id) FROM headcount.ready) FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut application).await.unwrap();
    let acting = tokio::spawn({
        let store = store.clone();
        async move { store.act(Action::Cancel, &Filter::default(), 100).await }
    });
    let cancelled = Filter { states: vec![State::Cancelled], ..Filter::default() };
    headcount_tests::eventually("the others are cancelled", Duration::from_secs(20), async || {
        let n = store.count(&cancelled).await.unwrap();
        // The hand that waits has a third of them before it.
        if n >= 6 { Ok(()) } else { Err(n) }
    })
    .await;
    // The worker ends what it ran, though that was asked about in the same bulk.
    worker.next(&end(&running, &super::ground::COMPLETED), 0).await;
    application.execute("COMMIT").await.unwrap();
    let acted = acting.await.unwrap().unwrap();
    assert_eq!(acted.done.len(), 20);
}

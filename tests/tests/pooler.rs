//! What the store promises behind a pooler that lends each connection for one transaction, beyond the suite: crowds,
//! settings that do not leak, limits, outages, and a worker from end to end.

use std::{sync::Arc, time::Duration};

use headcount_queue::{
    Binding, Error, NewJob,
    store::{
        Admin, BootId, Claim, Enqueue, NewWorker, Observe, Options, Setting, Settlement, Target, Verdict, Want,
        postgres::PostgresStore,
    },
};
use headcount_tests::{Database, Folder, PgBouncer, eventually};
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::task::JoinSet;

/// Only a failing test waits so long.
const SOON: Duration = Duration::from_mins(1);

fn open(url: &str, call_timeout: Duration) -> PostgresStore {
    let options = Options { connections: 4, call_timeout, ..Options::default() };
    PostgresStore::open(url, &options).expect("the address is a store's address")
}

/// Names the pooler in the address.
fn said(url: &str) -> String {
    format!("{url}?pooler=transaction")
}

const CROWD_URL: &str = "TEST_CROWD_URL";
const CROWD_TAG: &str = "TEST_CROWD_TAG";

/// The driver asks in two exchanges. If the second reaches another server connection, it runs somebody else's statement.
#[tokio::test]
async fn eight_processes_on_three_connections_each_get_the_answers_to_their_own_questions() {
    let (database, pooler) = (Database::fresh().await, PgBouncer::fresh().await);
    let folder = Folder::new();
    let this = std::env::current_exe().unwrap();
    let mut crowd: Vec<_> = (0..8)
        .map(|n| {
            folder
                .program(&this, ["--ignored", "--exact", "a_process_of_the_crowd", "--nocapture"])
                .env(CROWD_URL, said(&pooler.url(&database)))
                .env(CROWD_TAG, format!("tag{n}"))
                .start()
        })
        .collect();
    let mut questions = 0;
    for process in &mut crowd {
        let ended = process.ends_well(Duration::from_mins(3)).await;
        let out = ended.stdout();
        let asked = out.lines().find_map(|line| line.strip_prefix("questions: ")).unwrap_or_else(|| panic!("{ended}"));
        questions += asked.parse::<u32>().unwrap();
    }
    assert!(questions >= 4000, "{questions}");
}

/// The other processes of the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by another test"]
async fn a_process_of_the_crowd() {
    #[expect(clippy::disallowed_methods, reason = "how a test speaks to its own child")]
    let (Some(url), Some(tag)) = (std::env::var(CROWD_URL).ok(), std::env::var(CROWD_TAG).ok()) else { return };
    let store = Arc::new(open(&url, SOON));
    let mut hands = JoinSet::new();
    for hand in 0..4 {
        hands.spawn(ask(Arc::clone(&store), format!("{tag}-{hand}")));
    }
    let questions: u32 = hands.join_all().await.into_iter().sum();
    println!("questions: {questions}");
}

/// Asks for what is this hand's alone, in statements of many shapes. Returns how many questions were answered right.
async fn ask(store: Arc<PostgresStore>, tag: String) -> u32 {
    let queues = Binding::queue(&tag).unwrap();
    let worker = NewWorker {
        boot: BootId::random(),
        instance: Some(tag.clone()),
        host: "host".into(),
        pid: 1,
        pool: None,
        queues: queues.clone(),
        kinds: Vec::new(),
        slots: 10,
    };
    store.register(&worker).await.unwrap();
    let mut claimer = store.claimer(worker.boot, &queues, None);
    let (mut questions, mut settled) = (0, Vec::new());
    for round in 1..=25 {
        let payload = format!(r#"{{"of":"{tag}","round":{round}}}"#);
        let id = store.enqueue(&[NewJob::new("kind", payload.clone()).queue(&*tag)]).await.unwrap()[0].id;
        let job = store.job(id).await.unwrap().expect("the job is there");
        assert_eq!((&job.queue, &job.payload.0), (&tag, &payload));
        assert!(store.outstanding(&queues).await.unwrap().ready);
        assert!(store.workers().await.unwrap().iter().any(|worker| worker.instance.as_ref() == Some(&tag)));
        let want = Want { claim: round, jobs: 10, sweep: true, ..Want::default() };
        let taken = claimer.next(&settled, want).await.unwrap().jobs;
        let got: Vec<_> = taken.iter().map(|job| (job.id, &*job.queue, &*job.payload)).collect();
        assert_eq!(got, [(id, &*tag, &*payload)]);
        settled = vec![Settlement {
            id,
            token: taken[0].token,
            verdict: Verdict::Completed { output: None, keep: Duration::ZERO },
            ran: Duration::ZERO,
        }];
        questions += 5;
    }
    questions
}

/// Each of the pool's connections, as another client finds it: what is set there, and which statements have a name.
async fn left_behind(pooler: &PgBouncer, database: &Database) -> Vec<(String, String, String, i64)> {
    let options = pooler.url(database).parse::<PgConnectOptions>().unwrap().extra_float_digits(None);
    let mut clients = Vec::new();
    for _ in 0..3 {
        // A transaction each, so that each has one of the three.
        let mut client = PgConnection::connect_with(&options).await.unwrap();
        client.execute("BEGIN").await.unwrap();
        clients.push(client);
    }
    let mut found = Vec::new();
    for client in &mut clients {
        let sql = "SELECT current_setting('enable_seqscan'), current_setting('plan_cache_mode'), \
                   current_setting('statement_timeout'), (SELECT count(*) FROM pg_prepared_statements WHERE name <> '')";
        found.push(sqlx::query_as(sql).persistent(false).fetch_one(client).await.unwrap());
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_set_or_prepared_reaches_another_client() {
    let (database, pooler) = (Database::empty().await, PgBouncer::fresh().await);
    let store = Arc::new(open(&said(&pooler.url(&database)), SOON));
    store.migrate().await.unwrap();
    // Through another connection perhaps, and by another handle, whose names would be the same.
    open(&said(&pooler.url(&database)), SOON).migrate().await.unwrap();
    let mut hands = JoinSet::new();
    for hand in 0..4 {
        hands.spawn(ask(Arc::clone(&store), format!("hand{hand}")));
    }
    hands.join_all().await;
    let clean = ("on".to_owned(), "auto".to_owned(), "0".to_owned(), 0);
    assert_eq!(left_behind(&pooler, &database).await, [clean.clone(), clean.clone(), clean]);
}

#[tokio::test]
async fn a_pooler_that_the_address_does_not_name_shows_by_what_it_does_with_our_settings() {
    let database = Database::fresh().await;
    let refuses = PgBouncer::fresh().await;
    let swallows = PgBouncer::with(&["ignore_startup_parameters = options, extra_float_digits"]).await;
    for pooler in [&refuses, &swallows] {
        let store = open(&pooler.url(&database), SOON);
        store.check_version().await.unwrap();
        assert!(store.listen(&Binding::Any).await.unwrap().is_none(), "nobody hears anything through it");
        ask(Arc::new(store), "q".into()).await;
    }
    let straight = open(database.url(), SOON);
    assert!(straight.listen(&Binding::Any).await.unwrap().is_some());
    // Where the address says that there is none, it is not doubted.
    let error = open(&format!("{}?pooler=none", refuses.url(&database)), SOON).check_version().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_ends_and_frees_its_connection() {
    let (database, pooler) = (Database::fresh().await, PgBouncer::fresh().await);
    let store = open(&said(&pooler.url(&database)), Duration::from_millis(500));
    let target = Target::Queue("q".into());
    store.set(&target, Setting::Paused(true)).await.unwrap();
    let mut locking = database.connect().await;
    locking.execute("BEGIN; UPDATE headcount.queue SET paused = paused").await.unwrap();
    // More often than there are connections.
    for _ in 0..5 {
        let error = store.set(&target, Setting::Paused(false)).await.unwrap_err();
        assert!(error.is_unknown(), "{error:?}");
    }
    locking.execute("COMMIT").await.unwrap();
    eventually("it goes on", SOON, async || store.set(&target, Setting::Paused(false)).await).await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut locking).await.unwrap();
    assert_eq!(waiting, 0, "nothing lies in wait for a lock");
}

#[tokio::test]
async fn a_pooler_that_goes_and_comes_back_loses_nothing_that_was_answered() {
    let (database, pooler) = (Database::fresh().await, PgBouncer::fresh().await);
    let store = open(&said(&pooler.url(&database)), Duration::from_secs(5));
    let jobs = [NewJob::new("kind", "{}").queue("q")];
    let before = store.enqueue(&jobs).await.unwrap()[0].id;
    pooler.stop().await;
    let error = store.enqueue(&jobs).await.unwrap_err();
    assert!(error.is_unknown(), "{error:?}");
    pooler.start().await;
    let after = eventually("it is there again", SOON, async || store.enqueue(&jobs).await).await[0].id;
    for id in [before, after] {
        assert!(store.job(id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_worker_works_through_it_from_end_to_end() {
    let (database, pooler) = (Database::fresh().await, PgBouncer::fresh().await);
    let (folder, url) = (Folder::new(), said(&pooler.url(&database)));
    let lines = (0..50).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
    let enqueue = folder.headcount(["enqueue", "count", "--lines"]).url(&url).stdin(lines);
    enqueue.start().ends_well(SOON).await;
    let handler = folder.file("handler");
    let done = folder.file("done");
    std::fs::write(&handler, format!("#!/bin/sh\nread n; echo $n >>{}\n", done.display())).unwrap();
    std::fs::set_permissions(&handler, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let work = folder.headcount(["work", "--exec", handler.to_str().unwrap(), "--exit-after", "50"]).url(&url);
    work.start().ends_well(SOON).await;
    let mut numbers: Vec<u32> =
        std::fs::read_to_string(&done).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    assert!(open(&url, SOON).outstanding(&Binding::Any).await.unwrap().is_empty());
}

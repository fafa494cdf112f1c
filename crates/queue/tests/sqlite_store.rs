//! The SQLite store where it differs from others: one file for several processes, memory, the application's own
//! transactions. What every store does is in the conformance suite.

use std::{
    collections::HashSet,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use headcount_queue::{
    Binding, Coalesce, Conflict, Error, JobId, NewJob, State,
    store::{
        Admin, Admission, Beat, BootId, Cancel, Claim, Claimer, Enqueue, Enqueued, Filter, Gate, Grants, Maintain,
        NewWorker, Observe, Options, Outstanding, Setting, Settlement, Target, Token, Transaction, Verdict, Want,
        sqlite::SqliteStore,
    },
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(Some(path), &Options::default()).await.unwrap()
}

async fn memory() -> SqliteStore {
    SqliteStore::open(None, &Options::default()).await.unwrap()
}

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(10));
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn worker(store: &dyn Claim) -> Box<dyn Claimer> {
    worker_of(store, BootId::random()).await
}

async fn worker_of(store: &dyn Claim, boot: BootId) -> Box<dyn Claimer> {
    let worker = NewWorker {
        boot,
        instance: None,
        host: "here".into(),
        pid: 7,
        pool: None,
        queues: Binding::Any,
        kinds: Vec::new(),
        slots: 4,
    };
    store.register(&worker).await.unwrap();
    store.claimer(boot, &Binding::Any, None)
}

fn want(claim: i64, jobs: u32) -> Want {
    Want { claim, jobs, ..Want::default() }
}

fn completed(id: JobId, token: Token) -> Settlement {
    let verdict = Verdict::Completed { output: None, keep: Duration::ZERO };
    Settlement { id, token, verdict, ran: Duration::from_millis(1) }
}

fn bulk(n: usize) -> Vec<NewJob> {
    (0..n).map(|i| NewJob::new("k", i.to_string())).collect()
}

/// Works until the store has nothing left to claim; returns the ids in the order of claiming.
async fn work_off(claimer: &mut Box<dyn Claimer>, batch: u32) -> Vec<JobId> {
    let (mut ids, mut settled) = (Vec::new(), Vec::new());
    for claim in 1.. {
        let answer = claimer.next(&settled, want(claim, batch)).await.unwrap();
        assert_eq!(answer.gate, Gate::Open);
        settled = answer.jobs.iter().map(|job| completed(job.id, job.token)).collect();
        ids.extend(answer.jobs.iter().map(|job| job.id));
        if answer.jobs.is_empty() {
            break;
        }
    }
    ids
}

#[tokio::test]
async fn a_job_goes_through_its_life_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("jobs.db")).await;
    let long = format!("\"{}\"", "ü\\n".repeat(2000));
    let jobs = [NewJob::new("k", "{ \"a\" : 1 }").meta("[1]"), NewJob::new("k", &*long)];
    let ids: Vec<JobId> = store.enqueue(&jobs).await.unwrap().iter().map(|e| e.id).collect();
    assert_eq!(ids, [JobId(1), JobId(2)]);
    let record = store.job(JobId(2)).await.unwrap().unwrap();
    assert_eq!((record.state, &*record.payload.0), (State::Queued, &*long));

    let mut claimer = worker(&store).await;
    let jobs = claimer.next(&[], want(1, 10)).await.unwrap().jobs;
    assert_eq!(jobs.iter().map(|job| &*job.payload).collect::<Vec<_>>(), ["{ \"a\" : 1 }", &long]);
    assert_eq!(store.job(JobId(1)).await.unwrap().unwrap().state, State::Running);
    let settled: Vec<_> = jobs.iter().map(|job| completed(job.id, job.token)).collect();
    assert!(claimer.next(&settled, want(2, 10)).await.unwrap().jobs.is_empty());
    assert!(store.jobs(&Filter::default(), 10).await.unwrap().is_empty());
    assert!(store.outstanding(&Binding::Any).await.unwrap().is_empty());
    let queue = store.queues().await.unwrap().remove(0);
    assert_eq!((queue.flow.arrived, queue.flow.started, queue.flow.completed), (2, 2, 2));
    assert_eq!(store.audit().await.unwrap(), []);

    let mut raw = connect(&dir.path().join("jobs.db")).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM body").fetch_one(&mut raw).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_id_is_never_used_again_even_when_the_highest_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    let last = store.enqueue(&bulk(3)).await.unwrap()[2].id;
    store.delete(last).await.unwrap();
    drop(store);
    let store = open(&path).await;
    assert_eq!(store.enqueue(&bulk(1)).await.unwrap()[0].id, JobId(last.0 + 1));
}

#[tokio::test]
async fn a_bulk_keeps_its_order_and_spans_parts() {
    let store = memory().await;
    let ids: Vec<i64> = store.enqueue(&bulk(2500)).await.unwrap().iter().map(|e| e.id.0).collect();
    assert_eq!(ids, (1..=2500).collect::<Vec<_>>());
    let mut claimer = worker(&store).await;
    let order: Vec<i64> = work_off(&mut claimer, 70).await.iter().map(|id| id.0).collect();
    assert_eq!(order, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_handles_on_one_file_claim_each_job_once_and_none_sees_it_busy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    // All open at once, on a file that is not there yet.
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..4 {
        let path = path.clone();
        tasks.spawn(async move {
            let store = open(&path).await;
            for _ in 0..10 {
                store.enqueue(&bulk(25)).await.unwrap();
            }
            let heart = store.heart().await.unwrap();
            let mut claimer = worker(&*heart).await;
            work_off(&mut claimer, 3 + i).await
        });
    }
    let mut seen: Vec<JobId> = tasks.join_all().await.concat();
    // Whoever came last may have found nothing left for a moment before another's bulk; this one takes the rest.
    let store = open(&path).await;
    let mut claimer = worker(&store).await;
    seen.extend(work_off(&mut claimer, 100).await);
    let ids: HashSet<JobId> = seen.iter().copied().collect();
    assert_eq!((seen.len(), ids.len()), (1000, 1000));
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_transaction_of_the_applications_own_takes_its_jobs_along() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let store = open(&path).await;
    let mut app = connect(&path).await;

    let mut tx = app.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let gone = store.enqueue_in(Transaction::from(&mut tx), &bulk(2)).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(store.job(gone[0].id).await.unwrap(), None);
    assert!(store.queues().await.unwrap().is_empty());

    let mut tx = app.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let kept = store.enqueue_in(Transaction::from(&mut tx), &bulk(2)).await.unwrap();
    assert_eq!(store.job(kept[0].id).await.unwrap(), None, "not before the commit");
    tx.commit().await.unwrap();
    assert_eq!(store.job(kept[1].id).await.unwrap().unwrap().state, State::Queued);
    assert_eq!(store.queues().await.unwrap()[0].depth.ready, 2);
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_transaction_that_cannot_carry_the_jobs_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;

    let mut other = connect(Path::new(":memory:")).await;
    let mut tx = other.begin().await.unwrap();
    let error = store.enqueue_in(Transaction::from(&mut tx), &bulk(1)).await.unwrap_err().to_string();
    assert!(error.contains("jobs.db"), "{error}");
    drop(tx);

    // Deferred, and someone else writes meanwhile: SQLite can never give it the lock.
    let mut app = connect(&path).await;
    let mut tx = app.begin().await.unwrap();
    sqlx::query("SELECT last FROM allocator").fetch_one(&mut *tx).await.unwrap();
    store.enqueue(&bulk(1)).await.unwrap();
    let error = store.enqueue_in(Transaction::from(&mut tx), &bulk(1)).await.unwrap_err().to_string();
    assert!(error.contains("BEGIN IMMEDIATE"), "{error}");
}

#[tokio::test]
async fn a_store_in_memory_is_whole_for_every_handle_and_outlives_its_heart() {
    let store = memory().await;
    store.enqueue(&bulk(3)).await.unwrap();
    let heart = store.heart().await.unwrap();
    let mut claimer = worker(&*heart).await;
    assert_eq!(claimer.next(&[], want(1, 2)).await.unwrap().jobs.len(), 2);
    drop((heart, claimer));
    assert_eq!(store.jobs(&Filter::default(), 9).await.unwrap().len(), 3);
    assert_eq!(memory().await.jobs(&Filter::default(), 9).await.unwrap(), [], "another store is another");
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_the_store_usable_and_nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    for store in [memory().await, open(&dir.path().join("jobs.db")).await] {
        let jobs = bulk(1000);
        for polls in 0..40 {
            let mut call = std::pin::pin!(store.enqueue(&jobs));
            for _ in 0..polls {
                if futures::poll!(&mut call).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let n = store.jobs(&Filter::default(), 100_000).await.unwrap().len();
        assert_eq!(n % 1000, 0);
        assert_eq!(store.audit().await.unwrap(), []);
        store.enqueue(&jobs).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_that_is_never_let_go_is_a_time_out_and_then_all_is_well_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let options = Options { call_timeout: Duration::from_secs(2), ..Options::default() };
    let store = SqliteStore::open(Some(&path), &options).await.unwrap();
    let mut app = connect(&path).await;
    let tx = app.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert!(matches!(store.enqueue(&bulk(1)).await, Err(Error::TimedOut(_))));
    assert!(store.queues().await.unwrap().is_empty(), "reading waits for nobody");
    tx.rollback().await.unwrap();
    store.enqueue(&bulk(1)).await.unwrap();
}

#[tokio::test]
async fn opening_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let refused =
        async |path: &Path| SqliteStore::open(Some(path), &Options::default()).await.map(drop).unwrap_err().to_string();
    let error = refused(&dir.path().join("missing/jobs.db")).await;
    assert!(error.contains("missing") && error.contains("make it first"), "{error}");

    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "these are my notes, and no database at all; they are long enough to be read".repeat(99))
        .unwrap();
    assert!(refused(&text).await.contains("not a database"), "{}", refused(&text).await);

    let newer = dir.path().join("newer.db");
    open(&newer).await;
    let mut raw = connect(&newer).await;
    sqlx::query("INSERT INTO migration (version, at) VALUES (99, 0)").execute(&mut raw).await.unwrap();
    assert!(refused(&newer).await.contains("newer"));

    let taken = dir.path().join("taken.db");
    std::fs::write(&taken, "").unwrap();
    let mut raw = connect(&taken).await;
    sqlx::query("CREATE TABLE queue (a)").execute(&mut raw).await.unwrap();
    assert!(refused(&taken).await.contains("file of their own"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    store.enqueue(&bulk(1)).await.unwrap();
    for file in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_cancel_reaches_a_waiting_job_at_once_and_a_running_one_by_its_worker() {
    let store = memory().await;
    store.enqueue(&bulk(2)).await.unwrap();
    let mut claimer = worker(&store).await;
    let job = claimer.next(&[], want(1, 1)).await.unwrap().jobs.remove(0);
    assert_eq!(store.cancel(JobId(2)).await.unwrap(), Cancel::Done);
    assert_eq!(store.cancel(job.id).await.unwrap(), Cancel::Asked);
    let verdict = Verdict::Return;
    let settled = [Settlement { id: job.id, token: job.token, verdict, ran: Duration::ZERO }];
    claimer.next(&settled, want(2, 1)).await.unwrap();
    for id in [JobId(1), JobId(2)] {
        assert_eq!(store.job(id).await.unwrap().unwrap().state, State::Cancelled);
        store.retry(id).await.unwrap();
    }
    assert_eq!(work_off(&mut claimer, 5).await, [JobId(1), JobId(2)]);
    assert!(matches!(store.cancel(JobId(1)).await, Err(Error::NotFound(JobId(1)))));
    assert_eq!(store.audit().await.unwrap(), []);
}

const FIRST: &str = include_str!("../src/store/sqlite/migrations/0001_jobs.sql");

#[tokio::test]
async fn a_file_of_the_first_release_is_migrated_with_its_jobs_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    std::fs::write(&path, "").unwrap();
    let mut raw = connect(&path).await;
    for script in [
        "CREATE TABLE migration (version INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT",
        FIRST,
        "INSERT INTO migration VALUES (1, 0)",
        "UPDATE allocator SET last = 2",
        "INSERT INTO ready (id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths,
            enqueued_at, run_at, ready_at) VALUES (1, 'q', 0, 1, 'k', '{}', 0, 5, 0, 0, 1, 1, 1)",
        "INSERT INTO held (id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths,
            enqueued_at, run_at, ready_at, reason) VALUES (2, 'q', 0, 2, 'k', '{}', 0, 5, 2, 2, 1, 1, 1, 'suspect')",
        "INSERT INTO queue_state VALUES ('q', 0, 'k', 1, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0)",
    ] {
        sqlx::raw_sql(script).execute(&mut raw).await.unwrap();
    }
    let store = open(&path).await;
    let depth = store.queues().await.unwrap()[0].depth;
    assert_eq!((depth.ready, depth.held, depth.suspects), (1, 1, 1));
    assert_eq!(store.audit().await.unwrap(), []);
    assert_eq!(store.drift().await.unwrap(), [], "it is like one that was made anew");
    assert_eq!(store.plan().await.unwrap(), []);
    let suspect = store.job(JobId(2)).await.unwrap().unwrap();
    assert_eq!((suspect.key, suspect.reason.as_deref()), (None, Some("suspect")));
    // What happened before is not recent: nobody knows when it was.
    let recent = store.queues().await.unwrap().remove(0).recent;
    assert_eq!((recent.flow.arrived, recent.over < Duration::from_mins(1)), (0, true));
    let id = store.enqueue(&[NewJob::new("k", "{}").queue("q").key("k")]).await.unwrap()[0].id;
    assert_eq!(id, JobId(3));
    let mut claimer = worker(&store).await;
    assert_eq!(work_off(&mut claimer, 1).await, [JobId(1), JobId(3)]);
}

#[tokio::test]
async fn a_key_whose_job_was_ended_by_the_release_before_is_found_and_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    let rule = Coalesce { conflict: Conflict::RunAgain, ..Coalesce::DEFAULT };
    let job = |key: &str| NewJob::new("k", "{}").key(key).coalesce(rule);
    let first = store.enqueue(&[job("a"), job("b"), job("c")]).await.unwrap();
    let mut claimer = worker(&store).await;
    assert_eq!(claimer.next(&[], want(1, 9)).await.unwrap().jobs.len(), 3);
    let again = store.enqueue(&[job("b"), job("c")]).await.unwrap();
    assert_eq!(again[0].admission, Admission::Again { holder: first[1].id });
    // It deletes what it has settled, and knows nothing of keys; of the third even the key is gone.
    let mut raw = connect(&path).await;
    for statement in
        ["DELETE FROM running", "UPDATE queue_state SET running = 0", "DELETE FROM coalesce WHERE key = 'c'"]
    {
        sqlx::query(statement).execute(&mut raw).await.unwrap();
    }
    // An enqueue finds out by itself.
    assert!(store.enqueue(&[job("a")]).await.unwrap()[0].is_new());
    assert_eq!(store.release(100).await.unwrap(), 2);
    assert_eq!(store.release(100).await.unwrap(), 0);
    for (key, id) in [("b", again[0].id), ("c", again[1].id)] {
        assert_eq!(store.enqueue(&[job(key)]).await.unwrap()[0].id, id, "it holds {key} now");
    }
    assert_eq!(store.outstanding(&Binding::Any).await.unwrap(), Outstanding { ready: true, ..Outstanding::default() });
    assert_eq!(store.audit().await.unwrap(), []);
}

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

#[tokio::test]
async fn a_drift_is_what_is_missing_changed_or_added_in_our_tables_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let store = open(&path).await;
    let mut raw = connect(&path).await;
    let mut run = async |statement: &'static str| sqlx::raw_sql(statement).execute(&mut raw).await.map(drop).unwrap();
    run("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)").await;
    run("CREATE INDEX by_name ON customers (name)").await;
    run("ANALYZE").await;
    assert_eq!(store.drift().await.unwrap(), [], "the application's own is its own");
    run("DROP INDEX later_due").await;
    run("ALTER TABLE kind ADD COLUMN mine TEXT").await;
    run("CREATE INDEX mine ON ready (kind)").await;
    let drift = store.drift().await.unwrap();
    let seen: Vec<_> = drift.iter().map(|d| (&*d.object, d.expected.is_some(), d.found.is_some())).collect();
    assert_eq!(seen, [("index later_due", true, false), ("index mine", false, true), ("table kind", true, true)]);
    let error = store.grant(&Grants::default()).await.unwrap_err().to_string();
    assert!(error.contains("no roles"), "{error}");
}

#[tokio::test]
async fn a_put_off_suspect_or_paused_job_does_not_run_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    let rule = Coalesce { conflict: Conflict::Replace, ..Coalesce::DEFAULT };
    let job = |key: &str| NewJob::new("k", "1").key(key).coalesce(rule);
    let ids = store.enqueue(&[job("suspect"), job("paused")]).await.unwrap();
    let mut raw = connect(&path).await;
    // As a death would have it.
    for statement in [
        "INSERT INTO held SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts,
            interruptions, 2, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, 'suspect',
            NULL FROM ready WHERE id = 1",
        "DELETE FROM ready WHERE id = 1",
        "UPDATE queue_state SET ready = 1, held = 1, suspects = 1",
    ] {
        sqlx::query(statement).execute(&mut raw).await.unwrap();
    }
    let kind = Target::Kind("k".into());
    store.set(&kind, Setting::Paused(true)).await.unwrap();
    let later = [job("suspect").delay(Duration::from_hours(1)), job("paused").delay(Duration::from_hours(1))];
    assert_eq!(
        store.enqueue(&later).await.unwrap(),
        ids.iter().map(|e| Enqueued::coalesced(e.id, Admission::Replaced)).collect::<Vec<_>>()
    );
    store.set(&kind, Setting::Paused(false)).await.unwrap();
    let reasons = async || {
        let jobs = store.jobs(&Filter::default(), 9).await.unwrap();
        jobs.into_iter().map(|job| (job.state, job.reason)).collect::<Vec<_>>()
    };
    assert_eq!(reasons().await, [(State::Queued, Some("suspect".into())), (State::Scheduled, None)]);
    let mut claimer = worker(&store).await;
    let alone = Want { claim: 1, jobs: 9, alone: true, sweep: true };
    assert_eq!(claimer.next(&[], alone).await.unwrap().jobs, []);
    assert_eq!(store.audit().await.unwrap(), []);
}

const FILE: &str = "HEADCOUNT_TEST_FILE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_a_file_claim_each_job_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    store.enqueue(&bulk(600)).await.unwrap();
    let this = std::env::current_exe().unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(&this)
                .args(["--ignored", "--exact", "a_process_that_works_off_a_file", "--nocapture"])
                .env(FILE, &path)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut seen = Vec::new();
    for child in children {
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let claimed: Vec<i64> = text.lines().filter_map(|line| line.strip_prefix("claimed ")?.parse().ok()).collect();
        seen.extend(claimed);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=600).collect::<Vec<_>>());
    assert_eq!(store.audit().await.unwrap(), []);
}

/// The other processes of the test above.
#[tokio::test]
#[ignore = "is started by another test"]
async fn a_process_that_works_off_a_file() {
    #[expect(clippy::disallowed_methods, reason = "how a test speaks to its own child")]
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = open(Path::new(&path)).await;
    let mut claimer = worker(&store).await;
    println!();
    for id in work_off(&mut claimer, 3).await {
        println!("claimed {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_does_not_stand_in_the_queue_of_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("jobs.db")).await;
    let boot = BootId::random();
    worker_of(&store, boot).await;
    let heart = store.heart().await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let store = store.clone();
        calls.spawn(async move { store.enqueue(&bulk(1000)).await.map(drop) });
    }
    // All of them wait for the process's writer once the first one has it.
    calls.join_next().await.unwrap().unwrap().unwrap();
    heart.beat(&Beat { boot, holds: Vec::new(), started: Vec::new(), through: 0 }).await.unwrap();
    let ready = store.queues().await.unwrap()[0].depth.ready;
    assert!(ready < 50_000, "the beat came after {ready} jobs");
    while let Some(done) = calls.join_next().await {
        done.unwrap().unwrap();
    }
}

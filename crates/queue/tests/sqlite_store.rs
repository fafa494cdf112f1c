//! The SQLite store where it differs from others: one file for several processes, memory, the application's own
//! transactions. What every store does is in the conformance suite.

use std::{
    collections::HashSet,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use headcount_queue::{
    Binding, Error, JobId, NewJob, State,
    store::{
        Admin, Beat, BootId, Cancel, Claim, Claimer, Enqueue, Filter, Gate, Maintain, NewWorker, Observe, Options,
        Settlement, Token, Transaction, Verdict, Want, sqlite::SqliteStore,
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

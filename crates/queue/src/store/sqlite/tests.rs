//! What is SQLite's alone and not to be seen from outside: plans, cost, durability, and columns that moves carry along.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Row};

use super::{SqliteStore, claim::LANES_SPARING, connection::Durability};
use crate::{
    Binding, Expiry, JobId, NewJob, Resolution, Retention, Secret, State,
    store::{
        Admin, Beat, BootId, Claim, ClaimedJob, Claimer, Enqueue, Expired, Maintain, NewWorker, Observe, Options,
        Resolve, Setting, Settlement, Target, Verdict, Want,
    },
};

async fn memory() -> SqliteStore {
    SqliteStore::open(None, &Options::default()).await.unwrap()
}

/// A worker that claims and settles.
struct Hand {
    boot: BootId,
    claimer: Box<dyn Claimer>,
    claim: i64,
}

impl Hand {
    async fn new(store: &SqliteStore, queues: &str) -> Self {
        let boot = BootId::random();
        let queues: Binding = queues.parse().unwrap();
        let worker = NewWorker {
            boot,
            instance: Some("worker.1".into()),
            host: "here".into(),
            pid: 1,
            pool: None,
            queues: queues.clone(),
            kinds: Vec::new(),
            slots: 1,
        };
        store.register(&worker).await.unwrap();
        Self { boot, claimer: store.claimer(boot, &queues, None), claim: 0 }
    }

    async fn next(&mut self, settled: &[Settlement], jobs: u32) -> Vec<ClaimedJob> {
        self.claim += 1;
        let want = Want { claim: self.claim, jobs, alone: true, ..Want::default() };
        self.claimer.next(settled, want).await.unwrap().jobs
    }

    async fn take(&mut self) -> ClaimedJob {
        self.next(&[], 1).await.pop().expect("a job waits")
    }

    async fn settle(&mut self, job: &ClaimedJob, verdict: Verdict) {
        let settled = [Settlement { id: job.id, token: job.token, verdict, ran: Duration::ZERO }];
        self.next(&settled, 0).await;
    }
}

/// The statements of the daily round, with those that name a table inline.
const HOT: &[(&str, &str)] = &[
    ("attempt", include_str!("attempt.sql")),
    ("attempts", include_str!("attempts.sql")),
    ("callback", include_str!("callback.sql")),
    ("cancel_held", include_str!("cancel_held.sql")),
    ("cancel_later", include_str!("cancel_later.sql")),
    ("cancel_parked", include_str!("cancel_parked.sql")),
    ("cancel_ready", include_str!("cancel_ready.sql")),
    ("claim", include_str!("claim.sql")),
    ("claim_suspect", include_str!("claim_suspect.sql")),
    ("claimed", include_str!("claimed.sql")),
    ("claimed_suspect", include_str!("claimed_suspect.sql")),
    ("defer", include_str!("defer.sql")),
    ("due", include_str!("due.sql")),
    ("find", include_str!("find.sql")),
    ("finish", include_str!("finish.sql")),
    ("finish_parked", include_str!("finish_parked.sql")),
    ("forgotten", include_str!("forgotten.sql")),
    ("found", include_str!("found.sql")),
    ("gate", include_str!("gate.sql")),
    ("give_back", include_str!("give_back.sql")),
    ("give_back_parked", include_str!("give_back_parked.sql")),
    ("hand_over", include_str!("hand_over.sql")),
    ("history", include_str!("history.sql")),
    ("hold_paused", include_str!("hold_paused.sql")),
    ("holders", include_str!("holders.sql")),
    ("held_by_token", include_str!("held_by_token.sql")),
    ("held_by_worker", include_str!("held_by_worker.sql")),
    ("isolate", include_str!("isolate.sql")),
    ("jobs", include_str!("jobs.sql")),
    ("known", include_str!("scale/known.sql")),
    ("free_below", include_str!("scale/free_below.sql")),
    ("let_go", include_str!("let_go.sql")),
    ("let_place_go", include_str!("scale/let_place_go.sql")),
    ("lanes", include_str!("lanes.sql")),
    ("long_kinds", include_str!("scale/long_kinds.sql")),
    ("leave", include_str!("leave.sql")),
    ("next_due", include_str!("next_due.sql")),
    ("oldest", include_str!("oldest.sql")),
    ("outstanding", include_str!("outstanding.sql")),
    ("overdue", include_str!("overdue.sql")),
    ("page", include_str!("page.sql")),
    ("park", include_str!("park.sql")),
    ("parked", include_str!("parked.sql")),
    ("paused", include_str!("paused.sql")),
    ("payloads", include_str!("payloads.sql")),
    ("postpone", include_str!("postpone.sql")),
    ("postpone_parked", include_str!("postpone_parked.sql")),
    ("promote", include_str!("promote.sql")),
    ("purge", include_str!("purge.sql")),
    ("remember", include_str!("remember.sql")),
    ("resumed", include_str!("resumed.sql")),
    ("retry", include_str!("retry.sql")),
    ("stale_keys", include_str!("stale_keys.sql")),
    ("suspects", include_str!("suspects.sql")),
    ("take_keys", include_str!("take_keys.sql")),
    ("unhold", include_str!("unhold.sql")),
    ("unhold_later", include_str!("unhold_later.sql")),
    ("waiting", include_str!("waiting.sql")),
    ("one job", "SELECT * FROM jobs WHERE id = ?1"),
    ("is overdue", "SELECT EXISTS (SELECT 1 FROM parked WHERE deadline <= ?1)"),
    ("early answer", "SELECT digest, answer FROM running WHERE id = ?1"),
    ("keep the answer", "UPDATE running SET answer = ?2 WHERE id = ?1"),
    ("move the deadline", "UPDATE parked SET deadline = ?2 WHERE id = ?1"),
    ("first due", "SELECT run_at FROM later ORDER BY run_at LIMIT 1"),
    ("remove", "DELETE FROM running WHERE id IN (SELECT value FROM json_each(?1))"),
    ("remove parked", "DELETE FROM parked WHERE id IN (SELECT value FROM json_each(?1))"),
    ("forget", "DELETE FROM attempt WHERE job IN (SELECT value FROM json_each(?1))"),
    ("forget bodies", "DELETE FROM body WHERE job IN (SELECT value FROM json_each(?1))"),
];

/// The complaints about a plan: a walk over a table of jobs, or a sort of one.
async fn complaints(store: &SqliteStore, name: &str, statement: &str) -> Vec<String> {
    // The aliases under which the statements read the tables of jobs.
    let jobs = [
        "ready", "running", "later", "held", "parked", "finished", "body", "attempt", "r", "l", "h", "p", "f", "b",
        "a", "coalesce", "c",
    ];
    let explain = format!("EXPLAIN QUERY PLAN {statement}");
    let plan: Vec<String> = store
        .write(Durability::Process, async |tx| {
            let rows = sqlx::query(AssertSqlSafe(explain)).persistent(false).fetch_all(&mut **tx).await.unwrap();
            Ok(rows.iter().map(|row| row.get("detail")).collect())
        })
        .await
        .unwrap();
    assert!(!plan.is_empty(), "{name} has a plan");
    plan.into_iter()
        .filter(|line| {
            let mut words = line.split(' ');
            let scans = words.next() == Some("SCAN") && words.next().is_some_and(|table| jobs.contains(&table));
            // These stop at their LIMIT, or read a CTE of queues under such a name.
            let excused = match name {
                "first due" => line.contains("USING COVERING INDEX later_due"),
                "resumed" => line.contains("USING COVERING INDEX held_paused"),
                "outstanding" | "next_due" | "known" => line == "SCAN b",
                "oldest" => line == "SCAN l",
                _ => false,
            };
            // A claim's suspects are few, and so are the lanes of a queue, the queues, the kinds, the jobs of a page, and
            // the steps by which jobs are counted.
            let few = ["suspects", "oldest", "next_due", "outstanding", "found", "jobs", "known", "long_kinds"];
            let sorts = line.contains("TEMP B-TREE") && !few.contains(&name);
            scans && !excused || sorts
        })
        .map(|line| format!("{name}: {line}"))
        .collect()
}

#[tokio::test]
async fn no_statement_of_the_daily_round_walks_or_sorts_a_table_of_jobs() {
    let store = memory().await;
    // Never analysed; analysed while empty, which is what makes planners think that a walk is cheap; and full.
    for stage in ["new", "empty", "full"] {
        match stage {
            "empty" => analyse(&store).await,
            "full" => {
                store.enqueue(&vec![NewJob::new("k", "{}"); 2000]).await.unwrap();
                store.enqueue(&vec![NewJob::new("k", "{}").delay(Duration::from_hours(1)); 2000]).await.unwrap();
                analyse(&store).await;
            }
            _ => {}
        }
        let mut found = Vec::new();
        for (name, statement) in HOT {
            found.extend(complaints(&store, name, statement).await);
        }
        found.extend(complaints(&store, "lanes_sparing", &LANES_SPARING).await);
        assert!(found.is_empty(), "{stage}: {found:#?}");
    }
}

async fn analyse(store: &SqliteStore) {
    let done = store
        .write(Durability::Process, async |tx| {
            sqlx::query("ANALYZE").execute(&mut **tx).await.unwrap();
            Ok(())
        })
        .await;
    done.unwrap();
}

/// Counts the steps of SQLite's machine, in hundreds: a cost that no loaded test machine changes.
async fn count_steps(store: &SqliteStore) -> Arc<AtomicU64> {
    let steps = Arc::new(AtomicU64::new(0));
    let mut writer = store.writer.lock().await;
    let mut handle = writer.connection().await.unwrap().lock_handle().await.unwrap();
    let counter = Arc::clone(&steps);
    handle.set_progress_handler(100, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        true
    });
    drop(handle);
    steps
}

#[tokio::test]
async fn a_claim_and_a_look_cost_the_same_at_any_depth() {
    let store = memory().await;
    let mut any = Hand::new(&store, "").await;
    let mut some = Hand::new(&store, "q0,q3,none").await;
    let steps = count_steps(&store).await;
    let mut costs = Vec::new();
    for parts in [1, 20] {
        for part in 0..parts {
            let new =
                |i: usize| NewJob::new("k", "{}").queue(format!("q{}", i % 4)).priority((i % 3) as i16 + part % 2);
            store.enqueue(&(0..2000).map(new).collect::<Vec<_>>()).await.unwrap();
            store.enqueue(&vec![NewJob::new("k", "{}").delay(Duration::from_hours(1)); 500]).await.unwrap();
        }
        for hand in [&mut any, &mut some] {
            let before = steps.load(Ordering::Relaxed);
            let claimed = hand.next(&[], 20).await;
            assert_eq!(claimed.len(), 20);
            for job in &claimed {
                hand.settle(job, Verdict::Return).await;
            }
            store.queues().await.unwrap();
            store.outstanding(&Binding::Any).await.unwrap();
            store.next_due(&Binding::Any).await.unwrap();
            store.promote(10).await.unwrap();
            store.job(JobId(77)).await.unwrap();
            store.jobs(&crate::store::Filter::default(), 5).await.unwrap();
            store.expire(10).await.unwrap();
            costs.push(steps.load(Ordering::Relaxed) - before);
        }
    }
    let [any_shallow, some_shallow, any_deep, some_deep] = costs[..] else { unreachable!() };
    assert!(any_shallow > 10, "the steps are counted: {costs:?}");
    // There are four lanes more the second time, and the trees are a level higher.
    assert!(any_deep < any_shallow * 2 && some_deep < some_shallow * 2, "{costs:?}");
}

#[test]
fn a_claim_leaves_kinds_to_others_by_one_condition_more() {
    let (usual, sparing) = (include_str!("lanes.sql"), LANES_SPARING.as_str());
    assert!(!usual.contains("?3") && sparing.contains("AND (r.kind NOT IN (SELECT value FROM json_each(?3))"));
}

#[tokio::test]
async fn the_deep_backlog_of_a_paused_kind_costs_a_claim_nothing_once_it_is_held() {
    let store = memory().await;
    let mut hand = Hand::new(&store, "").await;
    store.enqueue(&vec![NewJob::new("slow", "{}"); 10_000]).await.unwrap();
    store.set(&Target::Kind("slow".into()), Setting::Paused(true)).await.unwrap();
    let steps = count_steps(&store).await;
    let mut cost = async || {
        store.enqueue(&[NewJob::new("quick", "{}")]).await.unwrap();
        let before = steps.load(Ordering::Relaxed);
        let job = hand.take().await;
        let cost = steps.load(Ordering::Relaxed) - before;
        assert_eq!(job.kind, "quick");
        hand.settle(&job, Verdict::Completed { output: None, keep: Duration::ZERO }).await;
        cost
    };
    let walking = cost().await;
    for _ in 0..5 {
        store.release(2000).await.unwrap();
    }
    let held = cost().await;
    assert!(held * 10 < walking, "{held} and {walking} hundreds of steps");
    let depth = store.queues().await.unwrap()[0].depth;
    assert_eq!((depth.ready, depth.held, depth.suspects), (0, 10_000, 0));
    // And what is held costs a release nothing that finds nothing to do.
    let before = steps.load(Ordering::Relaxed);
    store.release(2000).await.unwrap();
    assert!(steps.load(Ordering::Relaxed) - before < 20);
}

#[tokio::test]
async fn a_finish_an_enqueue_and_a_callback_are_synced_and_a_mere_claim_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(Some(&dir.path().join("jobs.db")), &Options::default()).await.unwrap();
    let level = async |durability| {
        let row = store
            .write(durability, async |tx| {
                Ok(sqlx::query("PRAGMA synchronous").fetch_one(&mut **tx).await.unwrap().get::<i64, _>(0))
            })
            .await;
        row.unwrap()
    };
    let (normal, full) = (1, 2);
    assert_eq!(level(Durability::Full).await, full);
    assert_eq!(level(Durability::Process).await, normal);
    // The level that a call leaves behind is the one it committed with.
    let left = async || {
        let mut writer = store.writer.lock().await;
        let connection = writer.connection().await.unwrap();
        sqlx::query("PRAGMA synchronous").fetch_one(connection).await.unwrap().get::<i64, _>(0)
    };
    let mut hand = Hand::new(&store, "").await;
    assert_eq!(left().await, normal);
    store.enqueue(&[NewJob::new("k", "{}")]).await.unwrap();
    assert_eq!(left().await, full);
    let job = hand.take().await;
    assert_eq!(left().await, normal);
    hand.settle(&job, Verdict::Return).await;
    assert_eq!(left().await, full);
    // Whoever is handed a secret may answer: the machine's crash must not undo the claim that it belongs to.
    let job = hand.take().await;
    assert_eq!(left().await, normal);
    store.callback(job.id, job.token, &Secret::random().digest()).await.unwrap();
    assert_eq!(left().await, full);
}

#[tokio::test]
async fn every_move_carries_the_columns_that_only_a_newer_program_knows() {
    let store = memory().await;
    store.enqueue(&[NewJob::new("k", "{}")]).await.unwrap();
    let id = JobId(1);
    let run = async |statement: &'static str| {
        let done = store.write(Durability::Process, async |tx| {
            sqlx::query(statement).execute(&mut **tx).await.unwrap();
            Ok(())
        });
        done.await.unwrap();
    };
    run("UPDATE ready SET extra = '{\"new\":1}', payload_codec = 'aes', max_run_ms = 7, meta = '[]'").await;
    let kept = async |table: &str| {
        let statement = format!("SELECT extra, payload_codec, max_run_ms, meta, timeout_ms, options FROM {table}");
        let row = store
            .read(async |tx| {
                Ok(sqlx::query(AssertSqlSafe(statement)).persistent(false).fetch_one(&mut **tx).await.unwrap())
            })
            .await
            .unwrap();
        let (extra, codec): (Option<String>, Option<String>) = (row.get(0), row.get(1));
        assert_eq!((extra.as_deref(), codec.as_deref()), (Some("{\"new\":1}"), Some("aes")), "in {table}");
        assert_eq!((row.get::<i64, _>(2), row.get::<String, _>(3)), (7, "[]".into()), "in {table}");
    };
    let after = Duration::ZERO;
    let mut hand = Hand::new(&store, "").await;

    let job = hand.take().await;
    kept("running").await;
    hand.settle(&job, Verdict::Return).await;
    kept("ready").await;
    let job = hand.take().await;
    hand.settle(&job, Verdict::Retry { error: "e".into(), after }).await;
    kept("later").await;
    assert_eq!(store.promote(9).await.unwrap().jobs, 1);
    kept("ready").await;
    let job = hand.take().await;
    hand.settle(&job, Verdict::Failed { error: "e".into(), keep: None }).await;
    kept("finished").await;
    store.retry(id).await.unwrap();
    kept("ready").await;
    store.cancel(id).await.unwrap();
    kept("finished").await;
    store.retry(id).await.unwrap();

    let secret = Secret::random();
    let retry = || Resolution::Retry { error: "e".into(), after: Some(after) };
    let failed = || Resolution::Failed { error: "e".into() };
    for answer in [Some(retry()), Some(failed()), None] {
        let job = hand.take().await;
        store.callback(id, job.token, &secret.digest()).await.unwrap();
        let keep = Retention::DEFAULT;
        hand.settle(&job, Verdict::Park { wait: after, expiry: Expiry::Retry, keep, retry: after }).await;
        kept("parked").await;
        match &answer {
            Some(answer) => assert_eq!(store.resolve(id, &secret, answer).await.unwrap(), Resolve::Done),
            None => assert_eq!(store.expire(9).await.unwrap(), [Expired { id, state: State::Queued }]),
        }
        match store.job(id).await.unwrap().unwrap().state {
            State::Scheduled => {
                kept("later").await;
                assert_eq!(store.promote(9).await.unwrap().jobs, 1);
            }
            State::Failed => {
                kept("finished").await;
                store.retry(id).await.unwrap();
            }
            _ => kept("ready").await,
        }
    }

    run("UPDATE ready SET deaths = 1").await;
    let job = hand.take().await;
    let holds = vec![(job.id, job.token.claim)];
    let beat = Beat { boot: hand.boot, holds, started: vec![job.id], through: 0, grace: None };
    store.beat(&beat).await.unwrap();
    store.bury(&[hand.boot]).await.unwrap();
    assert_eq!(store.rescue_dead(true).await.unwrap().len(), 1);
    kept("held").await;
    let mut hand = Hand::new(&store, "").await;
    let suspect = hand.take().await;
    assert!(suspect.is_suspect());
    kept("running").await;
    hand.settle(&suspect, Verdict::Return).await;
    kept("held").await;
    store.cancel(id).await.unwrap();
    kept("finished").await;
    assert_eq!(store.job(id).await.unwrap().unwrap().state, State::Cancelled);
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn an_audit_finds_and_mends_a_counter_that_is_wrong() {
    let store = memory().await;
    store.enqueue(&[NewJob::new("k", "{}"), NewJob::new("k", "{}")]).await.unwrap();
    let spoil = store.write(Durability::Process, async |tx| {
        sqlx::query("UPDATE queue_state SET ready = 7, held = -1").execute(&mut **tx).await.unwrap();
        Ok(())
    });
    spoil.await.unwrap();
    let drift = store.audit().await.unwrap();
    assert_eq!((drift.len(), drift[0].counted.ready, drift[0].actual.ready), (1, 7, 2));
    assert_eq!(store.queues().await.unwrap()[0].depth, drift[0].actual);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// A figure, not a promise; for a person who changes the statements: `--run-ignored only`.
#[tokio::test]
#[ignore = "makes a million jobs"]
async fn a_claim_over_a_million_jobs_takes_milliseconds() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(Some(&dir.path().join("jobs.db")), &Options::default()).await.unwrap();
    let started = std::time::Instant::now();
    for _ in 0..20 {
        store.enqueue(&vec![NewJob::new("k", "{\"image\":7}"); 50_000]).await.unwrap();
    }
    println!("enqueued 1 000 000 in {:?}", started.elapsed());
    let mut hand = Hand::new(&store, "").await;
    let mut settled = Vec::new();
    let mut times = Vec::new();
    let started = std::time::Instant::now();
    for _ in 0..200 {
        let before = std::time::Instant::now();
        let jobs = hand.next(&settled, 100).await;
        times.push(before.elapsed());
        let verdict = || Verdict::Completed { output: None, keep: Duration::ZERO };
        settled = jobs
            .iter()
            .map(|job| Settlement { id: job.id, token: job.token, verdict: verdict(), ran: Duration::ZERO })
            .collect();
    }
    times.sort();
    println!(
        "20 000 claimed and finished in {:?}; a step: {:?} median, {:?} worst",
        started.elapsed(),
        times[100],
        times[199]
    );
    let before = std::time::Instant::now();
    hand.next(&[], 1).await;
    println!("a claim of one: {:?}", before.elapsed());
    assert!(times[100] < Duration::from_millis(30), "{:?}", times[100]);
}

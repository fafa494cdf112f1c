//! What a scaler keeps, under crowds and in the midst of others' transactions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use headcount_queue::{
    Json,
    store::{
        Admin, Beat, BootId, Claim, Claimed, Enqueue, Fence, Lease, Maintain, NewDecision, NewPool, NewWorker, Observe,
        Scale, Weight, WorkerState, postgres::PostgresStore,
    },
};
use headcount_tests::{Database, eventually};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use super::ground::{COMPLETED, Worker, claim_by_hand, end, jobs, number, open};

const SOON: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_hours(1);

/// The lease, and the pool `web`.
pub(crate) async fn scaler(store: &PostgresStore, ordered: bool) -> Fence {
    let Lease::Held(fence) = store.lease("scaler", "me", HOUR).await.unwrap() else { panic!("somebody has it") };
    let pool = NewPool { name: "web".into(), queues: "q".parse().unwrap(), ordered, spec: Json("{}".into()) };
    store.publish(&fence, &[pool]).await.unwrap();
    fence
}

/// A worker at this place.
pub(crate) fn at(pool: &str, instance: &str) -> NewWorker {
    NewWorker {
        boot: BootId::random(),
        instance: Some(instance.into()),
        host: "host".into(),
        pid: 1,
        pool: Some(pool.into()),
        queues: "q".parse().unwrap(),
        kinds: Vec::new(),
        slots: 8,
    }
}

pub(crate) fn decision(weight: Weight, gist: &str) -> NewDecision {
    NewDecision { pool: "web".into(), weight, gist: gist.into(), detail: Json("{}".into()), state: None }
}

/// A worker in the pool `web` as the programs announce it that know of no places. Returns the state in which it comes up.
pub(crate) async fn register_as_before(connection: &mut PgConnection, boot: i64, instance: &str) -> String {
    let sql = "INSERT INTO headcount.worker AS w (
            boot, instance, host, pid, pool, queues, kinds, slots, state, started_at, beat_at
        )
        SELECT $1, $2, 'host', 1, 'web', '{q}', '{}', 8, 'active', c.at, c.at
        FROM (SELECT clock_timestamp() AS at OFFSET 0) c
        ON CONFLICT (boot) DO UPDATE SET beat_at = excluded.beat_at WHERE w.state <> 'dead'
        RETURNING state";
    sqlx::query_scalar(sql).bind(boot).bind(instance).fetch_one(connection).await.unwrap()
}

async fn withhold(store: &PostgresStore, fence: &Fence, instance: &str) -> i64 {
    store.withhold(fence, "web", &[instance.to_owned()], HOUR).await.unwrap()[0]
}

async fn let_go(store: &PostgresStore, fence: &Fence, instance: &str, number: i64) -> bool {
    store.let_go(fence, "web", instance, number, HOUR).await.unwrap()
}

async fn state(store: &PostgresStore, boot: BootId) -> WorkerState {
    store.workers().await.unwrap().iter().find(|worker| worker.boot == boot).expect("it is shown").state
}

/// Waits until so many sessions of this database wait for a lock of this type.
async fn locked(looking: &mut PgConnection, kind: &str) {
    eventually("somebody waits for the lock", SOON, async || {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = '{kind}'"
        );
        let waits: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *looking).await.unwrap();
        if waits > 0 { Ok(()) } else { Err("nobody waits") }
    })
    .await;
}

/// Its row is written and not committed: a scaler that drains the place in this moment waits, and then stops it, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_coming_up_is_waited_for_by_a_drain() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let fence = scaler(&store, false).await;
    let (mut coming, mut looking) = (database.connect().await, database.connect().await);
    let mut tx = coming.begin().await.unwrap();
    assert_eq!(register_as_before(&mut tx, 1, "i-1").await, "active");
    let drain = tokio::spawn({
        let (store, fence) = (Arc::clone(&store), fence.clone());
        async move { withhold(&store, &fence, "i-1").await }
    });
    locked(&mut looking, "advisory").await;
    assert!(!drain.is_finished());
    tx.commit().await.unwrap();
    let number = drain.await.unwrap();
    assert_eq!(state(&store, BootId(1)).await, WorkerState::Draining);
    assert!(let_go(&store, &fence, "i-1", number).await);
}

/// Who comes up while a place is let go waits, and comes up leaving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_comes_up_while_its_place_is_let_go_comes_up_leaving() {
    comes_up_leaving(&Database::fresh().await).await;
}

async fn comes_up_leaving(database: &Database) {
    let store = open(database, 4);
    let fence = scaler(&store, false).await;
    let there = at("web", "i-1");
    store.register(&there).await.unwrap();
    let number = withhold(&store, &fence, "i-1").await;
    // Holds the one that is there, so that the scaler is caught between its locks.
    let (mut holder, mut looking) = (database.connect().await, database.connect().await);
    holder.execute("BEGIN; SELECT FROM headcount.worker FOR SHARE").await.unwrap();
    let going = tokio::spawn({
        let (store, fence) = (Arc::clone(&store), fence.clone());
        async move { let_go(&store, &fence, "i-1", number).await }
    });
    locked(&mut looking, "transactionid").await;
    let coming = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.register(&at("web", "i-1")).await.unwrap() }
    });
    locked(&mut looking, "advisory").await;
    holder.execute("COMMIT").await.unwrap();
    assert!(going.await.unwrap());
    assert_eq!(coming.await.unwrap(), WorkerState::Leaving);
}

/// Its drain has run out, so the claim passes; it is under way as the place is drained anew and asked to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_flight_is_waited_for_and_seen_before_a_place_goes() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let fence = scaler(&store, false).await;
    store.enqueue(&jobs("q", 1)).await.unwrap();
    let there = at("web", "i-1");
    store.register(&there).await.unwrap();
    let (mut claiming, mut looking) = (database.connect().await, database.connect().await);
    let mut tx = claiming.begin().await.unwrap();
    assert_eq!(claim_by_hand(&mut tx, there.boot, 1, &[("q", 0)]).await, 1);
    let drain = tokio::spawn({
        let (store, fence) = (Arc::clone(&store), fence.clone());
        async move { withhold(&store, &fence, "i-1").await }
    });
    locked(&mut looking, "transactionid").await;
    tx.commit().await.unwrap();
    let number = drain.await.unwrap();
    assert!(!let_go(&store, &fence, "i-1", number).await, "it runs a job");

    // The place is drained and its worker can claim yet: as one that was drained by a clock that differs by a moment.
    let mut tx = claiming.begin().await.unwrap();
    tx.execute("DELETE FROM headcount.running").await.unwrap();
    tx.execute("UPDATE headcount.worker SET drain_until = now() - interval '1 s'").await.unwrap();
    tx.commit().await.unwrap();
    assert!(!let_go(&store, &fence, "i-1", number).await, "it could claim");
    store.enqueue(&jobs("q", 1)).await.unwrap();
    let mut tx = claiming.begin().await.unwrap();
    assert_eq!(claim_by_hand(&mut tx, there.boot, 1, &[("q", 0)]).await, 1);
    tx.execute("UPDATE headcount.worker SET drain_until = now() + interval '1 h'").await.unwrap();
    let going = tokio::spawn({
        let (store, fence) = (Arc::clone(&store), fence.clone());
        async move { let_go(&store, &fence, "i-1", number).await }
    });
    locked(&mut looking, "transactionid").await;
    tx.commit().await.unwrap();
    assert!(!going.await.unwrap(), "the claim that was in flight took a job");
}

/// Many connections come up, claim, finish and go at a place that is drained and let go, again and again: whatever the
/// moment, a place that was let go runs nothing and starts nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_place_is_let_go_where_a_job_runs_whoever_comes_up_and_claims() {
    const ROUNDS: usize = 60;
    races(Database::fresh().await, ROUNDS).await;
}

/// Whatever the database's default is: one view for a whole transaction would not see what its locks were waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stricter_default_isolation_blinds_no_removal() {
    let database = Database::fresh().await;
    let strict = format!("ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'", database.name());
    database.connect().await.execute(AssertSqlSafe(strict)).await.unwrap();
    comes_up_leaving(&database).await;
    let store = open(&database, 3);
    let fence = scaler(&store, false).await;
    let (mut coming, mut looking) = (database.connect().await, database.connect().await);
    coming.execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.unwrap();
    register_as_before(&mut coming, 1, "i-2").await;
    let drain = tokio::spawn({
        let (store, fence) = (Arc::clone(&store), fence.clone());
        async move { withhold(&store, &fence, "i-2").await }
    });
    locked(&mut looking, "advisory").await;
    coming.execute("COMMIT").await.unwrap();
    drain.await.unwrap();
    assert_eq!(state(&store, BootId(1)).await, WorkerState::Draining);
}

async fn races(database: Database, rounds: usize) {
    let store = open(&database, 2);
    let fence = scaler(&store, false).await;
    let mut looking = database.connect().await;
    let stores: Vec<_> = (0..3).map(|_| open(&database, 4)).collect();
    let mut went = 0;
    for round in 0..rounds {
        let instance = format!("i-{round}");
        store.enqueue(&jobs("q", 20)).await.unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for n in 0..6 {
            let (store, instance, gone) = (Arc::clone(&stores[n % 3]), instance.clone(), Arc::clone(&gone));
            // Half of them stay and claim again and again, half come and go.
            workers.spawn(comes_and_claims(store, instance, gone, n % 2 == 0));
        }
        // Now and then a drain runs out in the midst of it.
        let mut lease = if round % 3 == 0 { Duration::from_millis(3) } else { HOUR };
        eventually("it goes", SOON, async || {
            let number = store.withhold(&fence, "web", std::slice::from_ref(&instance), lease).await.unwrap()[0];
            lease += Duration::from_millis(1);
            if let_go(&store, &fence, &instance, number).await { Ok(()) } else { Err("not yet") }
        })
        .await;
        let runs = |instance: &str| {
            format!(
                "SELECT count(*) FROM headcount.running r JOIN headcount.worker w ON w.boot = r.boot \
                 WHERE w.instance = '{instance}'"
            )
        };
        let now: i64 = sqlx::query_scalar(AssertSqlSafe(runs(&instance))).fetch_one(&mut looking).await.unwrap();
        gone.store(true, Ordering::SeqCst);
        let claimed_after = workers.join_all().await.into_iter().sum::<usize>();
        assert_eq!((now, claimed_after), (0, 0), "round {round}: a job runs on a place that was let go");
        went += 1;
    }
    assert_eq!(went, rounds);
    assert_eq!(store.conflicts() + stores.iter().map(|store| store.conflicts()).sum::<u64>(), 0, "nobody deadlocks");
}

/// Claims and finishes until the place has gone, and a little longer. How many jobs it was given after that.
async fn comes_and_claims(store: Arc<PostgresStore>, instance: String, gone: Arc<AtomicBool>, stays: bool) -> usize {
    let (mut after, mut claimed_after) = (0, 0);
    let mut worker = Worker::registers(&store, &at("web", &instance)).await;
    while after < 3 {
        let has_gone = gone.load(Ordering::SeqCst);
        after += usize::from(has_gone);
        if !stays {
            worker = Worker::registers(&store, &at("web", &instance)).await;
        }
        let Claimed { jobs, .. } = worker.next(&[], 1).await;
        if has_gone {
            claimed_after += jobs.len();
        }
        worker.next(&end(&jobs, &COMPLETED), 0).await;
        if !stays {
            store.deregister(worker.boot).await.unwrap();
        }
    }
    claimed_after
}

/// It writes what it has begun, and nobody takes the lease before it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_under_way_keeps_its_lease_until_it_is_done() {
    let database = Database::fresh().await;
    let store = open(&database, 4);
    let fence = scaler(&store, false).await;
    store.register(&at("web", "i-1")).await.unwrap();
    let (mut holder, mut looking) = (database.connect().await, database.connect().await);
    holder.execute("BEGIN; SELECT FROM headcount.worker FOR SHARE").await.unwrap();
    let drain = tokio::spawn({
        let (store, fence) = (Arc::clone(&store), fence.clone());
        async move { withhold(&store, &fence, "i-1").await }
    });
    locked(&mut looking, "transactionid").await;
    // The lease runs out meanwhile. Its row is locked: what another would find is told by its own time.
    let taking = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.lease("scaler", "other", HOUR).await.unwrap() }
    });
    eventually("the other waits, too", SOON, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND query LIKE '%headcount.lease%'";
        let waits = number(&mut looking, sql).await;
        if waits > 0 { Ok(()) } else { Err(waits) }
    })
    .await;
    assert!(!taking.is_finished() && !drain.is_finished());
    holder.execute("COMMIT").await.unwrap();
    drain.await.unwrap();
    let taken = taking.await.unwrap();
    assert!(matches!(&taken, Lease::Taken { by, .. } if by == "me"), "{taken:?}");
}

#[tokio::test]
async fn what_is_old_is_forgotten_and_what_goes_on_is_not() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let fence = scaler(&store, false).await;
    let mut connection = database.connect().await;
    for (gist, weight, days) in [
        ("old change", Weight::Change, 31),
        ("change", Weight::Change, 29),
        ("old hold", Weight::Hold, 4),
        ("hold", Weight::Hold, 2),
    ] {
        store.record(&fence, &[decision(weight, gist)]).await.unwrap();
        let sql = "UPDATE headcount.decision SET first_at = first_at - $1 * interval '1 d', \
                   last_at = last_at - $1 * interval '1 d' WHERE gist = $2";
        sqlx::query(sql).bind(days).bind(gist).execute(&mut connection).await.unwrap();
    }
    store.record(&fence, &[decision(Weight::Hold, "long hold")]).await.unwrap();
    let long = "UPDATE headcount.decision SET first_at = first_at - interval '40 d' WHERE gist = 'long hold'";
    connection.execute(long).await.unwrap();
    for (lease, pool, hours) in [("run:old", "a", 25), ("run:new", "b", 23), ("other", "c", 25)] {
        let Lease::Held(fence) = store.lease(lease, "me", HOUR).await.unwrap() else { panic!("it is free") };
        let pool = NewPool { name: pool.into(), queues: "q".parse().unwrap(), ordered: false, spec: Json("1".into()) };
        store.publish(&fence, std::slice::from_ref(&pool)).await.unwrap();
        store.withhold(&fence, &pool.name, &["i-1".into()], HOUR).await.unwrap();
        let ended = "UPDATE headcount.lease SET until = now() - $1 * interval '1 h' WHERE name = $2";
        sqlx::query(ended).bind(hours).bind(lease).execute(&mut connection).await.unwrap();
    }
    store.withhold(&fence, "web", &["ended".into()], Duration::ZERO).await.unwrap();
    store.withhold(&fence, "web", &["drained".into()], HOUR).await.unwrap();

    store.purge(1).await.unwrap();
    let left: Vec<String> = store.ledger(None, None, 9).await.unwrap().into_iter().map(|entry| entry.gist).collect();
    assert_eq!(left, ["long hold", "hold", "change"]);
    let leases: Vec<_> = store.leases().await.unwrap().into_iter().map(|lease| lease.lease).collect();
    assert_eq!(leases, ["other", "run:new", "scaler"]);
    let pools: Vec<_> = store.pools(None).await.unwrap().into_iter().map(|pool| pool.name).collect();
    assert_eq!(pools, ["b", "c", "web"]);
    let drains: Vec<String> =
        sqlx::query_scalar("SELECT pool || ' ' || instance FROM headcount.drain ORDER BY pool, instance")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(drains, ["b i-1", "c i-1", "web drained"]);
}

#[tokio::test]
async fn of_very_many_jobs_to_come_a_hundred_thousand_are_counted() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut connection = database.connect().await;
    connection
        .execute(
            "INSERT INTO headcount.later (id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, \
                 deaths, enqueued_at, run_at, due_at) \
             SELECT n, CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, 0, n, 'k', '1', 0, 1, 0, 0, now(), now(), \
                 now() + interval '30 min' \
             FROM generate_series(1, 100001) n",
        )
        .await
        .unwrap();
    let known = async |within| {
        let known = store.known(&[("a,b".parse().unwrap(), within)]).await.unwrap();
        known.iter().flatten().map(|known| known.count).sum::<u64>()
    };
    assert_eq!(known(HOUR).await, 100_000);
    assert_eq!(known(HOUR / 4).await, 0);
}

/// A person's order by a command of the release before stands in the worker's row alone.
#[tokio::test]
async fn a_persons_drain_by_the_release_before_is_not_shortened_by_the_scalers() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let fence = scaler(&store, false).await;
    let there = at("web", "i-1");
    store.register(&there).await.unwrap();
    let mut connection = database.connect().await;
    let drain = "UPDATE headcount.worker SET state = 'draining', drain_epoch = drain_epoch + 1, drained_by = 'ann'";
    connection.execute(drain).await.unwrap();
    let number = withhold(&store, &fence, "i-1").await;
    assert_eq!(store.restore(&fence, "web", &["i-1".into()]).await.unwrap(), []);
    let shown = store.workers().await.unwrap().remove(0);
    assert_eq!((shown.state, shown.drained_by.as_deref()), (WorkerState::Draining, Some("ann")));
    assert_ne!(withhold(&store, &fence, "i-1").await, number);
    assert_eq!(store.recall(&[there.boot]).await.unwrap(), [there.boot]);
    assert_eq!(state(&store, there.boot).await, WorkerState::Active);
}

/// No scaler has made it known, so there is no row of the pool to lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_drain_covers_who_comes_up_in_a_pool_that_no_scaler_knows() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    let there = at("unknown", "i-1");
    store.register(&there).await.unwrap();
    let (mut holder, mut looking) = (database.connect().await, database.connect().await);
    holder.execute("BEGIN; SELECT FROM headcount.worker FOR SHARE").await.unwrap();
    let draining = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.drain(&[there.boot], "ann", None).await.unwrap() }
    });
    locked(&mut looking, "transactionid").await;
    let coming = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.register(&at("unknown", "i-1")).await.unwrap() }
    });
    locked(&mut looking, "advisory").await;
    holder.execute("COMMIT").await.unwrap();
    assert_eq!(draining.await.unwrap().len(), 1);
    assert_eq!(coming.await.unwrap(), WorkerState::Draining);
}

/// It stands apart from the sign of life, and a worker that has been silent for long is not counted on.
#[tokio::test]
async fn only_workers_that_beat_lately_are_counted_on() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    scaler(&store, true).await;
    let (low, high) = (at("web", "worker.1"), at("web", "worker.2"));
    for worker in [&low, &high] {
        store.register(worker).await.unwrap();
    }
    let beat = Beat { boot: high.boot, holds: Vec::new(), started: Vec::new(), through: 0, grace: None };
    let mut connection = database.connect().await;
    for (silent, free) in [(9, 8), (11, 0)] {
        let sql = "UPDATE headcount.worker SET beat_at = clock_timestamp() - $1 * interval '1 s' WHERE boot = $2";
        sqlx::query(sql).bind(silent).bind(low.boot.0).execute(&mut connection).await.unwrap();
        assert_eq!(store.beat(&beat).await.unwrap().free_below, Some(free), "silent for {silent} s");
    }
}

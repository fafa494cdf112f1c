//! Database roles with the rights of one task, on a real server: what each can do, and what it cannot.

use std::{sync::Arc, time::Duration};

use headcount_queue::{
    Error, Expiry, NewJob, Resolution, Retention, State,
    store::{
        Admin, Beat, Claim, Enqueue, Filter, Grants, Maintain, Observe, Options, Override, Resolve, Scale, Setting,
        Target, Verdict, Weight, WorkerState, postgres::PostgresStore,
    },
};
use headcount_tests::{Database, Folder};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{
    ground::{Worker, end, jobs, number, open},
    parked::{PARK, answer, callback},
    scale,
};

const SOON: Duration = Duration::from_mins(1);

/// The address of the database for this role, whose password is `p`.
pub(crate) fn url_of(database: &Database, role: &str) -> String {
    let (_, place) = database.url().split_once('@').expect("the address names a user");
    format!("postgres://{role}:p@{place}")
}

/// A database with a role for each task, named after both.
struct Ground {
    database: Database,
    roles: Vec<String>,
}

const TASKS: [&str; 4] = ["enqueue", "worker", "scaler", "read"];

impl Ground {
    async fn new() -> Self {
        let database = Database::fresh().await;
        let roles: Vec<_> = TASKS.iter().map(|task| format!("{}_{task}", database.name())).collect();
        let mut connection = database.connect().await;
        for role in &roles {
            let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'p'");
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
        }
        let ground = Self { database, roles };
        open(&ground.database, 1).grant(&ground.grants()).await.unwrap();
        ground
    }

    fn grants(&self) -> Grants {
        let [enqueue, worker, scaler, read] = &*self.roles else { unreachable!() };
        Grants {
            enqueue: vec![enqueue.clone()],
            worker: vec![worker.clone()],
            scaler: vec![scaler.clone()],
            read: vec![read.clone()],
        }
    }

    fn url(&self, task: &str) -> String {
        url_of(&self.database, &format!("{}_{task}", self.database.name()))
    }

    fn store(&self, task: &str) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open(&self.url(task), &Options::default()).unwrap())
    }

    async fn connect(&self, task: &str) -> PgConnection {
        PgConnection::connect(&self.url(task)).await.unwrap()
    }

    /// Fails unless the role may run all of these, by name or as text, and none of those.
    async fn may(&self, task: &str, sql: &str, may: bool) {
        let mut connection = self.connect(task).await;
        let mut tx = connection.begin().await.unwrap();
        match tx.execute(AssertSqlSafe(sql.to_owned())).await {
            Ok(_) => assert!(may, "{task} may not: {sql}"),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
                assert!(!may, "{task} may: {sql}: {error}");
            }
            Err(error) => panic!("{task}: {sql}: {error}"),
        }
    }

    /// Roles belong to the server and outlive their database.
    async fn end(self) {
        let mut connection = self.database.connect().await;
        for role in &self.roles {
            let sql = format!("DROP OWNED BY {role}; DROP ROLE {role}");
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
        }
    }
}

fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Rejected(why) if why.contains("permission denied"))
}

const CHANGES: [&str; 8] = [
    "DELETE FROM headcount.ready",
    "DELETE FROM headcount.finished",
    "UPDATE headcount.worker SET state = 'dead'",
    "UPDATE headcount.queue SET paused = true",
    "INSERT INTO headcount.kind (kind, paused) VALUES ('k', true)",
    "TRUNCATE headcount.ready",
    "DELETE FROM headcount.migration",
    "CREATE TABLE headcount.own ()",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_enqueues_can_enqueue_and_see_nobodys_jobs() {
    let ground = Ground::new().await;
    let store = ground.store("enqueue");
    store.check_version().await.unwrap();
    let long = format!("\"{}\"", "x".repeat(5000));
    store.enqueue(&jobs("q", 2)).await.unwrap();
    store.enqueue(&[NewJob::new("k", "{}").queue("q").delay(SOON), NewJob::new("k", long).queue("q")]).await.unwrap();
    let mut connection = ground.connect("enqueue").await;
    let mut tx = connection.begin().await.unwrap();
    store.enqueue_in((&mut tx).into(), &jobs("q", 1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut looking = ground.database.connect().await;
    assert_eq!(number(&mut looking, "SELECT count(*) FROM headcount.jobs").await, 5);
    // Once the tables have functions: with a key, twice, and from SQL.
    let functions =
        "SELECT count(*) FROM pg_proc WHERE pronamespace = 'headcount'::regnamespace AND proname = 'enqueue'";
    if number(&mut looking, functions).await > 0 {
        for _ in 0..2 {
            store.enqueue(&[NewJob::new("k", "{}").queue("q").key("a")]).await.unwrap();
        }
        ground.may("enqueue", "SELECT headcount.enqueue('k', '{\"a\":1}', queue => 'q')", true).await;
        ground.may("enqueue", "SELECT headcount.cancel(1)", false).await;
    }
    // For a job that it may not see it answers by its secret, from SQL and from the library.
    let owner = open(&ground.database, 1);
    let mut worker = Worker::new(&owner, "answered").await;
    owner.enqueue(&jobs("answered", 2)).await.unwrap();
    let claimed = worker.next(&[], 2).await.jobs;
    let secrets = [callback(&owner, &claimed[0]).await, callback(&owner, &claimed[1]).await];
    let early = answer(&mut connection, claimed[0].id, &secrets[0], "'completed'").await.unwrap();
    assert_eq!(early, "early");
    worker.next(&end(&claimed, &PARK), 0).await;
    let done = Resolution::Completed { output: None };
    let wrong = store.resolve(claimed[1].id, &secrets[0], &done).await;
    assert!(matches!(wrong, Err(Error::WrongSecret(_))), "{wrong:?}");
    assert_eq!(store.resolve(claimed[1].id, &secrets[1], &done).await.unwrap(), Resolve::Done);
    let over = store.resolve(claimed[0].id, &secrets[0], &done).await;
    assert!(matches!(over, Err(Error::WrongState { state: State::Completed, .. })), "{over:?}");

    // What is unavoidable: an enqueue returns ids, and so the ids of waiting jobs can be read; nothing else can.
    ground.may("enqueue", "SELECT id FROM headcount.ready", true).await;
    let tables = [
        "jobs", "ready", "later", "held", "running", "parked", "answer", "finished", "body", "attempt", "tally",
        "coalesce",
    ];
    for table in tables {
        ground.may("enqueue", &format!("SELECT * FROM headcount.{table}"), false).await;
    }
    for sql in CHANGES.into_iter().chain(["SELECT payload FROM headcount.ready", "SELECT content FROM headcount.body"])
    {
        ground.may("enqueue", sql, false).await;
    }
    for refused in
        [store.cancel(headcount_queue::JobId(1)).await.map(drop), store.jobs(&Filter::default(), 1).await.map(drop)]
    {
        assert!(is_refused(&refused.unwrap_err()));
    }
    ground.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_runs_jobs_end_to_end_and_sets_nothing() {
    let ground = Ground::new().await;
    let store = open(&ground.database, 1);
    let folder = Folder::new();
    // Its beat looks whether its pool is ordered, and which kinds run for long; and it comes up as its place is told, which
    // it may not read.
    let fence = scale::scaler(&store, true).await;
    let worker = ground.store("worker");
    for instance in ["worker.1", "worker.2"] {
        let registers = scale::at("web", instance);
        assert_eq!(worker.register(&registers).await.unwrap(), WorkerState::Active);
        let beat = Beat { boot: registers.boot, holds: Vec::new(), started: Vec::new(), through: 0, grace: Some(SOON) };
        let below = if instance == "worker.1" { 0 } else { 8 };
        assert_eq!(worker.beat(&beat).await.unwrap().free_below, Some(below));
    }
    store.withhold(&fence, "web", &["worker.3".into()], SOON).await.unwrap();
    assert_eq!(worker.register(&scale::at("web", "worker.3")).await.unwrap(), WorkerState::Draining);
    for sql in [
        "SELECT * FROM headcount.drain",
        "SELECT * FROM headcount.decision",
        "UPDATE headcount.pool SET ordered = true",
    ] {
        ground.may("worker", sql, false).await;
    }
    store.enqueue(&jobs("q", 5)).await.unwrap();
    store.enqueue(&[NewJob::new("k", "{}").queue("q").delay(Duration::from_millis(1))]).await.unwrap();
    let fails = NewJob::new("fails", "{}").queue("q").max_attempts(1).meta(r#"{"fail":true}"#);
    store.enqueue(&[fails]).await.unwrap();
    std::fs::write(folder.file("handler"), "#!/bin/sh\ncat >/dev/null\n[ \"$HEADCOUNT_JOB_KIND\" != fails ]\n")
        .unwrap();
    let work = ["work", "--queue", "q", "--exec", "sh handler", "--exit-after", "7", "--poll", "50ms"];
    folder.headcount(work).url(&ground.url("worker")).start().ends_well(SOON).await;
    worker.rescue_dead(true).await.unwrap();
    worker.purge(10).await.unwrap();
    worker.fold().await.unwrap();
    assert_eq!(worker.audit().await.unwrap(), []);
    let mut looking = ground.database.connect().await;
    assert_eq!(number(&mut looking, "SELECT count(*) FROM headcount.jobs WHERE state <> 'failed'").await, 0);
    // Whoever runs jobs may end them; but settings, versions and the tables themselves are another's.
    for sql in &CHANGES[3..] {
        ground.may("worker", sql, false).await;
    }
    let refused = worker.set(&Target::Queue("q".into()), Setting::Paused(true)).await.unwrap_err();
    assert!(is_refused(&refused), "{refused:?}");
    ground.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scaler_drains_and_rescues_but_takes_no_job_and_adds_no_worker() {
    let ground = Ground::new().await;
    let store = open(&ground.database, 2);
    store.enqueue(&jobs("q", 3)).await.unwrap();
    store.enqueue(&[NewJob::new("k", "{}").queue("q").delay(Duration::from_millis(1))]).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    assert_eq!(worker.next(&[], 2).await.jobs.len(), 2);
    let other = Worker::new(&store, "q").await.boot;

    let scaler = ground.store("scaler");
    scaler.check_version().await.unwrap();
    scaler.now().await.unwrap();
    assert_eq!(scaler.workers().await.unwrap().len(), 2);
    scaler.outstanding(&"q".parse().unwrap()).await.unwrap();
    scaler.next_due(&"q".parse().unwrap()).await.unwrap();
    headcount_tests::eventually("it falls due", SOON, async || {
        let promoted = scaler.promote(10).await.unwrap().jobs;
        if promoted == 1 { Ok(()) } else { Err(promoted) }
    })
    .await;
    scaler.fold().await.unwrap();
    assert_eq!(scaler.queues().await.unwrap()[0].depth.running, 2);
    let drains = scaler.drain(&[other], "pool", Some(SOON)).await.unwrap();
    assert_eq!(scaler.recall(&[other]).await.unwrap(), [other]);
    let drains_again = scaler.drain(&[other], "pool", None).await.unwrap();
    assert_ne!(drains, drains_again);
    assert!(scaler.leave(other, drains_again[0].1).await.unwrap());
    assert!(scaler.stay(other).await.unwrap());
    let fence = scale::scaler(&scaler, false).await;
    let place = ["worker.1".to_owned()];
    let placed = scale::at("web", &place[0]);
    store.register(&placed).await.unwrap();
    let epoch = scaler.withhold(&fence, "web", &place, SOON).await.unwrap()[0];
    assert!(scaler.let_go(&fence, "web", &place[0], epoch, SOON).await.unwrap());
    scaler.keep(&fence, "web", &place).await.unwrap();
    assert_eq!(scaler.restore(&fence, "web", &place).await.unwrap(), [placed.boot]);
    scaler.drain(&[placed.boot], "ann", None).await.unwrap();
    scaler.recall(&[placed.boot]).await.unwrap();
    scaler.forget(&fence, "web", &place).await.unwrap();
    scaler.record(&fence, &[scale::decision(Weight::Hold, "enough")]).await.unwrap();
    scaler.order("web", "ann", &Override { paused: true, ..Override::default() }).await.unwrap();
    assert_eq!(scaler.pools(None).await.unwrap().len(), 1);
    scaler.known(&[("q".parse().unwrap(), SOON)]).await.unwrap();
    scaler.waiting(&["q".parse().unwrap()]).await.unwrap();
    store.deregister(placed.boot).await.unwrap();
    // It may not see other roles' sessions, and counts them all the same.
    let (mut one, mut other) = (ground.database.connect().await, ground.connect("worker").await);
    let (seen, there) = (scaler.connections().await.unwrap().unwrap(), store.connections().await.unwrap().unwrap());
    assert_eq!(seen.max, there.max);
    let mine = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usesysid IS NOT NULL";
    assert!(i64::from(seen.used) >= number(&mut one, mine).await, "{seen:?}");
    other.ping().await.unwrap();

    scaler.mark_dead(SOON).await.unwrap();
    scaler.bury(&[worker.boot]).await.unwrap();
    assert_eq!(scaler.rescue_dead(true).await.unwrap().len(), 2);
    let mut parks = Worker::new(&store, "q").await;
    let claimed = parks.next(&[], 1).await.jobs;
    let keep = Retention::DEFAULT;
    let park = Verdict::Park { wait: Duration::ZERO, expiry: Expiry::Retry, keep, retry: SOON };
    parks.next(&end(&claimed, &park), 0).await;
    assert_eq!(scaler.expire(10).await.unwrap()[0].id, claimed[0].id);
    scaler.fold().await.unwrap();
    assert_eq!(store.audit().await.unwrap(), []);

    for sql in [
        "DELETE FROM headcount.ready",
        "DELETE FROM headcount.finished",
        "SELECT output FROM headcount.finished",
        "INSERT INTO headcount.running SELECT * FROM headcount.running",
        "INSERT INTO headcount.worker (boot) VALUES (1)",
        "DELETE FROM headcount.decision",
        "DELETE FROM headcount.lease",
    ]
    .iter()
    .chain(&CHANGES[3..])
    {
        ground.may("scaler", sql, false).await;
    }
    ground.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_sees_everything_and_changes_nothing() {
    let ground = Ground::new().await;
    let store = open(&ground.database, 1);
    let id = store.enqueue(&jobs("q", 1)).await.unwrap()[0].id;
    store.fold().await.unwrap();
    let read = ground.store("read");
    read.check_version().await.unwrap();
    assert_eq!(read.jobs(&Filter::default(), 10).await.unwrap().len(), 1);
    assert!(read.job(id).await.unwrap().is_some());
    assert_eq!(read.attempts(id).await.unwrap(), []);
    assert_eq!(read.queues().await.unwrap().len(), 1);
    assert_eq!(read.workers().await.unwrap(), []);
    read.outstanding(&"q".parse().unwrap()).await.unwrap();
    assert_eq!(read.plan().await.unwrap(), []);
    let fence = scale::scaler(&store, false).await;
    assert_eq!((read.pools(None).await.unwrap().len(), read.leases().await.unwrap().len()), (1, 1));
    assert_eq!(read.ledger(None, None, 1).await.unwrap(), []);
    for refused in [
        read.publish(&fence, &[]).await.map(drop),
        read.lease("other", "me", SOON).await.map(drop),
        read.order("web", "ann", &Override::default()).await,
    ] {
        assert!(is_refused(&refused.unwrap_err()));
    }
    let folder = Folder::new();
    let shown = folder.headcount(["jobs", "list"]).url(&ground.url("read")).start().ends_well(SOON).await;
    assert!(shown.stdout().contains(&id.to_string()), "{shown}");
    for sql in CHANGES
        .into_iter()
        .chain(["SELECT nextval('headcount.place')", "INSERT INTO headcount.lane VALUES ('', 0, '')"])
    {
        ground.may("read", sql, false).await;
    }
    for refused in [read.enqueue(&jobs("q", 1)).await.map(drop), read.cancel(id).await.map(drop)] {
        assert!(is_refused(&refused.unwrap_err()));
    }
    ground.end().await;
}

#[tokio::test]
async fn a_grant_can_be_repeated_takes_away_what_was_and_leaves_the_public_nothing() {
    let ground = Ground::new().await;
    let store = open(&ground.database, 1);
    let mut connection = ground.database.connect().await;
    let rights =
        "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) WHERE c.relnamespace = 'headcount'::regnamespace";
    let before = number(&mut connection, rights).await;
    connection
        .execute("GRANT USAGE ON SCHEMA headcount TO PUBLIC; GRANT SELECT ON headcount.ready TO PUBLIC")
        .await
        .unwrap();
    let (other, grants) = (open(&ground.database, 1), ground.grants());
    tokio::try_join!(store.grant(&grants), other.grant(&grants)).unwrap();
    assert_eq!(number(&mut connection, rights).await, before);
    let public = "SELECT count(*) FROM (SELECT relacl AS acl FROM pg_class WHERE relnamespace = 'headcount'::regnamespace \
                  UNION ALL SELECT nspacl FROM pg_namespace WHERE nspname = 'headcount' UNION ALL \
                  SELECT coalesce(proacl, acldefault('f', proowner)) FROM pg_proc \
                  WHERE pronamespace = 'headcount'::regnamespace) a, aclexplode(a.acl) WHERE grantee = 0";
    assert_eq!(number(&mut connection, public).await, 0);

    let worker = ground.roles[1].clone();
    store.grant(&Grants { read: vec![worker], ..Grants::default() }).await.unwrap();
    ground.may("worker", "SELECT count(*) FROM headcount.jobs", true).await;
    ground.may("worker", "DELETE FROM headcount.ready", false).await;
    ground.end().await;
}

#[tokio::test]
async fn a_role_that_is_not_there_or_owns_the_tables_is_named_and_nothing_is_granted() {
    let ground = Ground::new().await;
    let store = open(&ground.database, 1);
    let grants = Grants { read: vec![ground.roles[1].clone(), "no\"body".into()], ..Grants::default() };
    let error = store.grant(&grants).await.unwrap_err().to_string();
    assert!(error.contains(r#""no\"body""#) && error.contains("CREATE ROLE"), "{error}");
    ground.may("worker", "DELETE FROM headcount.ready", true).await;
    let mut connection = ground.database.connect().await;
    let owner: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut connection).await.unwrap();
    let error = store.grant(&Grants { read: vec![owner], ..Grants::default() }).await.unwrap_err().to_string();
    assert!(error.contains("owns the tables"), "{error}");
    let error = ground.store("worker").grant(&Grants::default()).await.unwrap_err().to_string();
    assert!(error.contains("another role's"), "{error}");
    let empty = Database::empty().await;
    assert!(matches!(open(&empty, 1).grant(&Grants::default()).await.unwrap_err(), Error::Unmigrated { found: 0, .. }));
    ground.end().await;
}

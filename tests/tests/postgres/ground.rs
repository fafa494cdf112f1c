//! What these tests stand on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use headcount_queue::{
    Binding, NewJob,
    store::{
        BootId, Claim, Claimed, ClaimedJob, Claimer, NewWorker, Options, Settlement, Verdict, Want,
        postgres::PostgresStore,
    },
};
use headcount_tests::Database;
use sqlx::{AssertSqlSafe, PgConnection, Row};

/// A store with this many connections.
pub(crate) fn open(database: &Database, connections: u32) -> Arc<PostgresStore> {
    let options = Options { connections, call_timeout: Duration::from_mins(1), ..Options::default() };
    Arc::new(PostgresStore::open(database.url(), &options).expect("the address is a store's address"))
}

/// So many jobs without a payload to speak of.
pub(crate) fn jobs(queue: &str, n: usize) -> Vec<NewJob> {
    vec![NewJob::new("kind", "{}").queue(queue); n]
}

/// A worker that claims by hand.
pub(crate) struct Worker {
    pub(crate) boot: BootId,
    claimer: Box<dyn Claimer>,
    claims: i64,
}

impl Worker {
    pub(crate) async fn new(store: &PostgresStore, queues: &str) -> Self {
        let worker = NewWorker {
            boot: BootId::random(),
            instance: None,
            host: "host".into(),
            pid: 1,
            pool: None,
            queues: queues.parse().expect("names of queues"),
            kinds: Vec::new(),
            slots: 100,
        };
        Self::registers(store, &worker).await
    }

    /// This one.
    pub(crate) async fn registers(store: &PostgresStore, worker: &NewWorker) -> Self {
        store.register(worker).await.expect("a worker registers");
        Self::known(store, worker.boot, &worker.queues)
    }

    /// One that has registered.
    pub(crate) fn known(store: &PostgresStore, boot: BootId, queues: &Binding) -> Self {
        Self { boot, claimer: store.claimer(boot, queues, None), claims: 0 }
    }

    /// Settles and claims.
    pub(crate) async fn next(&mut self, settled: &[Settlement], jobs: u32) -> Claimed {
        self.claims += 1;
        let want = Want { claim: self.claims, jobs, ..Want::default() };
        self.claimer.next(settled, want).await.expect("a claim passes")
    }

    /// The number of the latest claim.
    pub(crate) fn through(&self) -> i64 {
        self.claims
    }
}

/// Ends all of these.
pub(crate) fn end(jobs: &[ClaimedJob], verdict: &Verdict) -> Vec<Settlement> {
    let end = |job: &ClaimedJob| Settlement {
        id: job.id,
        token: job.token,
        verdict: verdict.clone(),
        ran: Duration::from_millis(1),
    };
    jobs.iter().map(end).collect()
}

pub(crate) const COMPLETED: Verdict = Verdict::Completed { output: None, keep: Duration::ZERO };

/// The text of a statement of the store.
pub(crate) fn statement(name: &str) -> String {
    let file = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/queue/src/store/postgres");
        let read = |name: PathBuf| std::fs::read_to_string(folder.join(name).with_extension("sql"));
        read(name.into()).or_else(|_| read(Path::new("scale").join(name))).expect("a statement's file")
    };
    let sparing = |parameter| {
        let place = "-- Here a claim that leaves kinds to others has claim_spared.sql.";
        let claim = file("claim");
        assert!(claim.contains(place));
        claim.replace(place, &file("claim_spared").replace("$spared", parameter))
    };
    match name {
        "claim" => file("claim_pure") + &file("claim"),
        "claim_fused" => file("claim_fused") + &file("claim"),
        "claim_sparing" => file("claim_pure") + &sparing("$11"),
        "claim_fused_sparing" => file("claim_fused") + &sparing("$13"),
        "jobs" | "pick" => file(name) + &file("found") + &file("page"),
        "count" => file(name) + &file("found"),
        "jobs_named" => file("jobs") + &file("found") + &file("named") + &file("page"),
        "pick_named" => file("pick") + &file("found") + &file("named") + &file("page"),
        name => file(name),
    }
}

/// A claim by hand, in whatever transaction the connection is in. Returns how many it took.
pub(crate) async fn claim_by_hand(connection: &mut PgConnection, boot: BootId, n: i64, lanes: &[(&str, i16)]) -> usize {
    let rows = sqlx::query(AssertSqlSafe(statement("claim")))
        .bind(boot.0)
        .bind(1_000_000_i64)
        .bind(n)
        .bind(lanes.iter().map(|lane| lane.0).collect::<Vec<_>>())
        .bind(lanes.iter().map(|lane| lane.1).collect::<Vec<_>>())
        .bind(vec![0_i64; lanes.len()])
        // Every queue but the private ones.
        .bind(vec![String::new(), "run:".into(), "run;".into(), char::MAX.to_string().repeat(33)])
        .bind(false)
        .bind(Vec::<i64>::new())
        .bind(None::<i64>)
        .fetch_all(connection)
        .await
        .expect("a claim passes");
    rows.iter().filter(|row| row.get::<Option<i64>, _>("id").is_some()).count()
}

/// One number.
pub(crate) async fn number(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.expect("a number")
}

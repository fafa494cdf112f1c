//! A scaler that is stopped for longer than its lease lasts, in the middle of a tick that is about to grow its pool.

use headcount_tests::{Database, FakeHeroku, Process, process::headcount};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use super::*;

/// What only scalers write.
const WRITTEN: &str = "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM (
    SELECT 'pool ' || p::text AS line FROM headcount.pool p
    UNION ALL SELECT 'drain ' || d::text FROM headcount.drain d
    UNION ALL SELECT 'decision ' || d::text FROM headcount.decision d) AS lines";
/// How a session of another process stands in its way.
const BLOCKED: &str = "SELECT query FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'relation' AND application_name LIKE 'headcount scale%'";
const BUSY: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state <> 'idle' AND application_name LIKE 'headcount scale%'";

/// A pool of dynos with room for `max`, looked at every `interval`.
fn config(max: u32, interval: &str) -> String {
    format!(
        "[pool.worker]\nqueues = [\"local\"]\nmax = {max}\npolicy = \"linear\"\ninterval = \"{interval}\"\n\
         remove_after = \"1s\"\nidle_to_zero = \"1s\"\n\
         driver = {{ heroku = {{ app = \"shop\", process = \"worker\" }} }}\n"
    )
}

fn scaler(place: &Place, heroku: &FakeHeroku, config: &str, name: &str) -> Process {
    let file = place.folder.file(format!("{name}.toml"));
    fs::write(&file, config).unwrap();
    let program = place.headcount(&format!("scale --config {}", file.display()));
    program.env("HEROKU_API_URL", heroku.url()).env("HEROKU_API_KEY", heroku.token()).start()
}

async fn written(connection: &mut PgConnection) -> String {
    connection.fetch_one(WRITTEN).await.unwrap().get(0)
}

/// Stops the scaler while it waits for the list of the workers: it has read the platform and not acted yet.
///
/// The lock and the looks need a connection each: within a transaction the activity of others is as it was at its first
/// look.
async fn stop_between_looking_and_acting(database: &mut [PgConnection; 2], scaler: &Process) {
    let [guard, observer] = database;
    eventually("it is met between looking and acting", SOON, async || {
        let mut lock = guard.begin().await.unwrap();
        lock.execute("LOCK TABLE headcount.worker IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let query = eventually("it waits for the lock", SOON, async || {
            observer.fetch_optional(BLOCKED).await.unwrap().map(|row| row.get::<String, _>(0)).ok_or(())
        })
        .await;
        let met = query.trim_start().starts_with("SELECT w.boot, w.instance, w.host");
        if met {
            assert!(scaler.signal(Signal::STOP));
        }
        lock.rollback().await.unwrap();
        if met { Ok(()) } else { Err(query) }
    })
    .await;
}

/// Stops the scaler while none of its statements is under way, lest it hold a lock all the while.
async fn stop_at_rest(connection: &mut PgConnection, scaler: &Process) {
    eventually("it rests", SOON, async || {
        assert!(scaler.signal(Signal::STOP));
        let busy: i64 = connection.fetch_one(BUSY).await.unwrap().get(0);
        if busy == 0 {
            return Ok(());
        }
        assert!(scaler.signal(Signal::CONT));
        Err(busy)
    })
    .await;
}

#[tokio::test]
async fn a_scaler_that_slept_through_its_lease_writes_neither_to_the_store_nor_to_the_platform() {
    let database = Database::fresh().await;
    let mut connections = [database.connect().await, database.connect().await];
    let place = Place::on(database);
    let job = place.handler("while [ ! -e $JOBS/go ]; do sleep 0.1; done");
    let program = headcount().display().to_string();
    let heroku = FakeHeroku::app("shop")
        .process("worker", [program.as_str(), "work", "--exec", job.as_str(), "--slots", "1", "--grace", "4s"])
        .env("HEADCOUNT_URL", &place.url)
        .env("JOBS", place.folder.path())
        .grace(Duration::from_secs(5))
        .start()
        .await;
    // Slow, so that what it has read is not too old for it when it wakes.
    let mut old = scaler(&place, &heroku, &config(3, "8s"), "old");
    eventually("the pool is known", SOON, async || {
        let known = place.rows("pools").await;
        if known.len() == 1 { Ok(()) } else { Err(known) }
    })
    .await;
    place.says("pools pause worker").await;
    enqueue(&place, 6).await;
    stop_between_looking_and_acting(&mut connections, &old).await;
    let [mut connection, _] = connections;
    place.says("pools resume worker").await;

    let mut new = scaler(&place, &heroku, &config(1, "300ms"), "new");
    eventually("the new one hires its one worker", SOON, async || {
        let (quantity, workers) = (heroku.quantity("worker"), place.rows("workers").await.len());
        if (quantity, workers) == (1, 1) { Ok(()) } else { Err((quantity, workers)) }
    })
    .await;
    // Whatever is written from here on is the old one's.
    stop_at_rest(&mut connection, &new).await;
    let before = (written(&mut connection).await, heroku.updates().len());
    assert!(old.signal(Signal::CONT));
    old.line("it would grow", SOON, |line| line.contains("too little is left of the scaler's lease")).await;
    old.line("it stands by", SOON, |line| line.contains("has taken over; this one stands by")).await;
    let after = (written(&mut connection).await, heroku.updates().len());
    assert_eq!(before, after, "the old one wrote: {:?}", heroku.updates());

    assert!(new.signal(Signal::CONT));
    fs::write(place.folder.file("go"), "").unwrap();
    eventually("the work is done and no dyno is left", SOON * 2, async || {
        let (left, quantity, dynos) = (place.states().await, heroku.quantity("worker"), heroku.dynos());
        if left.is_empty() && quantity == 0 && dynos.is_empty() { Ok(()) } else { Err((left, quantity, dynos)) }
    })
    .await;
    assert_eq!(heroku.killed().len(), 0, "{:?}", heroku.killed());
    for scaler in [&mut old, &mut new] {
        assert!(scaler.signal(Signal::TERM));
        scaler.ends_well(SOON).await;
    }
}

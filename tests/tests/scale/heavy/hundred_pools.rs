//! What a scaler of a hundred pools costs the process that it runs in: a web process may bear it.

use headcount_queue::{
    NewJob,
    store::{Options, StoreUrl, open},
};
use headcount_tests::Database;

use super::*;

const POOLS: usize = 100;
/// So many ticks are measured, after as many others: the first know nothing yet.
const TICKS: i64 = 10;
/// The promise is 50 ms of the process's own time a tick; a test waits three times as long before it fails.
const OWN_TIME: Duration = Duration::from_millis(150);
/// In KiB, at the most that the process ever had.
const MEMORY: u64 = 40 * 1024;

/// How many jobs wait: a million with `tests/run --long`.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting; no part of the product reads it")]
fn pending() -> usize {
    if std::env::var_os("HEADCOUNT_TEST_LONG").is_some() { 1_000_000 } else { 100_000 }
}

/// The processor time that a process has used, itself and the kernel for it.
fn used(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    // The 14th and the 15th of all, in hundredths of a second, whatever the kernel's own clock is.
    let ticks = |n: usize| fields[n - 3].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(14) + ticks(15)))
}

/// The most memory that a process ever had, in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// How often the pools have been decided about: each decision is an entry of the ledger, or counted with its equals.
async fn ticks(database: &mut sqlx::PgConnection) -> i64 {
    let count = "SELECT coalesce(sum(count), 0)::bigint FROM headcount.decision WHERE pool = 'p7'";
    sqlx::query_scalar(count).fetch_one(database).await.unwrap()
}

#[tokio::test]
async fn a_hundred_pools_cost_little_time_and_memory() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    let place = Place::on(database);
    place.says("migrate").await;
    let store = open(&place.url.parse::<StoreUrl>().unwrap(), &Options::default()).await.unwrap();
    let queue = |n: usize| format!("q{}", n % POOLS);
    let scheduled: Vec<NewJob> =
        (0..10 * POOLS).map(|n| NewJob::new("later", "{}").queue(queue(n)).delay(LONG)).collect();
    store.enqueue(&scheduled).await.unwrap();
    for from in (0..pending()).step_by(10_000) {
        let jobs: Vec<NewJob> = (from..from + 10_000).map(|n| NewJob::new("burst", "{}").queue(queue(n))).collect();
        store.enqueue(&jobs).await.unwrap();
    }
    let pool =
        |i| format!("[pool.p{i}]\nqueues = [\"q{i}\"]\nmax = 4\ninterval = \"1s\"\ndriver = {{ noop = {{}} }}\n");
    fs::write(place.folder.file("headcount.toml"), (0..POOLS).map(pool).collect::<String>()).unwrap();
    let mut scaler = place.headcount("scale").start();
    let pid = scaler.pid().unwrap();
    let mut until = async |count: i64| {
        eventually("it goes round", LONG, async || match ticks(&mut connection).await {
            enough if enough >= count => Ok(enough),
            few => Err(few),
        })
        .await
    };
    let from = until(TICKS).await;
    let before = used(pid);
    let to = until(from + TICKS).await;
    let own = used(pid).saturating_sub(before) / u32::try_from(to - from).unwrap();
    let memory = memory(pid);
    println!("{} jobs, {POOLS} pools: {own:?} of its own time a tick, {memory} KiB", pending());
    assert!(own <= OWN_TIME, "{own:?} a tick");
    assert!(memory <= MEMORY, "{memory} KiB");
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
}

//! What a configuration may say of drains, of other queues, and of pools that share theirs.

use headcount_tests::Database;

use super::*;

/// A pool whose workers are local processes of this very program.
fn pool(place: &Place, name: &str, max: u32, job: &str, more: &str) -> String {
    let program = headcount_tests::process::headcount().display().to_string();
    format!(
        "[pool.{name}]\nqueues = [\"local\"]\nmax = {max}\npolicy = \"linear\"\ninterval = \"100ms\"\n\
         remove_after = \"300ms\"\nidle_to_zero = \"1s\"\n{more}\ndriver = {{ local = {{ command = [\"{program}\", \"work\", \
         \"--exec\", \"{}\", \"--slots\", \"1\"], grace = \"5s\" }} }}\n",
        place.handler(job)
    )
}

/// Waits until the pool's ledger says this.
async fn says(place: &Place, pool: &str, words: &str) {
    eventually(&format!("the ledger of {pool} says {words:?}"), SOON, async || {
        let told = place.says(&format!("why {pool} -n 200")).await.stdout();
        if told.contains(words) { Ok(()) } else { Err(told) }
    })
    .await;
}

on_each_store!(a_drain_that_outlasts_its_time_is_given_back_and_said);

async fn a_drain_that_outlasts_its_time_is_given_back_and_said(place: Place) {
    place.says("migrate").await;
    let job = "until [ -e go ]; do sleep 0.1; done";
    fs::write(place.folder.file("headcount.toml"), pool(&place, "here", 2, job, "drain_timeout = \"2s\"")).unwrap();
    let mut scaler = place.headcount("scale").start();
    enqueue(&place, 2).await;
    eventually("both run", SOON, async || {
        let states = place.states().await;
        if states == ["running", "running"] { Ok(()) } else { Err(states) }
    })
    .await;
    place.says("pools set here --max 1").await;
    says(&place, "here", "since drain_timeout has passed and they still work").await;
    assert_eq!(place.states().await, ["running", "running"], "nothing was ended");
    fs::write(place.folder.file("go"), "").unwrap();
    until_done(&place).await;
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
}

on_each_store!(a_pool_takes_only_what_another_cannot_meet_within_its_max);

async fn a_pool_takes_only_what_another_cannot_meet_within_its_max(place: Place) {
    place.says("migrate").await;
    let job = "until [ -e go ]; do sleep 0.1; done";
    let both = pool(&place, "here", 2, job, "") + &pool(&place, "over", 3, job, "overflow_of = \"here\"");
    fs::write(place.folder.file("headcount.toml"), both).unwrap();
    let mut scaler = place.headcount("scale").start();
    let workers = async |pool: &str| {
        let rows = place.rows("workers").await;
        rows.iter().filter(|row| row["pool"].as_str() == Some(pool)).count()
    };
    let until = async |here: usize, over: usize| {
        eventually(&format!("{here} work here and {over} for the overflow"), SOON, async || {
            let found = (workers("here").await, workers("over").await);
            if found == (here, over) { Ok(()) } else { Err(found) }
        })
        .await;
    };
    enqueue(&place, 2).await;
    until(2, 0).await;
    says(&place, "over", "nothing is left for the overflow: here can have the 2 that it takes").await;
    enqueue(&place, 2).await;
    until(2, 2).await;
    fs::write(place.folder.file("go"), "").unwrap();
    until_done(&place).await;
    says(&place, "over", "since it takes 4 and here has at most 2").await;
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
}

/// A table as other queues have one, with a worker that is a shell which claims nothing: the test moves its rows.
#[tokio::test]
async fn another_queues_table_is_scaled_by_its_numbers_and_never_shrunk_while_anything_runs() {
    let (place, database) = (Place::postgres().await, Database::fresh().await);
    place.says("migrate").await;
    let sql = async |text: &'static str| {
        sqlx::raw_sql(text).execute(&mut database.connect().await).await.unwrap();
    };
    sql("CREATE TABLE river_job (id bigserial, state text NOT NULL, scheduled_at timestamptz DEFAULT now())").await;
    let query = "SELECT count(*) FILTER (WHERE state = 'available') AS pending, \
                 extract(epoch FROM now() - min(scheduled_at) FILTER (WHERE state = 'available')) AS oldest_s, \
                 count(*) FILTER (WHERE state = 'running') AS running FROM river_job";
    let config = format!(
        "[pool.river]\nqueues = [\"river\"]\nmax = 3\npolicy = \"linear\"\ninterval = \"100ms\"\nidle_to_zero = \"500ms\"\n\
         source = {{ sql = \"{query}\", url_env = \"RIVER_URL\", timeout = \"2s\" }}\n\
         driver = {{ local = {{ command = [\"sh\", \"-c\", \"tail -f /dev/null\"], grace = \"5s\" }} }}\n"
    );
    fs::write(place.folder.file("headcount.toml"), &config).unwrap();
    let without = place.headcount("scale").start().ends(SOON).await;
    assert_eq!(without.code(), Some(78));
    assert!(without.stderr().contains("RIVER_URL is not set"), "{}", without.stderr());

    let mut scaler = place.headcount("scale").env("RIVER_URL", database.url()).start();
    let until = async |words: &'static str| {
        eventually(words, SOON, async || {
            let told = place.says("why river").await.stdout();
            if told.contains(words) { Ok(()) } else { Err(told) }
        })
        .await;
    };
    scaler.line("it is ready", SOON, |line| line.contains("scaler ready")).await;
    eventually("the pool is known", SOON, async || {
        let known = place.rows("pools").await;
        if known.len() == 1 { Ok(()) } else { Err(known) }
    })
    .await;
    sql("INSERT INTO river_job (state) VALUES ('available'), ('available'), ('available')").await;
    until("3 up").await;
    // One is at work: two would do, and which of them nobody can tell.
    sql("DELETE FROM river_job WHERE id > 1").await;
    sql("UPDATE river_job SET state = 'running'").await;
    until("without heartbeats no worker can be drained").await;
    // The query fails: unknown is never zero.
    sql("ALTER TABLE river_job RENAME TO gone").await;
    until("another queue's backlog cannot be read").await;
    let changes = async || place.says("why river --changes -n 1000").await.stdout();
    assert!(!changes().await.contains("remove local-"), "{}", changes().await);
    sql("DELETE FROM gone").await;
    sql("ALTER TABLE gone RENAME TO river_job").await;
    until("0 up, 0 booting").await;
    assert!(changes().await.contains("remove local-"), "{}", changes().await);
    let ledger = place.says("why river -n 1000 --json").await.stdout();
    assert!(!ledger.contains(database.url()), "the URL is a secret");
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
}

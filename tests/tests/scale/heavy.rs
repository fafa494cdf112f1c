//! The whole of it on Heroku: dynos that cycle, crash and are released while jobs run and the pool shrinks.

mod platforms;
mod long_jobs;
mod faults;
mod paused;
mod secrets;
mod hundred_pools;

use headcount_tests::{FakeHeroku, heroku::Fault, process::headcount};

use super::*;

/// Only a failing test waits so long.
const LONG: Duration = Duration::from_mins(8);

#[tokio::test]
async fn on_heroku_no_job_is_killed_by_a_shrink_and_no_secret_is_shown() {
    let place = Place::postgres().await;
    place.says("migrate").await;
    let program = headcount().display().to_string();
    let job =
        place.handler("echo start >>$JOBS/job.$HEADCOUNT_JOB_ID; sleep 2; echo end >>$JOBS/job.$HEADCOUNT_JOB_ID");
    let heroku = FakeHeroku::app("shop")
        .process("worker", [program.as_str(), "work", "--exec", job.as_str(), "--slots", "1", "--grace", "4s"])
        .env("HEADCOUNT_URL", &place.url)
        .env("HEADCOUNT_POOL", "worker")
        .env("JOBS", place.folder.path())
        .grace(Duration::from_secs(5))
        .start()
        .await;
    fs::write(
        place.folder.file("headcount.toml"),
        "[pool.worker]\nqueues = [\"local\"]\nmax = 3\npolicy = \"linear\"\ninterval = \"1s\"\nremove_after = \"1s\"\n\
         idle_to_zero = \"1s\"\ndriver = { heroku = { app = \"shop\", process = \"worker\" } }\n",
    )
    .unwrap();
    let mut scaler =
        place.headcount("scale").env("HEROKU_API_URL", heroku.url()).env("HEROKU_API_KEY", heroku.token()).start();
    enqueue(&place, 8).await;
    eventually("three dynos work", LONG, async || {
        let workers = place.rows("workers").await;
        if workers.len() == 3 { Ok(()) } else { Err(workers) }
    })
    .await;
    heroku.fail(headcount_tests::heroku::Call::Update, Fault::status(500).once_done());
    eventually("the work is done and no dyno is left", LONG, async || {
        let (left, quantity, dynos) = (place.states().await, heroku.quantity("worker"), heroku.dynos());
        if left.is_empty() && quantity == 0 && dynos.is_empty() { Ok(()) } else { Err((left, quantity, dynos)) }
    })
    .await;
    assert_eq!(heroku.killed().len(), 0, "{:?}", heroku.killed());
    assert_eq!(notes(&place), vec!["start\nend\n"; 8], "each ran once, to its end");
    assert!(scaler.signal(Signal::TERM));
    let ended = scaler.ends_well(SOON).await;
    let ledger = place.says("why worker -n 1000 --json").await.stdout();
    for text in [ended.stdout(), ended.stderr(), ledger] {
        assert!(!text.contains(heroku.token()), "the key is shown: {text}");
    }
}

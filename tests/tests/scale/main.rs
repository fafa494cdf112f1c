//! `headcount scale` as a whole process, with the workers that it hires.

mod heavy;
mod notices;
mod pools;
mod obeyed;
mod watching;
mod statements;

use std::{fs, time::Duration};

use headcount_tests::{Place, eventually, on_each_store, process::Signal};
use serde_json::Value;

/// Within which time something small has happened. Only a failing test waits so long.
const SOON: Duration = Duration::from_mins(1);
/// Notes its start and its end in a file of the job's own.
const JOB: &str = "echo start >>job.$HEADCOUNT_JOB_ID; sleep 0.3; echo end >>job.$HEADCOUNT_JOB_ID";

/// A pool `here` for the queue `local`, whose workers are processes of this machine.
fn local(place: &Place, job: &str) -> String {
    let program = headcount_tests::process::headcount().display().to_string();
    format!(
        "[pool.here]\nqueues = [\"local\"]\nmax = 3\npolicy = \"linear\"\ninterval = \"100ms\"\nremove_after = \"300ms\"\n\
         idle_to_zero = \"1s\"\n\
         driver = {{ local = {{ command = [\"{program}\", \"work\", \"--exec\", \"{}\", \"--slots\", \"1\"], \
         grace = \"5s\" }} }}\n",
        place.handler(job)
    )
}

/// What the store shows of the pool `here`.
async fn pool(place: &Place) -> Value {
    place.row("pools").await
}

async fn until_done(place: &Place) {
    eventually("the work is done and the pool is empty", SOON, async || {
        let (left, workers) = (place.states().await, place.rows("workers").await.len());
        if left.is_empty() && workers == 0 { Ok(()) } else { Err((left, workers)) }
    })
    .await;
}

/// What each job has noted.
fn notes(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let jobs = entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("job.")));
    jobs.map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// Puts so many jobs into the queue.
async fn enqueue(place: &Place, jobs: usize) {
    let lines = "{}\n".repeat(jobs);
    place.headcount("enqueue burst --queue local --lines").stdin(lines).start().ends_well(SOON).await;
}

on_each_store!(a_scaler_hires_for_a_burst_lets_go_when_it_is_done_and_says_why);

async fn a_scaler_hires_for_a_burst_lets_go_when_it_is_done_and_says_why(place: Place) {
    place.says("migrate").await;
    fs::write(place.folder.file("headcount.toml"), local(&place, JOB)).unwrap();
    let mut scaler = place.headcount("scale").start();
    enqueue(&place, 9).await;
    until_done(&place).await;
    assert_eq!(notes(&place), vec!["start\nend\n"; 9]);
    let shown = pool(&place).await;
    assert_eq!((shown["name"].as_str(), shown["ready"].as_i64()), (Some("here"), Some(0)));

    let told = place.says("why here --changes -n 100").await.stdout();
    assert!(told.contains("grow from 0 to"), "{told}");
    assert!(told.contains("remove local-") || told.contains("drained local-"), "{told}");
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
}

on_each_store!(an_operator_pauses_a_pool_and_lets_it_go_on);

async fn an_operator_pauses_a_pool_and_lets_it_go_on(place: Place) {
    place.says("migrate").await;
    fs::write(place.folder.file("headcount.toml"), local(&place, JOB)).unwrap();
    let mut scaler = place.headcount("scale").start();
    eventually("the pool is known", SOON, async || {
        let known = place.rows("pools").await;
        if known.len() == 1 { Ok(()) } else { Err(known) }
    })
    .await;
    place.says("pools pause here").await;
    enqueue(&place, 2).await;
    eventually("it says that it is paused", SOON, async || {
        let told = place.says("why here").await.stdout();
        if told.contains("paused") { Ok(()) } else { Err(told) }
    })
    .await;
    assert_eq!(place.rows("workers").await.len(), 0, "nobody is hired meanwhile");
    place.says("pools resume here").await;
    until_done(&place).await;
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
}

on_each_store!(of_two_scalers_one_acts_and_the_other_takes_over);

async fn of_two_scalers_one_acts_and_the_other_takes_over(place: Place) {
    place.says("migrate").await;
    fs::write(place.folder.file("headcount.toml"), local(&place, JOB)).unwrap();
    let first = place.headcount("scale").start();
    enqueue(&place, 2).await;
    until_done(&place).await;
    let mut second = place.headcount("scale").start();
    second.line("it is ready", SOON, |line| line.contains("scaler ready")).await;
    first.kill_tree();
    // Taken over within 30 s of a kill; three times that is allowed here.
    enqueue(&place, 2).await;
    eventually("the second hires", SOON * 2, async || {
        let left = place.states().await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(notes(&place), vec!["start\nend\n"; 4]);
    assert!(second.signal(Signal::TERM));
    second.ends_well(SOON).await;
}

#[tokio::test]
async fn a_configuration_is_checked_whole_and_a_bad_change_leaves_the_old_one_in_force() {
    let place = Place::sqlite();
    let file = place.folder.file("headcount.toml");
    let ended = place.headcount("scale").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(78));
    assert!(ended.stderr().contains("[pool.here]"), "an example is shown: {}", ended.stderr());

    fs::write(&file, "[pool.here]\nqueues = [\"local\"]\nmx = 4\ndriver = { locl = {} }\n").unwrap();
    let ended = place.headcount("scale --check").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(78));
    for word in ["line 3", "did you mean `max`", "line 4", "locl"] {
        assert!(ended.stderr().contains(word), "{word}: {}", ended.stderr());
    }

    fs::write(&file, local(&place, JOB)).unwrap();
    let table = place.says("scale --check").await.stdout();
    assert!(table.contains("remove_after") && table.contains("default"), "{table}");

    let mut scaler = place.headcount("scale").start();
    scaler.line("it is ready", SOON, |line| line.contains("scaler ready")).await;
    fs::write(&file, "[pool.here]\n").unwrap();
    scaler.line("the mistake is told", SOON, |line| line.contains("the configuration before stays in force")).await;
    enqueue(&place, 2).await;
    until_done(&place).await;
    fs::write(&file, local(&place, JOB).replace("max = 3", "max = 2")).unwrap();
    scaler.line("the change is told", SOON, |line| line.contains("has changed and is in force")).await;
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
}

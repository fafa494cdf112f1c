//! The example of a scaler within a web process, as a process.

use std::{path::PathBuf, time::Duration};

use headcount_tests::{Folder, Signal, eventually, headcount, web};
use serde_json::Value;

/// Within which time something small has happened. Only a failing test waits so long.
const SOON: Duration = Duration::from_mins(1);

/// Cargo builds a package's examples with its tests.
fn example() -> PathBuf {
    // This test is target/PROFILE/deps/NAME.
    let test = std::env::current_exe().expect("a test knows its own path");
    let example = test.ancestors().nth(2).expect("tests lie two folders deep").join("examples/web");
    assert!(example.exists(), "{} is not there: `cargo build --examples` makes it", example.display());
    example
}

#[tokio::test]
async fn a_web_process_takes_jobs_in_hires_for_them_and_stops_with_its_workers() {
    let folder = Folder::new();
    let url = folder.sqlite("jobs.db");
    let worker = headcount().to_str().unwrap();
    let words = ["127.0.0.1:0", &url, worker, "work", "--exec", "sh -c 'echo $(cat) >>done'"];
    let mut process = folder.program(example(), words).start();
    let line = process.line("it listens", SOON, |line| line.starts_with("listening on ")).await;
    let address = line.rsplit_once("//").unwrap().1;

    for number in 1..=3 {
        let (status, id) = web::post(address, "/jobs/note", &format!("{number}")).await;
        assert_eq!(status, 202, "{id}");
        id.trim().parse::<i64>().unwrap();
    }
    let (status, why) = web::post(address, "/jobs/no%20kind", "4").await;
    assert_eq!(status, 400, "{why}");
    let mut done = eventually("its workers have done the jobs", SOON, async || {
        let done = std::fs::read_to_string(folder.file("done")).unwrap_or_default();
        if done.lines().count() == 3 { Ok(done) } else { Err(done) }
    })
    .await
    .lines()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    done.sort();
    assert_eq!(done, ["1", "2", "3"]);

    let (status, pools) = web::get(address, "/pools").await;
    let pools: Value = serde_json::from_str(&pools).unwrap();
    assert_eq!((status, &pools[0]["pool"]), (200, &Value::from("web")), "{pools}");
    assert!(pools[0]["latest"]["said"].as_str().unwrap().starts_with("pool web: "), "{pools}");
    let (status, why) = web::get(address, "/ready").await;
    assert_eq!(status, 200, "{why}");

    assert!(process.signal(Signal::TERM));
    let ended = process.ends_well(SOON).await;
    assert!(ended.stdout().contains("stopped"), "{ended}");
    assert!(process.tree().is_empty(), "{:?}", process.tree());
}

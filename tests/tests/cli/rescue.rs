//! `headcount rescue`.

use std::time::{Duration, Instant};

use headcount_tests::eventually;

use crate::{Place, SOON, on_each_store};

on_each_store!(the_jobs_of_a_killed_worker_are_queued_again_after_a_whole_window);

async fn the_jobs_of_a_killed_worker_are_queued_again_after_a_whole_window(place: Place) {
    let handler = place.handler("echo started >started; exec tail -f /dev/null");
    let id = place.enqueue("endless").await;
    let worker = place.headcount(&format!("work --poll 50ms --exec {handler}")).start();
    place.written("started", SOON).await;
    // Its first beat tells the store that the job has started, and a death counts only then.
    let beat = place.row("workers").await["beat_at"].clone();
    eventually("the worker has beaten with the job in hand", SOON, async || {
        let now = place.row("workers").await["beat_at"].clone();
        if now == beat { Err(now) } else { Ok(()) }
    })
    .await;
    worker.kill_tree();

    // It has beaten a moment ago: nobody is dead yet.
    let early = place.says("rescue --now --json").await;
    assert_eq!(early.stdout(), "", "{early}");
    assert_eq!(place.states().await, ["running"]);

    let begun = Instant::now();
    let rescued = place.headcount("rescue --json").start().ends_well(Duration::from_mins(1)).await;
    assert!(begun.elapsed() >= Duration::from_secs(15), "it judged after {:?}", begun.elapsed());
    let rows = rescued.json::<serde_json::Value>();
    assert_eq!((rows.len(), &rows[0]["rescue"]), (1, &"requeued".into()), "{rescued}");
    assert_eq!(rows[0]["id"].to_string(), id);
    let job = place.row(&format!("jobs show {id}")).await;
    assert_eq!((&job["state"], &job["attempt"], &job["deaths"]), (&"queued".into(), &0.into(), &1.into()), "{job}");
    let nothing = place.says("rescue --now").await;
    assert!(nothing.stderr().contains("no job lies with a dead worker"), "{nothing}");
}

//! Jobs that outlast the platform's grace, a load that rises and falls, and a platform that misbehaves in the very moment
//! in which the pool shrinks: no job is killed by that, and none is run twice for the scaler's sake.

use super::{platforms::Ground, *};

/// One course of it.
struct Course {
    /// How many workers there may be.
    max: u32,
    /// The jobs of each rise of the load: their lengths in seconds.
    waves: &'static [&'static [f32]],
}

/// Some are shorter than the grace of 5 s, some longer.
const SHORT: Course = Course { max: 3, waves: &[&[0.2, 7.0, 0.5, 1.0, 0.2, 1.0], &[6.5, 0.3, 1.0, 0.2, 0.8]] };
/// From 1 s to 120 s.
const LONG_ONE: Course = Course {
    max: 4,
    waves: &[
        &[1.0, 45.0, 2.0, 7.0, 1.0, 12.0, 3.0, 9.0],
        &[120.0, 1.0, 5.0, 20.0, 2.0, 8.0, 1.0],
        &[30.0, 2.0, 6.0, 1.0, 11.0, 3.0],
        &[15.0, 1.0, 25.0, 4.0, 2.0],
    ],
};

/// The long one with `tests/run --long`.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting; no part of the product reads it")]
fn course() -> &'static Course {
    if std::env::var_os("HEADCOUNT_TEST_LONG").is_some() { &LONG_ONE } else { &SHORT }
}

async fn run(mut ground: Ground, course: &Course) {
    ground.place.says("migrate").await;
    let mut scaler = ground.scaler(course.max);
    let (mut jobs, mut told, mut shrunk) = (0, Vec::new(), 0);
    for wave in course.waves {
        let lines = wave.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        ground.place.headcount("enqueue long --queue local --lines").stdin(lines).start().ends_well(SOON).await;
        jobs += wave.len();
        let full = course.max as usize;
        eventually("the pool follows the load up", LONG, async || {
            let size = ground.size().await;
            if size >= full { Ok(()) } else { Err(size) }
        })
        .await;
        let shrinking = eventually("the pool follows the load down", LONG, async || {
            let workers = ground.place.rows("workers").await;
            let draining = workers.iter().filter(|worker| worker["state"] != "active").count();
            if draining > 0 || workers.len() < full { Ok(draining) } else { Err(workers) }
        })
        .await;
        told.push(format!("{shrinking} draining: {}", ground.misbehave().await));
        shrunk += 1;
        // The next rise meets what is left of this one, and the platform once more.
        eventually("the load has fallen", LONG, async || {
            let left = ground.place.states().await;
            if left.len() <= 1 { Ok(()) } else { Err((left, ground.place.rows("workers").await)) }
        })
        .await;
        told.push(ground.misbehave().await);
    }
    eventually("the work is done and the pool is empty", LONG, async || {
        let (left, size, workers) =
            (ground.place.states().await, ground.size().await, ground.place.rows("workers").await);
        if left.is_empty() && size == 0 && workers.is_empty() { Ok(()) } else { Err((left, size, workers)) }
    })
    .await;
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
    judge(&ground, jobs, shrunk, &told);
}

/// Every start but a job's last must have been ended by the platform of its own accord.
fn judge(ground: &Ground, jobs: usize, shrunk: usize, told: &[String]) {
    let notes = notes(&ground.place);
    let mut broken = std::collections::BTreeMap::<&str, usize>::new();
    let mut starts = 0;
    for job in &notes {
        let lines: Vec<&str> = job.lines().collect();
        let places: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("start ")).collect();
        assert_eq!(lines.last(), Some(&"end"), "{job:?} was not ended: {told:#?}");
        starts += places.len();
        for place in &places[..places.len() - 1] {
            *broken.entry(place).or_default() += 1;
        }
    }
    println!(
        "{jobs} jobs, {starts} starts, {} ended by the platform of its own accord, in {shrunk} falls of the load: {told:#?}",
        starts - jobs
    );
    assert_eq!(notes.len(), jobs);
    for (place, count) in broken {
        assert!(count <= ground.hits(place), "{count} jobs of {place} were killed: {told:#?} {notes:#?}");
    }
    assert_eq!(ground.killed(), [""; 0], "{told:#?}");
}

#[tokio::test]
async fn no_job_is_killed_by_a_shrink_on_this_machine() {
    run(Ground::local().await, course()).await;
}

#[tokio::test]
async fn no_job_is_killed_by_a_shrink_on_heroku() {
    run(Ground::heroku().await, course()).await;
}

#[tokio::test]
async fn no_job_is_killed_by_a_shrink_on_aws() {
    run(Ground::aws().await, course()).await;
}

#[tokio::test]
async fn no_job_is_killed_by_a_shrink_on_a_platform_of_the_users_own() {
    run(Ground::command().await, course()).await;
}

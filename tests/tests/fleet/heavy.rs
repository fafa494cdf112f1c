//! Each of these holds its machine for a while.

use std::{
    fs,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use headcount::{Context, Job, JobError, NewJob, Outcome, Queue, Worker};
use headcount_queue::rescue::{Rescuer, Vigil};
use headcount_tests::{Folder, Place, Process, Server, Signal, eventually, on_each_store};
use serde::{Deserialize, Serialize};

/// Jobs of a worker that was killed run again within 30 s; three times the promise.
const RESCUED: Duration = Duration::from_secs(90);

on_each_store!(
    jobs_of_a_killed_worker_run_again_and_each_completes_once,
    every_runtime_thread_may_block_for_a_minute_and_nobody_is_rescued,
);

/// Notes each start and end of a job in a file of the job's number, and ends when the gate is open.
const GATED: &str = "echo start >>job.$HEADCOUNT_JOB_ID; while [ ! -e gate ]; do sleep 0.1; done; \
                     echo end >>job.$HEADCOUNT_JOB_ID";

/// The lines of each job's file, sorted by number.
fn marks(folder: &Folder) -> Vec<(String, String)> {
    let mut marks: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().strip_prefix("job.")?.to_owned();
            Some((name, fs::read_to_string(&path).unwrap()))
        })
        .collect();
    marks.sort();
    marks
}

async fn starts(folder: &Folder, count: usize, within: Duration) {
    eventually(&format!("{count} starts"), within, async || {
        let marks = marks(folder);
        let starts: usize = marks.iter().map(|(_, text)| text.matches("start").count()).sum();
        if starts >= count { Ok(()) } else { Err(marks) }
    })
    .await;
}

async fn jobs_of_a_killed_worker_run_again_and_each_completes_once(place: Place) {
    let handler = place.handler(GATED);
    let lines = "{}\n".repeat(4);
    place.headcount("enqueue gated --lines").stdin(lines).start().ends_well(RESCUED).await;
    let work = format!("work --exec {handler} --slots 4");
    let victim = place.headcount(&work).start();
    starts(&place.folder, 4, RESCUED).await;
    let killed = Instant::now();
    // Only itself, as the kernel does when memory runs out.
    assert!(victim.signal(Signal::KILL));
    eventually("its programs end with it", RESCUED, async || {
        let left = victim.tree();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    println!("its programs ended {:?} after the kill", killed.elapsed());
    let mut heir = place.headcount(&work).start();
    starts(&place.folder, 8, RESCUED).await;
    println!("started again {:?} after the kill", killed.elapsed());
    fs::write(place.folder.file("gate"), "").unwrap();
    eventually("all jobs are done", RESCUED, async || {
        let states = place.states().await;
        if states.is_empty() { Ok(()) } else { Err(states) }
    })
    .await;
    for (job, text) in marks(&place.folder) {
        assert_eq!(text, "start\nstart\nend\n", "job {job}");
    }
    assert!(heir.signal(Signal::TERM));
    heir.ends_well(Duration::from_secs(3)).await;
}

/// Blocks its thread, as badly written handlers do, until told to go on.
#[derive(Debug, Serialize, Deserialize)]
struct Blocking;

#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    runs: AtomicUsize,
}

impl Job for Blocking {
    const KIND: &'static str = "blocking";
    type State = Arc<Gate>;

    async fn run(self, cx: &Context<Arc<Gate>>) -> Result<Outcome, JobError> {
        let gate = cx.state();
        gate.runs.fetch_add(1, Ordering::SeqCst);
        let open = gate.open.lock().unwrap();
        drop(gate.opened.wait_while(open, |open| !*open).unwrap());
        Ok(Outcome::DONE)
    }
}

async fn every_runtime_thread_may_block_for_a_minute_and_nobody_is_rescued(place: Place) {
    let gate = Arc::new(Gate::default());
    let (url, state) = (place.url.clone(), Arc::clone(&gate));
    // A runtime of two threads of its own, with twice as many handlers that block.
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let queue = Queue::connect(&url).await.unwrap();
            queue.enqueue_all((0..4).map(|_| Blocking)).await.unwrap();
            let worker = Worker::builder(queue).state(state).handle::<Blocking>().slots(4).exit_after(4);
            worker.run().await.unwrap()
        })
    });
    eventually("two handlers block the two threads", RESCUED, async || {
        let runs = gate.runs.load(Ordering::SeqCst);
        if runs >= 2 { Ok(()) } else { Err(runs) }
    })
    .await;

    let queue = Queue::connect(&place.url).await.unwrap();
    let store = queue.store();
    let mut rescuer = Rescuer::new(Vigil::default());
    let begun = Instant::now();
    eventually("a minute has passed", RESCUED, async || {
        let taken = rescuer.scan(&**store).await.unwrap();
        assert_eq!(taken, [], "after {:?}", begun.elapsed());
        if begun.elapsed() > Duration::from_mins(1) { Ok(()) } else { Err(begun.elapsed()) }
    })
    .await;
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    worker.join().unwrap();
    assert_eq!(gate.runs.load(Ordering::SeqCst), 4, "no job ran twice");
    assert_eq!(place.states().await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_gone_for_90_seconds_costs_no_job_its_attempt() {
    let server = Server::private().await;
    let database = server.database().await;
    let mut place = Place::sqlite();
    database.url().clone_into(&mut place.url);
    let handler = place.handler(GATED);
    let long = place.headcount("enqueue gated --lines").stdin("{}\n".repeat(4)).start().ends_well(RESCUED).await;
    assert_eq!(long.stdout().lines().count(), 4);
    let work = format!("work --exec {handler} --slots 2");
    let mut workers: Vec<Process> = (0..2).map(|_| place.headcount(&work).start()).collect();
    starts(&place.folder, 4, RESCUED).await;
    // Under load: more jobs wait than can run.
    let queue = Queue::connect(&place.url).await.unwrap();
    let waiting = (0..200).map(|_| NewJob::new("gated", "{}"));
    queue.enqueue_all(waiting).await.unwrap();

    server.stop_immediately().await;
    let gone = Instant::now();
    eventually("90 s have passed", Duration::from_mins(2), async || {
        for worker in &workers {
            assert!(!worker.tree().is_empty(), "a worker gave up after {:?}", gone.elapsed());
        }
        if gone.elapsed() > Duration::from_secs(90) { Ok(()) } else { Err(gone.elapsed()) }
    })
    .await;
    server.start().await;
    // Two windows in which a rescuer could judge wrongly, while the long jobs go on.
    let back = Instant::now();
    eventually("two windows have passed", Duration::from_mins(1), async || {
        let marks = marks(&place.folder);
        assert!(marks.iter().all(|(_, text)| text == "start\n"), "{marks:?}");
        if back.elapsed() > Duration::from_secs(30) { Ok(()) } else { Err(back.elapsed()) }
    })
    .await;
    fs::write(place.folder.file("gate"), "").unwrap();
    eventually("all jobs are done", Duration::from_mins(2), async || {
        match queue.store().outstanding(&"".parse().unwrap()).await {
            Ok(left) if left.is_empty() => Ok(()),
            left => Err(left.map_err(|error| error.to_string())),
        }
    })
    .await;
    let marks = marks(&place.folder);
    assert_eq!(marks.len(), 204);
    for (job, text) in marks {
        assert_eq!(text, "start\nend\n", "job {job}");
    }
    for worker in &mut workers {
        assert!(worker.signal(Signal::TERM));
        worker.ends_well(Duration::from_secs(3)).await;
    }
}

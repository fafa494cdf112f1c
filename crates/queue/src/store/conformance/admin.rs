//! What is shown and done by hand: filters, workers, exact looks.

use std::time::Duration;

use super::trial::{HOUR, Hand, Trial, completed, done, failed, new_worker, park, plain, tick};
use crate::{
    Binding, JobId, NewJob, OldestJob, State,
    store::{BootId, Cancel, Filter, Gate, NewWorker, Outstanding, Want, WorkerState},
};

async fn listed(trial: &Trial<'_>, filter: Filter) -> Vec<JobId> {
    trial.jobs(&filter).await.into_iter().map(|job| job.id).collect()
}

/// Each alone and all together.
pub async fn a_filter_narrows_by_each_of_its_fields(trial: &Trial<'_>) {
    let job = |queue: &str, kind: &str| NewJob::new(kind, "{}").queue(queue);
    let mut ids = Vec::new();
    for (queue, kind) in [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("a", "x"), ("a", "x")] {
        ids.push(trial.enqueue(job(queue, kind)).await);
    }
    ids.push(trial.enqueue(job("a", "x").delay(HOUR)).await);
    // ids: 0 cancelled, 1 running, 2 and 3 queued, 4 failed, 5 queued, 6 scheduled.
    assert_eq!(trial.store.cancel(ids[0]).await.unwrap(), Cancel::Done);
    let mut worker = trial.worker("a").await;
    let claimed = worker.take(2).await;
    worker.settle(&claimed[1], failed()).await;

    let all = Filter::default();
    let queue = |name: &str| Filter { queue: Some(name.into()), ..all.clone() };
    let states = |states: &[State]| Filter { states: states.to_vec(), ..all.clone() };
    let pick = |picked: &[usize]| picked.iter().map(|&n| ids[n]).collect::<Vec<_>>();
    for (filter, expected) in [
        (all.clone(), vec![0, 1, 2, 3, 4, 5, 6]),
        (queue("a"), vec![0, 1, 4, 5, 6]),
        (queue("never-used"), vec![]),
        (Filter { kind: Some("y".into()), ..all.clone() }, vec![1, 3]),
        (states(&[State::Queued]), vec![2, 3, 5]),
        (states(&[State::Running]), vec![1]),
        (states(&[State::Scheduled]), vec![6]),
        (states(&[State::Failed, State::Cancelled]), vec![0, 4]),
        (states(&[State::Completed]), vec![]),
        (states(&State::ALL), vec![0, 1, 2, 3, 4, 5, 6]),
        (Filter { after: Some(ids[3]), ..all.clone() }, vec![4, 5, 6]),
        (Filter { after: Some(ids[6]), ..all.clone() }, vec![]),
        (Filter { kind: Some("x".into()), after: Some(ids[0]), ..queue("a") }, vec![4, 5, 6]),
        (Filter { kind: Some("x".into()), states: vec![State::Queued], ..queue("a") }, vec![5]),
    ] {
        assert_eq!(listed(trial, filter.clone()).await, pick(&expected), "{filter:?}");
    }
    // What is listed is what is shown.
    for job in trial.jobs(&Filter::default()).await {
        assert_eq!(trial.job(job.id).await, job);
    }
}

/// By the last id of the page before.
pub async fn pages_follow_one_another_without_gap_or_repetition(trial: &Trial<'_>) {
    let mut ids = Vec::new();
    for n in 0..23 {
        // In every state and priority, since a page follows the ids and nothing else.
        let job = plain("q").priority(n % 5 - 2);
        ids.push(trial.enqueue(if n % 3 == 0 { job.delay(HOUR) } else { job }).await);
    }
    let mut worker = trial.worker("q").await;
    for job in worker.take(4).await {
        worker.settle(&job, failed()).await;
    }
    worker.take(3).await;
    let mut seen: Vec<JobId> = Vec::new();
    let mut pages = Vec::new();
    loop {
        let filter = Filter { after: seen.last().copied(), ..Filter::default() };
        let page = trial.store.jobs(&filter, 5).await.unwrap();
        pages.push(page.len());
        seen.extend(page.iter().map(|job| job.id));
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids);
    assert_eq!(pages, [5, 5, 5, 5, 3, 0]);
    assert_eq!(trial.store.jobs(&Filter::default(), 0).await.unwrap(), []);
}

/// Ready, due, scheduled, held, running and parked are six facts, told for the binding asked.
pub async fn outstanding_tells_apart_what_is_left(trial: &Trial<'_>) {
    let look = async |binding: &str| {
        let binding: Binding = binding.parse().unwrap();
        trial.store.outstanding(&binding).await.unwrap()
    };
    let nothing = Outstanding::default();
    assert_eq!(look("").await, nothing);
    assert_eq!(look("never-used").await, nothing);

    trial.fill("ready", 2).await;
    let due = trial.enqueue(plain("due").delay(Duration::from_millis(1))).await;
    let due_at = trial.job(due).await.run_at;
    trial.until_past(due_at).await;
    trial.enqueue(plain("scheduled").delay(HOUR)).await;
    trial.suspect(plain("held")).await;
    trial.fill("running", 1).await;
    let mut worker = trial.worker("running").await;
    let running = worker.take_one().await;
    trial.fill("finished", 1).await;
    let mut other = trial.worker("finished").await;
    let job = other.take_one().await;
    other.settle(&job, failed()).await;
    trial.enqueue(plain("run:private")).await;

    trial.fill("parked", 1).await;
    let mut parks = trial.worker("parked").await;
    let (parked, secret) = parks.park_one(park()).await;

    let ready = Outstanding { ready: true, ..nothing };
    let due = Outstanding { due: true, ..nothing };
    let scheduled = Outstanding { scheduled: true, ..nothing };
    let held = Outstanding { held: true, ..nothing };
    let runs = Outstanding { running: true, ..nothing };
    let waits = Outstanding { parked: true, ..nothing };
    for (binding, expected) in [
        ("ready", ready),
        ("due", due),
        ("scheduled", scheduled),
        ("held", held),
        ("running", runs),
        ("parked", waits),
        ("finished", nothing),
        ("never-used", nothing),
        ("run:private", ready),
        ("ready,scheduled", Outstanding { ready: true, ..scheduled }),
        ("due,scheduled", Outstanding { due: true, ..scheduled }),
        ("held,running,finished", Outstanding { held: true, ..runs }),
        ("parked,scheduled", Outstanding { parked: true, ..scheduled }),
        ("", Outstanding { ready: true, due: true, scheduled: true, held: true, running: true, parked: true }),
    ] {
        assert_eq!(look(binding).await, expected, "{binding:?}");
    }
    // Whoever is bound to any queue has no private ones.
    let mut ready_worker = trial.worker("ready").await;
    for job in ready_worker.take(5).await {
        ready_worker.settle(&job, completed()).await;
    }
    assert!(!look("").await.ready, "only a private queue has a claimable job");
    worker.settle(&running, completed()).await;
    assert!(!look("").await.running);
    trial.store.resolve(parked.id, &secret, &done("by them")).await.unwrap();
    assert_eq!(look("parked").await, nothing);
    // A paused queue's jobs are still there, and so are those that a drained worker runs.
    trial
        .store
        .set(&crate::store::Target::Queue("run:private".into()), crate::store::Setting::Paused(true))
        .await
        .unwrap();
    assert_eq!(look("run:private").await, ready);
}

/// From now; zero if overdue; none if nothing is scheduled.
pub async fn the_next_due_job_is_told_for_the_binding_asked(trial: &Trial<'_>) {
    let next = async |binding: &str| {
        let binding: Binding = binding.parse().unwrap();
        trial.store.next_due(&binding).await.unwrap()
    };
    assert_eq!(next("").await, None);
    trial.fill("a", 1).await;
    assert_eq!(next("a").await, None, "what is claimable is not scheduled");
    trial.enqueue(plain("a").delay(2 * HOUR)).await;
    trial.enqueue(plain("a").delay(HOUR)).await;
    trial.enqueue(plain("b").delay(3 * HOUR)).await;
    trial.enqueue(plain("run:private").delay(Duration::from_mins(10))).await;
    for (binding, due) in [("a", HOUR), ("b", 3 * HOUR), ("a,b", HOUR), ("", HOUR), ("run:private", HOUR / 6)] {
        let next = next(binding).await.expect("a job is scheduled");
        assert!(next <= due && next + Duration::from_mins(5) > due, "{binding:?}: {next:?} instead of {due:?}");
    }
    let soon = trial.enqueue(plain("b").delay(Duration::from_millis(1))).await;
    let due_at = trial.job(soon).await.run_at;
    trial.until_past(due_at).await;
    assert_eq!(next("b").await, Some(Duration::ZERO));
}

/// Everything that it said of itself, and when.
pub async fn a_worker_is_shown_as_it_registered(trial: &Trial<'_>) {
    let before = trial.now().await;
    let full = new_worker("mail,media");
    let bare = NewWorker {
        boot: BootId::random(),
        instance: None,
        host: "größe".into(),
        pid: u32::MAX >> 1,
        pool: None,
        queues: Binding::Any,
        kinds: vec![],
        slots: 1,
    };
    assert_eq!(trial.store.register(&full).await.unwrap(), WorkerState::Active);
    tick(&*trial.store).await;
    assert_eq!(trial.store.register(&bare).await.unwrap(), WorkerState::Active);
    let after = trial.now().await;
    let shown = trial.store.workers().await.unwrap();
    assert_eq!(shown.len(), 2);
    for (shown, worker) in shown.into_iter().zip([full, bare]) {
        assert_eq!((shown.boot, shown.state), (worker.boot, WorkerState::Active), "in the order of their start");
        assert_eq!((shown.instance, shown.host, shown.pid), (worker.instance, worker.host, worker.pid));
        assert_eq!((shown.pool, shown.queues, shown.kinds), (worker.pool, worker.queues, worker.kinds));
        assert_eq!((shown.slots, shown.busy, shown.running), (worker.slots, 0, 0));
        assert_eq!((shown.drained_by, shown.drain_until), (None, None));
        assert!(shown.started_at >= before && shown.beat_at >= shown.started_at);
        assert!(shown.read_at >= after);
    }
}

/// By when it was claimed: not by its number, nor by how long it had waited.
pub async fn the_job_that_a_worker_has_held_for_longest_is_shown(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let mut other = trial.worker("other").await;
    let boot = worker.boot;
    let oldest = async || {
        let workers = trial.store.workers().await.unwrap();
        workers.iter().find(|shown| shown.boot == boot).expect("it is shown").oldest
    };
    let begun = async |job: JobId| {
        let started_at = trial.job(job).await.started_at.expect("it has started");
        Some(OldestJob { job, started_at })
    };
    trial.enqueue(plain("other")).await;
    other.take_one().await;
    assert_eq!(oldest().await, None, "it holds nothing");
    let waited = trial.enqueue(plain("q")).await;
    trial.enqueue(plain("q").priority(1)).await;
    let urgent = worker.take_one().await;
    for _ in 0..2 {
        tick(&*trial.store).await;
        trial.enqueue(plain("q")).await;
        worker.take_one().await;
        assert_eq!(oldest().await, begun(urgent.id).await);
    }
    worker.settle(&urgent, completed()).await;
    assert_eq!(oldest().await, begun(waited).await);
}

/// A registration whose reply was lost is sent again: nothing that the worker has is taken from it, and no drain ends.
pub async fn a_worker_that_registers_twice_is_one(trial: &Trial<'_>) {
    trial.fill("q", 1).await;
    let worker = new_worker("q");
    assert_eq!(trial.store.register(&worker).await.unwrap(), WorkerState::Active);
    assert_eq!(trial.store.register(&worker).await.unwrap(), WorkerState::Active);
    assert_eq!(trial.store.workers().await.unwrap().len(), 1);
    let mut claimer = trial.store.claimer(worker.boot, &worker.queues, None);
    let want = Want { claim: 1, jobs: 1, sweep: true, ..Want::default() };
    let job = claimer.next(&[], want).await.unwrap().jobs.remove(0);
    trial.store.drain(&[worker.boot], "the suite", None).await.unwrap();
    assert_eq!(trial.store.register(&worker).await.unwrap(), WorkerState::Draining);
    let shown = trial.store.workers().await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].state, shown[0].running), (WorkerState::Draining, 1));
    trial.assert_state(job.id, State::Running).await;
}

/// What it held is being taken from it under that name; it comes back under another.
pub async fn a_dead_worker_cannot_register_itself_alive(trial: &Trial<'_>) {
    trial.fill("q", 2).await;
    let worker = new_worker("q");
    assert_eq!(trial.store.register(&worker).await.unwrap(), WorkerState::Active);
    let mut claimer = trial.store.claimer(worker.boot, &worker.queues, None);
    let want = |claim| Want { claim, jobs: 1, ..Want::default() };
    assert_eq!(claimer.next(&[], want(1)).await.unwrap().jobs.len(), 1);
    assert_eq!(trial.store.bury(&[worker.boot]).await.unwrap(), [worker.boot]);
    assert_eq!(trial.store.register(&worker).await.unwrap(), WorkerState::Dead);
    let claimed = claimer.next(&[], want(2)).await.unwrap();
    assert_eq!((claimed.gate, claimed.jobs), (Gate::Gone, vec![]));
    assert_eq!(trial.store.rescue_dead(true).await.unwrap().len(), 1);
}

/// Else nobody would know whose its jobs are.
pub async fn a_worker_that_holds_jobs_is_not_deregistered(trial: &Trial<'_>) {
    trial.fill("q", 1).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    assert!(!trial.store.deregister(worker.boot).await.unwrap());
    assert_eq!(trial.store.workers().await.unwrap().len(), 1);
    trial.assert_state(job.id, State::Running).await;
    worker.settle(&job, completed()).await;
    assert!(trial.store.deregister(worker.boot).await.unwrap());
    assert_eq!(trial.store.workers().await.unwrap(), []);
    // Sent again after a lost reply, or for one that never was: it is off the books, whatever is answered.
    for boot in [worker.boot, BootId::random()] {
        trial.store.deregister(boot).await.expect("that it is not there is no error");
    }
}

/// What one does the other sees at once.
pub async fn two_handles_see_one_store(trial: &Trial<'_>) {
    let other = trial.another_handle().await;
    other.check_version().await.expect("the store is migrated for every handle");
    let id = trial.enqueue(plain("q")).await;
    assert_eq!(other.job(id).await.unwrap(), Some(trial.job(id).await));
    let mut there = Hand::register(other.clone(), "q").await;
    let job = there.take_one().await;
    assert_eq!(job.id, id);
    trial.assert_state(id, State::Running).await;
    assert_eq!(trial.store.workers().await.unwrap()[0].boot, there.boot);

    // A worker may settle through another connection than it claimed by.
    there.moved_to(trial.store.clone()).settle(&job, failed()).await;
    assert_eq!(other.job(id).await.unwrap().map(|job| job.state), Some(State::Failed));
    other.retry(id).await.unwrap();
    trial.assert_state(id, State::Queued).await;
    while other.fold().await.unwrap() > 0 {}
    assert_eq!(trial.queue("q").await.depth.ready, 1);
}

/// Safe to call by whoever starts first, and by all of them.
pub async fn migrating_again_changes_nothing(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let before = trial.job(id).await;
    let version = trial.store.migrate().await.expect("a migration passes");
    let other = trial.another_handle().await;
    let (one, two) = tokio::join!(trial.store.migrate(), other.migrate());
    assert_eq!((one.unwrap(), two.unwrap()), (version, version));
    trial.store.check_version().await.expect("the version is the one needed");
    assert_eq!(trial.job(id).await, before);
}

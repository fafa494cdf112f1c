//! Settings of queues and kinds: set once, for everyone, until they are set anew.

use std::time::Duration;

use super::trial::{HOUR, Trial, completed, eventually, failed, ids, keyed, plain};
use crate::{
    Conflict, Error, JobId, NewJob, Retention, Scope, State,
    store::{Filter, Outstanding, Setting, Settings, Store, Target, Verdict},
};

fn job(queue: &str, kind: &str) -> NewJob {
    NewJob::new(kind, "{}").queue(queue)
}

/// Nobody starts its jobs, in whatever queue, through whatever handle; what runs goes on, and other kinds do.
pub async fn a_paused_kind_gives_nothing_until_it_is_resumed(trial: &Trial<'_>) {
    let other_handle = trial.another_handle().await;
    let mut first = Vec::new();
    for queue in ["a", "b", "a"] {
        first.push(trial.enqueue(job(queue, "slow").priority(5)).await);
    }
    let others = [trial.enqueue(job("a", "quick")).await, trial.enqueue(job("b", "quick")).await];
    let mut worker = trial.worker("a,b").await;
    let mut own = trial.worker("a").await;
    let running = own.take_one().await;
    assert_eq!(running.id, first[0]);
    other_handle.set(&Target::Kind("slow".into()), Setting::Paused(true)).await.unwrap();

    let mut taken = ids(&worker.take(10).await);
    taken.sort();
    assert_eq!(taken, others, "at once");
    let mut elsewhere = worker.moved_to(other_handle.clone());
    assert_eq!(elsewhere.take(10).await, []);
    let mut later = super::trial::Hand::register(trial.another_handle().await, "").await;
    assert_eq!(later.take(10).await, [], "whoever comes later finds it paused");
    // What comes in waits as well, and so does what comes back; a suspect is no exception.
    let late = trial.enqueue(job("a", "slow").priority(9)).await;
    own.settle(&running, Verdict::Return).await;
    let promoted = trial.enqueue(job("b", "slow").delay(Duration::from_millis(1))).await;
    trial.until_promoted(promoted).await;
    assert_eq!(own.take(10).await, []);
    assert_eq!(own.next(&[], 10, true).await.jobs, []);
    // A queue's own pause is another.
    trial.set_queue("b", Setting::Paused(true)).await;

    trial.set_kind("slow", Setting::Paused(false)).await;
    trial.release_all().await;
    assert_eq!(ids(&own.take(10).await), [late, first[0], first[2]]);
    let mut b = trial.worker("b").await;
    assert_eq!(b.take(10).await, []);
    trial.set_queue("b", Setting::Paused(false)).await;
    assert_eq!(ids(&b.take(10).await), [first[1], promoted]);
    trial.assert_counted().await;
}

/// A release takes them out of the way, says so, and lets them back into their old places once the kind is resumed.
pub async fn a_paused_kinds_jobs_are_held_and_come_back_in_their_old_order(trial: &Trial<'_>) {
    let mut all = Vec::new();
    for n in 0..12_i16 {
        let kind = if n % 3 == 2 { "quick" } else { "slow" };
        all.push((n % 2, trial.enqueue(job("q", kind).priority(n % 2)).await, kind));
    }
    trial.set_kind("slow", Setting::Paused(true)).await;
    trial.release_all().await;
    let held = trial.jobs_of("q").await;
    for job in &held {
        let expected = (job.kind == "slow").then_some("paused");
        assert_eq!((job.state, job.reason.as_deref()), (State::Queued, expected), "{job:?}");
    }
    let depth = trial.queue("q").await.depth;
    assert_eq!((depth.ready, depth.held, depth.suspects), (4, 8, 0), "what is paused is no demand");
    let look = trial.store.outstanding(&"q".parse().unwrap()).await.unwrap();
    assert_eq!(look, Outstanding { ready: true, held: true, ..Outstanding::default() });
    trial.assert_counted().await;
    // Those that are held may be moved by hand like any other.
    let (cancelled, deleted) = (held[0].id, held[1].id);
    trial.store.cancel(cancelled).await.unwrap();
    trial.store.delete(deleted).await.unwrap();

    trial.set_kind("slow", Setting::Paused(false)).await;
    trial.release_all().await;
    all.retain(|&(_, id, _)| id != cancelled && id != deleted);
    all.sort_by_key(|&(priority, id, _)| (-priority, id));
    let mut worker = trial.worker("q").await;
    assert_eq!(ids(&worker.take(20).await), all.iter().map(|&(_, id, _)| id).collect::<Vec<JobId>>());
    trial.store.retry(cancelled).await.unwrap();
    assert_eq!(ids(&worker.take(20).await), [cancelled]);
    trial.assert_counted().await;
}

/// Two thousand jobs that may not run lie before one that may: it is found.
pub async fn a_deep_paused_kind_hides_nothing_behind_it(trial: &Trial<'_>) {
    const DEEP: usize = 2000;
    trial.store.enqueue(&vec![job("q", "slow"); DEEP]).await.unwrap();
    let mut worker = trial.worker("q").await;
    let mut claimer = worker.claimer();
    let first = worker.take_by(&mut *claimer, 3).await;
    assert_eq!(first.len(), 3);
    trial.set_kind("slow", Setting::Paused(true)).await;
    for round in 0..3 {
        let expected = trial.enqueue(job("q", "quick")).await;
        let found = eventually("the job behind them is found", async || {
            trial.store.release(500).await.expect("a release passes");
            worker.take_by(&mut *claimer, 10).await.pop()
        })
        .await;
        assert_eq!(found.id, expected, "round {round}");
        worker.settle(&found, completed()).await;
    }
    let depth = trial.queue("q").await.depth;
    assert_eq!(depth.ready + depth.held, DEEP as i64 - 3);
    // All come back, in their order, to a claimer that is far past their places.
    trial.set_kind("slow", Setting::Paused(false)).await;
    trial.release_all().await;
    let mut claimed = Vec::new();
    while let batch @ [_, ..] = &*worker.take_by(&mut *claimer, 500).await {
        claimed.extend(ids(batch));
    }
    assert_eq!(claimed.len(), DEEP - 3);
    assert!(claimed.is_sorted());
    assert!(claimed[0] > first[2].id);
    trial.assert_counted().await;
}

/// One that is let in when its kind is paused waits for both; a suspect of a paused kind stays a suspect.
pub async fn a_pause_and_what_else_holds_a_job_are_apart(trial: &Trial<'_>) {
    let suspect = trial.suspect(job("deadly", "slow")).await;
    let keyed = keyed("q", "k", Scope::Unfinished, Conflict::RunAgain);
    trial.enqueue(keyed.clone()).await;
    let mut worker = trial.worker("q").await;
    let running = worker.take_one().await;
    let again = trial.enqueue(keyed).await;
    for kind in ["slow", "kind"] {
        trial.set_kind(kind, Setting::Paused(true)).await;
    }
    trial.release_all().await;
    let mut alone = trial.worker("deadly").await;
    assert_eq!(alone.next(&[], 1, true).await.jobs, []);
    worker.settle(&running, completed()).await;
    trial.release_all().await;
    trial.assert_state(again, State::Queued).await;
    assert_eq!(worker.take(10).await, [], "its key is free, and its kind is paused");
    trial.assert_counted().await;

    for kind in ["slow", "kind"] {
        trial.set_kind(kind, Setting::Paused(false)).await;
    }
    trial.release_all().await;
    assert_eq!(trial.job(suspect).await.reason.as_deref(), Some("suspect"));
    assert_eq!(alone.next(&[], 1, false).await.jobs, [], "only where nothing else runs");
    assert_eq!(ids(&alone.next(&[], 1, true).await.jobs), [suspect]);
    assert_eq!(ids(&worker.take(10).await), [again]);
    trial.assert_counted().await;
}

/// The retention that a worker is told for a job of this kind and queue, once it is `expected`.
async fn until_told(trial: &Trial<'_>, job: NewJob, expected: Option<Retention>) {
    let queue = job.queue.clone();
    let mut worker = trial.worker(&queue).await;
    let mut last = None;
    trial.enqueue(job).await;
    let told = eventually("the claim tells the retention that was set", async || {
        let job = worker.take_one().await;
        last = Some(job.retention);
        let told = job.retention == expected;
        worker.settle(&job, if told { completed() } else { Verdict::Return }).await;
        told.then_some(())
    });
    told.await;
    assert_eq!(last, Some(expected));
}

/// A job's own stands above its kind's, that above its queue's; what is unset is left to the code.
pub async fn a_retention_is_the_jobs_own_or_its_kinds_or_its_queues(trial: &Trial<'_>) {
    let retention = |seconds| Retention { completed: Duration::from_secs(seconds), failed: Some(HOUR) };
    let (own, kinds, queues) = (retention(1), retention(2), retention(3));
    let of = |target: &str| job("q", target);
    until_told(trial, of("x"), None).await;
    trial.set_queue("q", Setting::Retention(Some(queues))).await;
    until_told(trial, of("x"), Some(queues)).await;
    trial.set_kind("x", Setting::Retention(Some(kinds))).await;
    until_told(trial, of("x"), Some(kinds)).await;
    until_told(trial, of("y"), Some(queues)).await;
    until_told(trial, job("other", "x"), Some(kinds)).await;
    until_told(trial, job("other", "y"), None).await;
    until_told(trial, of("x").retention(own), Some(own)).await;
    until_told(trial, of("y").retention(Retention::DEFAULT), Some(Retention::DEFAULT)).await;

    // That nothing is kept, and failures for ever, is a setting like any other.
    trial.set_kind("x", Setting::Retention(Some(Retention::DEFAULT))).await;
    until_told(trial, of("x"), Some(Retention::DEFAULT)).await;
    trial.set_kind("x", Setting::Retention(None)).await;
    until_told(trial, of("x"), Some(queues)).await;
    trial.set_queue("q", Setting::Retention(None)).await;
    until_told(trial, of("x"), None).await;
}

/// Set for a queue, it is what that queue's starts are measured by, from the time a job was due.
pub async fn start_within_says_which_starts_are_late(trial: &Trial<'_>) {
    let ms = Duration::from_millis;
    let late = async |queue: &str, delayed: bool| {
        let before = trial.queues().await.remove(queue).map_or(0, |queue| queue.flow.late);
        let id = trial.enqueue(if delayed { plain(queue).delay(ms(1)) } else { plain(queue) }).await;
        let due = trial.job(id).await;
        trial.until_past(due.ready_at.unwrap_or(due.run_at) + ms(30)).await;
        trial.store.promote(10).await.unwrap();
        let mut worker = trial.worker(queue).await;
        let job = worker.take_one().await;
        worker.settle(&job, completed()).await;
        trial.queue(queue).await.flow.late - before
    };
    assert_eq!(late("q", false).await, 0, "a minute has not passed");
    trial.set_queue("q", Setting::StartWithin(Some(ms(20)))).await;
    for delayed in [false, true] {
        eventually("a late start is counted", async || (late("q", delayed).await == 1).then_some(())).await;
    }
    assert_eq!(late("other", false).await, 0, "another queue has its own");
    for setting in [Some(HOUR), None] {
        trial.set_queue("q", Setting::StartWithin(setting)).await;
        eventually("it is in time again", async || (late("q", true).await == 0).then_some(())).await;
    }
    let refused = trial.store.set(&Target::Kind("kind".into()), Setting::StartWithin(Some(HOUR))).await;
    assert!(matches!(refused, Err(Error::Rejected(_))), "only queues have it: {refused:?}");
}

/// Each as it was set last, through every handle; who has nothing set is not listed.
pub async fn the_settings_show_what_was_set(trial: &Trial<'_>) {
    let shown = async |store: &dyn Store| {
        let all = store.settings().await.expect("the settings are shown");
        for (kind, names) in [("queue", true), ("kind", false)].map(|(name, queues)| {
            let of = |s: &&Settings| matches!(s.target, Target::Queue(_)) == queues;
            (name, all.iter().filter(of).map(|s| s.target.to_string()).collect::<Vec<_>>())
        }) {
            assert!(names.is_sorted(), "in the order of the names of each {kind}: {names:?}");
        }
        let mut all = all;
        all.sort_by(|a, b| a.target.cmp(&b.target));
        all
    };
    let queue = |name: &str| Target::Queue(name.into());
    let kind = |name: &str| Target::Kind(name.into());
    let none = |target| Settings { target, paused: false, retention: None, start_within: None };
    trial.fill("b", 1).await;
    assert_eq!(shown(&*trial.store).await, [], "a queue with a job has no setting for that");

    let retention = Retention { completed: HOUR, failed: None };
    let brief = Retention { completed: Duration::ZERO, failed: Some(Duration::from_millis(1500)) };
    for (target, setting) in [
        (queue("b"), Setting::Paused(true)),
        (queue("b"), Setting::Retention(Some(retention))),
        (queue("a"), Setting::StartWithin(Some(Duration::from_secs(90)))),
        (queue("same"), Setting::Paused(true)),
        (kind("same"), Setting::Retention(Some(Retention::DEFAULT))),
        (kind("k"), Setting::Paused(true)),
        (kind("k"), Setting::Retention(Some(retention))),
        (kind("k"), Setting::Retention(Some(brief))),
    ] {
        trial.store.set(&target, setting).await.unwrap();
    }
    let expected = [
        Settings { start_within: Some(Duration::from_secs(90)), ..none(queue("a")) },
        Settings { paused: true, retention: Some(retention), ..none(queue("b")) },
        Settings { paused: true, ..none(queue("same")) },
        Settings { paused: true, retention: Some(brief), ..none(kind("k")) },
        Settings { retention: Some(Retention::DEFAULT), ..none(kind("same")) },
    ];
    assert_eq!(shown(&*trial.store).await, expected);
    assert_eq!(shown(&*trial.another_handle().await).await, expected);
    assert!(trial.queue("b").await.paused);

    for target in [queue("a"), queue("b"), queue("same"), kind("k"), kind("same")] {
        trial.store.set(&target, Setting::Paused(false)).await.unwrap();
        trial.store.set(&target, Setting::Retention(None)).await.unwrap();
        if matches!(target, Target::Queue(_)) {
            trial.store.set(&target, Setting::StartWithin(None)).await.unwrap();
        }
    }
    assert_eq!(shown(&*trial.store).await, []);
    for target in [queue("two words"), kind(""), kind("a,b")] {
        let refused = trial.store.set(&target, Setting::Paused(true)).await;
        assert!(matches!(refused, Err(Error::Rejected(_))), "{target}: {refused:?}");
    }
}

/// A pause is no end: its jobs are shown, counted, moved by hand, and their failures stay.
pub async fn a_paused_queues_jobs_may_be_moved_by_hand(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let running = worker.take_one().await;
    trial.set_queue("q", Setting::Paused(true)).await;
    worker.settle(&running, failed()).await;
    trial.store.retry(jobs[0]).await.unwrap();
    trial.store.cancel(jobs[1]).await.unwrap();
    trial.store.delete(jobs[2]).await.unwrap();
    let filter = Filter { queue: Some("q".into()), ..Filter::default() };
    assert_eq!(trial.store.count(&filter).await.unwrap(), 2);
    assert_eq!(worker.take(10).await, []);
    trial.set_queue("q", Setting::Paused(false)).await;
    assert_eq!(ids(&worker.take(10).await), [jobs[0]]);
    trial.assert_counted().await;
}

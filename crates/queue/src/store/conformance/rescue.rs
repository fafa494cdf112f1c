//! Death: who is dead, what becomes of the jobs, and how a job that kills is told from its neighbours.

use std::time::Duration;

use super::trial::{HOUR, Hand, Trial, completed, eventually, ids, interrupt, kept, plain, retry, snooze, tick};
use crate::{
    AttemptOutcome, State,
    limits::{MAX_DEATHS, MAX_INTERRUPTIONS},
    store::{BootId, Cancel, ClaimedJob, Rescue, Rescued, Verdict, WorkerState},
};

/// Takes every dead worker's jobs away, blaming those that had started.
async fn rescue(trial: &Trial<'_>) -> Vec<Rescued> {
    let mut rescued = trial.store.rescue_dead(true).await.expect("a rescue passes");
    rescued.sort_by_key(|rescued| rescued.id);
    rescued
}

/// The worker dies with all of these started; what the rescue did with each.
async fn dies_running(trial: &Trial<'_>, worker: &Hand, jobs: &[&ClaimedJob]) -> Vec<Rescue> {
    worker.beat(jobs, jobs).await;
    trial.store.bury(&[worker.boot]).await.expect("a burial passes");
    let rescued = rescue(trial).await;
    assert!(rescued.iter().all(|rescued| rescued.boot == worker.boot));
    assert_eq!(rescued.iter().map(|r| r.id).collect::<Vec<_>>(), jobs.iter().map(|job| job.id).collect::<Vec<_>>());
    rescued.into_iter().map(|rescued| rescued.rescue).collect()
}

/// A window's silence is death; a beat within it is life.
pub async fn only_the_silent_are_marked_dead(trial: &Trial<'_>) {
    const WINDOW: Duration = Duration::from_secs(2);
    let silent = trial.worker("q").await;
    let alive = trial.worker("q").await;
    assert_eq!(trial.store.mark_dead(HOUR).await.unwrap(), []);
    let marked = eventually("the silent one is marked dead", async || {
        alive.beat(&[], &[]).await;
        let marked = trial.store.mark_dead(WINDOW).await.unwrap();
        (!marked.is_empty()).then_some(marked)
    })
    .await;
    assert_eq!(marked, [silent.boot]);
    alive.beat(&[], &[]).await;
    assert_eq!(trial.store.mark_dead(WINDOW).await.unwrap(), [], "whoever is dead is not marked again");
    assert_eq!(silent.beat(&[], &[]).await.state, WorkerState::Dead);
    assert_eq!(alive.beat(&[], &[]).await.state, WorkerState::Active);
}

/// On the platform's word nobody waits for a window; and a death is reported once.
pub async fn the_buried_are_dead_at_once_and_only_once(trial: &Trial<'_>) {
    let a = trial.worker("q").await;
    let b = trial.worker("q").await;
    a.beat(&[], &[]).await;
    assert_eq!(trial.store.bury(&[a.boot, BootId::random()]).await.unwrap(), [a.boot]);
    assert_eq!(trial.store.bury(&[a.boot]).await.unwrap(), []);
    assert_eq!(trial.store.bury(&[]).await.unwrap(), []);
    assert_eq!(a.beat(&[], &[]).await.state, WorkerState::Dead);
    assert_eq!(b.beat(&[], &[]).await.state, WorkerState::Active);
    // A drained one, and one that was about to leave, can die as well.
    let drained = trial.store.drain(&[b.boot], "the suite", None).await.unwrap();
    assert!(trial.store.leave(b.boot, drained[0].1).await.unwrap());
    assert_eq!(trial.store.bury(&[b.boot]).await.unwrap(), [b.boot]);
}

/// They are back in the queue, and the next worker runs the same attempt.
pub async fn a_dead_workers_jobs_run_again_and_no_attempt_is_spent(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(3).await;
    worker.settle(&claimed[2], completed()).await;
    worker.beat(&[&claimed[0], &claimed[1]], &[&claimed[0]]).await;
    assert_eq!(rescue(trial).await, [], "the living are left alone");
    for &id in &jobs[..2] {
        trial.assert_state(id, State::Running).await;
    }
    trial.store.bury(&[worker.boot]).await.unwrap();

    let boot = worker.boot;
    let requeued = |id| Rescued { id, boot, rescue: Rescue::Requeued };
    assert_eq!(rescue(trial).await, [requeued(jobs[0]), requeued(jobs[1])]);
    for &id in &jobs[..2] {
        let job = trial.job(id).await;
        assert_eq!((job.state, job.attempt, job.finished_at), (State::Queued, 0, None));
    }
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(5).await;
    assert_eq!(claimed.iter().map(|job| (job.id, job.attempt)).collect::<Vec<_>>(), [(jobs[0], 1), (jobs[1], 1)]);
}

/// What lay in the dead worker's buffer is innocent: no death, no interruption, no record.
pub async fn a_death_counts_only_for_jobs_that_had_started(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    worker.beat(&[&claimed[0], &claimed[1]], &[&claimed[0]]).await;
    // Claimed after the last beat: whether it had started nobody knows.
    worker.take_one().await;
    trial.store.bury(&[worker.boot]).await.unwrap();
    assert_eq!(rescue(trial).await.len(), 3);

    let started = trial.job(jobs[0]).await;
    assert_eq!((started.deaths, started.interruptions), (1, 1));
    let attempts = trial.store.attempts(jobs[0]).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].outcome, attempts[0].attempt), (AttemptOutcome::Died, 1));
    for &id in &jobs[1..] {
        let buffered = trial.job(id).await;
        assert_eq!((buffered.deaths, buffered.interruptions), (0, 0));
        assert_eq!(trial.store.attempts(id).await.unwrap(), []);
    }
}

/// A beat speaks of the attempt that ran then. The same job, claimed again since, lay in the buffer when the worker died.
pub async fn a_death_counts_only_for_the_attempt_that_had_started(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let first = worker.take_one().await;
    worker.beat(&[&first], &[&first]).await;
    tick(&*trial.store).await;
    worker.settle(&first, Verdict::Return).await;
    assert_eq!(worker.take_one().await.id, id);
    trial.store.bury(&[worker.boot]).await.unwrap();
    assert_eq!(rescue(trial).await, [Rescued { id, boot: worker.boot, rescue: Rescue::Requeued }]);
    let job = trial.job(id).await;
    assert_eq!((job.deaths, job.interruptions), (0, 0));
    assert_eq!(trial.store.attempts(id).await.unwrap(), []);
}

/// The whole machine went down: no job of it is a killer for that.
pub async fn a_death_without_blame_counts_for_no_job(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    for _ in 0..=MAX_DEATHS {
        let mut worker = trial.worker("q").await;
        let job = worker.take_one().await;
        worker.beat(&[&job], &[&job]).await;
        trial.store.bury(&[worker.boot]).await.unwrap();
        let rescued = trial.store.rescue_dead(false).await.unwrap();
        assert_eq!(rescued, [Rescued { id, boot: worker.boot, rescue: Rescue::Requeued }]);
        let job = trial.job(id).await;
        assert_eq!((job.state, job.deaths, job.attempt), (State::Queued, 0, 0));
    }
}

/// As long as jobs hang on it, it can be seen why they do not run.
pub async fn a_dead_worker_is_shown_while_it_owns_jobs_and_then_no_more(trial: &Trial<'_>) {
    trial.fill("q", 1).await;
    let mut worker = trial.worker("q").await;
    worker.take_one().await;
    trial.store.bury(&[worker.boot]).await.unwrap();
    let shown = trial.store.workers().await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].state, shown[0].running), (WorkerState::Dead, 1));
    rescue(trial).await;
    assert_eq!(trial.store.workers().await.unwrap(), []);
    // One that owned nothing goes by the next rescue as well.
    let idle = trial.worker("q").await;
    trial.store.bury(&[idle.boot]).await.unwrap();
    assert_eq!(rescue(trial).await, []);
    assert_eq!(trial.store.workers().await.unwrap(), []);
}

/// The worker died before it could obey.
pub async fn a_dead_workers_cancelled_job_is_cancelled(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    worker.beat(&[&job], &[&job]).await;
    assert_eq!(trial.store.cancel(id).await.unwrap(), Cancel::Asked);
    trial.store.bury(&[worker.boot]).await.unwrap();
    assert_eq!(rescue(trial).await, [Rescued { id, boot: worker.boot, rescue: Rescue::Cancelled }]);
    let job = trial.job(id).await;
    assert_eq!(job.state, State::Cancelled);
    assert!(job.finished_at.is_some());
}

/// After two deaths it runs only where it can harm nobody; everyone is told that it waits, and nothing else waits for it.
pub async fn a_suspect_waits_for_a_worker_that_holds_nothing(trial: &Trial<'_>) {
    let suspect = trial.enqueue(plain("q")).await;
    for deaths in 1..MAX_DEATHS {
        let mut worker = trial.worker("q").await;
        let job = worker.take_one().await;
        let expected = if deaths + 1 == MAX_DEATHS { Rescue::Isolated } else { Rescue::Requeued };
        assert_eq!(dies_running(trial, &worker, &[&job]).await, [expected]);
    }
    let job = trial.job(suspect).await;
    assert_eq!((job.state, job.deaths), (State::Queued, MAX_DEATHS - 1));
    let depth = trial.queue("q").await.depth;
    assert_eq!((depth.ready, depth.held), (0, 1));
    let urgent = trial.enqueue(plain("q").priority(9)).await;
    let other = trial.enqueue(plain("other").priority(9)).await;

    let mut worker = trial.worker("q").await;
    let claimed = worker.next(&[], 1, false).await;
    assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![urgent], true));
    let claimed = worker.next(&[], 5, false).await;
    assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![], true));
    let mut elsewhere = trial.worker("other").await;
    let claimed = elsewhere.next(&[], 5, true).await;
    assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![other], false), "none of their queues has a suspect");

    trial.fill("q", 3).await;
    let mut alone = trial.worker("q").await;
    let own = alone.next(&[], 5, true).await.jobs;
    assert_eq!(ids(&own), [suspect], "it goes first, and alone");
    assert!(own[0].is_suspect());
    assert_eq!(own[0].deaths, MAX_DEATHS - 1);
    assert!(!worker.next(&[], 1, false).await.suspects, "it waits no more");
    alone.settle(&own[0], completed()).await;
    assert_eq!(trial.find(suspect).await, None);
}

/// Two suspects in one process could not be told apart.
pub async fn suspects_are_handed_out_one_at_a_time(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 2).await;
    for _ in 1..MAX_DEATHS {
        let mut worker = trial.worker("q").await;
        let claimed = worker.take(2).await;
        assert_eq!(ids(&claimed), jobs);
        dies_running(trial, &worker, &[&claimed[0], &claimed[1]]).await;
    }
    let mut a = trial.worker("q").await;
    let claimed = a.next(&[], 10, true).await;
    assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![jobs[0]], true), "the first in place, and one waits");
    let again = a.next(&[], 10, false).await;
    assert_eq!((ids(&again.jobs), again.suspects), (vec![], true));
    let mut b = trial.worker("q").await;
    let other = b.next(&[], 10, true).await;
    assert_eq!((ids(&other.jobs), other.suspects), (vec![jobs[1]], false));
}

/// Whatever its handler says, short of having been interrupted, shows that it does not kill.
pub async fn a_suspect_that_its_own_handler_ends_is_none_any_more(trial: &Trial<'_>) {
    for (n, verdict) in [retry(Duration::ZERO), snooze(Duration::ZERO)].into_iter().enumerate() {
        let queue = format!("q{n}");
        let id = trial.suspect(plain(&queue)).await;
        let mut worker = trial.worker(&queue).await;
        let job = worker.take_one().await;
        assert!(job.is_suspect());
        worker.settle(&job, verdict.clone()).await;
        assert_eq!(trial.job(id).await.deaths, 0, "{verdict:?}");
        trial.until_promoted(id).await;
        let claimed = worker.next(&[], 1, false).await;
        assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![id], false), "{verdict:?}");
        assert_eq!(claimed.jobs[0].deaths, 0);
    }
}

/// It has not proved anything yet.
pub async fn a_suspect_given_back_is_still_one(trial: &Trial<'_>) {
    let id = trial.suspect(plain("q")).await;
    let still = async |after: &str| {
        let job = trial.job(id).await;
        assert_eq!((job.state, job.deaths), (State::Queued, MAX_DEATHS - 1), "{after}");
        let mut busy = trial.worker("q").await;
        let claimed = busy.next(&[], 5, false).await;
        assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![], true), "{after}");
        let depth = trial.queue("q").await.depth;
        assert_eq!((depth.ready, depth.held, depth.running), (0, 1, 0), "{after}");
    };
    let mut worker = trial.worker("q").await;
    for verdict in [Verdict::Return, interrupt()] {
        let job = worker.take_one().await;
        worker.settle(&job, verdict.clone()).await;
        still(&format!("{verdict:?}")).await;
    }
    worker.take_one().await;
    assert_eq!(worker.beat(&[], &[]).await.given_back, 1);
    still("a lost answer").await;

    // Its worker died before it had started.
    let job = worker.take_one().await;
    worker.beat(&[&job], &[]).await;
    trial.store.bury(&[worker.boot]).await.unwrap();
    assert_eq!(rescue(trial).await, [Rescued { id, boot: worker.boot, rescue: Rescue::Isolated }]);
    still("a death that was not its own").await;
}

/// The third death is certainly its own: it is failed, and says why and what to do.
pub async fn a_job_that_kills_its_process_while_alone_is_quarantined(trial: &Trial<'_>) {
    let id = trial.suspect(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    assert_eq!(dies_running(trial, &worker, &[&job]).await, [Rescue::Quarantined]);
    let job = trial.job(id).await;
    assert_eq!((job.state, job.deaths, job.attempt), (State::Failed, MAX_DEATHS, 0));
    assert!(job.finished_at.is_some());
    let error = job.error.expect("a quarantine says why");
    assert!(error.contains("quarantined") && error.contains("died"), "{error:?}");
    assert!(error.contains("retry"), "what to do about it: {error:?}");
    let attempts = trial.store.attempts(id).await.unwrap();
    assert_eq!(attempts.len(), usize::from(MAX_DEATHS));
    assert!(attempts.iter().all(|attempt| attempt.outcome == AttemptOutcome::Died));

    trial.store.retry(id).await.unwrap();
    let mut worker = trial.worker("q").await;
    let claimed = worker.next(&[], 1, false).await;
    assert_eq!(ids(&claimed.jobs), [id], "a person's retry clears it");
    assert_eq!(claimed.jobs[0].deaths, 0);
}

/// One job of five kills whatever process it runs in: the other four complete, and it alone is failed.
pub async fn the_neighbours_of_a_job_that_kills_are_never_failed(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 5).await;
    let bomb = jobs[2];
    eventually("the bomb is quarantined", async || {
        let mut worker = trial.worker("q").await;
        loop {
            let claimed = worker.next(&[], 10, true).await.jobs;
            let held: Vec<&ClaimedJob> = claimed.iter().collect();
            if held.is_empty() {
                break;
            }
            if ids(&claimed).contains(&bomb) {
                dies_running(trial, &worker, &held).await;
                break;
            }
            for job in held {
                worker.settle(job, kept("done")).await;
            }
        }
        (trial.state(bomb).await == State::Failed).then_some(())
    })
    .await;
    let mut worker = trial.worker("q").await;
    while let Some(job) = worker.next(&[], 1, true).await.jobs.pop() {
        worker.settle(&job, kept("done")).await;
    }
    for id in jobs {
        trial.assert_state(id, if id == bomb { State::Failed } else { State::Completed }).await;
    }
}

/// Stops and deaths add up to the one cap.
pub async fn deaths_count_as_interruptions_and_share_their_cap(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    for _ in 1..MAX_INTERRUPTIONS {
        let job = worker.take_one().await;
        worker.settle(&job, interrupt()).await;
    }
    let job = worker.take_one().await;
    assert_eq!((job.interruptions, job.deaths), (MAX_INTERRUPTIONS - 1, 0));
    assert_eq!(dies_running(trial, &worker, &[&job]).await, [Rescue::Quarantined]);
    let job = trial.job(id).await;
    assert_eq!((job.state, job.interruptions, job.deaths), (State::Failed, MAX_INTERRUPTIONS, 1));
    let error = job.error.expect("a quarantine says why");
    assert!(error.contains("quarantined") && error.contains("retry"), "{error:?}");
}

/// A dead worker's jobs are taken away once, however many look for them.
pub async fn a_second_rescue_finds_nothing(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 50).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(50).await;
    let held: Vec<&ClaimedJob> = claimed.iter().collect();
    worker.beat(&held, &held).await;
    trial.store.bury(&[worker.boot]).await.unwrap();
    let other = trial.another_handle().await;
    let (one, two) = tokio::join!(trial.store.rescue_dead(true), other.rescue_dead(true));
    let mut rescued: Vec<_> = one.unwrap().into_iter().chain(two.unwrap()).map(|rescued| rescued.id).collect();
    rescued.extend(rescue(trial).await.into_iter().map(|rescued| rescued.id));
    rescued.sort();
    assert_eq!(rescued, jobs, "each job once");
    assert!(trial.jobs_of("q").await.iter().all(|job| (job.deaths, job.interruptions) == (1, 1)));
    assert_eq!(rescue(trial).await, []);
    assert_eq!(trial.queue("q").await.flow.returned, 50);
}

//! The order in which jobs are handed out, and to whom.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::trial::{Hand, Trial, completed, end, eventually, ids, interrupt, plain, retry, snooze};
use crate::{
    JobId, State,
    store::{ClaimedJob, Gate, Store, Verdict, Want},
};

/// Priority strictly, from the lowest number to the highest; among equals who came first.
pub async fn higher_priorities_come_first_and_then_the_order_of_enqueueing(trial: &Trial<'_>) {
    let priorities = [0, 5, -3, 5, i16::MIN, 0, i16::MAX, 1, -3];
    let mut expected = Vec::new();
    for priority in priorities {
        expected.push((priority, trial.enqueue(plain("q").priority(priority)).await));
    }
    expected.sort_by_key(|&(priority, id)| (-i32::from(priority), id));
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(20).await;
    assert_eq!(claimed.iter().map(|job| (job.priority, job.id)).collect::<Vec<_>>(), expected);
}

/// However few are claimed at once, the order is the same, and what comes later with a higher priority goes first.
pub async fn a_claim_of_one_takes_the_first_of_all(trial: &Trial<'_>) {
    let low = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    assert_eq!(worker.take_one().await.id, low[0]);
    let high = trial.enqueue(plain("q").priority(1)).await;
    assert_eq!(worker.take_one().await.id, high);
    assert_eq!(worker.take_one().await.id, low[1]);
    let high = trial.enqueue(plain("q").priority(1)).await;
    assert_eq!(ids(&worker.take(2).await), [high, low[2]]);
}

/// One promotion of many jobs keeps the order in which they fell due.
pub async fn jobs_promoted_together_come_out_by_their_due_times(trial: &Trial<'_>) {
    let now = trial.now().await;
    let mut due = Vec::new();
    for ms in [30, 10, 20, 40, 15] {
        let at = now + Duration::from_millis(400 + ms);
        due.push((at, trial.enqueue(plain("q").run_at(at)).await));
    }
    due.sort();
    trial.until_past(due[4].0).await;
    assert_eq!(trial.store.promote(100).await.unwrap().jobs, 5);
    let mut worker = trial.worker("q").await;
    assert_eq!(ids(&worker.take(10).await), due.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
}

/// What becomes claimable later lines up later, though it was enqueued earlier.
pub async fn a_promoted_job_lines_up_behind_those_that_wait(trial: &Trial<'_>) {
    let delayed = trial.enqueue(plain("q").delay(Duration::from_millis(1))).await;
    let waiting = trial.fill("q", 2).await;
    trial.until_promoted(delayed).await;
    let after = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    assert_eq!(ids(&worker.take(10).await), [waiting[0], waiting[1], delayed, after]);
}

/// Who comes back without having failed stands where it stood.
pub async fn a_returned_an_interrupted_and_a_rescued_job_keep_their_place(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    for verdict in [Verdict::Return, interrupt()] {
        let claimed = worker.take(2).await;
        assert_eq!(ids(&claimed), jobs[..2]);
        // Given back in the opposite order, which must not matter.
        worker.settle_all(&[end(&claimed[1], verdict.clone()), end(&claimed[0], verdict)]).await;
    }
    let claimed = worker.take(2).await;
    assert_eq!(ids(&claimed), jobs[..2]);
    trial.dies(&worker, &[&claimed[0], &claimed[1]], &[&claimed[1]]).await;

    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    assert_eq!(ids(&claimed), jobs[..2]);
    // And by a beat that knows of nothing, since the answer was lost.
    worker.beat(&[], &[]).await;
    assert_eq!(ids(&worker.take(10).await), jobs);
}

/// A claimer that remembers where it was still finds at once what came back before that place.
pub async fn a_job_given_back_is_found_at_once_by_a_claimer_that_is_past_its_place(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 20).await;
    let mut holder = trial.worker("q").await;
    let held = holder.take_one().await;
    assert_eq!(held.id, jobs[0]);

    let mut other = trial.worker("q").await;
    let mut claimer = other.claimer();
    let next = async |claimer: &mut Box<dyn crate::store::Claimer>, other: &mut Hand| {
        let want = Want { sweep: false, ..other.want(1) };
        claimer.next(&[], want).await.expect("a claim passes").jobs
    };
    for id in &jobs[1..4] {
        assert_eq!(ids(&next(&mut claimer, &mut other).await), [*id]);
    }
    holder.settle(&held, Verdict::Return).await;
    assert_eq!(ids(&next(&mut claimer, &mut other).await), [held.id]);

    let held = holder.take_one().await;
    assert_eq!(held.id, jobs[4]);
    assert_eq!(ids(&next(&mut claimer, &mut other).await), [jobs[5]]);
    trial.dies(&holder, &[&held], &[]).await;
    assert_eq!(ids(&next(&mut claimer, &mut other).await), [held.id]);
}

/// A failed attempt and a snooze lose their place.
pub async fn a_retried_and_a_snoozed_job_line_up_anew(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    worker.settle(&claimed[0], retry(Duration::ZERO)).await;
    trial.until_promoted(jobs[0]).await;
    worker.settle(&claimed[1], snooze(Duration::ZERO)).await;
    trial.until_promoted(jobs[1]).await;
    assert_eq!(ids(&worker.take(10).await), [jobs[2], jobs[0], jobs[1]]);
}

/// A claimer that has worked its queue to the end, and never asks for a sweep, finds what comes in afterwards.
pub async fn a_claimer_at_the_end_of_its_queue_finds_what_comes_in(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let mut claimer = worker.claimer();
    let mut claim = async || {
        let want = Want { sweep: false, ..worker.want(10) };
        claimer.next(&[], want).await.expect("a claim passes").jobs
    };
    for priority in [-1, 0, 1, 7] {
        let jobs = [plain("q").priority(priority), plain("late").priority(priority)];
        let id = trial.store.enqueue(&jobs).await.unwrap()[0].id;
        let found = eventually("the new job is found without being asked to sweep", async || {
            let jobs = claim().await;
            (!jobs.is_empty()).then_some(jobs)
        })
        .await;
        assert_eq!(ids(&found), [id]);
    }
}

/// Two queues that a worker serves both get their share, whatever the size of the claims.
pub async fn queues_of_equal_priority_are_served_in_turn(trial: &Trial<'_>) {
    for (queues, batch) in [(["a1", "b1"], 1), (["a2", "b2"], 2), (["a3", "b3"], 3)] {
        for queue in queues {
            trial.fill(queue, 12).await;
        }
        let mut worker = trial.worker(&queues.join(",")).await;
        let mut claimer = worker.claimer();
        let mut served: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..6 {
            let claimed = claimer.next(&[], worker.want(batch)).await.unwrap();
            assert_eq!(claimed.jobs.len(), batch as usize);
            for job in claimed.jobs {
                *served.entry(job.queue).or_default() += 1;
            }
        }
        for queue in queues {
            let share = served.get(queue).copied().unwrap_or_default();
            assert!(share >= 2 * batch, "claims of {batch}: a third of six claims at least, but {served:?}");
        }
    }
}

/// A worker takes from its own queues only; a name that merely begins alike is another queue.
pub async fn a_queue_outside_the_binding_is_never_touched(trial: &Trial<'_>) {
    let mut foreign = Vec::new();
    for queue in ["mail2", "MAIL", "mai", "default", "run:mail"] {
        foreign.push(trial.enqueue(plain(queue).priority(9)).await);
    }
    let before = foreign_records(trial, &foreign).await;
    let mail = trial.enqueue(plain("mail")).await;
    let media = trial.enqueue(plain("media")).await;
    let mut worker = trial.worker("mail,media,never-used").await;
    let mut claimed = ids(&worker.take(20).await);
    claimed.sort();
    assert_eq!(claimed, [mail, media]);
    assert_eq!(worker.take(20).await, []);
    assert_eq!(foreign_records(trial, &foreign).await, before);
}

async fn foreign_records(trial: &Trial<'_>, ids: &[JobId]) -> Vec<crate::JobRecord> {
    let mut records = Vec::new();
    for &id in ids {
        records.push(trial.job(id).await);
    }
    records
}

/// A private queue is served by those who name it.
pub async fn a_worker_bound_to_any_queue_never_takes_a_private_ones_jobs(trial: &Trial<'_>) {
    let private = trial.enqueue(plain("run:thumbs").priority(5)).await;
    let public = trial.enqueue(plain("thumbs")).await;
    let suspect = trial.suspect(plain("run:deadly")).await;
    let mut any = trial.worker("").await;
    let claimed = any.next(&[], 10, true).await;
    assert_eq!(ids(&claimed.jobs), [public]);
    assert!(!claimed.suspects, "a private queue's suspect is no business of theirs");
    // A queue that is made while the worker runs is served too.
    let new = trial.enqueue(plain("made-later")).await;
    let found = eventually("a worker bound to any queue finds a new one", async || any.take(10).await.pop()).await;
    assert_eq!(found.id, new);

    trial.assert_state(private, State::Queued).await;
    let mut own = trial.worker("run:thumbs").await;
    assert_eq!(ids(&own.take(10).await), [private]);
    let mut own = trial.worker("run:deadly").await;
    assert_eq!(own.take_one().await.id, suspect);
}

/// A pause holds for every worker, through every handle, until it is ended; what runs goes on.
pub async fn a_paused_queue_gives_nothing_until_it_is_resumed(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let other = trial.enqueue(plain("other")).await;
    let mut worker = trial.worker("q,other").await;
    let running = worker.next(&[], 1, false).await.jobs.remove(0);
    let running = if running.queue == "q" {
        running
    } else {
        worker.settle(&running, Verdict::Return).await;
        let mut own = trial.worker("q").await;
        own.take_one().await
    };
    trial
        .another_handle()
        .await
        .set(&crate::store::Target::Queue("q".into()), crate::store::Setting::Paused(true))
        .await
        .unwrap();
    assert!(trial.queue("q").await.paused);
    assert!(!trial.queue("other").await.paused);

    assert_eq!(ids(&worker.take(10).await), [other]);
    assert_eq!(worker.take(10).await, []);
    let mut new = trial.worker("q").await;
    assert_eq!(new.take(10).await, []);
    let mut any = trial.worker("").await;
    assert_eq!(any.take(10).await, []);
    new.settle(&running, completed()).await;
    assert_eq!(trial.find(running.id).await, None);
    // What comes in waits too, and so does a suspect.
    let late = trial.enqueue(plain("q").priority(9)).await;
    assert_eq!(new.take(10).await, []);

    trial.store.set(&crate::store::Target::Queue("q".into()), crate::store::Setting::Paused(false)).await.unwrap();
    assert!(!trial.queue("q").await.paused);
    assert_eq!(ids(&new.take(10).await), [late, jobs[1], jobs[2]]);

    // A queue may be paused before it has seen a job.
    trial.store.set(&crate::store::Target::Queue("later".into()), crate::store::Setting::Paused(true)).await.unwrap();
    let id = trial.enqueue(plain("later")).await;
    let mut worker = trial.worker("later").await;
    assert_eq!(worker.take(1).await, []);
    trial.store.set(&crate::store::Target::Queue("later".into()), crate::store::Setting::Paused(false)).await.unwrap();
    assert_eq!(ids(&worker.take(1).await), [id]);

    // A suspect's queue may be paused too.
    let suspect = trial.suspect(plain("deadly")).await;
    trial.store.set(&crate::store::Target::Queue("deadly".into()), crate::store::Setting::Paused(true)).await.unwrap();
    let mut worker = trial.worker("deadly").await;
    assert_eq!(worker.next(&[], 1, true).await.jobs, []);
    trial.store.set(&crate::store::Target::Queue("deadly".into()), crate::store::Setting::Paused(false)).await.unwrap();
    assert_eq!(worker.take_one().await.id, suspect);
}

/// A claim brings at most what was asked, and nothing when nothing was.
pub async fn a_claim_gives_no_more_than_was_wanted(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 5).await;
    let mut worker = trial.worker("q").await;
    for want in [Want::default(), Want { claim: 0, jobs: 3, ..Want::default() }] {
        assert_eq!(worker.claimer().next(&[], want).await.unwrap().jobs, []);
    }
    assert_eq!(worker.take(0).await, []);
    assert_eq!(ids(&worker.take(2).await), jobs[..2]);
    assert_eq!(ids(&worker.take(100).await), jobs[2..]);
    assert_eq!(worker.take(100).await, []);
}

/// Eight workers on two handles at once, settling with the next claim: each job runs once, and nobody is stuck.
pub async fn many_claimers_take_every_job_exactly_once(trial: &Trial<'_>) {
    const JOBS: usize = 600;
    let mut expected = trial.fill("a", JOBS / 2).await;
    expected.extend(trial.fill("b", JOBS / 2).await);
    let other = trial.another_handle().await;
    let handles = (0..8).map(|n| if n % 2 == 0 { trial.store.clone() } else { other.clone() });
    let mut ran = futures::future::join_all(handles.map(work_off)).await.concat();
    ran.sort();
    assert_eq!(ran, expected, "each job ran once");
    assert_eq!(trial.jobs_of("a").await.len() + trial.jobs_of("b").await.len(), 0);
    for queue in ["a", "b"] {
        assert_eq!(trial.queue(queue).await.flow.completed, JOBS as i64 / 2);
    }
}

/// Works until the queues are empty. Every third job is interrupted first, and every fifth fails first and is promoted
/// again, so that many moves go on beside each other.
async fn work_off(store: Arc<dyn Store>) -> Vec<JobId> {
    let mut worker = Hand::register(store.clone(), "a,b").await;
    let mut claimer = worker.claimer();
    let mut ran = Vec::new();
    let mut settled = Vec::new();
    eventually("all jobs are done", async || {
        loop {
            let want = Want { sweep: false, ..worker.want(7) };
            let claimed = claimer.next(&std::mem::take(&mut settled), want).await.expect("a claim passes");
            for job in &claimed.jobs {
                let verdict = verdict_for(job);
                if verdict == completed() {
                    ran.push(job.id);
                }
                settled.push(end(job, verdict));
            }
            if settled.is_empty() && claimed.gate == Gate::Open {
                break;
            }
        }
        store.promote(100).await.expect("a promotion passes");
        let left = store.outstanding(&"a,b".parse().expect("a binding")).await.expect("an exact look");
        left.is_empty().then_some(())
    })
    .await;
    ran
}

fn verdict_for(job: &ClaimedJob) -> Verdict {
    if job.id.0 % 3 == 0 && job.interruptions == 0 {
        interrupt()
    } else if job.id.0 % 5 == 0 && job.attempt == 1 {
        retry(Duration::ZERO)
    } else {
        completed()
    }
}

//! Aging: where a worker asks for it, what has waited long counts as more urgent; else priorities are strict.
//!
//! Two lanes age alike while a case goes on, so how far one is ahead depends on the times of their jobs and on nothing
//! that a loaded machine could delay.

use std::time::Duration;

use super::trial::{Trial, completed, ids, plain, tick};
use crate::JobId;

const AGING: Duration = Duration::from_millis(50);

/// Enqueues a job, and waits until it has waited for so many agings.
async fn aged(trial: &Trial<'_>, job: crate::NewJob, agings: u32) -> JobId {
    let id = trial.enqueue(job).await;
    let since = trial.job(id).await.ready_at.expect("it is claimable");
    trial.until_past(since + AGING * agings).await;
    id
}

/// However long something has waited.
pub async fn without_aging_priorities_are_strict(trial: &Trial<'_>) {
    let old = aged(trial, plain("q"), 4).await;
    let urgent = trial.enqueue(plain("q").priority(1)).await;
    let elsewhere = trial.enqueue(plain("other").priority(1)).await;
    let mut worker = trial.worker("q,other").await;
    let mut claimer = worker.claimer();
    let mut first = ids(&worker.take_by(&mut *claimer, 2).await);
    first.sort();
    assert_eq!(first, [urgent, elsewhere]);
    assert_eq!(ids(&worker.take_by(&mut *claimer, 2).await), [old]);
}

/// One priority for each aging, within a queue and between queues; what is too far ahead still goes first.
pub async fn a_lane_rises_by_one_priority_for_each_aging(trial: &Trial<'_>) {
    for (old_queue, new_queue) in [("a", "a"), ("b", "c"), ("e", "d")] {
        let old = aged(trial, plain(old_queue).priority(-2), 6).await;
        let mut urgent = Vec::new();
        for priority in [i16::MAX, 3, 2] {
            urgent.push(trial.enqueue(plain(new_queue).priority(priority)).await);
        }
        let mut worker = trial.worker(&format!("{old_queue},{new_queue}")).await;
        let mut claimer = worker.aging_claimer(AGING);
        let mut order = Vec::new();
        for _ in 0..4 {
            order.extend(ids(&worker.take_by(&mut *claimer, 1).await));
        }
        // It is 4 or a little more by now, while the new ones begin at their own; all go on rising alike.
        assert_eq!(order, [urgent[0], old, urgent[1], urgent[2]], "{old_queue} and {new_queue}");
    }
}

/// A lane is as old as the job that is its next: one that was waiting there and is gone lends it nothing.
pub async fn a_lane_is_as_old_as_its_first_job(trial: &Trial<'_>) {
    let old = aged(trial, plain("q"), 4).await;
    let young = trial.enqueue(plain("q")).await;
    let urgent = trial.enqueue(plain("q").priority(2)).await;
    let mut worker = trial.worker("q").await;
    let mut claimer = worker.aging_claimer(AGING);
    let mut order = Vec::new();
    for _ in 0..3 {
        let claimed = worker.take_by(&mut *claimer, 1).await;
        worker.settle(&claimed[0], completed()).await;
        order.extend(ids(&claimed));
    }
    assert_eq!(order, [old, urgent, young]);
}

/// A job's age counts from when it was due, not from when somebody noticed; a job given back begins anew.
pub async fn a_job_ages_from_when_it_was_due(trial: &Trial<'_>) {
    let late = trial.enqueue(plain("q").delay(Duration::from_millis(1))).await;
    let due = trial.job(late).await.run_at;
    trial.until_past(due + AGING * 4).await;
    let urgent = trial.enqueue(plain("q").priority(2)).await;
    assert_eq!(trial.store.promote(10).await.unwrap().jobs, 1);
    let mut worker = trial.worker("q").await;
    let mut claimer = worker.aging_claimer(AGING);
    let first = worker.take_by(&mut *claimer, 1).await;
    assert_eq!(ids(&first), [late]);
    tick(&*trial.store).await;
    worker.settle(&first[0], crate::store::Verdict::Return).await;
    assert_eq!(ids(&worker.take_by(&mut *claimer, 1).await), [urgent], "it has waited longer by now");
    assert_eq!(ids(&worker.take_by(&mut *claimer, 1).await), [late]);
}

/// Ageing changes what comes first, and nothing else: the binding, pauses and the order within a lane hold.
pub async fn what_ages_keeps_its_order_and_its_binding(trial: &Trial<'_>) {
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(aged(trial, plain("mail.a"), 1).await);
    }
    let paused = trial.enqueue(plain("mail.b").priority(9)).await;
    let foreign = trial.enqueue(plain("media").priority(9)).await;
    trial.set_queue("mail.b", crate::store::Setting::Paused(true)).await;
    let mut worker = trial.worker("mail.*").await;
    let mut claimer = worker.aging_claimer(AGING);
    assert_eq!(ids(&worker.take_by(&mut *claimer, 10).await), jobs);
    for waiting in [paused, foreign] {
        trial.assert_state(waiting, crate::State::Queued).await;
    }
}

//! Kinds that run for long are left to workers with lower ordinals, where those are to claim first: at a peak a long job
//! would else lie on a high one, and hold up the shrinking until it ends.

use std::time::Duration;

use super::{
    scaling::{POOL, at, comes_up, names, pool, scaler, withhold},
    trial::{HOUR, Hand, Trial, completed, end, eventually, failed, fold, ids, plain},
};
use crate::{
    JobId, NewJob,
    store::{Beat, Claimer, Fence, Gate, NewPool, NewWorker, Setting, Settlement, Verdict, Want, WorkerState},
};

/// The grace of every worker here.
const GRACE: Duration = Duration::from_secs(25);

/// A pool whose workers are removed from the top.
async fn ordered(trial: &Trial<'_>) -> Fence {
    let fence = scaler(trial).await;
    trial.store.publish(&fence, &[NewPool { ordered: true, ..pool(POOL) }, pool("plain")]).await.unwrap();
    fence
}

fn of(kind: &str) -> NewJob {
    NewJob::new(kind, "{}").queue("q")
}

/// Enqueues jobs of these kinds into `q`, in their order.
async fn add(trial: &Trial<'_>, kinds: &[&str]) -> Vec<JobId> {
    let jobs: Vec<NewJob> = kinds.iter().map(|kind| of(kind)).collect();
    trial.store.enqueue(&jobs).await.expect("the jobs are taken in").into_iter().map(|added| added.id).collect()
}

/// An attempt at this job runs for so long, and ends so. Nothing else may be ready in its queue.
async fn ran(trial: &Trial<'_>, job: NewJob, ran: Duration, verdict: Verdict) {
    let mut worker = trial.worker(&job.queue).await;
    trial.enqueue(job).await;
    let taken = worker.take_one().await;
    worker.settle_all(&[Settlement { ran, ..end(&taken, verdict) }]).await;
}

/// Kinds that have run for twice the grace, and for half of it.
async fn learned(trial: &Trial<'_>) {
    for (kind, length) in [("long", 2 * GRACE), ("short", GRACE / 2)] {
        ran(trial, of(kind), length, completed()).await;
    }
}

/// What a beat of this worker is told to leave to others.
async fn spares(trial: &Trial<'_>, hand: &Hand) -> Vec<String> {
    spares_with(trial, hand, Some(GRACE)).await
}

async fn spares_with(trial: &Trial<'_>, hand: &Hand, grace: Option<Duration>) -> Vec<String> {
    // The counters may be read as they were when they were last folded.
    fold(&*trial.store).await;
    let beat = Beat { grace, through: 0, ..hand.sign(&[], &[]) };
    trial.store.beat(&beat).await.expect("a beat passes").spares
}

/// A claim for so many jobs that leaves `long` to others.
fn leaving(hand: &mut Hand, jobs: u32) -> Want {
    Want { spares: vec!["long".into()], ..hand.want(jobs) }
}

/// One claim; it asks again while the gate is busy.
async fn claim(
    claimer: &mut dyn Claimer,
    hand: &mut Hand,
    mut settled: &[Settlement],
    want: impl Fn(&mut Hand) -> Want,
) -> Vec<JobId> {
    loop {
        let claimed = claimer.next(settled, want(hand)).await.expect("a claim passes");
        if claimed.gate != Gate::Busy {
            assert_eq!(claimed.gate, Gate::Open);
            return ids(&claimed.jobs);
        }
        settled = &[];
    }
}

/// Those that ran for longer on average, in the order of their names; attempts that failed count.
pub async fn a_worker_is_told_to_leave_the_kinds_that_outlast_its_grace_to_those_below(trial: &Trial<'_>) {
    ordered(trial).await;
    let first = comes_up(trial, "worker.1", WorkerState::Active).await;
    let second = comes_up(trial, "worker.2", WorkerState::Active).await;
    let third = comes_up(trial, "worker.3", WorkerState::Active).await;
    assert_eq!(spares(trial, &second).await, names([]), "nothing is known of any kind");
    learned(trial).await;
    for hand in [&second, &third] {
        assert_eq!(spares(trial, hand).await, ["long"]);
    }
    assert_eq!(spares(trial, &first).await, names([]), "nobody is below the first");
    assert_eq!(spares_with(trial, &second, None).await, names([]), "it leaves nothing to others");
    for (grace, kinds) in [(GRACE / 4, &["long", "short"][..]), (GRACE / 2, &["long"]), (2 * GRACE, &[])] {
        assert_eq!(spares_with(trial, &second, Some(grace)).await, kinds, "{grace:?}");
    }
    // Half of them run for long enough to make up for the others.
    ran(trial, of("short"), 2 * GRACE, failed()).await;
    assert_eq!(spares(trial, &second).await, ["long", "short"]);
    // And on average no more.
    ran(trial, of("long"), Duration::ZERO, failed()).await;
    assert_eq!(spares(trial, &second).await, ["short"]);
}

/// Nobody is removed there for being above another.
pub async fn outside_an_ordered_pool_no_kind_is_left(trial: &Trial<'_>) {
    ordered(trial).await;
    learned(trial).await;
    for pool in [POOL, "plain", "unknown"] {
        Hand::announce(trial.store.clone(), at(pool, "worker.1")).await;
    }
    for worker in [
        at("plain", "worker.2"),
        at("unknown", "worker.2"),
        at(POOL, "i-1234"),
        NewWorker { pool: None, ..at(POOL, "worker.2") },
        NewWorker { instance: None, ..at(POOL, "worker.2") },
    ] {
        let (hand, _) = Hand::announce(trial.store.clone(), worker.clone()).await;
        assert_eq!(spares(trial, &hand).await, names([]), "{worker:?}");
    }
    let hand = comes_up(trial, "worker.2", WorkerState::Active).await;
    assert_eq!(spares(trial, &hand).await, ["long"]);
    trial.store.bury(&[hand.boot]).await.unwrap();
    assert_eq!(spares(trial, &hand).await, names([]));
}

/// What it does elsewhere is no concern of theirs; nor are its jobs there.
pub async fn a_kind_is_as_long_as_its_attempts_were_in_the_workers_own_queues(trial: &Trial<'_>) {
    ordered(trial).await;
    comes_up(trial, "worker.1", WorkerState::Active).await;
    let hand = comes_up(trial, "worker.2", WorkerState::Active).await;
    let bound = |queues: &str| NewWorker { queues: queues.parse().unwrap(), ..at(POOL, "worker.3") };
    let (wide, _) = Hand::announce(trial.store.clone(), bound("mail.*,q")).await;
    let (any, _) = Hand::announce(trial.store.clone(), bound("")).await;
    ran(trial, of("long").queue("mail.slow"), 9 * GRACE, completed()).await;
    ran(trial, of("private").queue("run:x"), 9 * GRACE, completed()).await;
    ran(trial, of("long"), GRACE / 2, completed()).await;
    assert_eq!(spares(trial, &hand).await, names([]));
    for hand in [&wide, &any] {
        assert_eq!(spares(trial, hand).await, ["long"], "on average over its queues and priorities");
    }
    for _ in 0..2 {
        ran(trial, of("long").priority(3), 3 * GRACE, completed()).await;
    }
    assert_eq!(spares(trial, &hand).await, ["long"]);
    trial.store.enqueue(&vec![of("long").queue("mail.slow"); 20]).await.unwrap();
    assert_eq!(spares(trial, &hand).await, ["long"]);
    assert_eq!(spares(trial, &wide).await, names([]), "of its own queues there are too many");
}

/// Those that wait and those that run, of all long kinds together; else whoever is above takes its share of them.
pub async fn long_kinds_are_left_only_while_there_are_slots_below_for_all_of_their_jobs(trial: &Trial<'_>) {
    ordered(trial).await;
    learned(trial).await;
    ran(trial, of("longer"), 9 * GRACE, completed()).await;
    // Each has eight slots.
    let mut first = comes_up(trial, "worker.1", WorkerState::Active).await;
    let second = comes_up(trial, "worker.2", WorkerState::Active).await;
    let third = comes_up(trial, "worker.3", WorkerState::Active).await;
    add(trial, &["longer", "long", "long", "long", "long", "long", "long", "long"]).await;
    add(trial, &["short"; 20]).await;
    assert_eq!(spares(trial, &second).await, ["long", "longer"]);
    let taken = first.take(8).await;
    assert_eq!(spares(trial, &second).await, ["long", "longer"], "slots count, not the free ones");
    trial.enqueue(of("long")).await;
    assert_eq!(spares(trial, &second).await, names([]), "eight run, and one waits");
    assert_eq!(spares(trial, &third).await, ["long", "longer"], "two are below it");
    // A scheduled one is not there yet.
    trial.enqueue(of("long").delay(HOUR)).await;
    first.settle(&taken[0], completed()).await;
    assert_eq!(spares(trial, &second).await, ["long", "longer"]);
}

/// As for the free ones.
pub async fn only_slots_below_that_claim_are_counted_on(trial: &Trial<'_>) {
    let fence = ordered(trial).await;
    learned(trial).await;
    let first = comes_up(trial, "worker.1", WorkerState::Active).await;
    let third = comes_up(trial, "worker.3", WorkerState::Active).await;
    // Its own instance is not below it.
    comes_up(trial, "worker.3", WorkerState::Active).await;
    add(trial, &["long"]).await;
    assert_eq!(spares(trial, &third).await, ["long"]);
    withhold(trial, &fence, "worker.1").await;
    assert_eq!(spares(trial, &third).await, names([]));
    trial.store.restore(&fence, POOL, &names(["worker.1"])).await.unwrap();
    assert_eq!(spares(trial, &third).await, ["long"]);
    trial.store.bury(&[first.boot]).await.unwrap();
    assert_eq!(spares(trial, &third).await, names([]));
}

/// By priority, then by who became claimable first, whatever is passed over between them.
pub async fn a_claim_passes_over_what_it_leaves_and_keeps_the_order_of_the_rest(trial: &Trial<'_>) {
    let jobs = add(trial, &["long", "a", "b", "long", "a", "long", "b", "a"]).await;
    let urgent = trial.enqueue(of("a").priority(5)).await;
    trial.enqueue(of("long").priority(9)).await;
    let mut hand = trial.worker("q").await;
    let mut claimer = hand.claimer();
    let three = |hand: &mut Hand| leaving(hand, 3);
    assert_eq!(claim(&mut *claimer, &mut hand, &[], three).await, [urgent, jobs[1], jobs[2]]);
    assert_eq!(claim(&mut *claimer, &mut hand, &[], three).await, [jobs[4], jobs[6], jobs[7]]);
    assert_eq!(claim(&mut *claimer, &mut hand, &[], three).await, []);
    // What comes in is found behind it.
    let more = add(trial, &["long", "a"]).await;
    assert_eq!(claim(&mut *claimer, &mut hand, &[], three).await, more[1..]);
    trial.assert_counted().await;
}

/// By whoever does not leave it, the same claimer too, and one that does not look at the whole queue.
pub async fn what_was_passed_over_is_found_in_its_place(trial: &Trial<'_>) {
    let jobs = add(trial, &["a", "long", "a", "long", "a", "a", "a"]).await;
    let mut hand = trial.worker("q").await;
    let mut claimer = hand.claimer();
    let leaves = |hand: &mut Hand| Want { sweep: false, ..leaving(hand, 1) };
    let takes = |hand: &mut Hand| Want { sweep: false, ..hand.want(1) };
    for id in [jobs[0], jobs[2], jobs[4]] {
        assert_eq!(claim(&mut *claimer, &mut hand, &[], leaves).await, [id]);
    }
    assert_eq!(claim(&mut *claimer, &mut hand, &[], takes).await, [jobs[1]]);
    assert_eq!(claim(&mut *claimer, &mut hand, &[], leaves).await, [jobs[5]]);
    assert_eq!(claim(&mut *claimer, &mut hand, &[], takes).await, [jobs[3]]);
    assert_eq!(claim(&mut *claimer, &mut hand, &[], takes).await, [jobs[6]]);
    // Another worker is asked to leave nothing, and finds what is left.
    let left = add(trial, &["long", "long"]).await;
    assert_eq!(claim(&mut *claimer, &mut hand, &[], leaves).await, []);
    assert_eq!(ids(&trial.worker("q").await.take(9).await), left);
}

/// In one call, as with any claim.
pub async fn a_settlement_that_comes_with_such_a_claim_counts(trial: &Trial<'_>) {
    let jobs = add(trial, &["a", "long", "a"]).await;
    let mut hand = trial.worker("q").await;
    let first = hand.take_one().await;
    assert_eq!(first.id, jobs[0]);
    let mut claimer = hand.claimer();
    let settled = [end(&first, completed())];
    assert_eq!(claim(&mut *claimer, &mut hand, &settled, |hand| leaving(hand, 9)).await, [jobs[2]]);
    assert!(trial.find(jobs[0]).await.is_none(), "it completed");
    trial.assert_counted().await;
}

/// Never at the price of lateness: what those below have not taken by then goes to whoever is free.
pub async fn a_job_that_has_waited_for_half_of_its_time_is_anybodys(trial: &Trial<'_>) {
    trial.set_queue("q", Setting::StartWithin(Some(HOUR))).await;
    let jobs = add(trial, &["long", "a", "long"]).await;
    let mut hand = trial.worker("q").await;
    let mut claimer = hand.claimer();
    let leaves = |hand: &mut Hand| Want { sweep: false, ..leaving(hand, 9) };
    assert_eq!(claim(&mut *claimer, &mut hand, &[], leaves).await, [jobs[1]]);
    assert_eq!(claim(&mut *claimer, &mut hand, &[], leaves).await, []);
    // The other queue's time is its own: a minute, where none is set.
    trial.enqueue(of("long").queue("other")).await;
    let within = Duration::from_millis(400);
    trial.set_queue("q", Setting::StartWithin(Some(within))).await;
    let mut both = trial.worker("q,other").await;
    let mut claimer = both.claimer();
    let ready_at = trial.job(jobs[2]).await.ready_at.expect("it is ready");
    let mut taken = Vec::new();
    eventually("both are old enough", async || {
        let from = trial.now().await;
        let more = claim(&mut *claimer, &mut both, &[], leaves).await;
        let until = trial.now().await;
        let old_at = ready_at + within / 2;
        assert!(more.is_empty() || until >= old_at, "{more:?} at {until}, which are old at {old_at}");
        assert!(!more.is_empty() || from <= old_at, "none at {from}, though they are old at {old_at}");
        taken.extend(more);
        (taken.len() == 2).then_some(())
    })
    .await;
    assert_eq!(taken, [jobs[0], jobs[2]]);
    let other = trial.jobs_of("other").await;
    assert_eq!(other.iter().map(|job| job.state).collect::<Vec<_>>(), [crate::State::Queued]);
}

/// It is wanted by nobody as much as by whoever holds nothing.
pub async fn a_suspect_is_not_passed_over(trial: &Trial<'_>) {
    let id = trial.suspect(plain("q")).await;
    let mut hand = trial.worker("q").await;
    let mut claimer = hand.claimer();
    let alone = |hand: &mut Hand| Want { alone: true, spares: vec!["kind".into()], ..hand.want(1) };
    assert_eq!(claim(&mut *claimer, &mut hand, &[], alone).await, [id]);
}

//! Letting go: only a drained place where nothing runs and nobody could claim goes, and what goes is not recalled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    scaling::{POOL, assert_shut, at, comes_up, let_go, names, place, scaler, shown, withhold, withhold_for},
    trial::{HOUR, Hand, Trial, completed, eventually, plain},
};
use crate::store::{ClaimedJob, Fence, Gate, Store, WorkerState};

/// Short enough to be waited for.
const BRIEFLY: Duration = Duration::from_millis(100);

/// By the number that its drain has, not by one that it had or never had.
pub async fn a_place_goes_only_by_its_drains_number(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    let hand = comes_up(trial, "i-1", WorkerState::Active).await;
    assert!(!let_go(trial, &fence, "i-1", 0).await, "it was never drained");
    let first = withhold(trial, &fence, "i-1").await;
    trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap();
    assert!(!let_go(trial, &fence, "i-1", first).await, "its drain was taken back");
    let second = withhold(trial, &fence, "i-1").await;
    let other = withhold(trial, &fence, "i-2").await;
    assert!(!let_go(trial, &fence, "i-1", first).await, "by the drain before");
    assert!(!let_go(trial, &fence, "i-1", second + other + 1).await, "by no drain's");
    assert!(!let_go(trial, &fence, "unknown", second).await, "a place that is not drained");
    assert_eq!(shown(trial, hand.boot).await.state, WorkerState::Draining);

    assert!(let_go(trial, &fence, "i-1", second).await);
    assert_eq!(shown(trial, hand.boot).await.state, WorkerState::Leaving);
    let leaving = place(trial, "i-1").await.unwrap();
    assert_eq!((leaving.leaving, leaving.epoch), (true, second));
    assert!(let_go(trial, &fence, "i-1", second).await, "asked again after a lost answer it says the same");
    assert!(!place(trial, "i-2").await.unwrap().leaving);
}

/// Whoever claims by mistake of a clock would be killed: a drain that has ended lets nothing go.
pub async fn a_place_whose_drain_has_ended_does_not_go(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    let number = withhold_for(trial, &fence, "i-1", BRIEFLY).await;
    trial.until_past(trial.now().await + BRIEFLY).await;
    assert!(!let_go(trial, &fence, "i-1", number).await, "nobody is there, and still it does not");
    // Between two drains somebody came up who may claim.
    let mut came = comes_up(trial, "i-1", WorkerState::Active).await;
    assert!(!let_go(trial, &fence, "i-1", number).await);
    let id = trial.enqueue(plain("q")).await;
    let job = came.take_one().await;
    assert_eq!(job.id, id);
    let again = withhold(trial, &fence, "i-1").await;
    assert!(!let_go(trial, &fence, "i-1", number).await);
    assert!(!let_go(trial, &fence, "i-1", again).await, "it runs a job");
    came.settle(&job, completed()).await;
    assert_shut(&mut came, Gate::Draining).await;
    assert!(let_go(trial, &fence, "i-1", again).await);
}

/// On whichever of the processes there it runs; what the dead hold keeps nobody.
pub async fn a_place_where_a_job_runs_does_not_go(trial: &Trial<'_>) {
    trial.fill("q", 3).await;
    let fence = scaler(trial).await;
    let mut one = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut two = comes_up(trial, "i-1", WorkerState::Active).await;
    let mut elsewhere = comes_up(trial, "i-2", WorkerState::Active).await;
    let mut dead = comes_up(trial, "i-1", WorkerState::Active).await;
    let (first, second) = (one.take_one().await, two.take_one().await);
    let lost = dead.take_one().await;
    let number = withhold(trial, &fence, "i-1").await;
    assert!(!let_go(trial, &fence, "i-1", number).await);
    one.settle(&first, completed()).await;
    assert!(!let_go(trial, &fence, "i-1", number).await, "the other one runs a job");
    two.settle(&second, completed()).await;
    assert!(!let_go(trial, &fence, "i-1", number).await, "so does one that is not known to be dead");
    trial.store.bury(&[dead.boot]).await.unwrap();
    assert_eq!(elsewhere.take(1).await, []);
    assert!(let_go(trial, &fence, "i-1", number).await);
    assert_eq!(shown(trial, dead.boot).await.state, WorkerState::Dead, "and the dead stay dead");
    assert_eq!(trial.store.rescue_dead(true).await.unwrap()[0].id, lost.id);
}

/// Its removal may be under way: no order but [`keep`](crate::store::Scale::keep) brings it back.
pub async fn a_place_that_leaves_is_not_recalled(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let mut hand = comes_up(trial, "i-1", WorkerState::Active).await;
    let number = withhold(trial, &fence, "i-1").await;
    assert!(let_go(trial, &fence, "i-1", number).await);
    let leaving = place(trial, "i-1").await;
    assert_eq!(trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap(), []);
    assert_eq!(trial.store.recall(&[hand.boot]).await.unwrap(), []);
    assert_eq!(trial.store.drain(&[hand.boot], "ann", None).await.unwrap(), []);
    assert_eq!(withhold_for(trial, &fence, "i-1", Duration::from_millis(1)).await, number);
    trial.until_past(trial.now().await + Duration::from_millis(2)).await;
    assert_eq!(place(trial, "i-1").await, leaving, "a renewal neither keeps nor shortens it");
    assert_shut(&mut hand, Gate::Leaving).await;
    assert_eq!(hand.beat(&[], &[]).await.state, WorkerState::Leaving);
}

/// Heroku starts `worker.5` anew while it is about to take it away.
pub async fn what_registers_at_a_leaving_place_comes_up_leaving(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    // Nobody is there when it goes.
    let number = withhold(trial, &fence, "i-1").await;
    assert!(let_go(trial, &fence, "i-1", number).await);
    let mut came = comes_up(trial, "i-1", WorkerState::Leaving).await;
    assert_shut(&mut came, Gate::Leaving).await;
    assert_eq!(trial.store.recall(&[came.boot]).await.unwrap(), []);
    assert!(let_go(trial, &fence, "i-1", number).await, "it could not claim");
    comes_up(trial, "i-2", WorkerState::Active).await;
}

/// So that a scaler that dies after its order leaves nobody out for ever; but a person's drain goes on.
pub async fn a_leave_ends_with_its_lease(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let mut hand = comes_up(trial, "i-1", WorkerState::Active).await;
    let number = withhold(trial, &fence, "i-1").await;
    let mut persons = comes_up(trial, "i-2", WorkerState::Active).await;
    let theirs = trial.store.drain(&[persons.boot], "ann", None).await.unwrap()[0].1;
    for (instance, number) in [("i-1", number), ("i-2", theirs)] {
        assert!(trial.store.let_go(&fence, POOL, instance, number, BRIEFLY).await.unwrap());
    }
    trial.until_past(trial.now().await + BRIEFLY).await;
    assert_eq!(place(trial, "i-1").await, None);
    assert!(!let_go(trial, &fence, "i-1", number).await);
    let drained = place(trial, "i-2").await.expect("a person's drain has no end");
    assert_eq!((drained.leaving, drained.by.as_str(), drained.until, drained.epoch), (false, "ann", None, theirs));
    assert_shut(&mut persons, Gate::Draining).await;
    assert_eq!(shown(trial, persons.boot).await.state, WorkerState::Draining);
    comes_up(trial, "i-2", WorkerState::Draining).await;
    assert_eq!(shown(trial, hand.boot).await.state, WorkerState::Active);
    comes_up(trial, "i-1", WorkerState::Active).await;
    assert_eq!(super::trial::ids(&hand.take(1).await), [id]);
}

/// Since it is not removed after all: then it is drained as before, and may be restored.
pub async fn a_place_that_is_kept_is_drained_again(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let mut hand = comes_up(trial, "i-1", WorkerState::Active).await;
    let number = withhold(trial, &fence, "i-1").await;
    assert!(let_go(trial, &fence, "i-1", number).await);
    let mut came = comes_up(trial, "i-1", WorkerState::Leaving).await;
    trial.store.keep(&fence, POOL, &names(["i-1", "unknown"])).await.unwrap();
    let kept = place(trial, "i-1").await.expect("it is drained");
    assert_eq!((kept.leaving, kept.epoch), (false, number));
    for hand in [&mut hand, &mut came] {
        assert_shut(hand, Gate::Draining).await;
        assert_eq!(shown(trial, hand.boot).await.state, WorkerState::Draining);
    }
    comes_up(trial, "i-1", WorkerState::Draining).await;
    // A place that is not leaving stays as it is.
    trial.store.keep(&fence, POOL, &names(["i-1"])).await.unwrap();
    assert_eq!(place(trial, "i-1").await, Some(kept));
    assert_eq!(trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap().len(), 3);
    trial.store.keep(&fence, POOL, &names(["i-1"])).await.unwrap();
    assert_eq!(place(trial, "i-1").await, None, "and nothing is drained by it");
    assert_eq!(super::trial::ids(&hand.take(1).await), [id]);
}

/// Who has no end to their drain has none after a removal that did not happen.
pub async fn a_persons_place_that_is_kept_is_that_persons(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    let hand = comes_up(trial, "i-1", WorkerState::Active).await;
    let number = trial.store.drain(&[hand.boot], "ann", None).await.unwrap()[0].1;
    let before = place(trial, "i-1").await;
    assert!(let_go(trial, &fence, "i-1", number).await);
    assert_eq!(place(trial, "i-1").await.unwrap().until, None);
    trial.store.keep(&fence, POOL, &names(["i-1"])).await.unwrap();
    assert_eq!(place(trial, "i-1").await, before);
    assert_eq!(trial.store.restore(&fence, POOL, &names(["i-1"])).await.unwrap(), []);
    assert_eq!(trial.store.recall(&[hand.boot]).await.unwrap(), [hand.boot]);
}

/// The instance is gone: the next of that name works. One that still runs there stays as it was told.
pub async fn a_leaving_place_that_is_forgotten_is_open_to_whatever_comes(trial: &Trial<'_>) {
    trial.enqueue(plain("q")).await;
    let fence = scaler(trial).await;
    let mut there = comes_up(trial, "i-1", WorkerState::Active).await;
    let number = withhold(trial, &fence, "i-1").await;
    assert!(let_go(trial, &fence, "i-1", number).await);
    trial.store.forget(&fence, POOL, &names(["i-1"])).await.unwrap();
    assert_shut(&mut there, Gate::Leaving).await;
    assert_eq!(trial.store.recall(&[there.boot]).await.unwrap(), []);
    assert_eq!(comes_up(trial, "i-1", WorkerState::Active).await.take(1).await.len(), 1);
    assert!(!let_go(trial, &fence, "i-1", number).await);
}

/// Workers come up, claim and finish while a place is drained and let go, again and again, also as its drain runs out:
/// once it goes, nothing runs there and nothing starts.
pub async fn a_place_never_goes_while_a_job_runs_there(trial: &Trial<'_>) {
    let fence = scaler(trial).await;
    let other = trial.another_handle().await;
    for round in 0..24_usize {
        let instance = format!("i-{round}");
        trial.fill("q", 20).await;
        let gone = Arc::new(AtomicBool::new(false));
        // The first is there before; the others come up while it happens.
        let first = Hand::announce(trial.store.clone(), at(POOL, &instance)).await.0;
        let mut tasks = vec![tokio::spawn(work(first, Arc::clone(&gone)))];
        for n in 0..2 {
            let store = if n == 0 { trial.store.clone() } else { other.clone() };
            tasks.push(tokio::spawn(come_and_go(store, instance.clone(), Arc::clone(&gone))));
        }
        // A drain of a few milliseconds ends in the midst of it now and then.
        let lease = if round % 3 == 0 { Duration::from_millis(3) } else { HOUR };
        remove(trial, &fence, &instance, lease).await;
        gone.store(true, Ordering::SeqCst);
        for task in tasks {
            task.await.expect("no worker fails");
        }
        assert!(place(trial, &instance).await.expect("it is leaving").leaving);
        trial.store.forget(&fence, POOL, &[instance]).await.unwrap();
    }
}

/// Drains the place and lets it go as soon as it may.
async fn remove(trial: &Trial<'_>, fence: &Fence, instance: &str, mut lease: Duration) {
    eventually("a drained place may go", async || {
        let number = withhold_for(trial, fence, instance, lease).await;
        // A store that is slower than a short drain lets nothing go by it.
        lease += Duration::from_millis(1);
        let_go(trial, fence, instance, number).await.then_some(())
    })
    .await;
}

/// Claims and finishes until the place has gone, and a little longer.
async fn work(mut hand: Hand, gone: Arc<AtomicBool>) {
    let mut after = 0;
    while after < 3 {
        after += usize::from(gone.load(Ordering::SeqCst));
        let claimed = hand.next(&[], 1, false).await;
        finish(&hand, &claimed.jobs, &gone).await;
    }
}

/// Workers come up one after another until the place has gone, and a little longer; each claims once.
async fn come_and_go(store: Arc<dyn Store>, instance: String, gone: Arc<AtomicBool>) {
    let mut after = 0;
    while after < 2 {
        let leaves = gone.load(Ordering::SeqCst);
        after += usize::from(leaves);
        let (mut hand, state) = Hand::announce(store.clone(), at(POOL, &instance)).await;
        assert!(!leaves || state == WorkerState::Leaving, "it comes up {state} at a place that was let go");
        let claimed = hand.next(&[], 1, true).await;
        finish(&hand, &claimed.jobs, &gone).await;
        store.deregister(hand.boot).await.expect("it goes");
    }
}

/// Runs jobs for the time of a beat, in which a place could go under them.
async fn finish(hand: &Hand, jobs: &[ClaimedJob], gone: &AtomicBool) {
    for job in jobs {
        hand.beat(&[job], &[job]).await;
        // A job that is in hand when the place has gone ran there as it went, or was claimed after that.
        assert!(!gone.load(Ordering::SeqCst), "{} runs on a place that was let go", job.id);
        hand.settle(job, completed()).await;
    }
}

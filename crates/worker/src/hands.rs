//! What this worker holds, as the heartbeat tells it to the store: written by the dispatcher, read by the heartbeat's
//! own thread. A plain mutex, so that neither needs the other's runtime.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use headcount_queue::{
    JobId, Stop,
    store::{Beat, BootId, ClaimedJob, WorkerState},
};
use tokio::sync::{Notify, watch};

/// An attempt in this worker's hands: the job and the number of the claim that brought it.
pub(crate) type Key = (JobId, i64);

/// The key of a claimed job.
pub(crate) fn key(job: &ClaimedJob) -> Key {
    (job.id, job.token.claim)
}

/// Where a held attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Waiting for a slot.
    Buffered,
    /// Its handler runs, or is about to: a death counts against it.
    Started,
    /// Ended; the store has not yet acknowledged how.
    Settled,
}

#[derive(Debug)]
struct Held {
    stop: watch::Sender<Option<Stop>>,
    place: Place,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hands {
    /// As every beat says it.
    grace: Option<Duration>,
    inner: Mutex<Inner>,
    beat_wanted: Notify,
}

#[derive(Debug)]
struct Inner {
    /// None between two registrations.
    boot: Option<BootId>,
    held: HashMap<Key, Held>,
    /// The claims that were sent and not yet answered or given up, and the latest that was.
    asked: BTreeSet<i64>,
    answered: i64,
    /// How many snapshots were taken, and the latest that the store has heard.
    taken: u64,
    beaten: u64,
    /// When the latest beat that succeeded was sent. By it one knows for how long others may have thought us alive.
    beaten_at: Instant,
    /// Since when beats have been failing.
    failing_since: Option<Instant>,
}

/// A beat to be sent, with its number.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) beat: Beat,
    number: u64,
    at: Instant,
}

impl Hands {
    /// Nothing yet. `grace`: see [`Beat::grace`].
    pub(crate) fn new(grace: Option<Duration>) -> Self {
        let inner = Inner {
            boot: None,
            held: HashMap::new(),
            asked: BTreeSet::new(),
            answered: 0,
            taken: 0,
            beaten: 0,
            beaten_at: Instant::now(),
            failing_since: None,
        };
        Self { grace, inner: Mutex::new(inner), beat_wanted: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way; a poisoned lock would only hide the panic that mattered.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fresh registration, sent at `at`, counts as the first sign of life.
    pub(crate) fn registered(&self, boot: BootId, at: Instant) {
        let mut inner = self.lock();
        inner.boot = Some(boot);
        inner.beaten_at = at;
        inner.failing_since = None;
    }

    /// Everything of this registration is taken away: handlers are told, and nothing is held any more. No beat is sent
    /// until the next registration; if that has come already, there is nothing left to drop.
    pub(crate) fn drop_all(&self, boot: BootId) {
        let mut inner = self.lock();
        if inner.boot.is_some_and(|current| current != boot) {
            return;
        }
        inner.boot = None;
        inner.asked.clear();
        for (_, held) in inner.held.drain() {
            tell(&held.stop, Stop::TakenAway);
        }
    }

    /// A claim is sent.
    pub(crate) fn asked(&self, claim: i64) {
        self.lock().asked.insert(claim);
    }

    /// A claim was answered. Its jobs and its number become visible to the heartbeat together: a beat between the two
    /// would have the jobs given back under our hands.
    pub(crate) fn answered(&self, claim: i64, jobs: &[ClaimedJob]) -> Vec<watch::Sender<Option<Stop>>> {
        let mut inner = self.lock();
        inner.asked.remove(&claim);
        inner.answered = inner.answered.max(claim);
        let held = jobs.iter().map(|job| {
            let stop = watch::Sender::new(None);
            (key(job), stop)
        });
        let mut stops = Vec::with_capacity(jobs.len());
        for (key, stop) in held {
            stops.push(stop.clone());
            inner.held.insert(key, Held { stop, place: Place::Buffered });
        }
        stops
    }

    /// A claim's answer will not be used, should it come: the next beats have its jobs given back.
    pub(crate) fn give_up(&self, claim: i64) {
        self.answered(claim, &[]);
    }

    /// An attempt went on to this place.
    pub(crate) fn moved(&self, keys: impl IntoIterator<Item = Key>, place: Place) {
        let mut inner = self.lock();
        for key in keys {
            if let Some(held) = inner.held.get_mut(&key) {
                held.place = place;
            }
        }
    }

    /// One ended, and its slot went on with the other.
    pub(crate) fn went_on(&self, settled: Option<Key>, started: Option<Key>) {
        let mut inner = self.lock();
        for (key, place) in [(settled, Place::Settled), (started, Place::Started)] {
            if let Some(held) = key.and_then(|key| inner.held.get_mut(&key)) {
                held.place = place;
            }
        }
    }

    /// The store has acknowledged these, or they were taken away.
    pub(crate) fn forget(&self, keys: impl IntoIterator<Item = Key>) {
        let mut inner = self.lock();
        for key in keys {
            inner.held.remove(&key);
        }
    }

    /// How many attempts are held, settled ones included.
    pub(crate) fn len(&self) -> usize {
        self.lock().held.len()
    }

    /// Tells the handlers of all that runs.
    pub(crate) fn tell_running(&self, stop: Stop) {
        for held in self.lock().held.values().filter(|held| held.place == Place::Started) {
            tell(&held.stop, stop);
        }
    }

    /// Tells those of `keys` that have not ended; returns them.
    pub(crate) fn tell(&self, keys: &[Key], stop: Stop) -> Vec<Key> {
        let inner = self.lock();
        let unended = |key: &&Key| inner.held.get(key).is_some_and(|held| held.place != Place::Settled);
        let told: Vec<Key> = keys.iter().filter(unended).copied().collect();
        for key in &told {
            tell(&inner.held[key].stop, stop);
        }
        told
    }

    /// Asks the heartbeat to beat now. Returns the number of a snapshot that will show everything as it is now.
    pub(crate) fn want_beat(&self) -> u64 {
        let number = self.lock().taken + 1;
        self.beat_wanted.notify_one();
        number
    }

    /// Waits until a beat is wanted before its time.
    pub(crate) async fn beat_wanted(&self) {
        self.beat_wanted.notified().await;
    }

    /// What to tell the store now; nothing while unregistered.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let mut inner = self.lock();
        let boot = inner.boot?;
        inner.taken += 1;
        let mut holds: Vec<Key> = inner.held.keys().copied().collect();
        holds.sort_unstable();
        let started = holds.iter().filter(|key| inner.held[key].place == Place::Started).map(|key| key.0).collect();
        // Nothing is known yet of a claim that is under way, nor is it told of later ones: what those have brought is
        // held, or will be looked for when the earlier one is known.
        let through = inner.asked.first().map_or(inner.answered, |claim| claim - 1);
        let beat = Beat { boot, holds, started, through, grace: self.grace };
        Some(Snapshot { beat, number: inner.taken, at: Instant::now() })
    }

    /// The store has heard this snapshot. `false`: the worker has registered anew since, and the answer is void.
    pub(crate) fn heard(&self, snapshot: &Snapshot, state: WorkerState) -> bool {
        let mut inner = self.lock();
        inner.failing_since = None;
        if inner.boot != Some(snapshot.beat.boot) {
            return false;
        }
        if state != WorkerState::Dead {
            inner.beaten = inner.beaten.max(snapshot.number);
            inner.beaten_at = inner.beaten_at.max(snapshot.at);
        }
        true
    }

    /// A beat failed.
    pub(crate) fn unheard(&self) {
        self.lock().failing_since.get_or_insert_with(Instant::now);
    }

    /// For how long beats have been failing, if they are. Not the same as silence: a process that was stopped for an
    /// hour has been silent, and yet has no reason to think the store lost.
    pub(crate) fn unheard_for(&self) -> Option<Duration> {
        self.lock().failing_since.map(|since| since.elapsed())
    }

    /// Whether the store has heard the snapshot of this number, or a later one.
    pub(crate) fn has_heard(&self, number: u64) -> bool {
        self.lock().beaten >= number
    }

    /// How long ago the latest beat that succeeded was sent.
    pub(crate) fn silent_for(&self) -> Duration {
        self.lock().beaten_at.elapsed()
    }
}

/// Says why to stop, unless something weightier was said.
pub(crate) fn tell(stop: &watch::Sender<Option<Stop>>, why: Stop) {
    const fn weight(stop: Option<Stop>) -> u8 {
        match stop {
            None => 0,
            Some(Stop::Stopping) => 1,
            Some(Stop::TimedOut) => 2,
            Some(Stop::Cancelled) => 3,
            Some(_) => 4,
        }
    }
    stop.send_if_modified(|told| {
        let weightier = weight(Some(why)) > weight(*told);
        if weightier {
            *told = Some(why);
        }
        weightier
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_claims_jobs_and_its_number_show_together_and_its_jobs_until_acknowledged() {
        let hands = Hands::new(None);
        assert!(hands.snapshot().is_none(), "an unregistered worker has nothing to say");
        hands.registered(BootId(7), Instant::now());
        let jobs = [sample::job(1, 3), sample::job(2, 3)];
        hands.answered(3, &jobs);
        hands.moved([key(&jobs[0])], Place::Started);
        let beat = hands.snapshot().unwrap().beat;
        assert_eq!((beat.through, beat.holds), (3, vec![(JobId(1), 3), (JobId(2), 3)]));
        assert_eq!(beat.started, [JobId(1)]);

        hands.moved([key(&jobs[0])], Place::Settled);
        let beat = hands.snapshot().unwrap().beat;
        assert_eq!((beat.holds.len(), beat.started.len()), (2, 0));
        hands.forget([key(&jobs[0])]);
        hands.give_up(4);
        let beat = hands.snapshot().unwrap().beat;
        assert_eq!((beat.through, beat.holds), (4, vec![(JobId(2), 3)]));
    }

    #[test]
    fn a_beat_vouches_for_no_claim_that_is_under_way() {
        let hands = Hands::new(None);
        hands.registered(BootId(7), Instant::now());
        let through = || hands.snapshot().unwrap().beat.through;
        for claim in [1, 2, 3] {
            hands.asked(claim);
        }
        hands.answered(2, &[sample::job(1, 2)]);
        assert_eq!(through(), 0, "its jobs may be on their way to us");
        hands.answered(1, &[]);
        assert_eq!(through(), 2);
        hands.give_up(3);
        assert_eq!(through(), 3);
    }

    #[test]
    fn a_beat_that_was_wanted_is_one_that_was_taken_afterwards() {
        let hands = Hands::new(None);
        hands.registered(BootId(7), Instant::now());
        let early = hands.snapshot().unwrap();
        let wanted = hands.want_beat();
        assert!(hands.heard(&early, WorkerState::Active));
        assert!(!hands.has_heard(wanted));
        assert!(hands.heard(&hands.snapshot().unwrap(), WorkerState::Active));
        assert!(hands.has_heard(wanted));
    }

    #[test]
    fn an_answer_for_an_earlier_registration_is_void_and_a_beat_that_found_us_dead_is_no_sign_of_life() {
        let hands = Hands::new(None);
        hands.registered(BootId(7), Instant::now());
        let old = hands.snapshot().unwrap();
        let wanted = hands.want_beat();
        assert!(hands.heard(&hands.snapshot().unwrap(), WorkerState::Dead));
        assert!(!hands.has_heard(wanted));
        hands.drop_all(BootId(7));
        hands.registered(BootId(8), Instant::now());
        hands.drop_all(BootId(7));
        assert!(hands.snapshot().is_some(), "a late word on the old registration does not touch the new one");
        assert!(!hands.heard(&old, WorkerState::Active));
    }

    #[test]
    fn a_weightier_reason_to_stop_stays() {
        let (stop, told) = watch::channel(None);
        tell(&stop, Stop::Stopping);
        tell(&stop, Stop::Cancelled);
        tell(&stop, Stop::Stopping);
        assert_eq!(*told.borrow(), Some(Stop::Cancelled));
        tell(&stop, Stop::TakenAway);
        assert_eq!(*told.borrow(), Some(Stop::TakenAway));
    }
}

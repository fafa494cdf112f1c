//! How a worker stops: from the outside told how hard, inside one deadline for everything.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Tells a worker to stop. Cheap to clone; a later, harder word overrides a softer one, never the other way.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<watch::Sender<Phase>>);

/// How far a worker has been told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not at all.
    Running,
    /// Claim nothing; let everything that runs finish.
    Finish,
    /// The same, being out by then.
    By(Instant),
    /// The same, with the grace counted from `at`, but out by the time that was named before, if one was.
    Grace { at: Instant, by: Option<Instant> },
    /// At once.
    Now(Instant),
}

impl Stopper {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Running)))
    }

    /// Stops within the grace, as on a TERM: nothing more is claimed, what has not started is given back at once,
    /// running handlers are told, and those that do not end in time are dropped and their jobs given back.
    pub fn stop(&self) {
        self.raise(Phase::Grace { at: Instant::now(), by: None });
    }

    /// Stops so as to be out by this time: the same as [`stop`](Self::stop), with a time of its own instead of the grace.
    /// For a machine that has said when it ends. A stop that follows counts its grace, but does not prolong this.
    pub fn stop_by(&self, time: Instant) {
        self.raise(Phase::By(time));
    }

    /// Stops at once: running handlers are dropped and their jobs given back.
    pub fn stop_now(&self) {
        self.raise(Phase::Now(Instant::now()));
    }

    /// Claims nothing more and lets everything that runs finish, however long it takes, as on a HUP or a first INT.
    pub fn finish(&self) {
        self.raise(Phase::Finish);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }

    fn raise(&self, to: Phase) {
        self.0.send_if_modified(|phase| {
            // Two graces count from the first: a second TERM does not prolong it.
            let harder = std::mem::discriminant(phase) != std::mem::discriminant(&to) && *phase < to;
            if harder {
                *phase = match (*phase, to) {
                    (Phase::By(by), Phase::Grace { at, .. }) => Phase::Grace { at, by: Some(by) },
                    (_, to) => to,
                };
            }
            harder
        });
    }
}

/// The times by which a stopping worker has done what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// Handlers that have not ended by then are dropped.
    pub(crate) drop_at: Instant,
    /// The process is out by then, whatever the store does.
    pub(crate) out_at: Instant,
}

impl Deadlines {
    /// The deadlines of this phase; none while nothing presses.
    pub(crate) fn of(phase: Phase, grace: Duration) -> Option<Self> {
        let margin = margin(grace);
        match phase {
            Phase::Running | Phase::Finish => None,
            Phase::By(end) => Some(Self::before(end, margin)),
            Phase::Grace { at, by } => {
                let end = at + grace;
                Some(Self::before(by.map_or(end, |by| by.min(end)), margin))
            }
            Phase::Now(at) => Some(Self { drop_at: at, out_at: at + margin * 3 / 4 }),
        }
    }

    /// What must be over at `end`, with this margin for giving jobs back.
    fn before(end: Instant, margin: Duration) -> Self {
        // A time that has passed is now; no clock goes below its beginning.
        let earlier = |by: Duration| end.checked_sub(by).unwrap_or(end);
        Self { drop_at: earlier(margin), out_at: earlier(margin / 4) }
    }

    /// How long the farewell may take, from now: until shortly before the grace ends.
    pub(crate) fn to_leave(self) -> Duration {
        let beyond = self.out_at.duration_since(self.drop_at) / 6;
        (self.out_at + beyond).saturating_duration_since(Instant::now())
    }

    /// How long the dropping itself may take, ends of child processes included.
    pub(crate) fn to_close(self) -> Duration {
        self.out_at.duration_since(self.drop_at) * 2 / 3
    }
}

/// The part of the grace that is kept for giving jobs back: 2 s or a tenth, whichever is more, but at most half.
fn margin(grace: Duration) -> Duration {
    (grace / 10).max(Duration::from_secs(2)).min(grace / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_softer_word_never_overrides_a_harder_one_and_a_second_term_does_not_prolong_the_grace() {
        let stopper = Stopper::new();
        let phase = stopper.watch();
        stopper.finish();
        assert_eq!(*phase.borrow(), Phase::Finish);
        stopper.stop();
        let first = *phase.borrow();
        assert!(matches!(first, Phase::Grace { .. }));
        stopper.stop();
        stopper.finish();
        assert_eq!(*phase.borrow(), first);
        stopper.stop_now();
        assert!(matches!(*phase.borrow(), Phase::Now(_)));
    }

    #[test]
    fn a_term_does_not_prolong_what_was_to_end_by_a_time() {
        let (stopper, grace) = (Stopper::new(), Duration::from_secs(20));
        let phase = stopper.watch();
        let end = Instant::now() + Duration::from_secs(5);
        stopper.stop_by(end);
        let alone = Deadlines::of(*phase.borrow(), grace).unwrap();
        assert_eq!(alone.drop_at + Duration::from_secs(2), end);
        stopper.stop();
        assert_eq!(Deadlines::of(*phase.borrow(), grace), Some(alone));
        stopper.stop_by(end + Duration::from_hours(1));
        assert_eq!(Deadlines::of(*phase.borrow(), grace), Some(alone));
        let (late, sooner) = (Stopper::new(), Duration::from_secs(1));
        late.stop_by(end);
        late.stop();
        assert!(Deadlines::of(*late.watch().borrow(), sooner).unwrap().out_at < alone.drop_at, "the grace is shorter");
    }

    #[test]
    fn everything_is_out_before_the_grace_ends() {
        let at = Instant::now();
        for (grace, margin) in [(25.0, 2.5), (10.0, 2.0), (1.0, 0.5), (100.0, 10.0)] {
            let grace = Duration::from_secs_f64(grace);
            let deadlines = Deadlines::of(Phase::Grace { at, by: None }, grace).unwrap();
            assert_eq!(deadlines.drop_at + Duration::from_secs_f64(margin), at + grace);
            assert!(deadlines.drop_at < deadlines.out_at && deadlines.out_at < at + grace);
        }
        assert_eq!(Deadlines::of(Phase::Finish, Duration::from_secs(1)), None);
        assert_eq!(Deadlines::of(Phase::Now(at), Duration::from_secs(25)).unwrap().drop_at, at);
    }
}

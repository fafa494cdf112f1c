//! A loop's trouble with the store: waited out with a growing, jittered pause, and told once.

use std::time::{Duration, Instant};

/// The first pause after a failure.
const FIRST: Duration = Duration::from_millis(50);
/// The longest: a store that comes back is used again within seconds.
const LONGEST: Duration = Duration::from_secs(5);

/// What one loop knows of its current outage.
#[derive(Debug)]
pub(crate) struct Outage {
    what: &'static str,
    since: Option<Instant>,
    tries: u32,
    longest: Duration,
}

impl Outage {
    /// `what` cannot be done in an outage: "claiming jobs".
    pub(crate) fn of(what: &'static str) -> Self {
        Self { what, since: None, tries: 0, longest: LONGEST }
    }

    /// With shorter pauses at most.
    pub(crate) fn patient_for(mut self, longest: Duration) -> Self {
        self.longest = longest.min(LONGEST);
        self
    }

    /// A call failed. Returns the pause before the next: half to one and a half times a doubling length, so that a
    /// fleet does not come back all at once.
    pub(crate) fn failed(&mut self, error: &(impl std::error::Error + ?Sized)) -> Duration {
        let what = self.what;
        if self.since.is_none() {
            let error = chain(error);
            tracing::warn!(%error, "{what} fails: trying again until it succeeds");
            self.since = Some(Instant::now());
        }
        let whole = FIRST.saturating_mul(1 << self.tries.min(10)).min(self.longest);
        self.tries = self.tries.saturating_add(1);
        jittered(whole)
    }

    /// A call succeeded.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            let what = self.what;
            tracing::info!("{what} succeeds again after {:.1} s", since.elapsed().as_secs_f64());
        }
        self.tries = 0;
    }

    /// How long it has lasted.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }
}

/// A length with half of it, up or down, left to chance.
pub(crate) fn jittered(whole: Duration) -> Duration {
    whole.mul_f64(rand::random_range(0.5..1.5))
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded_and_a_success_starts_anew() {
        let mut outage = Outage::of("testing");
        let error = std::io::Error::other("down");
        let pauses: Vec<_> = (0..40).map(|_| outage.failed(&error)).collect();
        assert!(pauses[0] <= FIRST * 2, "{pauses:?}");
        assert!(pauses[20..].iter().all(|&p| p >= LONGEST / 2 && p <= LONGEST * 2), "{pauses:?}");
        assert!(outage.lasts().is_some());
        outage.over();
        assert_eq!(outage.lasts(), None);
        assert!(outage.failed(&error) <= FIRST * 2);
    }
}

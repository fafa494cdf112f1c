//! Who may take a silent worker's jobs: a rescuer that has itself seen the store without a gap.
//!
//! An outage of the store is nobody's death. When the store comes back, every worker's last beat is old; a rescuer
//! therefore judges only after its own calls have succeeded for a whole window, in which the living have beaten again.

use std::time::{Duration, Instant};

use crate::{
    Result,
    store::{Rescued, Store},
};

/// When a worker is taken for dead, and how often one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vigil {
    /// A worker whose last beat is older is dead. Default 15 s.
    pub window: Duration,
    /// How often to look. Default 5 s.
    pub scan: Duration,
}

impl Default for Vigil {
    fn default() -> Self {
        Self { window: Duration::from_secs(15), scan: Duration::from_secs(5) }
    }
}

/// How long one has seen the store without a gap.
#[derive(Debug, Clone, Copy, Default)]
struct Sight {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Sight {
    /// A call succeeded. A gap of more than `gap` since the one before starts anew: the process may have been stopped
    /// through an outage that it did not see.
    fn saw(&mut self, now: Instant, gap: Duration) {
        if self.last.is_none_or(|last| now.duration_since(last) > gap) {
            self.since = Some(now);
        }
        self.last = Some(now);
    }

    fn lost(&mut self) {
        *self = Self::default();
    }

    fn lasts(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

/// Finds dead workers and puts their jobs back into the queue.
#[derive(Debug)]
pub struct Rescuer {
    vigil: Vigil,
    sight: Sight,
}

impl Rescuer {
    /// A rescuer that has seen nothing yet: it judges after its first whole window.
    pub fn new(vigil: Vigil) -> Self {
        Self { vigil, sight: Sight::default() }
    }

    /// Looks once; to be called every [`Vigil::scan`]. Judges only if it has seen the store for a whole window.
    pub async fn scan(&mut self, store: &dyn Store) -> Result<Vec<Rescued>> {
        let result = self.look(store).await;
        if result.is_err() {
            self.sight.lost();
        }
        result
    }

    async fn look(&mut self, store: &dyn Store) -> Result<Vec<Rescued>> {
        store.now().await?;
        let now = Instant::now();
        // Two thirds of the window: an outage that hides in such a gap leaves the living a beat's time to spare.
        self.sight.saw(now, self.vigil.window * 2 / 3);
        if self.sight.lasts(now) < self.vigil.window {
            return Ok(Vec::new());
        }
        self.judge(store).await
    }

    /// Judges at once, without having watched: for a person who knows that the store was there all along.
    pub async fn judge(&self, store: &dyn Store) -> Result<Vec<Rescued>> {
        // Two statements: the mark waits for claims in flight, and the move, in a new snapshot, sees what they took.
        store.mark_dead(self.vigil.window).await?;
        store.rescue_dead(true).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_sight_starts_the_watch_anew() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let gap = Duration::from_secs(10);
        let mut sight = Sight::default();
        for s in [0, 5, 10, 15] {
            sight.saw(at(s), gap);
        }
        assert_eq!(sight.lasts(at(15)), Duration::from_secs(15));
        sight.saw(at(30), gap);
        assert_eq!(sight.lasts(at(30)), Duration::ZERO);
        sight.lost();
        sight.saw(at(31), gap);
        assert_eq!(sight.lasts(at(33)), Duration::from_secs(2));
    }
}

//! Holding on for longer where letting workers go was regretted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// With each regret a pool holds on for so much longer, up to an hour's worth of boots.
const MORE: f64 = 1.5;
const MOST: f64 = 3600.0;
/// In so many seconds the factor falls to 1/e of what it is above 1.
const FORGETS: f64 = 7200.0;
/// Workers that were let go more than so many holds ago are not regretted.
const HOLDS: f64 = 4.0;

/// Where a boot takes longer than a job may wait, a worker that was let go cannot be had back in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Regret {
    factor: f64,
    raised_at: f64,
    noted_at: f64,
    /// How many workers there were, and until when: each more than those after it.
    held: VecDeque<(f64, u32)>,
}

impl Default for Regret {
    fn default() -> Self {
        Self { factor: 1.0, raised_at: f64::MIN, noted_at: f64::MIN, held: VecDeque::new() }
    }
}

impl Regret {
    /// So many times as long as else a pool holds on.
    pub(super) fn factor(&self) -> f64 {
        self.factor
    }

    /// There are so many workers. `wanting`: more are needed, although the safety is high.
    pub(super) fn note(&mut self, at: f64, current: u32, wanting: bool, hold: f64, boot: f64) {
        let lasted = (at - self.noted_at).clamp(0.0, 10.0 * FORGETS);
        self.factor = 1.0 + (self.factor - 1.0) * (-lasted / FORGETS).exp();
        self.noted_at = at;
        while self.held.front().is_some_and(|(until, _)| *until < at - HOLDS * hold) {
            self.held.pop_front();
        }
        let had_more = self.held.front().is_some_and(|(_, held)| *held > current);
        if wanting && had_more && at - self.raised_at >= hold {
            self.factor = (MORE * self.factor).min((MOST / boot.max(1.0)).max(1.0));
            self.raised_at = at;
        }
        while self.held.back().is_some_and(|(_, held)| *held <= current) {
            self.held.pop_back();
        }
        self.held.push_back((at, current));
    }

    pub(super) fn is_sane(&self) -> bool {
        (1.0..=MOST).contains(&self.factor)
            && [self.raised_at, self.noted_at].iter().all(|x| x.is_finite())
            && self.held.iter().all(|(until, _)| until.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_once_a_hold_when_workers_were_let_go_too_soon_and_fades() {
        let mut regret = Regret::default();
        regret.note(0.0, 5, false, 20.0, 20.0);
        regret.note(5.0, 3, true, 20.0, 20.0);
        assert!((regret.factor() - 1.5).abs() < 1e-9);
        regret.note(10.0, 3, true, 30.0, 20.0);
        assert!(regret.factor() < 1.5, "not twice within a hold");
        regret.note(40.0, 3, true, 30.0, 20.0);
        assert!(regret.factor() > 2.2, "{}", regret.factor());
        regret.note(500.0, 3, true, 30.0, 20.0);
        assert!(regret.factor() < 2.2, "the five are long past");
        regret.note(500.0 + 36_000.0, 3, false, 30.0, 20.0);
        assert!(regret.factor() < 1.01);
    }
}

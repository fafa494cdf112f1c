//! How much safety a target needs: learned from the starts that were late, as far as a decision could have saved them.

use serde::{Deserialize, Serialize};

/// How strongly a late start moves the safety.
const GAMMA: f64 = 0.15;
/// Which part of the late starts that are promised at most is aimed at.
const MARGIN: f64 = 0.8;
/// Where it begins, and where it goes back to.
const BEGIN: f64 = 1.0;
const LEAST: f64 = -2.0;
const MOST: f64 = 4.0;
/// Without late starts, what it is above the beginning halves within so many seconds. Else it would take 65 min to
/// unwind at a job a second, and 14 h at one in 100 s.
const HALVES: f64 = 1800.0;
/// What it is below the beginning halves with so many starts in time. Were it by time here too, a pool with a job in
/// ten minutes would never learn that it has too many workers: 1.83 times the work is paid instead of 1.26 (NASA iPSC
/// 1993, 60 s); were it not at all, more are late where arrivals are uneven (LCG 2005, 300 s: 5.3 % instead of 5.0).
const HALVES_STARTS: f64 = 1800.0;
/// The late share that is shown is that of about so many seconds.
const SHOWN: f64 = 600.0;

/// The safety of one target, in standard deviations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Safety {
    z: f64,
    /// Nothing is learned from jobs that became claimable before this time: no decision could have saved them.
    blocked_until: f64,
    /// When the job that was next at the last look had become claimable.
    head: f64,
    /// Recent starts, and those of them that were late.
    starts: f64,
    late: f64,
}

impl Default for Safety {
    fn default() -> Self {
        Self { z: BEGIN, blocked_until: f64::MIN, head: f64::MIN, starts: 0.0, late: 0.0 }
    }
}

/// What happened since the last look.
#[derive(Debug, Clone, Copy)]
pub(in crate::decide) struct Starts {
    /// How long it was.
    pub(in crate::decide) lasted: f64,
    /// How many jobs started.
    pub(in crate::decide) all: f64,
    /// How many of them late.
    pub(in crate::decide) late: f64,
    /// New jobs a second.
    pub(in crate::decide) rate: f64,
    /// Which share may be late.
    pub(in crate::decide) share: f64,
}

impl Safety {
    pub(in crate::decide) fn z(&self) -> f64 {
        self.z
    }

    /// How many of the recent starts were late, 0 to 1; none without starts.
    pub(in crate::decide) fn late_share(&self) -> Option<f64> {
        (self.starts >= 0.5).then(|| (self.late / self.starts).clamp(0.0, 1.0))
    }

    /// No decision can help until now: jobs that became claimable by then teach nothing.
    pub(in crate::decide) fn block(&mut self, at: f64) {
        self.blocked_until = self.blocked_until.max(at);
    }

    pub(in crate::decide) fn learn(&mut self, starts: Starts) {
        let fade = (-starts.lasted / SHOWN).exp();
        self.starts = self.starts * fade + starts.all;
        self.late = self.late * fade + starts.late;
        // Jobs start in about the order in which they became claimable, so none was earlier than the one that was next.
        let teaches = self.head > self.blocked_until;
        if teaches {
            let wrong = starts.late - MARGIN * starts.share * starts.all;
            self.z += GAMMA * wrong / (60.0 * starts.rate).max(1.0).sqrt();
        }
        if !teaches || starts.late < 0.5 {
            let by = if self.z > BEGIN { starts.lasted / HALVES } else { starts.all / HALVES_STARTS };
            self.z = BEGIN + (self.z - BEGIN) * (-by).exp2();
        }
        self.z = self.z.clamp(LEAST, MOST);
    }

    /// The job that is next became claimable then; without one, now.
    pub(in crate::decide) fn look(&mut self, head: f64) {
        self.head = head;
    }

    pub(super) fn is_sane(&self) -> bool {
        (LEAST..=MOST).contains(&self.z)
            && [self.blocked_until, self.head].iter().all(|x| x.is_finite())
            && [self.starts, self.late].iter().all(|x| x.is_finite() && (0.0..1e15).contains(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: Starts = Starts { lasted: 5.0, all: 5.0, late: 0.0, rate: 1.0, share: 0.05 };

    /// A safety that looks every 5 s, for so many looks.
    fn learn(safety: &mut Safety, looks: u32, starts: Starts) {
        for look in 0..looks {
            safety.look(f64::from(look) * 5.0 + 1.0);
            safety.learn(starts);
        }
    }

    #[test]
    fn late_starts_raise_it_and_starts_in_time_lower_it() {
        let mut safety = Safety::default();
        learn(&mut safety, 100, Starts { late: 1.0, ..STARTS });
        assert!(safety.z() > 2.0, "{}", safety.z());
        assert!((safety.late_share().unwrap() - 0.2).abs() < 1e-9);
        let mut safety = Safety::default();
        learn(&mut safety, 2000, STARTS);
        assert!(safety.z() < 0.0, "{}", safety.z());
    }

    #[test]
    fn it_stays_where_late_starts_are_as_rare_as_is_aimed_at() {
        let mut safety = Safety::default();
        for _ in 0..200 {
            learn(&mut safety, 4, STARTS);
            learn(&mut safety, 1, Starts { late: 1.0, ..STARTS });
        }
        assert!((safety.z() - 1.0).abs() < 0.5, "4 % of the starts are late: {}", safety.z());
    }

    #[test]
    fn what_no_decision_could_have_saved_teaches_nothing() {
        let mut safety = Safety::default();
        safety.block(1000.0);
        learn(&mut safety, 100, Starts { late: 5.0, ..STARTS });
        assert!((safety.z() - 1.0).abs() < 1e-9, "{}", safety.z());
        assert_eq!(safety.late_share(), Some(1.0), "they are shown nevertheless");
        safety.look(1000.1);
        safety.learn(Starts { late: 5.0, ..STARTS });
        assert!(safety.z() > 1.0);
    }

    #[test]
    fn it_goes_back_to_its_beginning_by_time_from_above_and_by_starts_from_below() {
        let idle = Starts { all: 0.0, rate: 0.0, ..STARTS };
        let mut safety = Safety { z: 4.0, ..Safety::default() };
        learn(&mut safety, 360, idle);
        assert!((safety.z() - 2.5).abs() < 1e-6, "half an hour: {}", safety.z());
        let mut safety = Safety { z: -2.0, ..Safety::default() };
        learn(&mut safety, 360, idle);
        assert!((safety.z() + 2.0).abs() < 1e-9, "no start, no sign that it is too low: {}", safety.z());
        // Blocked, so that only the way back is seen.
        safety.block(f64::MAX);
        learn(&mut safety, 360, STARTS);
        assert!((safety.z() + 0.5).abs() < 1e-6, "1800 starts: {}", safety.z());
    }
}

//! Whether a scaler lives, and whether it does its work. What fails is told without any text of a store's or a
//! platform's error: a health check is read by more people than the log.

use std::time::Duration;

use super::{Snapshot, Standing};

/// A loop that has not gone round for so many of its intervals is stuck…
const ROUNDS: u32 = 3;
/// …and for so long: a store that hangs costs it the time limits of a whole round of calls.
const CALLS: Duration = Duration::from_mins(2);
/// A store that was read so long ago is not read any more, however slow the pools are.
const READ: Duration = Duration::from_secs(30);

/// An answer to a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether all is well.
    pub ok: bool,
    /// Why, in words.
    pub why: String,
}

impl Snapshot {
    /// Whether the scaler's loop goes round. If not, only a new process helps. A store or a platform that fails is no
    /// reason: starting again would not mend it.
    pub fn health(&self) -> Verdict {
        let limit = self.interval * ROUNDS + CALLS;
        match (&self.standing, self.alive) {
            (Standing::Ended, _) => bad("the scaler has stopped"),
            // Whoever asks has its own patience for a start.
            (_, None) => good("the scaler begins"),
            (_, Some(age)) if age > limit => {
                bad(format!("the scaler's loop has not gone round for {age:.0?}, and {limit:.0?} is the limit"))
            }
            (_, Some(age)) => good(format!("the scaler's loop went round {age:.1?} ago")),
        }
    }

    /// Whether the scaler does its work, or stands by for one that does, and the store was read lately.
    pub fn ready(&self) -> Verdict {
        let health = self.health();
        if !health.ok {
            return health;
        }
        let limit = (self.interval * ROUNDS).max(READ);
        let age = match self.read {
            None => return bad("the store has not been read yet; if that lasts, the log says why"),
            Some(age) if age > limit => {
                return bad(format!("the store was last read {age:.0?} ago; the log says why"));
            }
            Some(age) => age,
        };
        match &self.standing {
            Standing::Unsure => bad("it is not known whether this scaler may act; the log says why"),
            Standing::Ended => bad("the scaler has stopped"),
            Standing::Acts => good(format!("acts; the store was read {age:.1?} ago")),
            Standing::DryRun => good(format!("decides and changes nothing; the store was read {age:.1?} ago")),
            Standing::StandsBy { by } => good(format!("stands by; scaler {by} acts")),
        }
    }
}

fn good(why: impl Into<String>) -> Verdict {
    Verdict { ok: true, why: why.into() }
}

fn bad(why: impl Into<String>) -> Verdict {
    Verdict { ok: false, why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scaler whose loop went round, and whose store was read, so many seconds ago.
    fn snapshot(standing: Standing, alive: Option<u64>, read: Option<u64>) -> Snapshot {
        let [alive, read] = [alive, read].map(|age| age.map(Duration::from_secs));
        Snapshot { standing, alive, read, interval: Duration::from_secs(5), ..Snapshot::default() }
    }

    #[test]
    fn a_scaler_is_ready_while_it_acts_or_stands_by_and_its_store_is_read() {
        let other = || Standing::StandsBy { by: "other".into() };
        for (standing, alive, read, healthy, ready, word) in [
            (Standing::Unsure, None, None, true, false, "not been read yet"),
            (Standing::Unsure, Some(1), None, true, false, "not been read yet"),
            (Standing::Acts, Some(5), Some(5), true, true, "acts"),
            (Standing::Acts, Some(5), Some(31), true, false, "last read 31s ago"),
            (Standing::DryRun, Some(5), Some(5), true, true, "changes nothing"),
            (other(), Some(5), Some(5), true, true, "scaler other acts"),
            (other(), Some(136), Some(136), false, false, "not gone round for 136s"),
            (Standing::Ended, Some(1), Some(1), false, false, "has stopped"),
        ] {
            let seen = snapshot(standing, alive, read);
            assert_eq!((seen.health().ok, seen.ready().ok), (healthy, ready), "{seen:?}");
            assert!(seen.ready().why.contains(word), "{word}: {}", seen.ready().why);
        }
    }

    #[test]
    fn slow_pools_are_given_their_time() {
        let mut seen = snapshot(Standing::Acts, Some(200), Some(200));
        assert!(!seen.health().ok);
        seen.interval = Duration::from_mins(5);
        assert!(seen.health().ok && seen.ready().ok);
    }
}

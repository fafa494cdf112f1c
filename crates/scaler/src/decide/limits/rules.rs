//! The rules of a pool, as its configuration gives them.

use std::time::Duration;

use headcount_queue::{Error, Result, limits::check_delay};

use crate::{price::Money, schedule::Schedule};

/// What bounds a pool's size and the pace of its changes, besides its min and max. The default changes nothing but
/// [`Rules::respect_manual`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How long after it grew a pool does not grow again. Default 0: at once.
    pub grow_cooldown: Duration,
    /// How long after its size changed a pool does not shrink. Default 0.
    pub shrink_cooldown: Duration,
    /// By how many workers it grows at most in one tick. Default: as many as it takes.
    pub grow_step: Option<u32>,
    /// By how many workers it shrinks at most in one tick. Default: as many as it takes.
    pub shrink_step: Option<u32>,
    /// A change of less than this share of the current size is not made. Default 0.
    pub tolerance: Share,
    /// When other bounds than its min and max hold; its timezone says when a budget's day begins. Default: never, UTC.
    pub schedule: Schedule,
    /// What an instance costs in an hour. Default: what the driver knows of it.
    pub price: Option<Money>,
    /// What may be spent in a day. Without a price, of the pool's or of its driver's, it does not bind, which is logged.
    pub budget: Option<Money>,
    /// How long a size that was set by hand, above what the scaler asked for, is a floor. Default 30 min.
    pub respect_manual: Duration,
    /// How long a drain may take before it is given up and the workers claim again. Default: as long as it takes.
    pub drain_timeout: Option<Duration>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            grow_cooldown: Duration::ZERO,
            shrink_cooldown: Duration::ZERO,
            grow_step: None,
            shrink_step: None,
            tolerance: Share::default(),
            schedule: Schedule::default(),
            price: None,
            budget: None,
            respect_manual: Duration::from_mins(30),
            drain_timeout: None,
        }
    }
}

impl Rules {
    /// Whether these rules make sense for a pool of at most `max` workers, and at least `min` where no schedule says
    /// otherwise.
    pub(crate) fn check(&self, min: u32, max: u32) -> Result<()> {
        let refuse = |text: String| Err(Error::Rejected(text));
        if self.grow_step == Some(0) || self.shrink_step == Some(0) {
            return refuse("a step of 0 would keep the pool from ever changing; leave it out for no limit".into());
        }
        if self.budget.is_some_and(Money::is_zero) {
            return refuse("a budget of 0 is spent before it begins; leave it out, or set max".into());
        }
        for (what, length) in [
            ("grow_cooldown", self.grow_cooldown),
            ("shrink_cooldown", self.shrink_cooldown),
            ("respect_manual", self.respect_manual),
            ("drain_timeout", self.drain_timeout.unwrap_or_default()),
        ] {
            check_delay(what, length)?;
        }
        for entry in self.schedule.entries() {
            let (least, most) = (entry.min().unwrap_or(min), entry.max().unwrap_or(max));
            if most > max || least > max {
                return refuse(format!("schedule {entry}: that is above the pool's max of {max}; raise max"));
            }
            if least > most {
                return refuse(format!("schedule {entry}: a min of {least} is above a max of {most}; give both"));
            }
        }
        Ok(())
    }
}

/// A share of a whole, to a thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share(u16);

impl Share {
    /// A share from 0 to below 1, as one writes it: 0.1. `None` for anything else.
    pub fn new(share: f64) -> Option<Self> {
        let share = Self((share * 1000.0).round().clamp(0.0, 1000.0) as u16);
        (share.0 < 1000).then_some(share)
    }

    /// Whether `change` is less than this share of `whole`.
    pub(super) fn exceeds(self, change: u32, whole: u32) -> bool {
        u64::from(change) * 1000 < u64::from(whole) * u64::from(self.0)
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 10.0)
    }
}

//! The account's request tokens: 4500 an hour, shared with the deploys and the people who use it.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

const HOUR: Duration = Duration::from_hours(1);
/// A third of the account's 4500 an hour.
const SHARE: usize = 1500;
/// From here on the rest of the share is kept for growing.
const KEPT_FOR_GROWTH: usize = 300;
/// With fewer left in the account, only growing is worth one.
const SCARCE: u32 = 500;
/// What is left changes while others use it: older news is asked for again, which costs no token.
const NEWS: Duration = Duration::from_mins(1);

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// To see.
    Read,
    /// To remove.
    Shrink,
    /// To add.
    Grow,
}

/// Why a call is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saving {
    /// Heroku has said to wait.
    Told { left: Duration },
    /// The account has few left.
    Scarce { remaining: u32 },
    /// This driver has used its share, or what of it is not kept for growing.
    Share { left: Duration },
}

impl fmt::Display for Saving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { left } => write!(f, "Heroku's rate limit is reached; it is asked again in {left:.0?}"),
            Self::Scarce { remaining } => write!(
                f,
                "the account has {remaining} API requests left, and below {SCARCE} they are kept for growing; they come \
                 back by 75 a minute: see what else uses this account's token"
            ),
            Self::Share { left } => write!(
                f,
                "the scaler has used its third of the account's API requests for this hour; more in {left:.0?}"
            ),
        }
    }
}

/// What has been used and what is left.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    used: VecDeque<Instant>,
    remaining: Option<(u32, Instant)>,
    closed_until: Option<Instant>,
}

impl Tokens {
    /// Whether a call may be made.
    pub(super) fn allow(&mut self, need: Need, now: Instant) -> Result<(), Saving> {
        if let Some(left) = self.closed_until.and_then(|until| until.checked_duration_since(now))
            && !left.is_zero()
        {
            return Err(Saving::Told { left });
        }
        while self.used.front().is_some_and(|used| now.duration_since(*used) >= HOUR) {
            self.used.pop_front();
        }
        let share = if need == Need::Grow { SHARE } else { SHARE - KEPT_FOR_GROWTH };
        if let Some(first) = self.used.len().checked_sub(share).and_then(|over| self.used.get(over)) {
            return Err(Saving::Share { left: HOUR.saturating_sub(now.duration_since(*first)) });
        }
        match self.remaining {
            Some((remaining, _)) if remaining < SCARCE && need == Need::Shrink => Err(Saving::Scarce { remaining }),
            _ => Ok(()),
        }
    }

    /// A call that costs a token is made.
    pub(super) fn spend(&mut self, now: Instant) {
        self.used.push_back(now);
    }

    /// Heroku has told how many are left.
    pub(super) fn told(&mut self, remaining: u32, now: Instant) {
        self.remaining = Some((remaining, now));
    }

    /// Heroku wants no call for so long.
    pub(super) fn close(&mut self, wait: Duration, now: Instant) {
        self.closed_until = Some(now + wait);
    }

    /// Whether the account has few left.
    pub(super) fn are_scarce(&self) -> bool {
        self.remaining.is_some_and(|(remaining, _)| remaining < SCARCE)
    }

    /// Whether the account had few left when last heard of, and that was a while ago.
    pub(super) fn want_news(&self, now: Instant) -> bool {
        self.remaining.is_some_and(|(remaining, at)| remaining < SCARCE && now.duration_since(at) >= NEWS)
    }
}

#[cfg(test)]
impl Tokens {
    /// As if so much time had passed.
    pub(super) fn get_older(&mut self, time: Duration) {
        let times = self.remaining.iter_mut().map(|(_, at)| at).chain(&mut self.closed_until);
        times.chain(&mut self.used).for_each(|at| *at -= time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_third_of_the_account_is_used_at_most_and_the_last_of_it_for_growing() {
        let start = Instant::now();
        let mut tokens = Tokens::default();
        for n in 0..1200 {
            assert_eq!(tokens.allow(Need::Read, start + n * S), Ok(()), "{n}");
            tokens.spend(start + n * S);
        }
        let now = start + 1200 * S;
        assert_eq!(tokens.allow(Need::Read, now), Err(Saving::Share { left: 2400 * S }));
        assert_eq!(tokens.allow(Need::Shrink, now), Err(Saving::Share { left: 2400 * S }));
        for n in 0..300 {
            assert_eq!(tokens.allow(Need::Grow, now), Ok(()), "{n}");
            tokens.spend(now);
        }
        assert_eq!(tokens.allow(Need::Grow, now), Err(Saving::Share { left: 2400 * S }));
        assert_eq!(tokens.allow(Need::Grow, start + HOUR), Ok(()), "the first is an hour ago");
    }

    #[test]
    fn when_few_are_left_growing_gets_them() {
        let now = Instant::now();
        let mut tokens = Tokens::default();
        tokens.told(500, now);
        assert_eq!(tokens.allow(Need::Shrink, now), Ok(()));
        tokens.told(499, now);
        assert_eq!(tokens.allow(Need::Shrink, now), Err(Saving::Scarce { remaining: 499 }));
        assert_eq!(tokens.allow(Need::Grow, now), Ok(()));
        assert!(!tokens.want_news(now + 59 * S) && tokens.want_news(now + 60 * S));
        tokens.told(4000, now + 60 * S);
        assert!(!tokens.are_scarce() && !tokens.want_news(now + HOUR));
    }

    #[test]
    fn when_told_to_wait_nothing_is_asked() {
        let now = Instant::now();
        let mut tokens = Tokens::default();
        tokens.close(30 * S, now);
        for need in [Need::Read, Need::Shrink, Need::Grow] {
            assert_eq!(tokens.allow(need, now + 29 * S), Err(Saving::Told { left: S }));
            assert_eq!(tokens.allow(need, now + 30 * S), Ok(()));
        }
    }
}

//! When an idle worker says that its queues sleep, so that it is told of jobs, and a busy one that they do not, so that
//! enqueues need not tell anybody.

use std::time::{Duration, Instant};

/// A worker says one thing or the other at most this often.
const WORD_EVERY: Duration = Duration::from_secs(1);

/// What the worker knows of its queues' sleep.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is learned and forgotten at a time of its own")]
pub(super) struct Doze {
    /// Whether it would be told.
    pub(super) hears: bool,
    /// Whether its last look passed over what it leaves to others. Of that nobody tells it when it is anybody's to take:
    /// for that it polls.
    pub(super) passes: bool,
    /// What it is about to say.
    due: Option<bool>,
    said_at: Option<Instant>,
    /// The store does not let it say so.
    refused: bool,
    /// How many claims in a row brought all they asked for.
    full: u32,
    /// It has said that it sleeps: the next look must not miss what came in before that was known.
    last_look: bool,
}

impl Doze {
    /// A claim that asked for `wanted` jobs brought this many, and its queues are flagged `asleep` or not. Returns
    /// whether jobs that come in now are told.
    ///
    /// One full claim is no sign of much to do: with one slot every job is one. Two in a row are.
    pub(super) fn looked(&mut self, wanted: u32, brought: usize, asleep: bool, now: Instant) -> bool {
        self.full = if brought >= wanted as usize { self.full + 1 } else { 0 };
        let may_say = !self.refused && self.said_at.is_none_or(|at| now.duration_since(at) >= WORD_EVERY);
        self.due = match asleep {
            false if brought == 0 && self.hears && may_say => Some(true),
            true if self.full > 1 && may_say => Some(false),
            _ => None,
        };
        asleep && self.hears && brought == 0 && !self.passes
    }

    /// What to say to the store now.
    pub(super) fn word(&mut self, now: Instant) -> Option<bool> {
        let word = self.due.take()?;
        self.said_at = Some(now);
        Some(word)
    }

    /// It was said. Returns whether to look once more, at once.
    pub(super) fn said(&mut self, asleep: bool) -> bool {
        self.last_look = asleep;
        asleep
    }

    /// It must not be said.
    pub(super) fn refused(&mut self) {
        self.refused = true;
    }

    /// Whether the claim that is sent now is the last look, and has to look at everything.
    pub(super) fn take_last_look(&mut self) -> bool {
        std::mem::take(&mut self.last_look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hearing() -> Doze {
        Doze { hears: true, ..Doze::default() }
    }

    #[test]
    fn an_empty_look_puts_the_queues_to_sleep_and_is_followed_by_a_last_one() {
        let (mut doze, now) = (hearing(), Instant::now());
        assert!(!doze.looked(4, 1, false, now));
        assert_eq!(doze.word(now), None, "it found something");
        assert!(!doze.looked(4, 0, false, now), "nobody would be told yet");
        assert_eq!(doze.word(now), Some(true));
        assert!(doze.said(true));
        assert!(doze.take_last_look() && !doze.take_last_look());
        assert!(doze.looked(4, 0, true, now), "now it would");
        assert_eq!(doze.word(now), None);
    }

    #[test]
    fn who_hears_nothing_says_nothing_and_polls() {
        let (mut doze, now) = (Doze::default(), Instant::now());
        assert!(!doze.looked(4, 0, false, now));
        assert_eq!(doze.word(now), None);
        assert!(!doze.looked(4, 0, true, now), "others are told, this one is not");
    }

    #[test]
    fn who_passes_jobs_over_is_told_of_others_and_not_of_those() {
        let (mut doze, now) = (hearing(), Instant::now());
        doze.passes = true;
        doze.looked(4, 0, false, now);
        assert_eq!(doze.word(now), Some(true));
        doze.said(true);
        assert!(!doze.looked(4, 0, true, now));
        doze.passes = false;
        assert!(doze.looked(4, 0, true, now));
    }

    #[test]
    fn two_full_claims_in_a_row_wake_the_queues() {
        let (mut doze, now) = (hearing(), Instant::now());
        doze.looked(1, 1, true, now);
        assert_eq!(doze.word(now), None, "a single job that comes to a single slot");
        doze.looked(1, 0, true, now);
        doze.looked(1, 1, true, now);
        assert_eq!(doze.word(now), None, "and another");
        doze.looked(1, 1, true, now);
        assert_eq!(doze.word(now), Some(false));
        assert!(!doze.said(false));
    }

    #[test]
    fn a_word_is_given_once_a_second_and_never_where_it_was_refused() {
        let (mut doze, now) = (hearing(), Instant::now());
        doze.looked(4, 0, false, now);
        assert_eq!(doze.word(now), Some(true));
        doze.looked(4, 4, true, now);
        doze.looked(4, 4, true, now);
        assert_eq!(doze.word(now), None);
        let later = now + WORD_EVERY;
        doze.looked(4, 4, true, later);
        assert_eq!(doze.word(later), Some(false));
        doze.refused();
        let later = later + WORD_EVERY;
        doze.looked(4, 0, false, later);
        assert_eq!(doze.word(later), None);
    }
}

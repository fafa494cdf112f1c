//! Ends of attempts on their way to the store: gathered, sent in batches, and sent again alone where the answer was
//! lost.

use std::time::{Duration, Instant};

use headcount_queue::{
    JobId,
    limits::{self, MAX_ERROR, MAX_OUTPUT},
    store::{Settlement, Token, Verdict},
};

use crate::hands::Key;

/// How long an ended attempt waits for others to be settled with it.
const FLUSH_AFTER: Duration = Duration::from_millis(2);
/// As many are sent without waiting.
const FLUSH_AT: usize = 500;
/// No call carries more.
const MOST: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pending: Vec<Settlement>,
    since: Option<Instant>,
    /// Batches whose outcome is unknown or that were refused: they go first, each alone.
    again: Vec<Vec<Settlement>>,
    again_at: Option<Instant>,
}

impl Outbox {
    /// Puts in the end of an attempt.
    pub(crate) fn push(&mut self, settlement: Settlement) {
        self.since.get_or_insert_with(Instant::now);
        self.pending.push(settlement);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.again.is_empty()
    }

    /// Whether any wait for their first sending.
    pub(crate) fn has_new(&self) -> bool {
        !self.pending.is_empty()
    }

    /// So many more, and they are sent without waiting.
    pub(crate) fn room(&self) -> usize {
        FLUSH_AT.saturating_sub(self.pending.len())
    }

    /// When something must be sent at the latest, whatever else happens.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        if !self.again.is_empty() {
            return self.again_at;
        }
        let since = self.since?;
        Some(if self.pending.len() >= FLUSH_AT { since } else { since + FLUSH_AFTER })
    }

    /// Whether an earlier batch must first be sent again, alone.
    pub(crate) fn owes(&self) -> bool {
        !self.again.is_empty()
    }

    /// Takes the batch that is to be sent again, if it is due.
    pub(crate) fn take_owed(&mut self, now: Instant) -> Option<Vec<Settlement>> {
        if self.again_at.is_some_and(|at| at > now) {
            return None;
        }
        self.again.pop()
    }

    /// Takes what is to be settled with the next call.
    pub(crate) fn take(&mut self) -> Vec<Settlement> {
        let rest = self.pending.split_off(self.pending.len().min(MOST));
        if rest.is_empty() {
            self.since = None;
        }
        std::mem::replace(&mut self.pending, rest)
    }

    /// Nobody knows whether these were settled: they are sent again after the pause.
    pub(crate) fn send_again(&mut self, batch: Vec<Settlement>, pause: Duration) {
        if !batch.is_empty() {
            self.again.push(batch);
            self.again_at = Some(Instant::now() + pause);
        }
    }

    /// The store refused these, not for want of an answer. They are sent one by one, so that one of them cannot hold
    /// up the others; one that is refused alone is failed, saying so: its job must not stay in `running` for ever.
    pub(crate) fn refused(&mut self, batch: Vec<Settlement>, why: &str, pause: Duration) {
        let alone = batch.len() == 1;
        for mut settlement in batch {
            if alone && !matches!(settlement.verdict, Verdict::Failed { .. }) {
                tracing::error!(id = %settlement.id, why, "the store refused the outcome of a job: failing it");
                let error = format!("the store refused the outcome of its attempt: {why}");
                settlement.verdict = Verdict::Failed { error: fit_error(error), keep: None };
            }
            self.again.push(vec![settlement]);
        }
        self.again_at = Some(Instant::now() + pause);
    }

    /// Forgets everything: it was taken away.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The keys of a batch.
pub(crate) fn keys(batch: &[Settlement]) -> impl Iterator<Item = Key> {
    batch.iter().map(|settlement| (settlement.id, settlement.token.claim))
}

/// A settlement that every store accepts: texts cut to what is kept, without the one character no text column takes.
pub(crate) fn settlement(id: JobId, token: Token, verdict: Verdict, ran: Duration) -> Settlement {
    let verdict = match verdict {
        Verdict::Completed { output, keep } => Verdict::Completed { output: output.map(fit_output), keep },
        Verdict::Retry { error, after } => Verdict::Retry { error: fit_error(error), after },
        Verdict::Failed { error, keep } => Verdict::Failed { error: fit_error(error), keep },
        Verdict::Snooze { reason, after } => Verdict::Snooze { reason: reason.map(fit_error), after },
        Verdict::Interrupt { reason } => Verdict::Interrupt { reason: fit_error(reason) },
        Verdict::Cancelled { reason } => Verdict::Cancelled { reason: fit_error(reason) },
        verdict @ (Verdict::Park { .. } | Verdict::Return) => verdict,
    };
    Settlement { id, token, verdict, ran }
}

fn fit_output(text: String) -> String {
    let text = without_nul(text);
    if text.len() <= MAX_OUTPUT { text } else { limits::head(&text, MAX_OUTPUT).to_owned() }
}

fn fit_error(text: String) -> String {
    let text = without_nul(text);
    if text.len() <= MAX_ERROR { text } else { limits::tail(&text, MAX_ERROR).to_owned() }
}

fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

#[cfg(test)]
mod tests {
    use headcount_queue::store::BootId;

    use super::*;

    fn done(id: i64) -> Settlement {
        let token = Token { boot: BootId(7), claim: 1 };
        settlement(JobId(id), token, Verdict::Completed { output: None, keep: Duration::ZERO }, Duration::ZERO)
    }

    #[test]
    fn a_lost_answers_batch_goes_again_alone_and_before_anything_newer() {
        let mut outbox = Outbox::default();
        outbox.push(done(1));
        let batch = outbox.take();
        outbox.push(done(2));
        outbox.send_again(batch, Duration::from_mins(1));
        assert!(outbox.owes());
        assert!(outbox.take_owed(Instant::now()).is_none(), "not before its pause");
        let again = outbox.take_owed(Instant::now() + Duration::from_secs(61)).unwrap();
        assert_eq!(again, [done(1)]);
        assert!(!outbox.owes());
        assert_eq!(outbox.take(), [done(2)]);
        assert!(outbox.is_empty() && outbox.due_at().is_none());
    }

    #[test]
    fn a_refused_batch_is_taken_apart_and_the_one_at_fault_is_failed() {
        let mut outbox = Outbox::default();
        outbox.refused(vec![done(1), done(2)], "no", Duration::ZERO);
        let two = outbox.take_owed(Instant::now()).unwrap();
        assert_eq!(two, [done(2)]);
        outbox.refused(two, "no", Duration::ZERO);
        let failed = outbox.take_owed(Instant::now()).unwrap();
        assert!(matches!(&failed[0].verdict, Verdict::Failed { error, .. } if error.contains("refused")));
        assert_eq!(outbox.take_owed(Instant::now()).unwrap(), [done(1)]);
    }

    #[test]
    fn no_call_carries_more_than_it_may() {
        let mut outbox = Outbox::default();
        (0..1500).for_each(|id| outbox.push(done(id)));
        assert_eq!(outbox.take().len(), MOST);
        assert!(outbox.due_at().is_some());
        assert_eq!(outbox.take().len(), 500);
        assert_eq!(outbox.due_at(), None);
    }

    #[test]
    fn texts_are_cut_to_what_is_kept_and_hold_no_nul() {
        let token = Token { boot: BootId(7), claim: 1 };
        let of = |verdict| settlement(JobId(1), token, verdict, Duration::ZERO).verdict;
        let long = format!("head\0{}tail", "x".repeat(MAX_OUTPUT));
        let Verdict::Completed { output: Some(output), .. } =
            of(Verdict::Completed { output: Some(long.clone()), keep: Duration::ZERO })
        else {
            panic!("it was completed")
        };
        assert!(output.starts_with("head\u{fffd}x") && output.len() == MAX_OUTPUT);
        let Verdict::Failed { error, .. } = of(Verdict::Failed { error: long, keep: None }) else {
            panic!("it was failed")
        };
        assert!(error.ends_with("xtail") && error.len() == MAX_ERROR);
    }
}

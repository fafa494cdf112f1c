//! Which calls suffer what, and how many did.

use std::{
    future::Future,
    ops::BitOr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use crate::{Error, Result};

/// The sorts of calls to a store, by who makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Call {
    /// Jobs are taken in.
    Enqueue,
    /// A worker announces itself or leaves the books.
    Register,
    /// A claim. A call that settles as well is both.
    Claim,
    /// A settlement. A call that claims as well is both.
    Settle,
    /// A handler asks for its callback.
    Callback,
    /// A beat, through whichever handle.
    Beat,
    /// The heartbeat's handle is opened.
    Heart,
    /// A worker listens, or says that its queues sleep or do not; sleepers are told at last.
    Wake,
    /// Something is looked at; the store's clock too, by which a rescuer sees that the store is there.
    Observe,
    /// Promotion, release, expiry, folding, purging, the audit.
    Maintain,
    /// Workers are marked dead or buried, and their jobs taken away.
    Rescue,
    /// A scaler writes: its lease, its pools, their places, the ledger.
    Scale,
    /// Something is changed by hand: jobs, pauses, drains, the tables.
    Admin,
}

impl Call {
    const ALL: [Self; 13] = [
        Self::Enqueue,
        Self::Register,
        Self::Claim,
        Self::Settle,
        Self::Callback,
        Self::Beat,
        Self::Heart,
        Self::Wake,
        Self::Observe,
        Self::Maintain,
        Self::Rescue,
        Self::Scale,
        Self::Admin,
    ];
}

/// A set of sorts of calls: `Call::Claim | Call::Settle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls(u16);

impl Calls {
    /// Every call: the store is down.
    pub const ALL: Self = Self((1 << Call::ALL.len()) - 1);

    fn contains(self, call: Call) -> bool {
        self.meets(call.into())
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl From<Call> for Calls {
    fn from(call: Call) -> Self {
        Self(1 << call as u8)
    }
}

impl<T: Into<Self>> BitOr<T> for Calls {
    type Output = Self;

    fn bitor(self, other: T) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl BitOr for Call {
    type Output = Calls;

    fn bitor(self, other: Self) -> Calls {
        Calls::from(self) | other
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It never reaches the store; [`Error::Unavailable`].
    Fail,
    /// It takes effect, and its reply never comes; [`Error::Unavailable`]. An error of the store itself is passed on.
    LoseReply,
    /// It hangs on its way to the store, and goes through when the rule is lifted. A caller that gives up before has done
    /// nothing.
    StallBefore,
    /// It takes effect at once, and its reply comes when the rule is lifted. A caller that gives up before has done it.
    StallAfter,
}

/// Which of the calls that a rule is about suffer its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Always,
    /// The nth, the 2nth, … counted from when the rule was made; 0 is none, 1 is all.
    Every(u64),
    /// The first n.
    First(u64),
    /// All but the first n.
    After(u64),
}

impl When {
    /// Whether the call with this number, from 1, is among them.
    fn applies(self, number: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Every(n) => n != 0 && number.is_multiple_of(n),
            Self::First(n) => number <= n,
            Self::After(n) => number > n,
        }
    }
}

/// A rule in force. Lifting or dropping it ends it, and lets go on what it had stalled.
#[derive(Debug)]
#[must_use = "a rule ends when it is dropped"]
pub struct Rule {
    lifted: watch::Sender<bool>,
}

impl Rule {
    /// Ends the rule.
    pub fn lift(self) {}
}

impl Drop for Rule {
    fn drop(&mut self) {
        self.lifted.send_replace(true);
    }
}

#[derive(Debug)]
struct Active {
    calls: Calls,
    fault: Fault,
    when: When,
    seen: u64,
    lifted: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Book {
    rules: Vec<Active>,
    calls: [u64; Call::ALL.len()],
    faults: [u64; Call::ALL.len()],
}

/// The rules in force, and the counts.
#[derive(Debug, Default)]
pub(super) struct Rules {
    book: Mutex<Book>,
    changed: Notify,
}

/// The source of an error that was made on cue.
#[derive(Debug, thiserror::Error)]
#[error("{0}, as the test wanted")]
struct OnCue(&'static str);

impl Rules {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, calls: Calls, fault: Fault, when: When) -> Rule {
        let (lifted, receiver) = watch::channel(false);
        self.book().rules.push(Active { calls, fault, when, seen: 0, lifted: receiver });
        Rule { lifted }
    }

    pub(super) fn calls(&self, call: Call) -> u64 {
        self.book().calls[call as usize]
    }

    pub(super) fn faults(&self, call: Call) -> u64 {
        self.book().faults[call as usize]
    }

    /// Waits until the counts are so.
    pub(super) async fn until(&self, reached: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listening before looking: a change between the two is not missed.
            changed.as_mut().enable();
            if reached(self) {
                return;
            }
            changed.await;
        }
    }

    /// Makes the call, or lets it suffer what the rules say.
    pub(super) async fn through<T>(&self, calls: Calls, perform: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let Some((fault, mut lifted)) = self.judge(calls) else { return perform.await };
        let mut stall = async || {
            // A sender that is gone has been dropped with its rule, which is as good.
            let _ = lifted.wait_for(|lifted| *lifted).await;
        };
        match fault {
            Fault::Fail => Err(unavailable("the call was refused")),
            Fault::LoseReply => {
                perform.await?;
                Err(unavailable("the reply was lost"))
            }
            Fault::StallBefore => {
                stall().await;
                perform.await
            }
            Fault::StallAfter => {
                let result = perform.await;
                stall().await;
                result
            }
        }
    }

    /// Counts the call, and finds what it suffers. A rule counts every call that it is about, whoever decides.
    fn judge(&self, calls: Calls) -> Option<(Fault, watch::Receiver<bool>)> {
        let mut book = self.book();
        book.rules.retain(|rule| !*rule.lifted.borrow());
        let mut suffered = None;
        for rule in book.rules.iter_mut().filter(|rule| rule.calls.meets(calls)) {
            rule.seen += 1;
            if suffered.is_none() && rule.when.applies(rule.seen) {
                suffered = Some((rule.fault, rule.lifted.clone()));
            }
        }
        for call in Call::ALL.into_iter().filter(|&call| calls.contains(call)) {
            book.calls[call as usize] += 1;
            book.faults[call as usize] += u64::from(suffered.is_some());
        }
        drop(book);
        self.changed.notify_waiters();
        suffered
    }
}

fn unavailable(why: &'static str) -> Error {
    Error::Unavailable(Box::new(OnCue(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_which_of_its_calls_suffer() {
        let suffering = |when: When| (1..=6).filter(|&n| when.applies(n)).collect::<Vec<u64>>();
        assert_eq!(suffering(When::Always), [1, 2, 3, 4, 5, 6]);
        assert_eq!(suffering(When::Every(3)), [3, 6]);
        assert!(suffering(When::Every(0)).is_empty());
        assert_eq!(suffering(When::First(2)), [1, 2]);
        assert_eq!(suffering(When::After(4)), [5, 6]);
    }

    #[test]
    fn all_calls_are_all_of_them() {
        assert!(Call::ALL.into_iter().all(|call| Calls::ALL.contains(call)));
        let both = Call::Claim | Call::Settle;
        assert_eq!(Call::ALL.into_iter().filter(|&call| both.contains(call)).count(), 2);
        assert!(!both.meets(Call::Beat.into()));
    }
}

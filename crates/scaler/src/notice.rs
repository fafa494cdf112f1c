//! What a person should hear of without looking: each matter once when it begins, and once when it is over.
//!
//! A matter must last before it is told, and be gone for a while before it is over, so that one that comes and goes is
//! told once. While it lasts it is told again from time to time. All this is in memory: a scaler that takes over tells
//! once more what still lasts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    decide::{Bound, Decision, Reason, Step},
    driver::PoolRef,
    record::TickRecord,
};

/// A matter is over when it has been gone for so long.
const CALM: Duration = Duration::from_mins(2);
/// A matter that lasts is told again so often.
const AGAIN: Duration = Duration::from_hours(6);

/// A sort of matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Concern {
    /// Jobs wait longer than they should, and something keeps the pool from growing.
    TargetMissed,
    /// The pool is left as it is, since not everything can be seen.
    Held,
    /// New instances do not come up.
    Failing,
    /// Four fifths of the day's budget are spent.
    Budget,
    /// A job was quarantined.
    Quarantined,
    /// No scaler acts.
    NoScaler,
}

impl Concern {
    /// Of a pool, in the order in which they are told.
    const OF_A_POOL: [Self; 4] = [Self::TargetMissed, Self::Held, Self::Failing, Self::Budget];

    /// How long it must last before it is told.
    const fn patience(self) -> Duration {
        match self {
            Self::TargetMissed => Duration::from_mins(1),
            Self::Held => Duration::from_mins(2),
            _ => Duration::ZERO,
        }
    }

    /// Whether it is so at this tick; and what there is to say.
    fn of(self, record: &TickRecord) -> Option<String> {
        let pool = &record.pool;
        match self {
            Self::TargetMissed => misses(&record.decision)
                .then(|| format!("pool {pool} cannot start its jobs in time: {}", record.decision)),
            Self::Held => (record.decision.step == Step::Hold)
                .then(|| format!("pool {pool} is held as it is: {}", record.decision.reason)),
            Self::Failing => {
                let trouble = record.trouble.as_ref().filter(|trouble| trouble.is_lasting())?;
                Some(format!("pool {pool} cannot grow: {trouble}"))
            }
            Self::Budget => {
                let account = &record.account;
                let (spent, budget) = (account.spent_today?, account.budget?);
                account.nears_budget().then(|| {
                    format!("pool {pool} has spent {spent} of the day's budget of {budget}; at the end of it, it falls to its min")
                })
            }
            Self::Quarantined | Self::NoScaler => None,
        }
    }
}

/// Whether jobs wait for longer than they should while something keeps the pool from growing.
fn misses(decision: &Decision) -> bool {
    let late = match &decision.reason {
        Reason::Need(need) => need.oldest.is_some_and(|oldest| oldest > need.within),
        _ => false,
    };
    late && decision.bound.is_some_and(|bound| {
        matches!(
            bound,
            Bound::Max(_)
                | Bound::Platform(_)
                | Bound::Occupied(_)
                | Bound::ScheduledMax(_)
                | Bound::OrderedMax(..)
                | Bound::Paused(_)
                | Bound::Futile { .. }
                | Bound::Budget { .. }
                | Bound::Connections { .. }
        )
    })
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// In words, as a person reads it.
    pub text: String,
    /// Of which sort it is.
    pub event: Concern,
    /// The pool; none if it is of the whole store.
    pub pool: Option<PoolRef>,
    /// Whether it is over, rather than begun.
    pub over: bool,
}

impl Notice {
    /// A matter of the whole store that begins, or has just happened.
    pub fn of_store(event: Concern, text: String) -> Self {
        Self { text, event, pool: None, over: false }
    }
}

/// What goes on in one pool.
#[derive(Debug, Default)]
pub(crate) struct Matters {
    open: BTreeMap<Concern, Open>,
}

#[derive(Debug)]
struct Open {
    since: Instant,
    /// When it was last seen to be so.
    seen: Instant,
    told: Option<Instant>,
}

impl Matters {
    /// What this tick gives to tell.
    pub(crate) fn look(&mut self, record: &TickRecord, now: Instant) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut tell = |event, over, text| {
            notices.push(Notice { text, event, pool: Some(record.pool.clone()), over });
        };
        for concern in Concern::OF_A_POOL {
            let Some(text) = concern.of(record) else {
                if let Some(open) = self.open.get(&concern)
                    && now - open.seen >= CALM
                {
                    if open.told.is_some() {
                        tell(concern, true, format!("pool {}: over: {}", record.pool, over(concern)));
                    }
                    self.open.remove(&concern);
                }
                continue;
            };
            let open = self.open.entry(concern).or_insert(Open { since: now, seen: now, told: None });
            open.seen = now;
            let due = match open.told {
                None => now - open.since >= concern.patience(),
                Some(told) => now - told >= AGAIN,
            };
            if due {
                open.told = Some(now);
                tell(concern, false, text);
            }
        }
        notices
    }
}

/// What is over.
const fn over(concern: Concern) -> &'static str {
    match concern {
        Concern::TargetMissed => "jobs start in time again",
        Concern::Held => "everything is seen again",
        Concern::Failing => "new instances come up again",
        Concern::Budget => "there is budget left",
        Concern::Quarantined => "no job is quarantined",
        Concern::NoScaler => "a scaler acts",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Money, account::Account, driver::Trouble, observe::Unseen};

    fn record(step: Step, reason: Reason) -> TickRecord {
        TickRecord {
            pool: "here".into(),
            at: None,
            counts: None,
            decision: Decision { step, wish: None, reason, bound: None },
            actions: Vec::new(),
            account: Account::default(),
            lost: Vec::new(),
            doubted: 0,
            trouble: None,
            took: Duration::ZERO,
        }
    }

    fn calm() -> TickRecord {
        record(Step::Keep(1), Reason::KeepLast { left: Duration::ZERO })
    }

    fn blind() -> TickRecord {
        record(Step::Hold, Reason::Unseen(Unseen::Store("gone".into())))
    }

    /// Looks once in ten seconds for so many minutes, and gives what was told.
    fn told(matters: &mut Matters, record: &TickRecord, now: &mut Instant, minutes: u64) -> Vec<(Concern, bool)> {
        let mut told = Vec::new();
        for _ in 0..minutes * 6 {
            told.extend(matters.look(record, *now).into_iter().map(|notice| (notice.event, notice.over)));
            *now += Duration::from_secs(10);
        }
        told
    }

    #[test]
    fn a_matter_is_told_when_it_has_lasted_and_once_more_when_it_is_over() {
        let (mut matters, mut now) = (Matters::default(), Instant::now());
        assert_eq!(told(&mut matters, &blind(), &mut now, 1), [], "it may pass");
        assert_eq!(told(&mut matters, &calm(), &mut now, 3), [], "it was never told");
        assert_eq!(told(&mut matters, &blind(), &mut now, 30), [(Concern::Held, false)]);
        assert_eq!(told(&mut matters, &calm(), &mut now, 1), [], "it may come back");
        assert_eq!(told(&mut matters, &blind(), &mut now, 30), [], "and it does");
        assert_eq!(told(&mut matters, &calm(), &mut now, 3), [(Concern::Held, true)]);
        assert_eq!(told(&mut matters, &calm(), &mut now, 30), []);
    }

    #[test]
    fn what_lasts_for_a_day_is_told_four_times() {
        let (mut matters, mut now) = (Matters::default(), Instant::now());
        assert_eq!(told(&mut matters, &blind(), &mut now, 24 * 60), [(Concern::Held, false); 4]);
    }

    #[test]
    fn a_pool_that_fails_or_nears_its_budget_is_told_at_once() {
        let now = Instant::now();
        let trouble = Trouble { message: "no such image".into(), failures: 9, retry_in: None };
        let failing = TickRecord { trouble: Some(trouble), ..calm() };
        let notices = Matters::default().look(&failing, now);
        assert!(notices[0].text.contains("no such image"), "{notices:?}");
        let account = Account { budget: Money::new(10.0), spent_today: Money::new(8.5), ..Account::default() };
        let notices = Matters::default().look(&TickRecord { account, ..calm() }, now);
        assert_eq!(notices.len(), 1);
        assert_eq!(
            serde_json::to_value(&notices[0]).unwrap(),
            serde_json::json!({
                "text": "pool here has spent 8.50 of the day's budget of 10.00; at the end of it, it falls to its min",
                "event": "budget", "pool": "here", "over": false,
            })
        );
    }
}

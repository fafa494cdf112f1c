//! A random history of a store: the steps that it is made of, and how they are drawn and played.

mod model;

use std::{ops::RangeInclusive, time::Duration};

use proptest::prelude::*;

use self::model::Model;
use super::trial::{
    HOUR, Trial, again, broken, cancelled, completed, done, failed, interrupt, kept, park_for, retry, snooze,
};
use crate::{
    Coalesce, Conflict, Expiry, Resolution, Scope, State,
    store::{Action, Verdict},
};

/// How many workers take part.
const WORKERS: usize = 3;

/// The keys that jobs coalesce by.
const KEYS: [&str; 2] = ["k0", "k1"];

const MOMENT: Duration = Duration::from_millis(1);

/// One thing that happens. Numbers that choose among jobs are taken modulo how many there are.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Jobs come in, in one bulk.
    Enqueue { jobs: usize, queue: usize, priority: i16, kind: usize, due: Due },
    /// Jobs of one key come in, in one bulk.
    Coalesce { jobs: usize, queue: usize, key: usize, rule: Coalesce, due: Due },
    /// A queue, or the kind of some jobs, is paused or resumed.
    Pause { kind: bool, paused: bool },
    /// What nothing holds back any more is released.
    Release,
    /// Something is done to many jobs at once.
    Act { action: Action, queue: usize, key: Option<usize>, states: Vec<State> },
    /// A bulk is refused.
    EnqueueInvalid,
    /// What is due becomes claimable.
    Promote,
    /// A worker claims, and may settle in the same call what it held.
    Claim { worker: usize, jobs: u32, settling: Option<End> },
    /// A worker settles all it holds, each in its own way.
    Settle { worker: usize, ends: Vec<End> },
    /// A worker claims and never hears of it; its next beat gives the jobs back.
    LoseReply { worker: usize, jobs: u32 },
    /// A worker ends an attempt that is over.
    SettleStale { worker: usize, attempt: usize, end: End },
    /// A worker dies, with its jobs started or not; another takes its place.
    Die { worker: usize, started: bool, blame: bool },
    /// A job comes first, and as many workers die under whatever they then claim alone.
    Kill { queue: usize, deaths: u16 },
    /// A worker asks for secrets for all that it holds.
    HandOver { worker: usize },
    /// Someone answers for a job by the secret it has, or had, or by one that is none.
    Answer { job: usize, answer: Answer, guessed: bool },
    /// Waits that are over are ended.
    Expire,
    /// Someone cancels a job.
    Cancel(usize),
    /// Someone retries a job.
    Retry(usize),
    /// Someone deletes a job.
    Delete(usize),
    /// What has expired is removed.
    Purge,
    /// Counters are folded in the middle of it all.
    Fold,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    Now,
    Soon,
    Late,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Completed,
    Kept,
    KeptBriefly,
    RetrySoon,
    RetryLate,
    Failed,
    Snooze,
    Return,
    Interrupt,
    Cancelled,
    Park,
    ParkBriefly,
    ParkToFail,
}

impl End {
    fn verdict(self) -> Verdict {
        match self {
            Self::Completed => completed(),
            Self::Kept => kept("done"),
            Self::KeptBriefly => Verdict::Completed { output: None, keep: MOMENT },
            Self::RetrySoon => retry(Duration::ZERO),
            Self::RetryLate => retry(HOUR),
            Self::Failed => failed(),
            Self::Snooze => snooze(Duration::ZERO),
            Self::Return => Verdict::Return,
            Self::Interrupt => interrupt(),
            Self::Cancelled => cancelled(),
            Self::Park => park_for(HOUR, Expiry::Retry),
            Self::ParkBriefly => park_for(MOMENT, Expiry::Retry),
            Self::ParkToFail => park_for(MOMENT, Expiry::Fail),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Completed,
    Failed,
    RetrySoon,
    RetryLate,
    StillWaiting,
    WaitingBriefly,
}

impl Answer {
    fn resolution(self) -> Resolution {
        match self {
            Self::Completed => done("by them"),
            Self::Failed => broken(),
            Self::RetrySoon => again(Some(Duration::ZERO)),
            Self::RetryLate => again(None),
            Self::StillWaiting => Resolution::StillWaiting(HOUR),
            Self::WaitingBriefly => Resolution::StillWaiting(MOMENT),
        }
    }

    /// Whether nobody waits for another one after it.
    const fn ends(self) -> bool {
        !matches!(self, Self::StillWaiting | Self::WaitingBriefly)
    }
}

fn ends() -> impl Strategy<Value = End> {
    use End::{
        Cancelled, Completed, Failed, Interrupt, Kept, KeptBriefly, Park, ParkBriefly, ParkToFail, RetryLate,
        RetrySoon, Return, Snooze,
    };
    prop::sample::select(vec![
        Completed,
        Kept,
        KeptBriefly,
        RetrySoon,
        RetryLate,
        Failed,
        Snooze,
        Return,
        Interrupt,
        Cancelled,
        Park,
        ParkBriefly,
        ParkToFail,
    ])
}

fn answers() -> impl Strategy<Value = Answer> {
    use Answer::{Completed, Failed, RetryLate, RetrySoon, StillWaiting, WaitingBriefly};
    prop::sample::select(vec![Completed, Failed, RetrySoon, RetryLate, StillWaiting, WaitingBriefly])
}

/// A history of so many steps. The weights are such that the rarer moves (second attempts, suspects, quarantine) come
/// about in most histories of this length.
pub(super) fn histories(steps: RangeInclusive<usize>) -> impl Strategy<Value = Vec<Step>> {
    let worker = 0..WORKERS;
    let due = prop::sample::select(vec![Due::Now, Due::Now, Due::Soon, Due::Late]);
    let rule = (
        prop::sample::select(vec![Scope::Pending, Scope::Unfinished, Scope::UnfinishedOrFailed]),
        prop::sample::select(vec![Conflict::Keep, Conflict::Replace, Conflict::RunAgain]),
    )
        .prop_map(|(scope, conflict)| Coalesce { scope, conflict });
    let actions = prop::sample::select(vec![Action::Cancel, Action::Retry, Action::Delete]);
    let states = prop::collection::vec(prop::sample::select(&State::ALL[..]), 0..2);
    let step = prop_oneof![
        5 => (1..3_usize, 0..2_usize, 0..KEYS.len(), rule, due.clone()).prop_map(|(jobs, queue, key, rule, due)| {
            Step::Coalesce { jobs, queue, key, rule, due }
        }),
        2 => (any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(kind, paused)| Step::Pause { kind, paused }),
        3 => Just(Step::Release),
        1 => (actions, 0..2_usize, prop::option::of(0..KEYS.len()), states).prop_map(|(action, queue, key, states)| {
            Step::Act { action, queue, key, states }
        }),
        5 => (1..5_usize, 0..2_usize, -1..2_i16, 0..2_usize, due).prop_map(|(jobs, queue, priority, kind, due)| {
            Step::Enqueue { jobs, queue, priority, kind, due }
        }),
        1 => Just(Step::EnqueueInvalid),
        5 => Just(Step::Promote),
        8 => (worker.clone(), 1..4_u32, prop::option::of(ends()))
            .prop_map(|(worker, jobs, settling)| Step::Claim { worker, jobs, settling }),
        6 => (worker.clone(), prop::collection::vec(ends(), 1..4))
            .prop_map(|(worker, ends)| Step::Settle { worker, ends }),
        2 => (worker.clone(), 1..4_u32).prop_map(|(worker, jobs)| Step::LoseReply { worker, jobs }),
        2 => (worker.clone(), any::<usize>(), ends())
            .prop_map(|(worker, attempt, end)| Step::SettleStale { worker, attempt, end }),
        4 => worker.clone().prop_map(|worker| Step::HandOver { worker }),
        6 => (any::<usize>(), answers(), prop::bool::weighted(0.1))
            .prop_map(|(job, answer, guessed)| Step::Answer { job, answer, guessed }),
        3 => Just(Step::Expire),
        3 => (worker, prop::bool::weighted(0.8), prop::bool::weighted(0.8))
            .prop_map(|(worker, started, blame)| Step::Die { worker, started, blame }),
        1 => (0..2_usize, 1..=crate::limits::MAX_DEATHS)
            .prop_map(|(queue, deaths)| Step::Kill { queue, deaths }),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => any::<usize>().prop_map(Step::Retry),
        2 => any::<usize>().prop_map(Step::Delete),
        1 => Just(Step::Purge),
        1 => Just(Step::Fold),
    ];
    prop::collection::vec(step, steps)
}

/// Plays the history on queues of its own, compares the counters with a recount and with the model, and clears away what
/// is left. Returns what did not agree.
pub(super) async fn play(trial: &Trial<'_>, name: &str, steps: &[Step]) -> Result<(), String> {
    let mut model = Model::new(trial, name).await;
    for step in steps {
        model.take(step).await;
    }
    let result = model.compare().await;
    model.clear_away().await;
    result
}

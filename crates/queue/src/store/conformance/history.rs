//! A random history of a store, beside a model that counts what every step ought to have counted.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use proptest::prelude::*;

use super::trial::{HOUR, Hand, Trial, cancelled, completed, end, failed, interrupt, kept, plain, retry, snooze};
use crate::{
    Coalesce, Conflict, Depth, Flow, JobId, JobRecord, NewJob, Scope, State,
    store::{Action, Admission, ClaimedJob, Filter, Setting, Target, Verdict},
};

/// How many workers take part.
const WORKERS: usize = 3;

/// The keys that jobs coalesce by.
const KEYS: [&str; 2] = ["k0", "k1"];

/// The run time that each settlement of the suite names, in milliseconds.
const RAN_MS: i64 = 7;

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
}

impl End {
    fn verdict(self) -> Verdict {
        match self {
            Self::Completed => completed(),
            Self::Kept => kept("done"),
            Self::KeptBriefly => Verdict::Completed { output: None, keep: Duration::from_millis(1) },
            Self::RetrySoon => retry(Duration::ZERO),
            Self::RetryLate => retry(HOUR),
            Self::Failed => failed(),
            Self::Snooze => snooze(Duration::ZERO),
            Self::Return => Verdict::Return,
            Self::Interrupt => interrupt(),
            Self::Cancelled => cancelled(),
        }
    }
}

fn ends() -> impl Strategy<Value = End> {
    use End::{Cancelled, Completed, Failed, Interrupt, Kept, KeptBriefly, RetryLate, RetrySoon, Return, Snooze};
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
    ])
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

/// The counts of one queue that the model is sure of, and attempts that may be counted as failed or not.
#[derive(Debug, Default)]
struct Expected {
    flow: Flow,
    /// Attempts that failed on a job that someone had cancelled by then: they end it as cancelled.
    overruled: i64,
    /// Enqueues that changed or followed another job: they may be counted as an arrival, at once or once claimable.
    coalesced: i64,
}

/// A worker and what it holds.
#[derive(Debug)]
struct Holder {
    hand: Hand,
    held: Vec<ClaimedJob>,
}

#[derive(Debug)]
struct Model<'t, 'f> {
    trial: &'t Trial<'f>,
    queues: [String; 2],
    holders: Vec<Holder>,
    ids: Vec<JobId>,
    over: Vec<ClaimedJob>,
    expected: BTreeMap<String, Expected>,
}

/// Plays the history on queues of its own, compares the counters with a recount and with the model, and clears away what
/// is left. Returns what did not agree.
pub(super) async fn play(trial: &Trial<'_>, name: &str, steps: &[Step]) -> Result<(), String> {
    let queues = [format!("{name}.a"), format!("{name}.b")];
    let mut model = Model {
        trial,
        holders: Vec::new(),
        ids: Vec::new(),
        over: Vec::new(),
        expected: queues.iter().map(|queue| (queue.clone(), Expected::default())).collect(),
        queues,
    };
    for _ in 0..WORKERS {
        model.hire().await;
    }
    for step in steps {
        model.take(step).await;
    }
    let result = model.compare().await;
    model.clear_away().await;
    result
}

impl Model<'_, '_> {
    async fn hire(&mut self) {
        let hand = self.trial.worker(&self.queues.join(",")).await;
        self.holders.push(Holder { hand, held: Vec::new() });
    }

    fn flow(&mut self, queue: &str) -> &mut Flow {
        &mut self.expected.get_mut(queue).expect("one of the history's queues").flow
    }

    fn pick(&self, number: usize) -> Option<JobId> {
        (!self.ids.is_empty()).then(|| self.ids[number % self.ids.len()])
    }

    async fn take(&mut self, step: &Step) {
        let store = self.trial.store.clone();
        match step {
            &Step::Enqueue { jobs, queue, priority, kind, due } => {
                let job = NewJob::new(["kind", "other"][kind], "{}").queue(&self.queues[queue]).priority(priority);
                self.enqueue(&job, jobs, due).await;
            }
            &Step::Coalesce { jobs, queue, key, rule, due } => self.coalesce(jobs, queue, key, rule, due).await,
            &Step::Pause { kind, paused } => {
                let target = if kind { Target::Kind("other".into()) } else { Target::Queue(self.queues[1].clone()) };
                store.set(&target, Setting::Paused(paused)).await.expect("a pause passes");
            }
            Step::Release => {
                store.release(1000).await.expect("a release passes");
            }
            Step::Act { action, queue, key, states } => {
                let filter = Filter {
                    queue: Some(self.queues[*queue].clone()),
                    key: key.map(|key| KEYS[key].into()),
                    states: states.clone(),
                    ..Filter::default()
                };
                store.act(*action, &filter, 5).await.expect("an action passes");
            }
            Step::EnqueueInvalid => {
                let queue = &self.queues[0];
                let jobs = [plain(queue), plain(queue).max_attempts(0)];
                store.enqueue(&jobs).await.expect_err("an invalid job refuses its bulk");
            }
            Step::Promote => self.promote().await,
            &Step::Claim { worker, jobs, settling } => {
                let ends: Vec<End> = settling.into_iter().collect();
                self.settle_and_claim(worker, &ends, jobs).await;
            }
            Step::Settle { worker, ends } => self.settle_and_claim(*worker, ends, 0).await,
            &Step::LoseReply { worker, jobs } => {
                self.settle_and_claim(worker, &[], jobs).await;
                let holder = &mut self.holders[worker];
                let lost = holder.held.split_off(holder.held.len() / 2);
                let held: Vec<&ClaimedJob> = holder.held.iter().collect();
                let answer = holder.hand.beat(&held, &[]).await;
                let mut back = 0;
                let mut cancelled = 0;
                for job in lost {
                    cancelled += u32::from(self.trial.state(job.id).await == State::Cancelled);
                    self.came_back(job).await;
                    back += 1;
                }
                // One that someone had cancelled by then came to an end by it, which some may call given back.
                assert!((back - cancelled..=back).contains(&answer.given_back), "the beat gives back what was lost");
            }
            &Step::SettleStale { worker, attempt, end: how } => {
                if !self.over.is_empty() {
                    let job = &self.over[attempt % self.over.len()];
                    self.holders[worker].hand.settle(job, how.verdict()).await;
                }
            }
            &Step::Die { worker, started, blame } => {
                self.die(worker, started, blame).await;
                self.hire().await;
            }
            &Step::Kill { queue, deaths } => {
                let first = plain(&self.queues[queue]).priority(i16::MAX);
                self.enqueue(&first, 1, Due::Now).await;
                for _ in 0..deaths {
                    self.hire().await;
                    let last = self.holders.len() - 1;
                    self.settle_and_claim(last, &[], 1).await;
                    self.die(last, true, true).await;
                }
            }
            &Step::Cancel(number) => {
                if let Some(id) = self.pick(number) {
                    let _ = store.cancel(id).await;
                }
            }
            &Step::Retry(number) => {
                if let Some(id) = self.pick(number) {
                    let _ = store.retry(id).await;
                }
            }
            &Step::Delete(number) => {
                if let Some(id) = self.pick(number) {
                    let _ = store.delete(id).await;
                }
            }
            Step::Purge => {
                store.purge(1000).await.expect("a purge passes");
            }
            Step::Fold => {
                store.fold().await.expect("a fold passes");
            }
        }
    }

    async fn enqueue(&mut self, job: &NewJob, jobs: usize, due: Due) {
        let due_job = match due {
            Due::Now => job.clone(),
            Due::Soon => job.clone().delay(Duration::from_millis(1)),
            Due::Late => job.clone().delay(HOUR),
        };
        let enqueued = self.trial.store.enqueue(&vec![due_job; jobs]).await.expect("the jobs are taken in");
        self.ids.extend(enqueued.into_iter().map(|enqueued| enqueued.id));
        let flow = self.flow(&job.queue);
        match due {
            Due::Now => flow.arrived += jobs as i64,
            Due::Soon | Due::Late => flow.deferred += jobs as i64,
        }
    }

    async fn coalesce(&mut self, jobs: usize, queue: usize, key: usize, rule: Coalesce, due: Due) {
        let job = NewJob::new("kind", "{}").queue(&self.queues[queue]).key(KEYS[key]).coalesce(rule);
        let job = match due {
            Due::Now => job,
            Due::Soon => job.delay(Duration::from_millis(1)),
            Due::Late => job.delay(HOUR),
        };
        let enqueued = self.trial.store.enqueue(&vec![job.clone(); jobs]).await.expect("the jobs are taken in");
        let expected = self.expected.get_mut(&job.queue).expect("one of the history's queues");
        for answer in enqueued {
            match (answer.admission, due) {
                (Admission::New, Due::Now) => expected.flow.arrived += 1,
                (Admission::New, Due::Soon | Due::Late) => expected.flow.deferred += 1,
                (Admission::Kept, _) => {}
                (Admission::Replaced | Admission::Again { .. }, _) => expected.coalesced += 1,
            }
            let there = self.trial.job(answer.id).await;
            assert_eq!(there.key, job.key, "the answer is a job of that key");
            self.ids.push(answer.id);
        }
    }

    async fn promote(&mut self) {
        let scheduled = async || -> BTreeMap<JobId, String> {
            let filter = Filter { states: vec![State::Scheduled], ..Filter::default() };
            self.trial.jobs(&filter).await.into_iter().map(|job| (job.id, job.queue)).collect()
        };
        let before = scheduled().await;
        let promoted = self.trial.store.promote(1000).await.expect("a promotion passes").jobs;
        let after = scheduled().await;
        let moved: Vec<String> =
            before.into_iter().filter(|(id, _)| !after.contains_key(id)).map(|(_, queue)| queue).collect();
        assert_eq!(promoted as usize, moved.len(), "a promotion says how many it moved");
        for queue in moved {
            self.flow(&queue).promoted += 1;
        }
    }

    /// Ends what the worker holds, one after the other by `ends` in turn, and claims. Without ends it only claims.
    async fn settle_and_claim(&mut self, worker: usize, ends: &[End], jobs: u32) {
        let trial = self.trial;
        let holder = &mut self.holders[worker];
        let ended = if ends.is_empty() { Vec::new() } else { std::mem::take(&mut holder.held) };
        let ends: Vec<End> = ends.iter().copied().cycle().take(ended.len()).collect();
        let settled: Vec<_> = ended.iter().zip(&ends).map(|(job, how)| end(job, how.verdict())).collect();
        let alone = holder.held.is_empty();
        // In two calls, so that the model sees where the settlements led before they are claimed again.
        holder.hand.settle_all(&settled).await;
        for (job, how) in ended.into_iter().zip(ends) {
            self.ended(job, how).await;
        }
        if jobs == 0 {
            return;
        }
        let claimed = self.holders[worker].hand.next(&[], jobs, alone).await.jobs;
        for job in &claimed {
            let delay = (job.started_at - job.ready_at).to_std().unwrap_or_default();
            assert_eq!(trial.state(job.id).await, State::Running);
            let flow = self.flow(&job.queue);
            flow.started += 1;
            flow.delays.add(delay);
        }
        self.holders[worker].held.extend(claimed);
    }

    /// Counts how an attempt ended by its own worker.
    async fn ended(&mut self, job: ClaimedJob, how: End) {
        let now = self.trial.find(job.id).await;
        let overruled = now.is_some_and(|now| now.state == State::Cancelled);
        let expected = self.expected.get_mut(&job.queue).expect("one of the history's queues");
        match how {
            End::Completed | End::Kept | End::KeptBriefly => {
                expected.flow.completed += 1;
                expected.flow.run_ms += RAN_MS;
            }
            End::RetrySoon | End::RetryLate | End::Failed if overruled => expected.overruled += 1,
            End::RetrySoon | End::RetryLate | End::Failed => {
                expected.flow.failed += 1;
                expected.flow.run_ms += RAN_MS;
            }
            End::Return | End::Interrupt => return self.came_back(job).await,
            End::Snooze | End::Cancelled => {}
        }
        self.over.push(job);
    }

    /// Counts a job that went back, unless that was the end of it: cancelled or quarantined.
    async fn came_back(&mut self, job: ClaimedJob) {
        if self.trial.state(job.id).await == State::Queued {
            self.flow(&job.queue).returned += 1;
        }
        self.over.push(job);
    }

    async fn die(&mut self, worker: usize, started: bool, blame: bool) {
        let Holder { hand, held } = self.holders.swap_remove(worker);
        let holds: Vec<&ClaimedJob> = held.iter().collect();
        hand.beat(&holds, if started { &holds } else { &[] }).await;
        let store = &self.trial.store;
        assert_eq!(store.bury(&[hand.boot]).await.expect("a burial passes"), [hand.boot]);
        let rescued = store.rescue_dead(blame).await.expect("a rescue passes");
        assert_eq!(rescued.len(), held.len(), "all its jobs are taken away");
        for job in held {
            self.came_back(job).await;
        }
    }

    /// The counters against a recount, and against the model.
    async fn compare(&mut self) -> Result<(), String> {
        let shown = self.trial.queues().await;
        for (name, expected) in &self.expected {
            let jobs = self.trial.jobs_of(name).await;
            let Some(shown) = shown.get(name) else {
                if jobs.is_empty() && expected.flow == Flow::default() {
                    continue;
                }
                return Err(format!("the queue {name} is not listed"));
            };
            let recount = recount(&jobs);
            if shown.depth != recount {
                return Err(format!("{name}: the counters show {:?}, a recount {recount:?}", shown.depth));
            }
            for lane in &shown.lanes {
                let own = jobs.iter().filter(|job| (job.priority, &job.kind) == (lane.priority, &lane.kind));
                let recount = self::recount(own);
                if lane.depth != recount {
                    return Err(format!("the lane {lane:?} has in truth {recount:?}"));
                }
            }
            let mut flow = expected.flow.clone();
            flow.late = shown.flow.late;
            let overruled = shown.flow.failed - flow.failed;
            if (0..=expected.overruled).contains(&overruled) {
                flow.failed = shown.flow.failed;
                flow.run_ms += overruled * RAN_MS;
            }
            // An enqueue that coalesced is an arrival to some and a change to others, but nothing else.
            let mut coalesced = 0;
            for (own, shown) in [
                (&mut flow.arrived, shown.flow.arrived),
                (&mut flow.deferred, shown.flow.deferred),
                (&mut flow.promoted, shown.flow.promoted),
            ] {
                coalesced += (shown - *own).abs();
                *own = shown;
            }
            if coalesced > 2 * expected.coalesced {
                return Err(format!("{name}: {coalesced} more came in than {} that coalesced", expected.coalesced));
            }
            if shown.flow != flow {
                return Err(format!("{name}: the flows show\n{:?}, and this happened\n{flow:?}", shown.flow));
            }
        }
        self.keys_are_held_by_jobs_that_are_there().await?;
        match self.trial.store.audit().await.expect("an audit passes") {
            drift if drift.is_empty() => Ok(()),
            drift => Err(format!("the store's own audit found {drift:?}")),
        }
    }

    /// Each key is free, or held by a job that is there and not over; and whoever waits for a key waits for such a job.
    async fn keys_are_held_by_jobs_that_are_there(&self) -> Result<(), String> {
        for queue in &self.queues {
            for key in KEYS {
                let own: Vec<JobRecord> =
                    self.trial.jobs_of(queue).await.into_iter().filter(|job| job.key.as_deref() == Some(key)).collect();
                let waiting = own.iter().filter(|job| job.reason.as_deref() == Some("again")).count();
                if waiting > 1 {
                    return Err(format!("{waiting} jobs wait for {key} of {queue}"));
                }
                let probe = plain(queue).key(key).coalesce(Coalesce::DEFAULT);
                let answer = self.trial.admit(probe).await;
                let holder = self.trial.find(answer.id).await.map(|job| (job.state, job.reason));
                if answer.is_new() {
                    if waiting > 0 {
                        return Err(format!("a job waits for {key} of {queue}, which is free"));
                    }
                    self.trial.store.delete(answer.id).await.map_err(|error| error.to_string())?;
                } else if !matches!(&holder, Some((state, reason))
                    if !matches!(state, State::Completed | State::Cancelled) && reason.as_deref() != Some("again"))
                {
                    return Err(format!("{key} of {queue} is held by job {}, which is {holder:?}", answer.id));
                }
            }
        }
        Ok(())
    }

    /// Leaves nothing that another history on the same store could meet.
    async fn clear_away(&self) {
        self.trial.set_kind("other", Setting::Paused(false)).await;
        self.trial.release_all().await;
        let boots: Vec<_> = self.holders.iter().map(|holder| holder.hand.boot).collect();
        self.trial.store.bury(&boots).await.expect("a burial passes");
        self.trial.store.rescue_dead(false).await.expect("a rescue passes");
        for queue in &self.queues {
            for job in self.trial.jobs_of(queue).await {
                self.trial.store.delete(job.id).await.expect("a job that does not run is deleted");
            }
        }
    }
}

/// Where these jobs stand. A queued job that is held says what holds it back.
pub(super) fn recount<'j>(jobs: impl IntoIterator<Item = &'j JobRecord>) -> Depth {
    let mut depth = Depth::default();
    for job in jobs {
        depth.suspects += i64::from(job.reason.as_deref() == Some("suspect"));
        *match job.state {
            State::Queued if job.reason.is_some() => &mut depth.held,
            State::Queued => &mut depth.ready,
            State::Scheduled => &mut depth.scheduled,
            State::Running => &mut depth.running,
            State::Completed => &mut depth.completed,
            State::Failed => &mut depth.failed,
            State::Cancelled => &mut depth.cancelled,
            State::WaitAsync => &mut depth.parked,
        } += 1;
    }
    depth
}

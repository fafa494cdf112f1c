//! What a history ought to have made of a store: a model that takes each step, and counts.

use std::collections::BTreeMap;

use super::{
    super::{
        recount::{Expected, RAN_MS, keys_are_held_by_jobs_that_are_there},
        trial::{HOUR, Hand, Trial, end, plain},
    },
    Answer, Due, End, KEYS, MOMENT, Step, WORKERS,
};
use crate::{
    Coalesce, Error, Flow, JobId, NewJob, Secret, State,
    store::{Admission, ClaimedJob, Filter, Resolve, Setting, Target},
};

/// A worker and what it holds.
#[derive(Debug)]
struct Holder {
    hand: Hand,
    held: Vec<ClaimedJob>,
}

#[derive(Debug)]
pub(super) struct Model<'t, 'f> {
    trial: &'t Trial<'f>,
    queues: [String; 2],
    holders: Vec<Holder>,
    ids: Vec<JobId>,
    /// Attempts that are over.
    over: Vec<ClaimedJob>,
    /// Who may be answered for, and by which secret.
    open: BTreeMap<JobId, Secret>,
    /// Secrets that open nothing any more.
    used: Vec<(JobId, Secret)>,
    /// What was answered before the job was parked.
    early: BTreeMap<JobId, Answer>,
    expected: BTreeMap<String, Expected>,
}

impl<'t, 'f> Model<'t, 'f> {
    /// A model of what is to happen in two queues of this name.
    pub(super) async fn new(trial: &'t Trial<'f>, name: &str) -> Self {
        let queues = [format!("{name}.a"), format!("{name}.b")];
        let mut model = Model {
            trial,
            holders: Vec::new(),
            ids: Vec::new(),
            over: Vec::new(),
            open: BTreeMap::new(),
            used: Vec::new(),
            early: BTreeMap::new(),
            expected: queues.iter().map(|queue| (queue.clone(), Expected::default())).collect(),
            queues,
        };
        for _ in 0..WORKERS {
            model.hire().await;
        }
        model
    }

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

    pub(super) async fn take(&mut self, step: &Step) {
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
                self.close_what_is_over().await;
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
            &Step::LoseReply { worker, jobs } => self.lose_reply(worker, jobs).await,
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
                    self.close_what_is_over().await;
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
                    self.close_what_is_over().await;
                }
            }
            &Step::HandOver { worker } => {
                for job in &self.holders[worker].held {
                    let secret = self.holders[worker].hand.callback(job).await;
                    self.early.remove(&job.id);
                    self.used.extend(self.open.insert(job.id, secret).map(|old| (job.id, old)));
                }
            }
            &Step::Answer { job, answer, guessed } => self.answer(job, answer, guessed).await,
            Step::Expire => self.expire().await,
            Step::Purge => {
                store.purge(1000).await.expect("a purge passes");
            }
            Step::Fold => {
                store.fold().await.expect("a fold passes");
            }
        }
    }

    /// Claims, and hears of one half only; the next beat gives the other back.
    async fn lose_reply(&mut self, worker: usize, jobs: u32) {
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

    async fn enqueue(&mut self, job: &NewJob, jobs: usize, due: Due) {
        let due_job = match due {
            Due::Now => job.clone(),
            Due::Soon => job.clone().delay(MOMENT),
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
            Due::Soon => job.delay(MOMENT),
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
            End::Park | End::ParkBriefly | End::ParkToFail => return self.parked(job, overruled),
            End::Snooze | End::Cancelled => {}
        }
        self.close(job.id);
        self.over.push(job);
    }

    /// Counts an attempt that parked its job: what was answered early is what became of it.
    fn parked(&mut self, job: ClaimedJob, overruled: bool) {
        let early = self.early.remove(&job.id);
        let expected = self.expected.get_mut(&job.queue).expect("one of the history's queues");
        match early.filter(|early| early.ends()) {
            Some(Answer::Completed) => expected.flow.completed += 1,
            Some(Answer::Failed) => expected.flow.failed += 1,
            Some(_) if overruled => expected.overruled += 1,
            Some(_) => expected.flow.failed += 1,
            None => {}
        }
        let ends = matches!(early, Some(Answer::Completed | Answer::Failed));
        if overruled && !ends {
            expected.in_vain += 1;
        } else {
            expected.flow.run_ms += RAN_MS;
        }
        if overruled || early.is_some_and(Answer::ends) {
            self.close(job.id);
        }
        self.over.push(job);
    }

    /// Nobody may answer for the job any more.
    fn close(&mut self, id: JobId) {
        self.early.remove(&id);
        self.used.extend(self.open.remove(&id).map(|secret| (id, secret)));
    }

    /// A hand has ended some that were parked.
    async fn close_what_is_over(&mut self) {
        let open: Vec<JobId> = self.open.keys().copied().collect();
        for id in open {
            let state = self.trial.find(id).await.map(|job| job.state);
            if !matches!(state, Some(State::Running | State::WaitAsync)) {
                self.close(id);
            }
        }
    }

    /// Answers for one that is open, or by a secret that opens nothing; what comes of it is known before.
    async fn answer(&mut self, number: usize, answer: Answer, guessed: bool) {
        let open: Vec<(JobId, Secret)> = self.open.iter().map(|(id, secret)| (*id, secret.clone())).collect();
        let all = open.len() + self.used.len();
        if all == 0 {
            return;
        }
        let (id, secret) = open.iter().chain(&self.used).nth(number % all).expect("it is one of them").clone();
        let is_open = number % all < open.len() && !guessed;
        let secret = if guessed { Secret::random() } else { secret };
        let before = self.trial.find(id).await;
        let heard = self.trial.store.resolve(id, &secret, &answer.resolution()).await;
        let Some(job) = before.filter(|_| is_open) else {
            let refused = matches!(heard, Err(Error::NotFound(_) | Error::WrongSecret(_) | Error::WrongState { .. }));
            assert!(refused, "a secret that opens nothing gave {heard:?}");
            return;
        };
        let settled = self.early.get(&id).is_some_and(|early| early.ends());
        match (job.state, heard) {
            (State::Running, Err(Error::Answered(_))) if settled => {}
            (State::Running, Ok(Resolve::Early)) if !settled => {
                self.early.insert(id, answer);
            }
            (State::WaitAsync, Ok(Resolve::Done)) => {
                let flow = self.flow(&job.queue);
                match answer {
                    Answer::Completed => flow.completed += 1,
                    Answer::Failed | Answer::RetrySoon | Answer::RetryLate => flow.failed += 1,
                    Answer::StillWaiting | Answer::WaitingBriefly => {}
                }
                if answer.ends() {
                    self.close(id);
                }
            }
            (state, heard) => panic!("{answer:?} for a job that is {state} gave {heard:?}"),
        }
    }

    async fn expire(&mut self) {
        let parked = self.trial.jobs(&Filter { states: vec![State::WaitAsync], ..Filter::default() }).await;
        let expired = self.trial.store.expire(1000).await.expect("an expiry passes");
        for expired in expired {
            let before = parked.iter().find(|job| job.id == expired.id).expect("it was parked");
            self.trial.assert_state(expired.id, expired.state).await;
            let flow = self.flow(&before.queue);
            flow.failed += 1;
            flow.returned += i64::from(expired.state == State::Queued);
            self.close(expired.id);
        }
    }

    /// Counts a job that went back, unless that was the end of it: cancelled or quarantined.
    async fn came_back(&mut self, job: ClaimedJob) {
        if self.trial.state(job.id).await == State::Queued {
            self.flow(&job.queue).returned += 1;
        }
        self.close(job.id);
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
    pub(super) async fn compare(&self) -> Result<(), String> {
        let shown = self.trial.queues().await;
        for (name, expected) in &self.expected {
            let jobs = self.trial.jobs_of(name).await;
            expected.agrees(&jobs, shown.get(name)).map_err(|why| format!("{name}: {why}"))?;
        }
        keys_are_held_by_jobs_that_are_there(self.trial, &self.queues, &KEYS).await?;
        match self.trial.store.audit().await.expect("an audit passes") {
            drift if drift.is_empty() => Ok(()),
            drift => Err(format!("the store's own audit found {drift:?}")),
        }
    }

    /// Leaves nothing that another history on the same store could meet.
    pub(super) async fn clear_away(&self) {
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

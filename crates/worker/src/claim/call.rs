//! The dispatcher's calls to the store: which is next, and what its answer means.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use headcount_queue::{
    Result,
    store::{BootId, Claimed, ClaimedJob, Claimer, Gate, NewWorker, Outstanding, Settlement, Want, WorkerState},
};

use super::{Asked, Dispatcher, Found, HOLD, jittered};
use crate::{Error, drain::Phase, hands::Place, settle, verbosity::tell};

/// Busy gates last for the length of a beat's statement.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// One that yields leaves a job lying for so many polls: by then each of the others has looked.
const YIELDS: u32 = 2;

/// The answer to a call.
pub(super) enum Answer {
    Registered(BootId, Instant, Result<WorkerState>),
    Next {
        claimer: Box<dyn Claimer>,
        settled: Vec<Settlement>,
        want: Want,
        answer: Result<Claimed>,
    },
    Outstanding(Result<Outstanding>),
    /// That the queues sleep, or that they do not, was said.
    Said(bool, Result<()>),
}

impl Dispatcher {
    /// Whether another call may be made beside so many.
    pub(super) const fn may_call(&self, under_way: usize) -> bool {
        // Of a registration that is gone, all calls come home first.
        under_way == 0 || self.boot.is_some() && !self.claimers.is_empty()
    }

    /// How many jobs the claims under way may bring.
    pub(super) fn asked(&self) -> u32 {
        self.asked.iter().map(|asked| asked.jobs).sum()
    }

    /// The call that is due now beside so many, if one is.
    pub(super) fn next_call(&mut self, now: Instant, under_way: usize) -> Option<BoxFuture<'static, Answer>> {
        if !self.may_call(under_way) {
            return None;
        }
        if self.retry_at.is_some_and(|at| at > now) && !self.outbox.owes() {
            return None;
        }
        if self.boot.is_none() {
            return (self.phase == Phase::Running).then(|| self.register());
        }
        if self.outbox.owes() {
            // The claim's number was given up with the lost answer; nothing new is risked until this one is known.
            let owed = self.outbox.take_owed(now)?;
            return self.next(owed, Want::default());
        }
        if self.found == Found::Nothing
            && under_way == 0
            && self.hands.len() == 0
            && self.config.exit_if_empty
            && self.phase == Phase::Running
        {
            self.found = Found::Something;
            let (store, queues) = (self.queue.store().clone(), self.config.queues.clone());
            return Some(Box::pin(async move { Answer::Outstanding(store.outstanding(&queues).await) }));
        }
        if self.phase == Phase::Running
            && let Some(asleep) = self.doze.word(now)
        {
            let (store, queues) = (self.queue.store().clone(), self.config.queues.clone());
            return Some(Box::pin(async move { Answer::Said(asleep, store.sleep(&queues, asleep).await) }));
        }
        if self.woken && self.yields {
            // Where the platform removes the highest numbers, the top of the pool is to run empty first.
            self.woken = false;
            self.poll_at = self.poll_at.min(now + self.config.poll * YIELDS);
        }
        let jobs = if self.may_claim() { self.room(now) } else { 0 };
        let claims = jobs > 0 && (self.woken || self.poll_at <= now);
        // Free slots and nothing to give them: what has ended need not wait for company.
        let dry = self.slots.waiting() == 0 && jobs > 0 || self.phase != Phase::Running;
        let settles = self.outbox.has_new() && (dry || self.outbox.due_at().is_some_and(|at| at <= now));
        if !claims && !settles {
            return None;
        }
        let settled = self.outbox.take();
        let mut want = Want::default();
        if jobs > 0 {
            self.claim += 1;
            self.woken = false;
            let alone = self.asked.is_empty() && self.hands.len() == settled.len();
            let sweep = self.doze.take_last_look();
            want = Want { claim: self.claim, jobs, alone, sweep, spares: self.spares.clone() };
            self.hands.asked(self.claim);
            self.asked.push(Asked { claim: self.claim, jobs, alone });
        }
        self.next(settled, want)
    }

    fn register(&mut self) -> BoxFuture<'static, Answer> {
        let worker = NewWorker {
            // A new one for each try: one whose answer was lost may have been registered.
            boot: BootId::random(),
            instance: self.config.instance.clone(),
            host: self.config.host.clone(),
            pid: std::process::id(),
            pool: self.config.pool.clone(),
            queues: self.config.queues.clone(),
            kinds: self.registry.kinds(),
            slots: self.config.slots,
        };
        let store = self.queue.store().clone();
        Box::pin(async move {
            let at = Instant::now();
            let state = store.register(&worker).await;
            Answer::Registered(worker.boot, at, state)
        })
    }

    fn next(&mut self, settled: Vec<Settlement>, want: Want) -> Option<BoxFuture<'static, Answer>> {
        let mut claimer = self.claimers.pop()?;
        Some(Box::pin(async move {
            let answer = claimer.next(&settled, want.clone()).await;
            Answer::Next { claimer, settled, want, answer }
        }))
    }

    /// Whether this worker may take jobs at all; a draining one asks too, since the gate tells it of its recall.
    pub(super) fn may_claim(&self) -> bool {
        self.phase == Phase::Running
            && self.boot.is_some()
            && self.state != WorkerState::Leaving
            && self.is_seen()
            && !self.runs_a_suspect()
            && !self.makes_room_for_a_suspect()
            && !self.asked.iter().any(|asked| asked.alone)
    }

    /// A suspect runs alone, so that its process's death would certainly be its own.
    fn runs_a_suspect(&self) -> bool {
        self.slots.hold_a_suspect()
    }

    /// A suspect that finds no empty process for long is made one: this worker lets its jobs end and claims no others.
    fn makes_room_for_a_suspect(&self) -> bool {
        self.suspects.is_some_and(|(since, patience)| since.elapsed() > patience) && !self.slots.is_empty()
    }

    /// How many jobs to ask for.
    fn room(&self, now: Instant) -> u32 {
        let (free, buffered) = (self.slots.free() as u32, self.slots.waiting() as u32);
        let turning = self.turning(now);
        let held = buffered + self.asked();
        let mut room = self.pace.want(free, turning, held);
        if self.found == Found::Plenty && self.lines > 1 {
            // No more than half to one of two, so that the other goes on whatever becomes of this one.
            room = room.min(free.max(self.pace.buffer(turning).div_ceil(2)));
        }
        match self.attempts_left() {
            Some(left) => room.min(left.saturating_sub(u64::from(held)).try_into().unwrap_or(u32::MAX)),
            None => room,
        }
    }

    /// How many slots turn over: those that are held for longer than a buffered job should wait count for nothing.
    pub(super) fn turning(&self, now: Instant) -> u32 {
        if self.suspects.is_some() || self.state != WorkerState::Active {
            return 0;
        }
        self.slots.turning(now, HOLD) as u32
    }

    /// Takes up an answer.
    pub(super) fn answered(&mut self, answer: Answer) -> Result<(), Error> {
        self.retry_at = None;
        match answer {
            Answer::Registered(boot, at, Ok(state)) => {
                self.outage.over();
                self.registrations += 1;
                self.boot = Some(boot);
                // With one slot jobs start in the order in which they were claimed.
                let store = self.queue.store();
                let (queues, aging) = (&self.config.queues, self.config.aging);
                self.claimers = if self.config.slots > 1 {
                    store.claimers(boot, queues, aging)
                } else {
                    vec![store.claimer(boot, queues, aging)]
                };
                self.lines = self.claimers.len();
                self.poll_at = at;
                self.hands.registered(boot, at);
                self.enter(state);
                tell!(self.config.verbosity, %boot, queues = %Shown(&self.config.queues), slots = self.config.slots, "worker ready");
            }
            Answer::Registered(_, _, Err(error)) => {
                if self.registrations == 0 && !error.is_unknown() {
                    return Err(error.into());
                }
                self.failed(&error);
            }
            Answer::Outstanding(Ok(outstanding)) => {
                self.outage.over();
                self.found = if outstanding.is_idle() { Found::Empty } else { Found::Something };
            }
            Answer::Outstanding(Err(error)) => {
                self.failed(&error);
                self.found = Found::Nothing;
            }
            Answer::Said(asleep, Ok(())) => {
                self.outage.over();
                if self.doze.said(asleep) {
                    self.poll_at = Instant::now();
                }
            }
            Answer::Said(_, Err(error)) if error.is_unknown() => {
                self.failed(&error);
            }
            // Polling finds every job, if later: no reason to end.
            Answer::Said(_, Err(error)) => {
                tracing::warn!(%error, "the store cannot be told that the worker sleeps: it polls");
                self.doze.refused();
            }
            Answer::Next { claimer, settled, want, answer } => {
                // Of an earlier registration, dropped meanwhile: nothing of it counts.
                if self.boot.is_none() {
                    return Ok(());
                }
                self.claimers.push(claimer);
                self.asked.retain(|asked| asked.claim != want.claim);
                match answer {
                    Ok(claimed) => {
                        self.outage.over();
                        self.hands.forget(settle::keys(&settled));
                        self.claimed(&want, claimed);
                    }
                    Err(error) => self.lost(settled, &want, &error),
                }
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: &headcount_queue::Error) -> Duration {
        let pause = self.outage.failed(error);
        self.retry_at = Some(Instant::now() + pause);
        pause
    }

    /// A call failed: its settlements go again, alone, and its claim is given up.
    fn lost(&mut self, settled: Vec<Settlement>, want: &Want, error: &headcount_queue::Error) {
        if want.claim > 0 {
            self.hands.give_up(want.claim);
        }
        if matches!(error, headcount_queue::Error::Unregistered) {
            self.begin_anew();
            return;
        }
        let pause = self.failed(error);
        if error.is_unknown() || want.claim > 0 {
            self.outbox.send_again(settled, pause);
        } else {
            self.outbox.refused(settled, &error.to_string(), pause);
        }
    }

    /// A claim was answered.
    fn claimed(&mut self, want: &Want, claimed: Claimed) {
        if want.claim == 0 {
            // Its gate says nothing that the next claim or beat would not; but one that is gone settles nothing more.
            if claimed.gate == Gate::Gone {
                self.begin_anew();
            }
            return;
        }
        let brought = claimed.jobs.len();
        if brought > 0 {
            self.pace.brought(brought, claimed.jobs.iter().map(|job| job.payload.len()).sum());
        }
        self.take_in(claimed.jobs);
        self.hands.give_up(want.claim);
        let now = Instant::now();
        let poll = self.config.poll;
        let spread = if self.config.jitter { jittered } else { |pause| pause };
        match claimed.gate {
            Gate::Open => {
                self.enter(WorkerState::Active);
                // An empty process has had its chance: whatever suspects wait now are newly counted.
                let since = self.suspects.filter(|_| !want.alone);
                let patience = || (now, jittered(self.config.vigil.scan));
                self.suspects = claimed.suspects.then(|| since.unwrap_or_else(patience));
                let alone = want.alone && claimed.suspects;
                self.doze.passes = !want.spares.is_empty();
                let told = self.doze.looked(want.jobs, brought, claimed.asleep, now);
                let plenty = brought >= want.jobs as usize;
                self.poll_at = if plenty || alone && brought > 0 {
                    now
                } else {
                    let rest = self.pace.rest(brought > 0, poll, told);
                    // A claim that brought all it asked for found more than the others could take: that one goes on.
                    now + spread(if self.yields { rest.max(poll * YIELDS) } else { rest })
                };
                self.found = match brought {
                    0 => Found::Nothing,
                    _ if plenty => Found::Plenty,
                    _ => Found::Something,
                };
            }
            Gate::Busy => self.poll_at = now + jittered(BUSY_PAUSE),
            Gate::Draining => {
                self.enter(WorkerState::Draining);
                self.poll_at = now + spread(poll);
                self.found = Found::Nothing;
            }
            Gate::Leaving => self.enter(WorkerState::Leaving),
            Gate::Gone => self.begin_anew(),
        }
    }

    /// Puts claimed jobs into the buffer.
    ///
    /// The first jobs of a process, and every suspect, are named in a beat before they start: else a job that kills
    /// its process within a beat's time would never be counted as started, and would do so for ever.
    fn take_in(&mut self, jobs: Vec<ClaimedJob>) {
        let Some(first) = jobs.first() else { return };
        let claim = first.token.claim;
        let name_first = self.slots.started() == 0 || jobs.iter().any(ClaimedJob::is_suspect);
        let stops = self.hands.answered(claim, &jobs);
        self.slots.take_in(jobs.into_iter().zip(stops), name_first);
        if name_first {
            self.hands.moved(self.slots.next_up(), Place::Started);
            self.named_by = Some(self.hands.want_beat());
        }
    }
}

/// A binding as a person reads it.
struct Shown<'a>(&'a headcount_queue::Binding);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.entries() {
            None => f.write_str("any"),
            Some(names) => f.write_str(&names.join(",")),
        }
    }
}

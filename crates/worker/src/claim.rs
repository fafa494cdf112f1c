//! The dispatcher: the one place that claims, hands jobs to slots, and settles.
//!
//! It is a loop over what happens: an answer of the store, attempts that ended, orders that a beat brought, a word to
//! stop, a wake-up. All state is the dispatcher's own, so nothing here needs a lock but [`Hands`], which the heartbeat reads, and [`Slots`], which go on by themselves.
//!
//! Settling and claiming share a call: what ended meanwhile goes with the next claim. While a call is under way, slots
//! go on with the buffer, and ends gather for the next call: the slower the store, the larger the batches. Where the store
//! can do two things at once, and one call brings no more than the slots work off meanwhile, a second is made beside it.

mod call;
mod doze;
mod end;
mod pace;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use headcount_queue::{
    Queue,
    store::{BootId, ClaimedJob, Claimer, Verdict, WorkerState},
};
use tokio::{
    pin, select,
    sync::{Notify, mpsc},
};

use crate::{
    Error, Exit,
    config::Config,
    drain::{Phase, Stopper},
    hands::{Hands, Place, key},
    heartbeat::Orders,
    outage::{Outage, jittered},
    registry::Registry,
    run::Ended,
    settle::{Outbox, settlement},
    slots::{Alarm, End, Slots},
    verbosity::tell,
};
use call::Answer;
use doze::Doze;
use pace::{HOLD, Pace};

/// See the module.
pub(crate) struct Dispatcher {
    config: Config,
    queue: Queue,
    registry: Arc<Registry>,
    hands: Arc<Hands>,
    stopper: Stopper,

    /// The registration, and its claimers that are not away with a call.
    boot: Option<BootId>,
    claimers: Vec<Box<dyn Claimer>>,
    /// How many there are of them.
    lines: usize,
    /// The claims under way.
    asked: Vec<Asked>,
    /// The number of the latest claim. It goes on over registrations, so that no key ever comes twice.
    claim: i64,
    registrations: u32,

    slots: Arc<Slots>,
    outbox: Outbox,
    outage: Outage,

    pace: Pace,
    doze: Doze,
    /// When to claim next if slots are free.
    poll_at: Instant,
    /// Something became claimable since the latest claim was sent.
    woken: bool,
    /// Not before this time, after a failure.
    retry_at: Option<Instant>,
    /// Since when claims have said that a suspect waits for an empty process, and how long this one lets it wait.
    suspects: Option<(Instant, Duration)>,
    /// The number of the beat that must have named the buffered jobs before they start.
    named_by: Option<u64>,
    found: Found,

    state: WorkerState,
    /// Whether workers with lower numbers have slots free: it claims only what they have left lying.
    yields: bool,
    /// The kinds that it leaves to those for a while, whether they have slots free or not.
    spares: Vec<String>,
    phase: Phase,
    stopped_at: Option<Instant>,
    dropped: bool,
    given_back: usize,
    broken: Option<String>,
}

/// A claim under way.
#[derive(Debug, Clone, Copy)]
struct Asked {
    claim: i64,
    jobs: u32,
    /// It may bring a suspect, beside which nothing else may be claimed.
    alone: bool,
}

/// What is known of the queues' being empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The latest claim brought all that it asked for.
    Plenty,
    /// There may be jobs.
    Something,
    /// The latest claim brought none, which proves nothing: time to ask.
    Nothing,
    /// Nothing is left to do, on whatever worker.
    Empty,
}

/// What the dispatcher listens to.
pub(crate) struct Ears {
    pub(crate) orders: mpsc::UnboundedReceiver<Orders>,
    /// Notified when jobs came in, fell due, were released, or were put back after their worker's death.
    pub(crate) poke: Arc<Notify>,
    /// Whether it is notified of jobs that come in.
    pub(crate) hears: Arc<AtomicBool>,
}

impl Dispatcher {
    pub(crate) fn new(
        config: Config,
        queue: Queue,
        registry: Arc<Registry>,
        hands: Arc<Hands>,
        stopper: Stopper,
    ) -> Self {
        // Its store as what workers use of it: an upcast, not a copy.
        let slots = Slots::new(&config, queue.store().clone(), Arc::clone(&registry), Arc::clone(&hands));
        Self {
            config,
            queue,
            registry,
            hands,
            stopper,
            boot: None,
            claimers: Vec::new(),
            lines: 0,
            asked: Vec::new(),
            claim: 0,
            registrations: 0,
            slots: Arc::new(slots),
            outbox: Outbox::default(),
            outage: Outage::of("claiming and settling jobs"),
            pace: Pace::new(),
            doze: Doze::default(),
            poll_at: Instant::now(),
            woken: false,
            retry_at: None,
            suspects: None,
            named_by: None,
            found: Found::Something,
            state: WorkerState::Active,
            yields: false,
            spares: Vec::new(),
            phase: Phase::Running,
            stopped_at: None,
            dropped: false,
            given_back: 0,
            broken: None,
        }
    }

    /// Runs until there is a reason to end. What is still under way then is dropped with the dispatcher.
    pub(crate) async fn run(&mut self, mut ears: Ears) -> Result<Exit, Error> {
        let mut phases = self.stopper.watch();
        let queue = self.queue.clone();
        // Listening before the first claim is sent, and without a gap: an enqueue between a look and a wait is not
        // overslept.
        let wake = queue.wake().notified();
        pin!(wake);
        wake.as_mut().enable();
        let mut calls: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
        let slots = Arc::clone(&self.slots);
        loop {
            let now = Instant::now();
            // One that is about to end when nothing is left to do has no use for sleep.
            self.doze.hears = ears.hears.load(Ordering::Relaxed) && !self.config.exit_if_empty;
            self.take_ends(self.slots.take_ended());
            self.obey(*phases.borrow_and_update());
            if let Some(deadlines) = self.deadlines() {
                if now >= deadlines.drop_at && !self.dropped {
                    self.drop_running(deadlines).await;
                }
                if now >= deadlines.out_at {
                    return Ok(self.stopped());
                }
            }
            if let Some(exit) = self.is_over(!calls.is_empty()) {
                return Ok(exit);
            }
            self.tidy_buffer(now);
            self.start_jobs();
            while let Some(call) = self.next_call(now, calls.len()) {
                calls.push(call);
            }
            let may_call = self.may_call(calls.len());
            self.slots.set_alarm(self.alarm(now, may_call));
            let wake_at = self.wake_at(now, may_call);
            select! {
                Some(answer) = calls.next() => self.answered(answer)?,
                () = slots.rung() => {}
                Some(orders) = ears.orders.recv() => self.follow(orders),
                _ = phases.changed() => {}
                () = &mut wake => {
                    wake.set(queue.wake().notified());
                    wake.as_mut().enable();
                    self.woken = true;
                }
                () = ears.poke.notified() => self.woken = true,
                () = tokio::time::sleep_until(wake_at.into()) => {}
            }
        }
    }

    /// The registration, and the number of the latest claim, for the farewell.
    pub(crate) const fn registration(&self) -> Option<(BootId, i64)> {
        match self.boot {
            Some(boot) => Some((boot, self.claim)),
            None => None,
        }
    }

    /// How many more attempts may be started, where that is limited.
    fn attempts_left(&self) -> Option<u64> {
        self.config.exit_after.map(|limit| limit.saturating_sub(self.slots.started()))
    }

    /// Whether handlers may be started: not by a worker that others may by now have taken for dead.
    fn is_seen(&self) -> bool {
        self.hands.silent_for() < self.config.vigil.window
    }

    /// When to look around again though nothing has happened.
    fn wake_at(&self, now: Instant, may_call: bool) -> Instant {
        let tick = Duration::from_secs(1).min(self.config.store_patience / 4);
        let mut at = now + tick;
        // What is due already and was not done does not wait for time.
        let mut sooner = |other: Option<Instant>| at = other.filter(|&other| other > now).map_or(at, |o| at.min(o));
        if let Some(deadlines) = self.deadlines() {
            sooner(Some(if self.dropped { deadlines.out_at } else { deadlines.drop_at }));
        }
        sooner(self.stopped_at.map(|at| at + end::LAST_CALL));
        sooner(self.slots.waiting_since().map(|since| since + HOLD * 2));
        if may_call {
            // A pause after a failure holds up everything but what is to be sent again.
            let pause = self.retry_at.filter(|_| !self.outbox.owes()).unwrap_or(now);
            sooner(Some(pause));
            sooner(self.outbox.due_at().map(|at| at.max(pause)));
            sooner(self.may_claim().then(|| self.poll_at.max(pause)));
        }
        at
    }

    /// Hands buffered jobs to free slots.
    fn start_jobs(&mut self) {
        if let Some(number) = self.named_by {
            if !self.hands.has_heard(number) {
                return;
            }
            self.named_by = None;
            self.slots.let_go();
        }
        self.slots.fill();
    }

    /// When slots are to wake the dispatcher: when there is something that it would do.
    fn alarm(&self, now: Instant, may_call: bool) -> Alarm {
        let ended = if !self.outbox.has_new() {
            // The first one's time begins to run.
            Some(1)
        } else if may_call {
            Some(self.outbox.room())
        } else {
            None
        };
        let claims = may_call && self.may_claim() && (self.woken || self.poll_at <= now);
        let low = || self.pace.low(self.turning(now)).checked_sub(self.asked());
        let waiting = if claims { low().map(|low| low as usize) } else { None };
        Alarm { ended, waiting }
    }

    /// Takes up the ends of attempts.
    fn take_ends(&mut self, ends: Vec<End>) {
        for End { key, running, how } in ends {
            let ended = how.unwrap_or_else(|| Ended {
                verdict: Some(Verdict::Interrupt { reason: "its task was ended from outside the worker".into() }),
                ran: running.since.elapsed(),
                broken: None,
            });
            self.pace.ran(ended.ran);
            if let Some(why) = ended.broken
                && self.broken.is_none()
            {
                tracing::error!(why, "no job can be run here: the worker ends");
                self.broken = Some(why);
                self.stopper.stop();
            }
            match ended.verdict {
                Some(verdict) => self.outbox.push(settlement(key.0, running.token, verdict, ended.ran)),
                None => self.hands.forget([key]),
            }
        }
    }

    /// What a beat brought. Running handlers know already; buffered jobs never start.
    fn follow(&mut self, orders: Orders) {
        if self.boot != Some(orders.boot) {
            return;
        }
        if orders.state == WorkerState::Dead {
            self.begin_anew();
            return;
        }
        self.enter(orders.state);
        self.yields = orders.yields;
        if self.spares.iter().any(|kind| !orders.spares.contains(kind)) {
            // What it has passed over is its to take now, and nobody else will tell it of that.
            self.woken = true;
        }
        self.spares = orders.spares;
        for &lost in &orders.lost {
            if self.slots.unbuffer(lost).is_some() {
                self.hands.forget([lost]);
            }
        }
        for &cancelled in &orders.cancelled {
            if let Some(job) = self.slots.unbuffer(cancelled) {
                let reason = "cancelled before it started".into();
                self.settle_unstarted(&job, Verdict::Cancelled { reason });
            }
        }
    }

    /// The store has said in which state it sees this worker.
    fn enter(&mut self, state: WorkerState) {
        if self.state == state {
            return;
        }
        let verbosity = self.config.verbosity;
        match state {
            WorkerState::Draining => {
                tell!(verbosity, "draining: nothing more is claimed unless the worker is recalled");
            }
            WorkerState::Active => tell!(verbosity, "recalled: claiming again"),
            WorkerState::Leaving => tell!(verbosity, "leaving: the worker is about to be removed"),
            WorkerState::Dead => {}
        }
        self.state = state;
    }

    /// The store takes this worker for dead, or does not know it: all it held is taken away.
    fn begin_anew(&mut self) {
        tracing::warn!(running = self.slots.running(), "taken for dead: dropping all jobs and registering anew");
        if let Some(boot) = self.boot.take() {
            self.hands.drop_all(boot);
        }
        self.slots.clear();
        self.outbox.clear();
        self.named_by = None;
        self.suspects = None;
        self.spares.clear();
        self.claimers.clear();
        self.asked.clear();
        self.state = WorkerState::Active;
    }

    /// Gives back what has not started: all of it when no more may start here, and what was kept waiting for too long.
    fn tidy_buffer(&mut self, now: Instant) {
        let Some(since) = self.slots.waiting_since() else { return };
        let over = self.phase != Phase::Running || self.state != WorkerState::Active;
        // A buffer that waits for a beat is not stalled by long jobs.
        let stalled = now.duration_since(since) >= HOLD * 2 && self.slots.free() == 0 && self.named_by.is_none();
        if !over && !stalled {
            return;
        }
        if stalled && !over {
            self.pace.stalled();
        }
        for job in self.slots.unbuffer_all() {
            self.settle_unstarted(&job, Verdict::Return);
        }
        self.named_by = None;
    }

    fn settle_unstarted(&mut self, job: &ClaimedJob, verdict: Verdict) {
        self.hands.moved([key(job)], Place::Settled);
        self.outbox.push(settlement(job.id, job.token, verdict, Duration::ZERO));
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.slots.clear();
        if let Some(boot) = self.boot {
            self.hands.drop_all(boot);
        }
    }
}

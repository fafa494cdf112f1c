//! A worker's options: gathered by a builder, checked once, in [`Builder::build`].

use std::{fmt, sync::Arc, time::Duration};

use headcount_queue::{
    Binding, Job, Queue,
    limits::{check_delay, check_name},
    rescue::Vigil,
};

use crate::{
    Error, Exit, Worker,
    registry::{Handler, Registration, Registry},
    verbosity::Verbosity,
};

/// A worker's validated options.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Config {
    pub(crate) queues: Binding,
    pub(crate) slots: u32,
    pub(crate) poll: Duration,
    pub(crate) jitter: bool,
    pub(crate) listen: bool,
    pub(crate) aging: Option<Duration>,
    pub(crate) niceness: Option<i32>,
    pub(crate) verbosity: Verbosity,
    pub(crate) grace: Duration,
    pub(crate) cancel_grace: Duration,
    pub(crate) beat: Duration,
    pub(crate) vigil: Vigil,
    pub(crate) store_patience: Duration,
    pub(crate) pool: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) host: String,
    pub(crate) exit_if_empty: bool,
    pub(crate) exit_after: Option<u64>,
    pub(crate) signals: bool,
}

impl Config {
    /// The grace, where kinds that outlast it are left to workers with lower numbers, if there are any. One that is to end
    /// when nothing is left to do leaves nothing; outside a pool nobody is below another.
    pub(crate) fn leaves_what_outlasts(&self) -> Option<Duration> {
        (self.pool.is_some() && !self.exit_if_empty).then_some(self.grace)
    }
}

/// Describes a worker: see [`Worker::builder`].
#[must_use = "a builder does nothing until it is built or run"]
pub struct Builder<S> {
    queue: Queue,
    state: Arc<S>,
    kinds: Vec<Registration>,
    any: Option<Arc<dyn Handler>>,
    queues: Result<Binding, headcount_queue::Error>,
    config: Config,
}

impl Builder<()> {
    pub(crate) fn new(queue: Queue) -> Self {
        let config = Config {
            queues: Binding::Any,
            slots: 10,
            poll: Duration::from_millis(250),
            jitter: true,
            listen: true,
            aging: None,
            niceness: None,
            verbosity: Verbosity::Normal,
            grace: Duration::from_secs(25),
            cancel_grace: Duration::from_secs(5),
            beat: Duration::from_secs(3),
            vigil: Vigil::default(),
            store_patience: Duration::from_mins(5),
            pool: None,
            instance: None,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            exit_if_empty: false,
            exit_after: None,
            signals: false,
        };
        Self { queue, state: Arc::new(()), kinds: Vec::new(), any: None, queues: Ok(Binding::Any), config }
    }
}

impl<S: Send + Sync + 'static> Builder<S> {
    /// What every run of a job gets: connections, clients, settings. Kinds registered after this one have it as their
    /// [`Job::State`].
    pub fn state<T: Send + Sync + 'static>(self, state: T) -> Builder<T> {
        let Self { queue, state: _, kinds, any, queues, config } = self;
        Builder { queue, state: Arc::new(state), kinds, any, queues, config }
    }

    /// Runs jobs of this kind, under its name and its aliases.
    pub fn handle<J: Job<State = S>>(mut self) -> Self {
        self.kinds.push(Registration::of::<J>(Arc::clone(&self.state)));
        self
    }

    /// Runs every kind that no [`Builder::handle`] names with this handler: [`Exec`](crate::exec::Exec), for example.
    pub fn handle_any(mut self, handler: Arc<dyn Handler>) -> Self {
        self.any = Some(handler);
        self
    }

    /// The queues it serves, separated by commas: `"media, mail.*"`, where `mail.*` stands for all that begin with
    /// `mail.`. Default any, except private ones (`run:…`).
    pub fn queues(mut self, queues: &str) -> Self {
        self.queues = queues.parse();
        self
    }

    /// How many jobs it runs at once, 1 to 10 000. Default 10.
    pub fn slots(mut self, slots: u32) -> Self {
        self.config.slots = slots;
        self
    }

    /// How often to look for jobs when there were none. Default 250 ms. Shorter finds them sooner and asks the store
    /// more often; a worker in the process that enqueues is told anyway. One that [listens](Builder::listen) looks less
    /// often, down to every fourth time, the longer it finds nothing.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.config.poll = poll;
        self
    }

    /// Whether polls are spread at random, from half to one and a half times their interval, so that a fleet's do not
    /// come together. Default yes.
    pub fn jitter(mut self, jitter: bool) -> Self {
        self.config.jitter = jitter;
        self
    }

    /// Whether the store may tell it that jobs came in, where the store can: they then start within milliseconds,
    /// whoever enqueued them, at the cost of one connection. Default yes. Where it fails, that is logged, and polling
    /// goes on.
    pub fn listen(mut self, listen: bool) -> Self {
        self.config.listen = listen;
        self
    }

    /// For each such time that the first job of a queue's priority has waited, that priority counts as one higher, so
    /// that a stream of urgent jobs starves nobody. Default none: priorities are strict.
    pub fn age_priorities(mut self, each: Duration) -> Self {
        self.config.aging = Some(each);
        self
    }

    /// How willing the whole process, child processes included, is to let others of its machine go first: −20 to 19, as
    /// the command `nice` has it. Default as it was started. Less than it has takes a permission; without it, a warning
    /// is logged, and nothing changes.
    pub fn nice(mut self, niceness: i32) -> Self {
        self.config.niceness = Some(niceness);
        self
    }

    /// How much it logs, in whatever collects the process's `tracing` events. Default [`Verbosity::Normal`].
    pub fn verbosity(mut self, verbosity: Verbosity) -> Self {
        self.config.verbosity = verbosity;
        self
    }

    /// Within which time a stopped worker is out. Default 25 s, since platforms kill after 30. Its last part (2 s or
    /// a tenth, whichever is more, at most half) is kept for giving unfinished jobs back.
    ///
    /// Where a pool's lower numbers claim first, kinds that run for longer on average are left to those for a while.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// How long the handler of a cancelled job may take to end before it is dropped. Default 5 s.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.config.cancel_grace = grace;
        self
    }

    /// The pool that it is part of, for the scaler.
    pub fn pool(mut self, name: impl Into<String>) -> Self {
        self.config.pool = Some(name.into());
        self
    }

    /// What the platform calls the instance it runs on (`worker.2`, `i-0abc…`).
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.config.instance = Some(name.into());
        self
    }

    /// The host's name, for showing. Default what the operating system says.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.config.host = name.into();
        self
    }

    /// How often it tells the store that it lives. Default 3 s. At most a third of the vigil's window, so that two
    /// beats may be lost.
    pub fn beat(mut self, period: Duration) -> Self {
        self.config.beat = period;
        self
    }

    /// When workers are taken for dead. Every worker of a store should have the same.
    pub fn vigil(mut self, vigil: Vigil) -> Self {
        self.config.vigil = vigil;
        self
    }

    /// For how long it waits for a store that does not answer before it ends with [`Exit::StoreLost`]. Default 5 min.
    pub fn store_patience(mut self, patience: Duration) -> Self {
        self.config.store_patience = patience;
        self
    }

    /// Ends once nothing is left to do in its queues, on whatever worker; jobs that are due later do not count.
    pub fn exit_if_empty(mut self, exit: bool) -> Self {
        self.config.exit_if_empty = exit;
        self
    }

    /// Ends after this many attempts.
    pub fn exit_after(mut self, attempts: u64) -> Self {
        self.config.exit_after = Some(attempts);
        self
    }

    /// Obeys the process's signals: see [`signals`](crate::signals). Default no, since an application may have its own.
    pub fn signals(mut self, obey: bool) -> Self {
        self.config.signals = obey;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`Error::Rejected`] names the option that is wrong.
    pub fn build(self) -> Result<Worker, Error> {
        let Self { queue, state: _, kinds, any, queues, config } = self;
        let reject = |why: String| Err(Error::Rejected(why));
        let rejected = |error: headcount_queue::Error| Error::Rejected(error.to_string());
        let queues = queues.map_err(rejected)?;
        let registry = Registry::new(kinds, any).map_err(Error::Rejected)?;
        if !(1..=10_000).contains(&config.slots) {
            return reject(format!("{} slots: 1 to 10000 are allowed", config.slots));
        }
        if config.exit_after == Some(0) {
            return reject("exit after 0 jobs would never start one".into());
        }
        if let Some(niceness) = config.niceness.filter(|niceness| !(-20..=19).contains(niceness)) {
            return reject(format!("a niceness of {niceness}: -20 to 19 are allowed"));
        }
        for (what, length) in [
            ("the poll interval", config.poll),
            ("the time by which priorities age", config.aging.unwrap_or(config.poll)),
            ("the grace", config.grace),
            ("the beat", config.beat),
            ("the vigil's window", config.vigil.window),
            ("the vigil's scan", config.vigil.scan),
            ("the patience with the store", config.store_patience),
        ] {
            if length.is_zero() {
                return reject(format!("{what} is zero"));
            }
            check_delay(what, length).map_err(rejected)?;
        }
        if config.beat > config.vigil.window / 3 {
            return reject(format!(
                "a beat every {:?} with workers taken for dead after {:?}: beat at least three times in that window",
                config.beat, config.vigil.window
            ));
        }
        for (what, name) in [("a pool", &config.pool), ("an instance", &config.instance)] {
            if let Some(name) = name {
                check_name(what, name).map_err(rejected)?;
            }
        }
        Ok(Worker::new(queue, registry, Config { queues, ..config }))
    }

    /// Builds the worker and runs it until it is told to stop, or has nothing left to do where that is asked for.
    ///
    /// # Errors
    /// As [`Builder::build`] and [`Worker::run`].
    pub async fn run(self) -> Result<Exit, Error> {
        self.build()?.run().await
    }
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

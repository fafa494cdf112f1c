//! A worker from its start to its farewell.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use headcount_queue::{
    Binding, Queue, QueueState,
    store::{Beat, BootId},
};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};

use crate::{
    Builder, Error,
    claim::{Dispatcher, Ears},
    config::Config,
    drain::Stopper,
    hands::Hands,
    heartbeat::Heartbeat,
    nice::be_nice,
    pulse::Pulse,
    registry::Registry,
    signals, upkeep,
    verbosity::tell,
    waking,
};

/// How long a worker may take to say good-bye. It holds nothing by then: where the store does not answer, the worker is
/// taken for dead a little later, and nobody is the worse for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// Its queues were empty, or it has done the number of attempts it was to do.
    Done,
    /// It was told to, and everything that ran finished.
    Stopped,
    /// It was told to, and what had not finished in time was given back.
    Forced {
        /// How many jobs.
        given_back: usize,
    },
    /// The store did not answer for longer than the patience. Its jobs are rescued by others.
    StoreLost,
    /// No job can be run here, for this reason.
    BrokenEnvironment(String),
    /// It was drained, is idle, and is about to be removed by the scaler.
    Left,
}

/// Claims jobs, runs them, and settles them.
///
/// ```no_run
/// # use headcount_queue::Queue;
/// # use headcount_worker::Worker;
/// # use std::sync::Arc;
/// # async fn example(queue: Queue, program: Arc<dyn headcount_worker::Handler>) -> Result<(), headcount_worker::Error> {
/// let worker = Worker::builder(queue).handle_any(program).queues("media, mail").slots(20).build()?;
/// let stopper = worker.stopper();
/// tokio::spawn(async move {
///     // …, and in the end:
///     stopper.stop();
/// });
/// let exit = worker.run().await?;
/// # Ok(())
/// # }
/// ```
pub struct Worker {
    queue: Queue,
    registry: Arc<Registry>,
    config: Config,
    stopper: Stopper,
    pulse: Pulse,
}

impl Worker {
    /// Describes a worker for this queue.
    pub fn builder(queue: Queue) -> Builder<()> {
        Builder::new(queue)
    }

    pub(crate) fn new(queue: Queue, registry: Registry, config: Config) -> Self {
        Self { queue, registry: Arc::new(registry), config, stopper: Stopper::new(), pulse: Pulse::default() }
    }

    /// What stops this worker from outside.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// What shows whether its heart beats.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Runs until it is told to stop, or has nothing left to do where that is asked for.
    ///
    /// Dropping this future drops the running handlers without a word to the store: their jobs are rescued by others
    /// once the worker is taken for dead. Stop it instead.
    ///
    /// # Errors
    /// [`Error::Store`] when the store refuses the worker; [`Error::System`] when a thread or a signal is not to be
    /// had. An outage of the store is no error: it is waited out.
    pub async fn run(self) -> Result<Exit, Error> {
        let Self { queue, registry, config, stopper, pulse } = self;
        let store = Arc::clone(queue.store());
        let _signals = config.signals.then(|| signals::listen(&stopper)).transpose()?;
        if let Some(niceness) = config.niceness {
            be_nice(niceness);
        }
        let verbosity = config.verbosity;
        let hands = Arc::new(Hands::new(config.leaves_what_outlasts()));
        let poke = Arc::new(Notify::new());
        let (orders, ordered) = mpsc::unbounded_channel();
        let heartbeat =
            Heartbeat::start(Arc::clone(&store), Arc::clone(&hands), orders, config.beat, config.vigil.window, pulse)?;
        let mut upkeep = upkeep::start(&store, config.poll, config.vigil, &poke);
        let check = start_check(queue.clone(), Arc::clone(&registry), config.queues.clone());
        upkeep.spawn(check);
        let hears = Arc::new(AtomicBool::new(false));
        if config.listen {
            upkeep.spawn(waking::listen(store.clone(), config.queues.clone(), Arc::clone(&poke), Arc::clone(&hears)));
        }

        let mut dispatcher = Dispatcher::new(config, queue, registry, hands, stopper);
        let exit = dispatcher.run(Ears { orders: ordered, poke, hears }).await;

        drop(upkeep);
        // A beat after the farewell would only be told that the worker is dead.
        let _ = timeout(Duration::from_millis(500), heartbeat.end()).await;
        if let Some((boot, claim)) = dispatcher.registration()
            && !matches!(exit, Ok(Exit::StoreLost))
        {
            let limit = dispatcher.deadlines().map_or(FAREWELL, |deadlines| deadlines.to_leave().min(FAREWELL));
            if let Ok(Err(error)) = timeout(limit, farewell(&*store, boot, claim)).await {
                tracing::warn!(%error, "the worker could not take itself off the books; it will be taken for dead");
            }
        }
        drop(dispatcher);
        if let Ok(exit) = &exit {
            tell!(verbosity, ?exit, "worker ended");
        }
        exit
    }

    /// Runs and obeys the process's signals meanwhile: see [`signals`].
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub async fn run_with_signals(mut self) -> Result<Exit, Error> {
        self.config.signals = true;
        self.run().await
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("config", &self.config).field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// Takes the worker off the books. If it owns jobs still, their claim's answer was lost: a last beat gives them back.
async fn farewell(store: &dyn headcount_queue::store::Store, boot: BootId, claim: i64) -> headcount_queue::Result<()> {
    if !store.deregister(boot).await? {
        store.beat(&Beat { boot, holds: Vec::new(), started: Vec::new(), through: claim, grace: None }).await?;
        store.deregister(boot).await?;
    }
    Ok(())
}

/// Warns of kinds that wait in this worker's queues and that it cannot run.
async fn start_check(queue: Queue, registry: Arc<Registry>, bound: Binding) {
    // On an error nothing is said: the dispatcher meets the same store and does.
    let Ok(queues) = queue.store().queues().await else { return };
    for (kind, waiting) in unknown_kinds(queues, &bound, |kind| registry.find(kind).is_some()) {
        tracing::warn!(
            kind,
            waiting,
            "jobs of this kind wait in this worker's queues, and it cannot run them: register the kind here, or move \
             it to a queue of its own"
        );
    }
}

/// How many jobs wait in the bound queues of each kind that is not known.
fn unknown_kinds(queues: Vec<QueueState>, bound: &Binding, is_known: impl Fn(&str) -> bool) -> BTreeMap<String, i64> {
    let mut unknown = BTreeMap::new();
    for lane in queues.into_iter().filter(|queue| bound.includes(&queue.queue)).flat_map(|queue| queue.lanes) {
        let waiting = lane.depth.ready + lane.depth.scheduled + lane.depth.held;
        if waiting > 0 && !is_known(&lane.kind) {
            *unknown.entry(lane.kind).or_default() += waiting;
        }
    }
    unknown
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headcount_queue::NewJob;

    use super::*;

    #[tokio::test]
    async fn kinds_that_wait_here_and_cannot_be_run_are_found_and_no_others() {
        let queue = Queue::connect("sqlite::memory:").await.unwrap();
        let job = |kind: &str, queue: &str| NewJob::new(kind, "{}").queue(queue);
        let later = job("sms", "mail").delay(Duration::from_hours(1));
        let jobs =
            [job("mail", "mail"), job("sms", "mail"), job("sms", "mail").priority(1), later, job("fax", "other")];
        queue.enqueue_all(jobs).await.unwrap();
        let queues = async || queue.store().queues().await.unwrap();
        let here = unknown_kinds(queues().await, &"mail".parse().unwrap(), |kind| kind == "mail");
        assert_eq!(here, BTreeMap::from([("sms".to_owned(), 3)]));
        let anywhere = unknown_kinds(queues().await, &Binding::Any, |_| false);
        assert_eq!(anywhere.into_keys().collect::<Vec<_>>(), ["fax", "mail", "sms"]);
    }
}

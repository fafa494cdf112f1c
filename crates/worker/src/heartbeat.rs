//! The heartbeat: a thread, a runtime and a connection of its own, so that a handler that blocks every thread of the
//! application's runtime, or a pool of connections used up by handlers, kills nobody.

use std::{
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use headcount_queue::{
    Stop,
    store::{BeatAnswer, BootId, Claim, Store, WorkerState},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    hands::{Hands, Key, Snapshot},
    outage::Outage,
    pulse::Pulse,
};

/// What a beat brought for the dispatcher. Running handlers have been told already.
#[derive(Debug)]
pub(crate) struct Orders {
    /// For this registration.
    pub(crate) boot: BootId,
    /// The worker's state in the store.
    pub(crate) state: WorkerState,
    /// Cancelled by someone.
    pub(crate) cancelled: Vec<Key>,
    /// No longer this worker's.
    pub(crate) lost: Vec<Key>,
    /// Whether workers with lower numbers have slots free, which are to be filled first.
    pub(crate) yields: bool,
    /// The kinds that are left to workers with lower numbers.
    pub(crate) spares: Vec<String>,
}

/// The heartbeat while it beats; it ends when this is dropped.
pub(crate) struct Heartbeat {
    stop: CancellationToken,
    ended: Option<thread::JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts the thread. It beats every `period` while the worker is registered, and at once when `hands` wants it.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        hands: Arc<Hands>,
        orders: mpsc::UnboundedSender<Orders>,
        period: Duration,
        window: Duration,
        pulse: Pulse,
    ) -> Result<Self, Error> {
        let refused = |what| move |source| Error::System { what, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(refused("a runtime for the heartbeat"))?;
        let stop = CancellationToken::new();
        let token = stop.clone();
        let heart = Heart {
            store,
            hands,
            orders,
            period,
            // A beat that hangs must leave room for another within the window.
            limit: (window / 3).max(Duration::from_millis(20)),
            handle: None,
            pulse,
            outage: Outage::of("the heartbeat").patient_for(period),
        };
        let ended = thread::Builder::new()
            .name("headcount-heart".into())
            .spawn(move || runtime.block_on(heart.beat_until(token)))
            .map_err(refused("a thread for the heartbeat"))?;
        Ok(Self { stop, ended: Some(ended) })
    }

    /// Ends it and waits until no beat is under way.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.ended.take() {
            // The thread ends at its next await; the wait blocks a thread made for that.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").finish_non_exhaustive()
    }
}

struct Heart {
    store: Arc<dyn Store>,
    hands: Arc<Hands>,
    orders: mpsc::UnboundedSender<Orders>,
    period: Duration,
    limit: Duration,
    handle: Option<Arc<dyn Claim>>,
    pulse: Pulse,
    outage: Outage,
}

impl Heart {
    async fn beat_until(mut self, stop: CancellationToken) {
        // The registration was a sign of life.
        let mut next = Instant::now() + self.period;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.hands.beat_wanted() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
            let pause = tokio::select! {
                () = stop.cancelled() => return,
                pause = self.beat() => pause,
            };
            next = Instant::now() + pause;
        }
    }

    /// Beats once; returns the pause before the next beat.
    async fn beat(&mut self) -> Duration {
        self.pulse.tries();
        let Some(snapshot) = self.hands.snapshot() else { return self.period };
        match timeout(self.limit, self.speak(&snapshot)).await {
            Ok(Ok(answer)) => {
                self.outage.over();
                self.pulse.lands();
                self.obey(&snapshot, answer);
                // Early rather than late, and never all workers of a fleet in step.
                self.period.mul_f64(rand::random_range(0.8..1.0))
            }
            Ok(Err(error)) => self.failed(&error),
            Err(_) => self.failed(&headcount_queue::Error::TimedOut(self.limit)),
        }
    }

    async fn speak(&mut self, snapshot: &Snapshot) -> headcount_queue::Result<BeatAnswer> {
        let handle = match &self.handle {
            Some(handle) => handle,
            None => self.handle.insert(self.store.heart().await?),
        };
        handle.beat(&snapshot.beat).await
    }

    fn failed(&mut self, error: &headcount_queue::Error) -> Duration {
        // The connection may be what is wrong; the next beat makes a new one.
        self.handle = None;
        self.hands.unheard();
        self.outage.failed(error)
    }

    fn obey(&self, snapshot: &Snapshot, answer: BeatAnswer) {
        if !self.hands.heard(snapshot, answer.state) {
            return;
        }
        if answer.given_back > 0 {
            tracing::warn!("{} jobs went back whose claim was not answered", answer.given_back);
        }
        if answer.state == WorkerState::Dead {
            // Told at once, from here: the dispatcher may be waiting behind whatever made us late.
            self.hands.drop_all(snapshot.beat.boot);
        }
        let cancelled = self.hands.tell(&answer.cancelled, Stop::Cancelled);
        let lost = self.hands.tell(&answer.lost, Stop::TakenAway);
        let yields = answer.free_below.is_some_and(|free| free > 0);
        let BeatAnswer { state, spares, .. } = answer;
        let orders = Orders { boot: snapshot.beat.boot, state, cancelled, lost, yields, spares };
        // Nobody listens any more once the worker has ended.
        let _ = self.orders.send(orders);
    }
}

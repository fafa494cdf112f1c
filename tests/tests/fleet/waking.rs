//! How soon an idle fleet starts a job that someone enqueued with plain SQL, in a transaction that no worker saw.

use std::time::{Duration, Instant};

use headcount::{Context, Exit, Job, JobError, Outcome, Queue, Stopper, Worker};
use headcount_tests::{Database, eventually};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

const SOON: Duration = Duration::from_secs(30);
/// Workers of the fleet, each with connections of its own.
const WORKERS: usize = 3;
/// Starts that are measured, after one that warms everything up.
const STARTS: usize = 10;

/// Tells when it starts.
#[derive(Debug, Serialize, Deserialize)]
struct Tell {}

impl Job for Tell {
    const KIND: &'static str = "tell";
    type State = mpsc::UnboundedSender<(i64, Instant)>;

    async fn run(self, cx: &Context<Self::State>) -> Result<Outcome, JobError> {
        cx.state().send((cx.id().0, Instant::now()))?;
        Ok(Outcome::DONE)
    }
}

/// A fleet without work, and the application's own connection.
struct Fleet {
    database: Database,
    workers: Vec<(Stopper, JoinHandle<Exit>)>,
    application: PgConnection,
    starts: mpsc::UnboundedReceiver<(i64, Instant)>,
}

impl Fleet {
    async fn start(poll: Duration, listen: bool) -> Self {
        let database = Database::fresh().await;
        let (told, starts) = mpsc::unbounded_channel();
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            let queue = Queue::connect(database.url()).await.unwrap();
            let worker = Worker::builder(queue).state(told.clone()).handle::<Tell>().queues("mail.*");
            let worker = worker.poll(poll).jitter(false).listen(listen).build().unwrap();
            workers.push((worker.stopper(), tokio::spawn(async { worker.run().await.unwrap() })));
        }
        let application = database.connect().await;
        let mut fleet = Self { database, workers, application, starts };
        fleet.until("the whole fleet is up", "SELECT count(*) FROM headcount.worker", WORKERS as i64).await;
        fleet
    }

    async fn until(&mut self, what: &str, sql: &'static str, wanted: i64) {
        eventually(what, SOON, async || {
            let found: i64 = sqlx::query(sql).fetch_one(&mut self.application).await.unwrap().get(0);
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Enqueues a job with plain SQL and returns how long after its commit the handler started.
    async fn start_of_one(&mut self) -> Duration {
        let mut tx = self.application.begin().await.unwrap();
        let sql = "SELECT headcount.enqueue(kind => 'tell', payload => '{}', queue => 'mail.a')";
        let id: i64 = sqlx::query(sql).fetch_one(&mut *tx).await.unwrap().get(0);
        // Before the commit, whose own time thus counts as well.
        let at = Instant::now();
        tx.commit().await.unwrap();
        let started = timeout(SOON, self.starts.recv()).await.expect("it starts").unwrap();
        assert_eq!(started.0, id);
        started.1 - at
    }

    /// The worst of several starts.
    async fn worst(&mut self) -> Duration {
        self.start_of_one().await;
        let mut delays = Vec::new();
        for _ in 0..STARTS {
            delays.push(self.start_of_one().await);
        }
        println!("{delays:?}");
        delays.into_iter().max().unwrap_or_default()
    }

    async fn end(self) {
        for (stopper, running) in self.workers {
            stopper.stop();
            assert_eq!(timeout(SOON, running).await.expect("it ends").unwrap(), Exit::Stopped);
        }
        drop(self.database);
    }
}

#[tokio::test]
async fn a_sleeping_fleet_starts_what_plain_sql_enqueued_within_50_ms() {
    // Whoever only polled would find it after half a minute.
    let mut fleet = Fleet::start(Duration::from_mins(2), true).await;
    let asleep = "SELECT count(*) FROM headcount.queue WHERE queue = 'mail.*' AND asleep";
    fleet.until("the fleet sleeps", asleep, 1).await;
    let worst = fleet.worst().await;
    assert!(worst < Duration::from_millis(150), "three times the promise: {worst:?}");
    fleet.end().await;
}

#[tokio::test]
async fn a_fleet_that_does_not_listen_starts_it_within_a_poll() {
    let poll = Duration::from_millis(250);
    let mut fleet = Fleet::start(poll, false).await;
    let worst = fleet.worst().await;
    assert!(worst < poll * 3, "three times the promise: {worst:?}");
    fleet.until("nobody sleeps", "SELECT count(*) FROM headcount.queue WHERE asleep", 0).await;
    fleet.end().await;
}

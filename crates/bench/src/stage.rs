//! Where it happens: a server, and in it a schema of its own for each measurement, so that none finds what another has
//! left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use headcount_queue::{
    Binding, NewJob, Queue, StoreUrl,
    store::{Options, Store},
};
use sqlx::{Connection as _, PgConnection};

use crate::{
    figure::median,
    floor,
    labour::Labour,
    server::{Pooler, Server},
};

/// How many jobs one bulk has where a scenario only needs them to be there.
const BULK: usize = 10_000;
/// How often a bare commit is timed.
const COMMITS: usize = 21;

/// The server, and how large everything is.
#[derive(Debug)]
pub(crate) struct Stage {
    server: Server,
    scale: f64,
    labour: Labour,
    fields: AtomicU32,
}

/// A store with its tables, empty.
pub(crate) struct Site {
    /// The store's URL.
    pub(crate) url: String,
    /// The store, as an application has it.
    pub(crate) queue: Queue,
}

/// One in the server, which can be looked at from beside.
pub(crate) struct Field {
    /// The store.
    pub(crate) site: Site,
    /// The schema of its tables.
    pub(crate) schema: String,
    /// A connection beside it.
    pub(crate) sql: PgConnection,
}

impl Stage {
    pub(crate) async fn new(server: Server, scale: f64, labour: Labour) -> Result<Self> {
        let stage = Self { server, scale, labour, fields: AtomicU32::default() };
        stage.connect().await.context("the server that is to be measured cannot be reached")?;
        Ok(stage)
    }

    /// Worker processes.
    pub(crate) const fn labour(&self) -> &Labour {
        &self.labour
    }

    /// So many, at the size of this run; at least one.
    pub(crate) fn many(&self, count: usize) -> usize {
        ((count as f64 * self.scale).round() as usize).max(1)
    }

    /// So long, at the size of this run; at least a second.
    pub(crate) fn long(&self, length: Duration) -> Duration {
        length.mul_f64(self.scale).max(Duration::from_secs(1))
    }

    /// A connection that nothing else uses.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(self.server.url()).await?)
    }

    /// The processor time that the server has taken so far, if it can be told.
    pub(crate) fn server_cpu(&self) -> Option<Duration> {
        self.server.cpu()
    }

    /// What the server says of itself.
    pub(crate) async fn version(&self) -> Result<String> {
        let version = floor::version(&mut self.connect().await?).await?;
        Ok(if self.server.is_own() { format!("{version}, started for this with its own defaults") } else { version })
    }

    /// How long a bare durable commit takes, in milliseconds: the middle of some.
    pub(crate) async fn commit(&self) -> Result<f64> {
        let mut connection = self.connect().await?;
        let mut times = Vec::with_capacity(COMMITS);
        for _ in 0..COMMITS {
            let began = Instant::now();
            floor::commit(&mut connection).await?;
            times.push(millis(began.elapsed()));
        }
        Ok(median(&times))
    }

    /// Makes a store whose tables are empty.
    pub(crate) async fn field(&self) -> Result<Field> {
        self.field_for(Options::default().connections).await
    }

    /// The same, which the application reaches by so many connections.
    pub(crate) async fn field_for(&self, connections: u32) -> Result<Field> {
        let schema = self.schema();
        let url = with_schema(self.server.url(), &schema);
        let site = Site::make(&url, &url, connections).await?;
        Ok(Field { site, schema, sql: self.connect().await? })
    }

    /// The same, which the application reaches through a pooler.
    pub(crate) async fn field_through(&self, pooler: &Pooler, connections: u32) -> Result<Field> {
        let schema = self.schema();
        let (straight, through) = (with_schema(self.server.url(), &schema), with_schema(&pooler.url, &schema));
        let site = Site::make(&straight, &through, connections).await?;
        Ok(Field { site, schema, sql: self.connect().await? })
    }

    /// A pooler before the server, if there can be one.
    pub(crate) fn pooler(&self) -> Result<Option<Pooler>> {
        self.server.pooler()
    }

    fn schema(&self) -> String {
        let number = self.fields.fetch_add(1, Ordering::Relaxed);
        format!("headcount_bench_{}_{number}", std::process::id())
    }
}

fn with_schema(url: &str, schema: &str) -> String {
    format!("{url}{}schema={schema}", if url.contains('?') { '&' } else { '?' })
}

impl Site {
    /// Makes the tables by one way, and goes to them by another.
    pub(crate) async fn make(migrate: &str, url: &str, connections: u32) -> Result<Self> {
        Queue::migrate(migrate).await?;
        let options = Options { connections, ..Options::default() };
        let queue = Queue::connect_with(&url.parse::<StoreUrl>()?, &options).await?;
        Ok(Self { url: url.to_owned(), queue })
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.queue.store()
    }

    /// Puts in so many jobs, large bulks at a time.
    pub(crate) async fn fill(&self, count: usize, job: impl Fn(usize) -> NewJob) -> Result<()> {
        for from in (0..count).step_by(BULK) {
            let jobs: Vec<NewJob> = (from..count.min(from + BULK)).map(&job).collect();
            self.store().enqueue(&jobs).await?;
        }
        Ok(())
    }

    /// The books: so many were put in, as many have completed, nothing is left, and the counters agree with the tables.
    pub(crate) async fn balance(&self, enqueued: u64) -> Result<()> {
        let left = self.store().outstanding(&Binding::Any).await?;
        ensure!(left.is_empty(), "of {enqueued} jobs some are left: {left:?}");
        self.fold().await?;
        let drifts = self.store().audit().await?;
        ensure!(drifts.is_empty(), "the counters do not agree with the tables: {drifts:?}");
        let completed: i64 = self.store().queues().await?.iter().map(|queue| queue.flow.completed).sum();
        ensure!(
            u64::try_from(completed) == Ok(enqueued),
            "{enqueued} jobs were put in, and {completed} have completed"
        );
        Ok(())
    }

    /// Has the counters show all that has happened.
    pub(crate) async fn fold(&self) -> Result<()> {
        while self.store().fold().await? > 0 {}
        Ok(())
    }
}

impl Field {
    /// Takes everything away.
    pub(crate) async fn clear(mut self) -> Result<()> {
        floor::drop_schema(&mut self.sql, &self.schema).await
    }
}

/// In milliseconds.
pub(crate) fn millis(length: Duration) -> f64 {
    length.as_secs_f64() * 1e3
}

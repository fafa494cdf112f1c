//! Hearing of jobs that came in while workers sleep: a connection that does nothing else.
//!
//! A task keeps it and makes it anew when it is lost, so that whoever waits may stop waiting at any moment and misses
//! nothing. What was said while it was lost nobody knows, so its return counts as news.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Executor, SqlStr,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{PostgresStore, connection::Connections};
use crate::{Binding, Error, Result, store::Wakes};

/// Something on the way may drop a connection on which nothing is said, and neither end hears of it.
const ASK_EVERY: Duration = Duration::from_secs(30);

/// The pauses between tries to connect, before chance has its part.
const PAUSES: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(10);

/// News of the queues of a binding. Its connection goes when it is dropped.
#[derive(Debug)]
pub(super) struct PostgresWakes {
    news: Arc<Notify>,
    task: JoinHandle<()>,
}

#[async_trait]
impl Wakes for PostgresWakes {
    async fn next(&mut self) {
        self.news.notified().await;
    }
}

impl Drop for PostgresWakes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PostgresStore {
    /// Listens from now on; not through a pooler, where the connection would be another's after the statement.
    pub(super) async fn listens(&self, queues: &Binding) -> Result<Option<PostgresWakes>> {
        let ear = Ear { connections: Arc::clone(&self.connections), statement: self.statements.listen.clone() };
        if self.connections.way().pooler().is_none() {
            // The first connection shows what stands between.
            drop(self.connections.line(self.connections.deadline()).await?);
        }
        if self.connections.way().is_pooled() {
            return Ok(None);
        }
        let listener = ear.listen().await?;
        let news = Arc::new(Notify::new());
        let task = tokio::spawn(ear.hear(listener, queues.clone(), Arc::clone(&news)));
        Ok(Some(PostgresWakes { news, task }))
    }
}

/// What it takes to listen.
struct Ear {
    connections: Arc<Connections>,
    statement: SqlStr,
}

impl Ear {
    async fn listen(&self) -> Result<PgListener> {
        let limit = self.connections.timeout();
        let listens = async {
            // The driver listens on a connection of a pool only; this one has no other.
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None)
                .acquire_timeout(limit)
                .connect_lazy_with(self.connections.way().options().clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            // When it is lost, that is for us to know.
            listener.eager_reconnect(false);
            listener.execute(self.statement.clone()).await?;
            Ok(listener)
        };
        match timeout(limit, listens).await {
            Ok(Ok(listener)) => Ok(listener),
            Ok(Err(error)) => Err(self.connections.fault(error).into()),
            Err(_) => Err(Error::TimedOut(limit)),
        }
    }

    async fn hear(self, listener: PgListener, queues: Binding, news: Arc<Notify>) {
        let mut listener = Some(listener);
        let mut pause = PAUSES.start;
        loop {
            if let Some(ear) = &mut listener {
                if self.still_hears(ear, &queues, &news).await {
                    continue;
                }
                tracing::debug!("the connection that hears of new jobs was lost");
                listener = None;
            }
            // Many that lost the same server do not come back in the same moment.
            sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
            match self.listen().await {
                Ok(again) => {
                    listener = Some(again);
                    pause = PAUSES.start;
                    news.notify_one();
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no connection to hear of new jobs");
                    pause = (pause * 2).min(PAUSES.end);
                }
            }
        }
    }

    /// Waits for the next notice. Whether the connection is still there.
    async fn still_hears(&self, listener: &mut PgListener, queues: &Binding, news: &Notify) -> bool {
        match timeout(ASK_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(notice))) => {
                // Without a queue's name it was said by hand, and means all.
                if notice.payload().is_empty() || queues.includes(notice.payload()) {
                    news.notify_one();
                }
                true
            }
            Ok(Ok(None) | Err(_)) => false,
            Err(_) => matches!(timeout(self.connections.timeout(), listener.execute("SELECT 1")).await, Ok(Ok(_))),
        }
    }
}

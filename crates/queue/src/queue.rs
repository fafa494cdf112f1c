//! What applications hold: a handle to enqueue jobs and to look after them.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::{
    JobId, JobRecord, NewJob, Resolution, Result, Secret,
    store::{self, Action, Cancel, Enqueued, Filter, Options, Resolve, Setting, Store, StoreUrl, Target, Transaction},
};

/// A queue system: the store that its URL names. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    store: Arc<dyn Store>,
    wake: Arc<Notify>,
}

impl Queue {
    /// Connects to the store at this URL (`postgres://…`, `sqlite:FILE`, `sqlite::memory:`).
    ///
    /// # Errors
    /// [`Error::Unmigrated`](crate::Error::Unmigrated) when a Postgres store lacks its tables: they are made by
    /// `headcount migrate`, or by [`Queue::migrate`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(&url.parse()?, &Options::default()).await
    }

    /// The same with options.
    pub async fn connect_with(url: &StoreUrl, options: &Options) -> Result<Self> {
        let store = store::open(url, options).await?;
        store.check_version().await?;
        Ok(Self::new(store))
    }

    /// Makes or updates the tables of the store at this URL, and connects.
    pub async fn migrate(url: &str) -> Result<Self> {
        let store = store::open(&url.parse()?, &Options::default()).await?;
        store.migrate().await?;
        Ok(Self::new(store))
    }

    /// A queue on a store that is open already.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, wake: Arc::default() }
    }

    /// The store itself, for everything that is not said here.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Enqueues a job: a [`Job`](crate::Job), or a [`NewJob`] made from one. Durable when it returns.
    pub async fn enqueue(&self, job: impl Into<NewJob> + Send) -> Result<Enqueued> {
        let enqueued = self.enqueue_all([job]).await?;
        Ok(enqueued[0])
    }

    /// Enqueues many jobs in one round trip: all, or on an error none.
    pub async fn enqueue_all<J: Into<NewJob>>(
        &self,
        jobs: impl IntoIterator<Item = J> + Send,
    ) -> Result<Vec<Enqueued>> {
        let jobs: Vec<NewJob> = jobs.into_iter().map(Into::into).collect();
        let enqueued = self.store.enqueue(&jobs).await?;
        self.wake.notify_waiters();
        Ok(enqueued)
    }

    /// Enqueues a job inside the application's own transaction: it is there when that commits.
    pub async fn enqueue_in<'c>(
        &self,
        tx: impl Into<Transaction<'c>> + Send,
        job: impl Into<NewJob> + Send,
    ) -> Result<Enqueued> {
        let enqueued = self.store.enqueue_in(tx.into(), &[job.into()]).await?;
        Ok(enqueued[0])
    }

    /// Enqueues many jobs inside the application's own transaction.
    pub async fn enqueue_all_in<'c, J: Into<NewJob>>(
        &self,
        tx: impl Into<Transaction<'c>> + Send,
        jobs: impl IntoIterator<Item = J> + Send,
    ) -> Result<Vec<Enqueued>> {
        let jobs: Vec<NewJob> = jobs.into_iter().map(Into::into).collect();
        self.store.enqueue_in(tx.into(), &jobs).await
    }

    /// A job as it stands; none once it has completed without retention.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.store.job(id).await
    }

    /// Cancels a job: at once while it waits; a running one's handler is told, and dropped after a grace.
    pub async fn cancel(&self, id: JobId) -> Result<Cancel> {
        self.store.cancel(id).await
    }

    /// Queues a failed or cancelled job again, with all its attempts.
    pub async fn retry(&self, id: JobId) -> Result<()> {
        self.store.retry(id).await?;
        self.wake.notify_waiters();
        Ok(())
    }

    /// Answers for a job that waits for a third party, by the secret of its [callback](crate::Callback).
    ///
    /// # Errors
    /// As [`Admin::resolve`](crate::store::Admin::resolve); nothing was changed.
    pub async fn resolve(&self, id: JobId, secret: &Secret, resolution: &Resolution) -> Result<Resolve> {
        resolution.check()?;
        self.store.resolve(id, secret, resolution).await
    }

    /// Deletes a job that does not run.
    pub async fn delete(&self, id: JobId) -> Result<()> {
        self.store.delete(id).await
    }

    /// Does something to every job that the filter finds and whose state allows it, those included that come into it
    /// meanwhile. Returns to how many jobs.
    pub async fn act(&self, action: Action, filter: &Filter) -> Result<u64> {
        const PAGE: u32 = 1000;
        let mut total = 0;
        loop {
            let mut filter = filter.clone();
            let before = total;
            loop {
                let acted = self.store.act(action, &filter, PAGE).await?;
                total += acted.done.len() as u64;
                match acted.last {
                    Some(last) => filter.after = Some(last),
                    None => break,
                }
            }
            if total == before {
                break;
            }
        }
        if action == Action::Retry {
            self.wake.notify_waiters();
        }
        Ok(total)
    }

    /// Pauses a queue or a kind for everyone, until it is resumed: its jobs are not started; those that run go on.
    pub async fn pause(&self, target: &Target) -> Result<()> {
        self.store.set(target, Setting::Paused(true)).await
    }

    /// Resumes a queue or a kind.
    pub async fn resume(&self, target: &Target) -> Result<()> {
        self.store.set(target, Setting::Paused(false)).await?;
        self.wake.notify_waiters();
        Ok(())
    }

    /// Tells sleeping workers what they have not been told yet. To be called before the process ends; without it they
    /// find the jobs at their next poll.
    pub async fn flush(&self) -> Result<()> {
        self.store.flush().await
    }

    /// Notified when this process enqueued something: a worker in the same process need not wait for its poll.
    pub fn wake(&self) -> &Notify {
        &self.wake
    }
}

//! Tells a webhook that no scaler acts any more, which no scaler can: of all the workers that see it, one tells.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use headcount_queue::{
    Result,
    store::{Fence, Lease, LeaseRecord, Store},
};
use headcount_scaler::{Concern, Notice, Webhook};

use crate::lease;

/// How often a worker looks.
const LOOK: Duration = Duration::from_secs(30);
/// A scaler that is away for less is no matter: a deploy.
const ABSENT: TimeDelta = TimeDelta::minutes(2);
/// Who holds the lease of notices tells. It is renewed at each look, so that another tells if the one that did has ended.
const LENGTH: Duration = Duration::from_mins(10);

/// One worker's watch.
pub(super) struct Absence {
    store: Arc<dyn Store>,
    holder: String,
    webhook: Webhook,
    absent: TimeDelta,
    /// It was this one that told, under this fence.
    told: Option<Fence>,
}

impl Absence {
    pub(super) fn new(store: Arc<dyn Store>, holder: String, webhook: Webhook) -> Self {
        Self { store, holder, webhook, absent: ABSENT, told: None }
    }

    /// Looks for as long as it is polled.
    pub(super) async fn watch(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "could not read who scales");
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        let leases = self.store.leases().await?;
        if let Some(text) = leases.iter().find_map(|lease| missing(lease, self.absent)) {
            if let Lease::Held(fence) = self.store.lease(lease::NOTICE, &self.holder, LENGTH).await?
                && self.told.replace(fence).is_none()
            {
                self.webhook.tell(Notice::of_store(Concern::NoScaler, text));
            }
        } else if let Some(fence) = self.told.take() {
            let text = "a scaler acts again".to_owned();
            self.webhook.tell(Notice { over: true, ..Notice::of_store(Concern::NoScaler, text) });
            self.store.release_lease(&fence).await?;
        }
        Ok(())
    }
}

/// Whether its scaler has been away for longer than this.
fn missing(lease: &LeaseRecord, absent: TimeDelta) -> Option<String> {
    (lease.read_at - lease.until > absent).then(|| lease::missing(lease)).flatten()
}

#[cfg(test)]
mod tests {
    use headcount_queue::Queue;
    use headcount_tests::{Inbox, eventually};

    use super::*;

    #[tokio::test]
    async fn of_two_workers_that_miss_a_scaler_one_tells_and_says_when_it_is_over() {
        let queue = Queue::connect("sqlite::memory:").await.unwrap();
        let (store, inbox) = (Arc::clone(queue.store()), Inbox::open("hook", 0).await);
        let watch = |holder: &str| {
            let webhook = Webhook::new(inbox.url()).unwrap();
            Absence { absent: TimeDelta::zero(), ..Absence::new(Arc::clone(&store), holder.into(), webhook) }
        };
        let (mut first, mut second) = (watch("a"), watch("b"));
        let told = async |count: usize| {
            eventually("it is told", Duration::from_secs(30), async || {
                let taken = inbox.taken();
                if taken.len() == count { Ok(()) } else { Err(taken) }
            })
            .await;
        };
        first.look().await.unwrap();
        let Lease::Held(_) = store.lease("scaler", "host", Duration::from_millis(1)).await.unwrap() else {
            panic!("nobody else takes it")
        };
        eventually("it has run out", Duration::from_secs(30), async || {
            first.look().await.unwrap();
            if first.told.is_some() { Ok(()) } else { Err("not yet") }
        })
        .await;
        second.look().await.unwrap();
        first.look().await.unwrap();
        told(1).await;
        store.lease("scaler", "another", Duration::from_mins(1)).await.unwrap();
        second.look().await.unwrap();
        first.look().await.unwrap();
        told(2).await;
        let taken = inbox.taken();
        assert!(taken[0]["text"].as_str().unwrap().contains("no scaler since"), "{taken:?}");
        assert_eq!((&taken[0]["over"], &taken[1]["over"]), (&false.into(), &true.into()));
        assert_eq!(taken[1]["event"], "no_scaler");
    }
}

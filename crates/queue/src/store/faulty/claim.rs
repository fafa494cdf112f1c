//! What a worker holds of the store: its registration, its claimer and its heart, under the same rules.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::rules::{Call, Calls, Rules};
use crate::{
    Binding, JobId, Result,
    store::{
        Beat, BeatAnswer, BootId, Claim, Claimed, Claimer, NewWorker, Settlement, Token, Wakes, Want, WorkerState,
    },
};

/// The part of a store that workers use, or the handle of a heartbeat.
#[derive(Clone)]
pub(super) struct FaultyClaim {
    inner: Arc<dyn Claim>,
    rules: Arc<Rules>,
}

impl FaultyClaim {
    pub(super) fn new(inner: Arc<dyn Claim>, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }
}

impl fmt::Debug for FaultyClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultyClaim").field(&self.inner).finish()
    }
}

#[async_trait]
impl Claim for FaultyClaim {
    async fn register(&self, worker: &NewWorker) -> Result<WorkerState> {
        self.rules.through(Call::Register.into(), self.inner.register(worker)).await
    }

    async fn deregister(&self, boot: BootId) -> Result<bool> {
        self.rules.through(Call::Register.into(), self.inner.deregister(boot)).await
    }

    fn claimer(&self, boot: BootId, queues: &Binding, aging: Option<std::time::Duration>) -> Box<dyn Claimer> {
        Box::new(FaultyClaimer { inner: self.inner.claimer(boot, queues, aging), rules: self.rules.clone() })
    }

    fn claimers(&self, boot: BootId, queues: &Binding, aging: Option<std::time::Duration>) -> Vec<Box<dyn Claimer>> {
        let faulty = |inner| Box::new(FaultyClaimer { inner, rules: self.rules.clone() }) as Box<dyn Claimer>;
        self.inner.claimers(boot, queues, aging).into_iter().map(faulty).collect()
    }

    async fn listen(&self, queues: &Binding) -> Result<Option<Box<dyn Wakes>>> {
        self.rules.through(Call::Wake.into(), self.inner.listen(queues)).await
    }

    async fn sleep(&self, queues: &Binding, asleep: bool) -> Result<()> {
        self.rules.through(Call::Wake.into(), self.inner.sleep(queues, asleep)).await
    }

    async fn beat(&self, beat: &Beat) -> Result<BeatAnswer> {
        self.rules.through(Call::Beat.into(), self.inner.beat(beat)).await
    }

    async fn callback(&self, id: JobId, token: Token, digest: &str) -> Result<()> {
        self.rules.through(Call::Callback.into(), self.inner.callback(id, token, digest)).await
    }

    async fn heart(&self) -> Result<Arc<dyn Claim>> {
        let heart = self.rules.through(Call::Heart.into(), self.inner.heart()).await?;
        Ok(Arc::new(Self::new(heart, self.rules.clone())))
    }
}

#[derive(Debug)]
struct FaultyClaimer {
    inner: Box<dyn Claimer>,
    rules: Arc<Rules>,
}

#[async_trait]
impl Claimer for FaultyClaimer {
    async fn next(&mut self, settled: &[Settlement], want: Want) -> Result<Claimed> {
        let mut calls = Calls::default();
        if !settled.is_empty() {
            calls = calls | Call::Settle;
        }
        // A call that does neither still goes to the store; it is a claim of nothing.
        if want.claim != 0 || settled.is_empty() {
            calls = calls | Call::Claim;
        }
        self.rules.through(calls, self.inner.next(settled, want)).await
    }
}

//! The termination hooks: an instance that Auto Scaling ends waits in them until it is told to go on, or they run out.
//!
//! Whoever had it end (this driver, a zone that is rebalanced, a Spot instance that is taken back, a person), the scaler
//! says when its jobs are settled. It does so rather than the workers, since workers then need no permissions of AWS, and
//! since one that died says nothing. The default hook waits for an hour, which is paid.

use futures::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::{
    AwsDriver,
    config::PoolGroup,
    failure::Failure,
    reading::Reading,
    removal::{AT_ONCE, Outcome, answer},
};
use crate::driver::{Applied, DriverError, InstanceId, PoolRef};

/// What is said to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It may go on.
    Complete,
    /// It is to wait for as long again.
    Extend,
}

impl AwsDriver {
    /// How many instances the group aims for, as far as is known.
    pub(super) fn desired(&self, pool: &PoolRef) -> u32 {
        self.with(pool, |memory| memory.reading.as_ref().map_or(0, Reading::size))
    }

    /// Ends the waits of these instances; of those that do not wait, nothing is asked.
    pub(super) async fn complete(
        &self,
        pool: &PoolRef,
        group: &PoolGroup,
        instances: &[InstanceId],
        deadline: Instant,
    ) -> Result<Applied, DriverError> {
        let waiting = self.with(pool, |memory| memory.waiting(instances));
        let words = waiting.into_iter().map(|id| async move {
            let outcome = self.let_go(pool, group, &id, deadline).await;
            (id, outcome)
        });
        let outcomes: Vec<Outcome> = stream::iter(words).buffered(AT_ONCE).collect().await;
        answer(&outcomes, self.desired(pool))
    }

    /// Has these instances wait on, as far as their hooks would run out before long.
    pub(super) async fn extend(
        &self,
        pool: &PoolRef,
        group: &PoolGroup,
        instances: &[InstanceId],
        deadline: Instant,
    ) -> Result<Applied, DriverError> {
        let due = self.with(pool, |memory| memory.due_for_a_sign(instances, Instant::now()));
        let words = due.into_iter().map(|id| async move {
            let begun = Instant::now();
            let outcome = self.say(Word::Extend, pool, group, &id, deadline).await;
            if outcome.is_ok() {
                self.with(pool, |memory| memory.signed(&id, begun));
            }
            (id, outcome)
        });
        let outcomes: Vec<Outcome> = stream::iter(words).buffered(AT_ONCE).collect().await;
        answer(&outcomes, self.desired(pool))
    }

    /// Ends an instance's wait in the termination hooks, so that it is not paid until they run out.
    pub(super) async fn let_go(
        &self,
        pool: &PoolRef,
        group: &PoolGroup,
        id: &InstanceId,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        let completed = self.say(Word::Complete, pool, group, id, deadline).await?;
        self.with(pool, |memory| memory.let_go(id));
        Ok(completed)
    }

    /// Says it to each hook of the group, for no answer tells in which the instance waits. Whether one of them heard it.
    async fn say(
        &self,
        word: Word,
        pool: &PoolRef,
        group: &PoolGroup,
        id: &InstanceId,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        let hooks = self.with(pool, |memory| memory.hooks());
        if hooks.is_empty() {
            return Err(Failure::Unsent("it waits in a termination hook, and which there are is not known yet".into()));
        }
        let mut heard = false;
        for hook in hooks {
            let (group, id) = (group.name.as_str(), id.as_str());
            let answer = match word {
                Word::Complete => self.calls.complete(group, &hook, id, deadline).await,
                Word::Extend => self.calls.heartbeat(group, &hook, id, deadline).await,
            };
            match answer {
                Ok(()) => heard = true,
                // It has gone on meanwhile, or it waits in another of the hooks.
                Err(Failure::No(why)) if why.contains("No active Lifecycle Action") => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(heard)
    }
}

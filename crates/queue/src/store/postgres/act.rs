//! The same by hand for many jobs.
//!
//! Each job is moved by a statement and a commit of its own, a few at a time: one that an application's transaction has
//! locked holds up nothing but itself, and no lock of a bulk stands in a worker's way. With the commits of a few
//! together a thousand jobs take about a second.

use tokio::task::JoinSet;

use super::{PostgresStore, found::Found};
use crate::{
    Error, JobId, Result,
    store::{Acted, Action, Admin, Filter},
};

/// How many jobs are moved at once, as far as there are connections. Of those that are retried the first of a key takes
/// it, so they go one after the other.
const fn hands(action: Action) -> usize {
    match action {
        Action::Retry => 1,
        Action::Cancel | Action::Delete => 3,
    }
}

impl PostgresStore {
    /// Does this to the first jobs that the filter finds.
    pub(super) async fn acted(&self, action: Action, filter: &Filter, limit: u32) -> Result<Acted> {
        let Some(found) = Found::movable(filter, action)? else { return Ok(Acted::default()) };
        let ids = self.picked(&found, limit).await?;
        let last = ids.last().copied().filter(|_| ids.len() >= limit as usize);
        let mut moves = JoinSet::new();
        for share in shares(&ids, hands(action)) {
            let store = self.clone();
            moves.spawn(async move {
                let mut done = Vec::new();
                for id in share {
                    if store.moved(action, id).await? {
                        done.push(id);
                    }
                }
                Ok::<_, Error>(done)
            });
        }
        let mut done = Vec::with_capacity(ids.len());
        while let Some(share) = moves.join_next().await {
            done.extend(share.map_err(|error| Error::Unavailable(error.into()))??);
        }
        done.sort_unstable();
        Ok(Acted { done, last })
    }

    /// Does this to one job; `false` if it may not be done.
    async fn moved(&self, action: Action, id: JobId) -> Result<bool> {
        let moved = match action {
            Action::Cancel => self.cancel(id).await.map(drop),
            Action::Retry => self.retry(id).await,
            Action::Delete => self.delete(id).await,
        };
        match moved {
            Ok(()) => Ok(true),
            // It moved meanwhile, or may not be moved: the next pass looks again.
            Err(Error::NotFound(_) | Error::WrongState { .. } | Error::KeyTaken { .. } | Error::Busy(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The ids, dealt out in turn: so they are moved about in their order.
fn shares(ids: &[JobId], hands: usize) -> impl Iterator<Item = Vec<JobId>> {
    (0..hands).map(move |hand| ids.iter().skip(hand).step_by(hands).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_in_one_share() {
        let ids: Vec<_> = (1..=7).map(JobId).collect();
        let mut dealt: Vec<_> = shares(&ids, 3).flatten().collect();
        dealt.sort_unstable();
        assert_eq!(dealt, ids);
    }
}

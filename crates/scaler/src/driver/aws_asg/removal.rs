//! Removing instances by name, each at most once.

use futures::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::{
    AwsDriver,
    config::PoolGroup,
    failure::Failure,
    reading::{GroupMember, Stage},
};
use crate::driver::{Applied, DriverError, InstanceId, PoolRef};

/// So many terminations are under way at once: more of one group get in each other's way (`ResourceContention`).
pub(super) const AT_ONCE: usize = 4;

/// What came of one instance's removal.
pub(super) type Outcome = (InstanceId, Result<bool, Failure>);

impl AwsDriver {
    /// Removes these instances. That some were and some were not has no answer of its own: it is told as not known, so
    /// that the next reading decides.
    pub(super) async fn remove(
        &self,
        pool: &PoolRef,
        group: &PoolGroup,
        instances: &[InstanceId],
        deadline: Instant,
    ) -> Result<Applied, DriverError> {
        let removals = instances.iter().cloned().map(|id| async move {
            let outcome = self.remove_one(pool, group, &id, deadline).await;
            (id, outcome)
        });
        let outcomes: Vec<Outcome> = stream::iter(removals).buffered(AT_ONCE).collect().await;
        answer(&outcomes, self.desired(pool))
    }

    /// Whether anything was changed for it.
    async fn remove_one(
        &self,
        pool: &PoolRef,
        group: &PoolGroup,
        id: &InstanceId,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        let (member, earlier) = self.with(pool, |memory| {
            let member = memory.reading.as_ref().and_then(|reading| reading.member(id)).cloned();
            (member, memory.removal(id))
        });
        match (member, earlier) {
            // The call takes no group's name: one of another group of the account would be terminated all the same.
            (None, _) => Err(Failure::No(format!("it is not in the Auto Scaling group {}", group.name))),
            // Whoever ended it, it waits for its workers, and they are gone or idle.
            (Some(GroupMember { stage: Stage::EndHook, .. }), _) => self.let_go(pool, group, id, deadline).await,
            (Some(member), _) if member.stage.is_ending() => Ok(false),
            (Some(_), Some(earlier)) if earlier.certain => {
                let since = earlier.sent.elapsed();
                tracing::warn!(instance = %id, group = group.name, ?since, "its removal was taken, and it is still up");
                Ok(false)
            }
            (Some(_), Some(_)) => Err(Failure::Unsure("its removal was sent, and no reading has shown it yet".into())),
            (Some(_), None) => {
                let answer = self.calls.terminate(id.as_str(), deadline).await;
                if let Ok(()) | Err(Failure::Unsure(_)) = answer {
                    self.with(pool, |memory| memory.removing(id, answer.is_ok(), Instant::now()));
                }
                answer.map(|()| true)
            }
        }
    }
}

/// What is true of all of them together.
pub(super) fn answer(outcomes: &[Outcome], desired: u32) -> Result<Applied, DriverError> {
    let changed = outcomes.iter().any(|(_, outcome)| *outcome == Ok(true));
    let failed: Vec<(&InstanceId, &Failure)> =
        outcomes.iter().filter_map(|(id, outcome)| Some((id, outcome.as_ref().err()?))).collect();
    if failed.is_empty() {
        return Ok(Applied { desired, changed });
    }
    let mut why: Vec<String> = failed.iter().map(|(id, failure)| format!("{id}: {failure}")).collect();
    let is_unsure = |(_, failure): &(&InstanceId, &Failure)| matches!(failure, Failure::Unsure(_));
    let is_no = |(_, failure): &(&InstanceId, &Failure)| matches!(failure, Failure::No(_));
    Err(if failed.len() < outcomes.len() {
        let taken =
            outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(id, _)| format!("{id}: is being removed"));
        why.extend(taken);
        DriverError::Unknown(why.join("; "))
    } else if failed.iter().any(is_unsure) {
        DriverError::Unknown(why.join("; "))
    } else if failed.iter().all(is_no) {
        DriverError::Refused(why.join("; "))
    } else {
        DriverError::Unavailable(why.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_several_says_no_more_than_holds_for_all() {
        let taken = Ok(true);
        let no = Err(Failure::No("no".into()));
        let busy = Err(Failure::Busy("busy".into()));
        let unsure = Err(Failure::Unsure("late".into()));
        for (outcomes, word) in [
            (vec![&taken, &taken], "Ok"),
            (vec![&no, &no], "Refused"),
            (vec![&no, &busy], "Unavailable"),
            (vec![&busy, &unsure], "Unknown"),
            (vec![&taken, &no], "Unknown"),
        ] {
            let named =
                outcomes.iter().enumerate().map(|(at, &one)| (InstanceId::from(format!("i-{at}")), one.clone()));
            let answer = answer(&named.collect::<Vec<_>>(), 1);
            assert!(format!("{answer:?}").contains(word), "{outcomes:?}: {answer:?}");
        }
    }
}

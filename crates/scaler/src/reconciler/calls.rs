//! Calls to the platforms: one for all pools of a driver, all drivers at once, each within its time limit.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::{Pool, Turn};
use crate::driver::{Applied, Change, DriverError, PoolRef, PoolStatus, ScalerDriver};
use crate::observe::Backlog;

/// The status of each of these pools.
pub(super) async fn statuses(all: &[Pool], pools: &[usize], limit: Duration) -> Vec<Result<PoolStatus, DriverError>> {
    let asked: Vec<(Arc<dyn ScalerDriver>, PoolRef)> =
        pools.iter().map(|&pool| (all[pool].driver.clone(), all[pool].spec.name().clone())).collect();
    each_driver(
        asked,
        limit,
        |driver, pools| async move { driver.status(&pools).await },
        // A reading that did not come has changed nothing.
        DriverError::Unavailable,
    )
    .await
}

/// What the sources of these pools say, where that is not the store. Each keeps its own time limit.
pub(super) async fn backlogs(all: &[Pool], pools: &[usize]) -> Vec<Option<Result<Backlog, String>>> {
    let mut backlogs: Vec<_> = pools.iter().map(|_| None).collect();
    let mut calls = JoinSet::new();
    for (i, &pool) in pools.iter().enumerate() {
        let spec = &all[pool].spec;
        if let Some(source) = spec.own_source().cloned() {
            let queues = spec.queues().clone();
            // Of a call that is lost nothing is known.
            backlogs[i] = Some(Err("it was not asked to the end".to_owned()));
            calls.spawn(async move { (i, source.read(&queues).await.map_err(|error| error.to_string())) });
        }
    }
    while let Some(done) = calls.join_next().await {
        if let Ok((i, backlog)) = done {
            backlogs[i] = Some(backlog);
        }
    }
    backlogs
}

/// The platforms' answers to the changes of each turn.
pub(super) async fn apply(all: &[Pool], turns: &[Turn], limit: Duration) -> Vec<Vec<Result<Applied, DriverError>>> {
    let asked: Vec<(Arc<dyn ScalerDriver>, Change)> = turns
        .iter()
        .flat_map(|turn| turn.changes.iter().map(|change| (all[turn.sight.pool].driver.clone(), change.clone())))
        .collect();
    let mut answers = each_driver(
        asked,
        limit,
        |driver, changes| async move { driver.apply(&changes).await },
        // A change whose answer did not come may have been made.
        DriverError::Unknown,
    )
    .await
    .into_iter();
    turns.iter().map(|turn| answers.by_ref().take(turn.changes.len()).collect()).collect()
}

/// What is asked of one driver, and where each question stands among all.
struct Group<Q> {
    driver: Arc<dyn ScalerDriver>,
    places: Vec<usize>,
    questions: Vec<Q>,
}

/// Makes one call per driver with everything asked of it, and puts the answers into the order of the questions.
///
/// Each call is a task of its own, so that a driver which panics fails its own pools only.
async fn each_driver<Q, A, F>(
    asked: Vec<(Arc<dyn ScalerDriver>, Q)>,
    limit: Duration,
    call: impl Fn(Arc<dyn ScalerDriver>, Vec<Q>) -> F,
    failed: impl Fn(String) -> DriverError,
) -> Vec<Result<A, DriverError>>
where
    A: Send + 'static,
    F: Future<Output = Vec<Result<A, DriverError>>> + Send + 'static,
{
    let mut answers: Vec<Option<Result<A, DriverError>>> = asked.iter().map(|_| None).collect();
    let mut groups: Vec<Group<Q>> = Vec::new();
    for (i, (driver, question)) in asked.into_iter().enumerate() {
        let group = match groups.iter().position(|group| Arc::ptr_eq(&group.driver, &driver)) {
            Some(known) => &mut groups[known],
            None => groups.push_mut(Group { driver, places: Vec::new(), questions: Vec::new() }),
        };
        group.places.push(i);
        group.questions.push(question);
    }
    let mut calls = JoinSet::new();
    let mut tasks = Vec::new();
    for Group { driver, places, questions } in groups {
        let call = call(driver, questions);
        let task = calls.spawn(async move { tokio::time::timeout(limit, call).await }.in_current_span());
        tasks.push((task.id(), places));
    }
    while let Some(done) = calls.join_next_with_id().await {
        let (id, outcome) = match done {
            Ok((id, Ok(answered))) => (id, Ok(answered)),
            Ok((id, Err(_))) => (id, Err(format!("no answer within {limit:?}"))),
            Err(error) => (error.id(), Err(format!("the driver panicked: {error}"))),
        };
        let places = tasks.iter().find(|(task, _)| *task == id).map(|(_, places)| places.as_slice());
        let mut answered = outcome.map(Vec::into_iter);
        for &place in places.unwrap_or_default() {
            answers[place] = Some(match &mut answered {
                Ok(answered) => answered.next().unwrap_or_else(|| Err(failed("the driver left an answer out".into()))),
                Err(why) => Err(failed(why.clone())),
            });
        }
    }
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(failed("the call was lost".into())))).collect()
}

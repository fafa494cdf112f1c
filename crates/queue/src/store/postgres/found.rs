//! What a filter finds: the jobs, their ids, or their number.

use sqlx::SqlStr;

use super::{PostgresStore, column, millis, observe::Asked};
use crate::{
    JobId, Result, State,
    limits::check_delay,
    store::{Action, Filter},
};

/// A filter, as the statements take it.
#[derive(Debug)]
pub(super) struct Found<'a> {
    filter: &'a Filter,
    states: Option<Vec<&'static str>>,
    older_ms: Option<i64>,
    /// Pass over running jobs whose end was asked for.
    fresh: bool,
}

impl<'a> Found<'a> {
    /// Everything that the filter finds.
    pub(super) fn by(filter: &'a Filter) -> Result<Self> {
        check_delay("the age to look for", filter.older_than.unwrap_or_default())?;
        let states = filter.states.iter().map(|state| state.as_str()).collect();
        Ok(Self {
            filter,
            states: Some(states).filter(|states: &Vec<_>| !states.is_empty()),
            older_ms: filter.older_than.map(millis),
            fresh: false,
        })
    }

    /// What of it an action may move; `None` if its states allow none.
    pub(super) fn movable(filter: &'a Filter, action: Action) -> Result<Option<Self>> {
        let wanted = |state: &&State| filter.states.is_empty() || filter.states.contains(state);
        let states: Vec<_> = action.states().iter().filter(wanted).map(|state| state.as_str()).collect();
        let found = Self::by(filter)?;
        Ok((!states.is_empty()).then(|| Self { states: Some(states), fresh: action == Action::Cancel, ..found }))
    }

    /// The statement for it: of those that name ids only by themselves, the second.
    pub(super) fn of<'s>(&self, statements: &'s [SqlStr; 2]) -> &'s SqlStr {
        &statements[usize::from(!self.filter.ids.is_empty())]
    }

    /// Binds it; the most jobs come after.
    pub(super) fn bind<'q>(&self, query: Asked<'q>) -> Asked<'q> {
        let filter = self.filter;
        let (path, value) = filter.payload.clone().unzip();
        let ids = Some(filter.ids.iter().map(|id| id.0).collect::<Vec<_>>()).filter(|ids| !ids.is_empty());
        query
            .bind(filter.queue.clone())
            .bind(filter.kind.clone())
            .bind(self.states.clone())
            .bind(filter.after.map_or(i64::MIN, |id| id.0))
            .bind(filter.key.clone())
            .bind(filter.error.clone())
            .bind(self.older_ms)
            .bind(path)
            .bind(value)
            .bind(self.fresh)
            .bind(ids)
    }
}

impl PostgresStore {
    /// The ids of the first that it finds.
    pub(super) async fn picked(&self, found: &Found<'_>, limit: u32) -> Result<Vec<JobId>> {
        let statement = found.of(&self.statements.pick);
        let rows = self.ask(statement, |query| found.bind(query).bind(i64::from(limit))).await?;
        rows.iter().map(|row| column(row, "id").map(JobId)).collect()
    }

    /// How many it finds.
    pub(super) async fn counted(&self, found: &Found<'_>) -> Result<u64> {
        let rows = self.ask(found.of(&self.statements.count), |query| found.bind(query)).await?;
        Ok(column::<i64>(&rows[0], "jobs")? as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_looks_only_where_it_may_move_a_job() {
        let states = |states: &[State], action| {
            let filter = Filter { states: states.to_vec(), ..Filter::default() };
            Found::movable(&filter, action).unwrap().and_then(|found| found.states)
        };
        assert_eq!(states(&[], Action::Retry).unwrap(), ["failed", "cancelled"]);
        assert_eq!(states(&[State::Failed, State::Queued], Action::Retry).unwrap(), ["failed"]);
        assert_eq!(states(&[State::Completed], Action::Retry), None);
    }
}

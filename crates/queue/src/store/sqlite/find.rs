//! Jobs by a filter: their ids, ascending.
//!
//! SQLite does not walk the view of all jobs by id and stop, but does so in its tables: they say a page of ids by what
//! stands in their own columns, and what is dearer to ask is asked of that page.

use sqlx::Row;

use super::{connection::Tx, fault::fault, json, micros};
use crate::{JobId, Result, State, store::Filter};

/// The ids of a page: enough that the statements' own costs do not count.
pub(super) const PAGE: usize = 1000;

/// The first jobs that the filter finds.
pub(super) async fn find(tx: &mut Tx<'_>, filter: &Filter, limit: u32) -> Result<Vec<JobId>> {
    let limit = limit as usize;
    let mut search = Search::new(tx, filter);
    let mut found = Vec::new();
    while found.len() < limit {
        let Some(page) = search.page(tx, limit).await? else { break };
        found.extend(page);
    }
    found.truncate(limit);
    Ok(found)
}

/// How many jobs the filter finds.
pub(super) async fn count(tx: &mut Tx<'_>, filter: &Filter) -> Result<u64> {
    let mut search = Search::new(tx, filter);
    let mut found = 0;
    while let Some(page) = search.page(tx, 10 * PAGE).await? {
        found += page.len() as u64;
    }
    Ok(found)
}

/// A filter on its way through the tables.
struct Search<'f> {
    filter: &'f Filter,
    after: i64,
    /// The ids that are asked for and not looked up yet.
    ids: Option<Vec<JobId>>,
    states: Option<String>,
    enqueued_until: Option<i64>,
    path: Option<String>,
    over: bool,
}

impl<'f> Search<'f> {
    fn new(tx: &Tx<'_>, filter: &'f Filter) -> Self {
        let after = filter.after.map_or(i64::MIN, |id| id.0);
        let ids = (!filter.ids.is_empty()).then(|| {
            let mut ids: Vec<JobId> = filter.ids.iter().copied().filter(|id| id.0 > after).collect();
            ids.sort();
            ids.dedup();
            ids
        });
        Self {
            filter,
            after,
            ids,
            states: (!filter.states.is_empty()).then(|| json(&filter.states)),
            enqueued_until: filter.older_than.map(|age| tx.now.saturating_sub(micros(age))),
            path: filter.payload.as_ref().map(|(path, _)| json(&path.split('.').collect::<Vec<_>>())),
            over: false,
        }
    }

    /// The next of them, which may be none; `None` at the end. `wanted`: how many at most are of use.
    async fn page(&mut self, tx: &mut Tx<'_>, wanted: usize) -> Result<Option<Vec<JobId>>> {
        if self.over {
            return Ok(None);
        }
        let filter = self.filter;
        let dear = filter.key.is_some() || filter.error.is_some() || filter.payload.is_some();
        let named = self.ids.is_some();
        let page = if let Some(ids) = &mut self.ids {
            let rest = ids.split_off(ids.len().min(PAGE));
            self.over = rest.is_empty();
            std::mem::replace(ids, rest)
        } else {
            let size = if dear { PAGE } else { wanted.min(10 * PAGE) };
            let page = self.walk(tx, size).await?;
            self.over = page.len() < size;
            page
        };
        if let Some(last) = page.last() {
            self.after = last.0;
        }
        if page.is_empty() || !dear && !named {
            return Ok(Some(page));
        }
        let rows = sqlx::query(include_str!("found.sql"))
            .bind(json(&page))
            .bind(&filter.queue)
            .bind(&filter.kind)
            .bind(&self.states)
            .bind(self.enqueued_until)
            .bind(&filter.key)
            .bind(&filter.error)
            .bind(&self.path)
            .bind(filter.payload.as_ref().map(|(_, value)| value))
            .fetch_all(&mut **tx)
            .await
            .map_err(fault)?;
        Ok(Some(rows.iter().map(|row| JobId(row.get(0))).collect()))
    }

    /// The next ids, as far as can be told from the tables' own columns.
    async fn walk(&self, tx: &mut Tx<'_>, size: usize) -> Result<Vec<JobId>> {
        let filter = self.filter;
        let wants = |state| filter.states.is_empty() || filter.states.contains(&state);
        let rows = sqlx::query(include_str!("page.sql"))
            .bind(self.after)
            .bind(&filter.queue)
            .bind(&filter.kind)
            .bind(wants(State::Queued))
            .bind(wants(State::Running))
            .bind(wants(State::Scheduled))
            .bind(filter.states.is_empty() || filter.states.iter().any(|state| state.is_final()))
            .bind(&self.states)
            .bind(size as i64)
            .bind(self.enqueued_until)
            .bind(wants(State::WaitAsync))
            .fetch_all(&mut **tx)
            .await
            .map_err(fault)?;
        Ok(rows.iter().map(|row| JobId(row.get(0))).collect())
    }
}

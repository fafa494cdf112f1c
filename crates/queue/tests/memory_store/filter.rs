//! Which jobs a filter finds.

use headcount_queue::{JobId, store::Filter};
use serde_json::Value;

use super::tables::{Row, Tables};

impl Tables {
    /// The first jobs that the filter finds, by ascending id.
    pub(crate) fn find(&self, filter: &Filter, limit: u32) -> Vec<JobId> {
        let found = self.jobs.values().filter(|row| self.finds(filter, row)).map(|row| row.id);
        found.take(limit as usize).collect()
    }

    fn finds(&self, filter: &Filter, row: &Row) -> bool {
        let job = &row.job;
        (filter.ids.is_empty() || filter.ids.contains(&row.id))
            && filter.queue.as_ref().is_none_or(|queue| *queue == job.queue)
            && filter.kind.as_ref().is_none_or(|kind| *kind == job.kind)
            && (filter.states.is_empty() || filter.states.contains(&row.place.state()))
            && filter.key.as_ref().is_none_or(|key| job.key.as_ref() == Some(key))
            && filter.error.as_ref().is_none_or(|text| row.error.as_ref().is_some_and(|error| error.contains(text)))
            && filter.older_than.is_none_or(|age| (self.now - row.enqueued_at).to_std().is_ok_and(|is| is > age))
            && filter.payload.as_ref().is_none_or(|(path, text)| has(&row.payload, path, text))
            && filter.after.is_none_or(|after| row.id > after)
    }
}

/// Whether this text is the value at this path: keys, or places in a list, joined by dots.
fn has(payload: &str, path: &str, text: &str) -> bool {
    let value: Value = serde_json::from_str(payload).unwrap_or_default();
    let found = path.split('.').try_fold(&value, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        _ => None,
    });
    let found = match found {
        None | Some(Value::Null) => return false,
        Some(Value::String(string)) => string.clone(),
        Some(other) => other.to_string(),
    };
    found == text
}

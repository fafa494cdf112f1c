//! Jobs that are handed to a third party: their callbacks, the answers, and deadlines that pass without one.
//!
//! Parking itself is an attempt's end like any other: `settle.sql` does it.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::{PostgresStore, admin::TRIES, clean, column, maintain::lock, millis, observe::named};
use crate::{
    Error, JobId, Resolution, Result, Secret, State,
    limits::{INLINE_BYTES, MAX_ERROR, MAX_OUTPUT, head, tail},
    store::{Expired, Resolve, Token},
};

/// An answer, as the statement takes it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    resolution: &'static str,
    output: Option<String>,
    error: Option<String>,
    ms: Option<i64>,
}

impl Answer {
    fn of(resolution: &Resolution) -> Self {
        let why = |error: &str| Some(clean(tail(error, MAX_ERROR)));
        let answer = Self { resolution: resolution.as_str(), ..Self::default() };
        match resolution {
            Resolution::Completed { output } => {
                Self { output: output.as_deref().map(|output| clean(head(output, MAX_OUTPUT))), ..answer }
            }
            Resolution::StillWaiting(wait) => Self { ms: Some(millis(*wait).max(1)), ..answer },
            Resolution::Failed { error } => Self { error: why(error), ..answer },
            Resolution::Retry { error, after } => Self { error: why(error), ms: after.map(millis), ..answer },
        }
    }
}

impl PostgresStore {
    /// Notes by what an attempt's job may be resolved.
    pub(super) async fn called_back(&self, id: JobId, token: Token, digest: &str) -> Result<()> {
        let rows = self
            .ask(&self.statements.callback, |query| {
                query.bind(id.0).bind(token.boot.0).bind(token.claim).bind(digest.to_owned())
            })
            .await?;
        if rows.is_empty() { Err(Error::TakenAway(id)) } else { Ok(()) }
    }

    /// Takes a third party's answer.
    pub(super) async fn resolved(&self, id: JobId, secret: &Secret, resolution: &Resolution) -> Result<Resolve> {
        resolution.check()?;
        let (digest, answer) = (secret.digest(), Answer::of(resolution));
        for _ in 0..TRIES {
            let rows = self
                .ask(&self.statements.resolve, |query| {
                    query
                        .bind(id.0)
                        .bind(digest.clone())
                        .bind(answer.resolution)
                        .bind(answer.output.clone())
                        .bind(answer.error.clone())
                        .bind(answer.ms)
                        .bind(INLINE_BYTES as i32)
                })
                .await?;
            return match column::<Option<&str>>(&rows[0], "done")? {
                Some("done") => Ok(Resolve::Done),
                Some("early") => Ok(Resolve::Early),
                Some("wrong_secret") => Err(Error::WrongSecret(id)),
                Some("answered") => Err(Error::Answered(id)),
                Some("unknown") => Err(Error::NotFound(id)),
                Some(_) => Err(Error::WrongState { id, state: named(column(&rows[0], "state")?)?, wanted: "resolved" }),
                // It moved.
                None => continue,
            };
        }
        Err(Error::Busy(id))
    }

    /// Ends the wait of parked jobs whose deadline has passed.
    pub(super) async fn expired(&self, limit: u32) -> Result<Vec<Expired>> {
        let began = Instant::now();
        let from = lock(&self.paces.expire).begin(began);
        let rows = self.ask(&self.statements.expire, |query| query.bind(i64::from(limit)).bind(from)).await?;
        let last = rows.last().map(|row| column::<DateTime<Utc>>(row, "deadline")).transpose()?;
        lock(&self.paces.expire).passed(from, last, began, Instant::now());
        let mut expired = Vec::with_capacity(rows.len());
        for row in &rows {
            let queued = column::<&str>(row, "fate")? == "ready";
            if queued {
                self.notices.tell([column::<&str>(row, "queue")?]);
            }
            let state = if queued { State::Queued } else { State::Failed };
            expired.push(Expired { id: JobId(column(row, "id")?), state });
        }
        Ok(expired)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_an_output_the_beginning_is_kept_and_of_an_error_the_end() {
        let long = format!("<{}>", "x".repeat(MAX_OUTPUT));
        let answer = Answer::of(&Resolution::Completed { output: Some(long.clone()) });
        assert!(answer.output.is_some_and(|kept| kept.len() == MAX_OUTPUT && kept.starts_with('<')));
        for resolution in
            [Resolution::Failed { error: long.clone() }, Resolution::Retry { error: long.clone(), after: None }]
        {
            let answer = Answer::of(&resolution);
            assert!(answer.error.is_some_and(|kept| kept.len() == MAX_ERROR && kept.ends_with('>')));
            assert_eq!(answer.ms, None, "the kind's own wait");
        }
    }

    #[test]
    fn the_shortest_wait_is_one() {
        assert_eq!(Answer::of(&Resolution::StillWaiting(Duration::from_nanos(1))).ms, Some(1));
    }
}

//! What an answer that is not the one hoped for means, by what the caller can do.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::{HeaderMap, StatusCode, header::RETRY_AFTER};

use super::{answer::Refusal, config::HerokuConfig};
use crate::{
    driver::DriverError,
    http::{Answer, Silence},
};

/// So much of an answer that cannot be read is shown, in characters.
const EXCERPT: usize = 200;
/// How long to wait when Heroku says that there were too many calls, but not for how long. Tokens come back by 75 a
/// minute.
const WAIT: Duration = Duration::from_mins(1);
/// No wait is believed that is longer: a whole account's tokens are back in an hour.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// What a call was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Read: nothing happens, whatever goes wrong.
    Reading,
    /// Change: without a clear answer, it may have happened.
    Changing,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    /// For the scaler.
    pub(super) error: DriverError,
    /// No call before so long from now.
    pub(super) wait: Option<Duration>,
    /// Of a refusal that may be about one of several updates in a call: why.
    pub(super) refusal: Option<Refusal>,
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self { error, wait: None, refusal: None }
    }
}

/// What it means that no answer came.
pub(super) fn silent(config: &HerokuConfig, doing: Doing, silence: &Silence) -> Failure {
    let why = config.token.hide_in(&silence.why);
    if silence.sent { unclear(doing, why) } else { DriverError::Unavailable(why).into() }
}

/// What it means that the answer, with a status that says all is well, cannot be read.
pub(super) fn unreadable(config: &HerokuConfig, doing: Doing, answer: &Answer, why: &str) -> Failure {
    // What is wrong may be told with the words that were found there.
    let (why, excerpt) = (clean(config, why), excerpt(config, &answer.body));
    unclear(doing, format!("Heroku's answer ({}) cannot be read: {why} in {excerpt:?}", answer.status.as_u16()))
}

fn unclear(doing: Doing, why: String) -> Failure {
    match doing {
        Doing::Reading => DriverError::Unavailable(why).into(),
        Doing::Changing => DriverError::Unknown(why).into(),
    }
}

/// What a status means that does not say that all is well.
pub(super) fn refused(config: &HerokuConfig, doing: Doing, answer: &Answer) -> Failure {
    let HerokuConfig { app, token, .. } = config;
    let status = answer.status;
    let refusal = serde_json::from_slice::<Refusal>(&answer.body).unwrap_or_default();
    let said = if refusal.message.is_empty() {
        format!("{} {:?}", status.as_u16(), excerpt(config, &answer.body))
    } else {
        let id = if refusal.id.is_empty() { "" } else { &*format!(" {}", refusal.id) };
        format!("{}{id}: {}", status.as_u16(), clean(config, &refusal.message))
    };
    let refuse = |what: String| Failure::from(DriverError::Refused(what));
    match status {
        StatusCode::UNAUTHORIZED => refuse(format!(
            "Heroku does not accept the token ({said}): set {token} to one that is valid, as `heroku \
             authorizations:create --scope write` makes it"
        )),
        StatusCode::FORBIDDEN => refuse(format!(
            "the token in {token} is not allowed to do this ({said}): it needs the scope read or write, and its account \
             the permission `operate` on {app}; see `heroku access --app {app}`"
        )),
        StatusCode::PAYMENT_REQUIRED => refuse(format!("Heroku wants to be paid first ({said})")),
        StatusCode::NOT_FOUND if doing == Doing::Reading => refuse(format!(
            "there is no app {app}, or the token in {token} may not see it ({said}): check the app's name"
        )),
        StatusCode::NOT_FOUND => Failure {
            error: DriverError::Refused(format!(
                "{app} has no such process type ({said}): is it in the Procfile of the release that runs?"
            )),
            wait: None,
            refusal: Some(refusal),
        },
        StatusCode::CONFLICT => {
            refuse(format!("another change of {app} is under way ({said}): it is asked again at the next tick"))
        }
        StatusCode::UNPROCESSABLE_ENTITY if refusal.is_above_limit() => Failure {
            error: DriverError::Refused(format!(
                "Heroku gives no more dynos ({said}): lower the pool's max, choose a larger dyno size, or ask Heroku for a \
                 higher limit"
            )),
            wait: None,
            refusal: Some(refusal),
        },
        StatusCode::UNPROCESSABLE_ENTITY => {
            Failure { error: DriverError::Refused(said), wait: None, refusal: Some(refusal) }
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let wait = retry_after(&answer.headers).unwrap_or(WAIT).min(MAX_WAIT);
            let why = format!("too many requests with the account of {token} ({said}): none for {wait:.0?}");
            Failure { error: DriverError::Unavailable(why), wait: Some(wait), refusal: None }
        }
        status if status.is_server_error() => {
            let wait = retry_after(&answer.headers).map(|wait| wait.min(MAX_WAIT));
            Failure { wait, ..unclear(doing, format!("Heroku has a fault ({said}): see status.heroku.com")) }
        }
        _ => refuse(format!("Heroku answers what was not expected ({said})")),
    }
}

/// The wait that the answer asks for: seconds, or a time to be compared with the server's own.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?;
    (until.to_utc() - served_at(headers)?).to_std().ok()
}

/// The server's time when it answered.
pub(super) fn served_at(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = headers.get(hyper::header::DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(date).ok().map(|date| date.to_utc())
}

/// The beginning of an answer, as one line.
fn excerpt(config: &HerokuConfig, body: &[u8]) -> String {
    clean(config, &String::from_utf8_lossy(body))
}

/// The token is taken out before anything is cut off: half of it is a secret too.
fn clean(config: &HerokuConfig, text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = config.token.hide_in(&words.join(" "));
    match line.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry_after: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("date", "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        headers.insert("retry-after", retry_after.parse().unwrap());
        headers
    }

    #[test]
    fn the_wait_is_seconds_or_a_time_by_the_servers_clock() {
        let seconds = Duration::from_secs;
        assert_eq!(retry_after(&headers("120")), Some(seconds(120)));
        assert_eq!(retry_after(&headers("Wed, 21 Oct 2015 07:29:30 GMT")), Some(seconds(90)));
        assert_eq!(retry_after(&headers("Wed, 21 Oct 2015 07:27:00 GMT")), None, "it is over");
        assert_eq!(retry_after(&headers("soon")), None);
    }
}

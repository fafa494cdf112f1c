//! What can go wrong with a call, on cue.

use std::time::Duration;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// The list of the formation.
    Formation,
    /// The list of the dynos.
    Dynos,
    /// A change of the formation.
    Update,
    /// The account's tokens.
    RateLimits,
}

/// What happens to a call instead of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, or answered with a fault of the server's.
    Status {
        /// The status.
        status: u16,
        /// Heroku's name for the error.
        id: String,
        /// Heroku's words.
        message: String,
        /// With a refusal for too many dynos: how many there may be.
        limit: Option<u32>,
        /// The `Retry-After` header.
        retry_after: Option<String>,
    },
    /// It is done and answered, but only after so long.
    Slow(Duration),
    /// It is never answered.
    Silence,
    /// The connection is reset.
    Reset,
    /// The answer is 200 with this in place of what it should say.
    Malformed(String),
    /// It is done, and then this happens to its answer.
    Done(Box<Fault>),
}

impl Fault {
    /// An answer with this status and Heroku's id for it.
    pub fn status(status: u16) -> Self {
        let (id, message) = match status {
            401 => ("unauthorized", "Invalid credentials provided."),
            402 => ("delinquent", "Your account is past due."),
            403 => ("forbidden", "You do not have access to the app shop."),
            404 => ("not_found", "Couldn't find that app."),
            409 => ("conflict", "A conflicting change is in progress."),
            422 => ("invalid_params", "Invalid parameters."),
            429 => ("rate_limit", "Your account reached the API rate limit. Please wait a few minutes."),
            503 => ("maintenance", "The API is in maintenance mode."),
            _ => ("internal_server_error", "Internal server error."),
        };
        Self::Status { status, id: id.into(), message: message.into(), limit: None, retry_after: None }
    }

    /// A refusal for too many dynos, with Heroku's id for it, that says or does not say how many there may be.
    pub fn above_limit(id: &str, message: &str, limit: Option<u32>) -> Self {
        Self::Status { status: 422, id: id.into(), message: message.into(), limit, retry_after: None }
    }

    /// The same with a `Retry-After` header.
    #[must_use]
    pub fn retry_after(mut self, value: &str) -> Self {
        if let Self::Status { retry_after, .. } = &mut self {
            *retry_after = Some(value.to_owned());
        }
        self
    }

    /// The same, but the call has been done: what is lost is the answer.
    #[must_use]
    pub fn once_done(self) -> Self {
        Self::Done(Box::new(self))
    }
}

//! What goes wrong on the way to AWS and back, on demand.

use std::{collections::HashMap, time::Duration};

use super::{http::Answer, xml::Element};

/// What goes wrong with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is taken this much later.
    Slow(Duration),
    /// It is never answered, and nothing happens.
    Silence,
    /// The connection is reset, and nothing happens.
    Reset,
    /// The connection is reset after it has happened.
    DoneThenReset,
    /// HTTP 500 after it has happened.
    DoneThenFailed,
    /// HTTP 500 without a reason that a program would know, and nothing happens.
    Failed,
    /// An answer that is no XML, and nothing happens.
    Malformed,
    /// Refused with this code and message, and nothing happens.
    Code(u16, &'static str, &'static str),
}

impl Fault {
    /// Too many calls.
    pub const THROTTLED: Self = Self::Code(400, "Throttling", "Rate exceeded");
    /// Another change of the same thing is under way. The status says "server", the fault says "sender".
    pub const CONTENTION: Self = Self::Code(500, "ResourceContention", "You already have a pending update");
    /// Another scaling of the group is under way.
    pub const IN_PROGRESS: Self = Self::Code(
        400,
        "ScalingActivityInProgress",
        "You cannot change the group while there are scaling activities in progress",
    );
    /// The role may not.
    pub const DENIED: Self = Self::Code(403, "AccessDenied", "User is not authorized to perform this action");
}

/// The faults to come, by the calls that they wait for.
#[derive(Debug, Default)]
pub(super) struct Faults {
    to_come: HashMap<String, Vec<Fault>>,
}

impl Faults {
    pub(super) fn add(&mut self, action: &str, faults: impl IntoIterator<Item = Fault>) {
        self.to_come.entry(action.to_owned()).or_default().extend(faults);
    }

    pub(super) fn next(&mut self, action: &str) -> Option<Fault> {
        let to_come = self.to_come.get_mut(action)?;
        (!to_come.is_empty()).then(|| to_come.remove(0))
    }
}

/// A refusal as AWS writes it.
pub(super) fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let error = [("Type", "Sender"), ("Code", code), ("Message", message)];
    let error = Element::with("Error", error.map(|(name, text)| Element::with_text(name, text)));
    let answer = [error, Element::with_text("RequestId", "00000000-0000-0000-0000-000000000000")];
    Answer::new(status, Element::with("ErrorResponse", answer).to_string())
}

/// What AWS says to a call that makes no sense.
pub(super) fn invalid(message: &str) -> Answer {
    refusal(400, "ValidationError", message)
}

//! What a test may look at afterwards.

use std::time::Duration;

use serde_json::Value;

use super::{How, State};
use crate::process::Printing;

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What was asked; null if nothing.
    pub body: Value,
    /// The status of the answer; none while there is none.
    pub status: Option<u16>,
}

/// A dyno that is there. Two may have one name while one of them ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDyno {
    /// Its name, as in `DYNO`.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// The release that it runs.
    pub release: u64,
    /// The number of its process, while it has one.
    pub pid: Option<u32>,
    /// What its process has printed so far.
    pub printed: String,
}

/// A dyno whose process has ended.
#[derive(Debug, Clone)]
pub struct EndedDyno {
    /// Its name.
    pub name: String,
    /// The number of its process.
    pub pid: u32,
    /// The release that it ran.
    pub release: u64,
    /// How its process ended.
    pub how: How,
    /// How long that took from TERM, where it was told to.
    pub took: Option<Duration>,
    /// How many processes outlived it in the dyno; they were killed.
    pub left_behind: usize,
    pub(super) printing: Printing,
}

impl EndedDyno {
    /// What its process printed.
    pub fn printed(&self) -> String {
        self.printing.so_far()
    }
}

impl PartialEq for EndedDyno {
    fn eq(&self, other: &Self) -> bool {
        (self.pid, self.release, &self.name, self.how) == (other.pid, other.release, &other.name, other.how)
    }
}

//! Coalescing: of several jobs with one key in one queue, one is enough.
//!
//! A job that is enqueued with a key while another job of its queue holds that key is not enqueued; what happens
//! instead is said by its [`Conflict`]. How long a job holds its key is said by its [`Scope`]. Both are constants of
//! the kind ([`Job::COALESCE`](crate::Job::COALESCE)), and are kept with the key.
//!
//! Small print: two transactions that enqueue the same new key wait for each other; under REPEATABLE READ such an
//! enqueue may fail with a serialization error. [`Conflict::Keep`] may drop a change that the job now running has
//! already read past: where that matters, use [`Conflict::RunAgain`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How jobs of a kind coalesce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Coalesce {
    /// How long a job holds its key.
    pub scope: Scope,
    /// What becomes of a job whose key is held.
    pub conflict: Conflict,
}

impl Coalesce {
    /// One unfinished job of a key at most; further ones are dropped.
    pub const DEFAULT: Self = Self { scope: Scope::Unfinished, conflict: Conflict::Keep };
}

/// How long a job holds its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Until it is first claimed. It is not taken back for a retry.
    Pending,
    /// Until it has completed, failed for good, or was cancelled.
    #[default]
    Unfinished,
    /// As [`Scope::Unfinished`]; a failed job goes on holding it until it is retried, deleted or expires.
    UnfinishedOrFailed,
}

/// What becomes of a job whose key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conflict {
    /// It is dropped; the holder stays as it is.
    #[default]
    Keep,
    /// It is dropped, but the holder gets its payload and its run time (a debounce). Has the holder started: under
    /// [`Scope::Pending`] it no longer holds the key, otherwise as [`Conflict::RunAgain`], replacing what waits there.
    Replace,
    /// A holder that has not started, or waits for a retry, is enough. Else it waits until the holder is over and
    /// runs then, once for all that came meanwhile.
    RunAgain,
}

macro_rules! names {
    ($type:ident, $what:literal, $($variant:ident => $name:literal),+) => {
        impl $type {
            /// Its stable name, as in a store, in JSON and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("unknown {} {name:?}: it is one of {}", $what, [$($name),+].join(", "))),
                }
            }
        }
    };
}

names!(Scope, "scope", Pending => "pending", Unfinished => "unfinished", UnfinishedOrFailed => "unfinished-or-failed");
names!(Conflict, "conflict rule", Keep => "keep", Replace => "replace", RunAgain => "run-again");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_is_the_one_in_json() {
        for scope in [Scope::Pending, Scope::Unfinished, Scope::UnfinishedOrFailed] {
            assert_eq!(scope.as_str().parse::<Scope>().unwrap(), scope);
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        for conflict in [Conflict::Keep, Conflict::Replace, Conflict::RunAgain] {
            assert_eq!(conflict.as_str().parse::<Conflict>().unwrap(), conflict);
            assert_eq!(serde_json::to_value(conflict).unwrap(), conflict.as_str());
        }
        assert!("always".parse::<Scope>().unwrap_err().contains("unfinished-or-failed"));
    }
}

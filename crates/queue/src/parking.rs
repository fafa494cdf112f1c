//! Work handed to a third party: the job is parked, and whoever knows its secret says what came of it.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
    time::Duration,
};

use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Error, JobId, Result, limits::check_delay};

/// What lets someone answer for a job: known to whoever was given it, and to the store only as a digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one, of 128 random bits.
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::rng().random::<u128>()))
    }

    /// The secret itself, to be handed to the third party and to nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store keeps of it: the SHA-256 of its bytes, in hexadecimal digits.
    pub fn digest(&self) -> String {
        let mut digits = String::with_capacity(64);
        for byte in Sha256::digest(self.0.as_bytes()) {
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a third party needs to answer for a job: `ID:SECRET` as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The job.
    pub id: JobId,
    /// What lets its holder answer for it.
    pub secret: Secret,
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.secret.reveal())
    }
}

impl FromStr for Callback {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once(':').and_then(|(id, secret)| Some((id.parse().ok()?, secret)));
        let (id, secret) = parts
            .filter(|(_, secret)| !secret.is_empty())
            .ok_or_else(|| Error::Rejected("a callback is ID:SECRET, as its job was given it".into()))?;
        Ok(Self { id: JobId(id), secret: secret.into() })
    }
}

/// What came of a parked job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It is done.
    Completed {
        /// What it has to show, as of any [completed](crate::Outcome::Completed) job.
        output: Option<String>,
    },
    /// Not yet: the deadline moves to this time from now, and the secret stays good.
    StillWaiting(Duration),
    /// It failed for good.
    Failed {
        /// Why.
        error: String,
    },
    /// The attempt failed and is spent. The job is scheduled again; without attempts left it is failed.
    Retry {
        /// Why.
        error: String,
        /// The wait, in place of the kind's own.
        after: Option<Duration>,
    },
}

impl Resolution {
    /// Refuses times beyond [`MAX_DELAY`](crate::limits::MAX_DELAY) and a deadline of no time at all.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::StillWaiting(Duration::ZERO) => {
                Err(Error::Rejected("a deadline of 0 s would end the wait: fail or retry the job instead".into()))
            }
            Self::StillWaiting(wait) => check_delay("a deadline", *wait),
            Self::Retry { after: Some(after), .. } => check_delay("a wait", *after),
            Self::Completed { .. } | Self::Failed { .. } | Self::Retry { after: None, .. } => Ok(()),
        }
    }

    /// Its stable name, as in the store and on the command line.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "completed",
            Self::StillWaiting(_) => "still_waiting",
            Self::Failed { .. } => "failed",
            Self::Retry { .. } => "retry",
        }
    }
}

/// What becomes of a parked job whose deadline passes without an answer. The attempt is spent either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// Queued again; failed if that was its last attempt.
    #[default]
    Retry,
    /// Failed.
    Fail,
}

impl Expiry {
    /// Its stable name, as in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Fail => "fail",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_DELAY;

    #[test]
    fn a_callback_reads_back_and_its_secret_is_shown_to_nobody_who_prints_it() {
        let callback = Callback { id: JobId(7), secret: Secret::random() };
        assert_eq!(callback.to_string().parse::<Callback>().unwrap(), callback);
        assert_eq!(format!("{callback:?}"), "Callback { id: JobId(7), secret: Secret(…) }");
        assert_ne!(Secret::random(), Secret::random());
        for bad in ["", "7", "7:", ":x", "seven:x"] {
            assert!(bad.parse::<Callback>().unwrap_err().to_string().contains("ID:SECRET"), "{bad:?}");
        }
    }

    #[test]
    fn the_digest_is_the_sha_256_of_the_text() {
        // As `SELECT encode(sha256('abc'), 'hex')` has it.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Secret::from("abc").digest(), abc);
    }

    #[test]
    fn times_without_end_and_a_deadline_that_has_passed_are_refused() {
        let retry = |after| Resolution::Retry { error: "no".into(), after };
        for bad in [
            Resolution::StillWaiting(Duration::ZERO),
            Resolution::StillWaiting(MAX_DELAY + Duration::from_secs(1)),
            retry(Some(Duration::MAX)),
        ] {
            assert!(matches!(bad.check(), Err(Error::Rejected(_))), "{bad:?}");
        }
        for good in [Resolution::StillWaiting(MAX_DELAY), retry(None), retry(Some(Duration::ZERO))] {
            good.check().unwrap();
        }
    }
}

//! What Heroku sends, as far as it is read here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How many dynos of a process type Heroku keeps, and of which size.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Formation {
    #[serde(rename = "type")]
    pub(super) process_type: String,
    pub(super) quantity: u32,
    #[serde(default)]
    pub(super) size: Option<String>,
    #[serde(default)]
    pub(super) dyno_size: Option<DynoSize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct DynoSize {
    #[serde(default)]
    pub(super) name: Option<String>,
}

impl Formation {
    /// The name of its dynos' size.
    pub(super) fn size(&self) -> Option<&str> {
        self.dyno_size.as_ref().and_then(|size| size.name.as_deref()).or(self.size.as_deref())
    }
}

/// One dyno.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Dyno {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) process_type: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) created_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) release: Option<Release>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Release {
    pub(super) version: u64,
}

impl Dyno {
    /// Its number, if it is named `type.N` as all are but those of the Fir generation.
    pub(super) fn ordinal(&self) -> Option<u32> {
        ordinal(&self.process_type, &self.name)
    }
}

/// The number of the dyno of this name among those of its process type.
pub(super) fn ordinal(process_type: &str, dyno: &str) -> Option<u32> {
    let number = dyno.strip_prefix(process_type)?.strip_prefix('.')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| digits && !number.starts_with('0'))
}

/// A change of the formation: absolute quantities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Updates {
    pub(super) updates: Vec<Update>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Update {
    #[serde(rename = "type")]
    pub(super) process_type: String,
    pub(super) quantity: u32,
}

/// How many tokens the account has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct RateLimit {
    pub(super) remaining: u32,
}

/// Why Heroku says no.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default, alias = "error")]
    pub(super) message: String,
    /// With `cannot_run_above_limit`, in newer answers. Older ones say it in the message only.
    #[serde(default)]
    pub(super) limit: Option<u32>,
}

impl Refusal {
    /// Whether more dynos were asked for than there may be.
    pub(super) fn is_above_limit(&self) -> bool {
        matches!(self.id.as_str(), "cannot_update_above_limit" | "cannot_run_above_limit")
    }

    /// How many there may be, if it says so: "Cannot run more than 10 Performance-L size dynos."
    pub(super) fn limit(&self) -> Option<u32> {
        self.limit.or_else(|| {
            let (_, after) = self.message.split_once("more than ")?;
            after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dyno_is_numbered_by_its_name() {
        for (name, number) in [
            ("worker.1", Some(1)),
            ("worker.12", Some(12)),
            ("worker.0", None),
            ("worker.01", None),
            ("worker.+1", None),
            ("worker.", None),
            ("worker", None),
            ("worker-5c6b7d8f9d-x2v4k", None),
            ("mailworker.1", None),
            ("workers.1", None),
            ("worker.99999999999", None),
        ] {
            assert_eq!(ordinal("worker", name), number, "{name}");
        }
    }

    #[test]
    fn the_limit_is_read_from_the_number_or_from_the_words() {
        let refusal = |json: &str| serde_json::from_str::<Refusal>(json).unwrap();
        let told =
            refusal(r#"{"id":"cannot_run_above_limit","limit":2,"size":11,"message":"Cannot run more than 3."}"#);
        assert!(told.is_above_limit());
        assert_eq!(told.limit(), Some(2));
        let said = refusal(r#"{"id":"cannot_update_above_limit","message":"Cannot update to more than 10 dynos."}"#);
        assert_eq!(said.limit(), Some(10));
        assert_eq!(refusal(r#"{"id":"cannot_run_above_limit","error":"no"}"#).limit(), None);
        assert!(!refusal(r#"{"id":"invalid_params","message":"Cannot run more than 2"}"#).is_above_limit());
    }
}

//! What the programs are asked and what they may answer.

use std::{collections::HashSet, time::Duration};

use headcount_queue::limits::{MAX_DELAY, MAX_ERROR, MAX_NAME, tail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{UNKNOWN, call::Failure};
use crate::driver::{Applied, Change, Instance, InstanceId, InstanceState, Limits, PoolRef, PoolStatus, Removal};

#[derive(Serialize)]
struct Question<'a> {
    pool: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Order<'a> {
    Grow { pool: &'a str, grow_to: u32 },
    Remove { pool: &'a str, remove: Vec<&'a str>, size: u32 },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    desired: u32,
    instances: Vec<Item>,
    release: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    limits: Told,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    id: String,
    age_s: f64,
    ordinal: Option<u32>,
    #[serde(default)]
    state: Stands,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Stands {
    #[default]
    Up,
    Ending,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Told {
    #[serde(default)]
    removal: Goes,
    max: Option<u32>,
    boot_s: Option<f64>,
    min_bill_s: Option<f64>,
    grace_s: Option<f64>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Goes {
    Chosen,
    Highest,
    #[default]
    Unknown,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    desired: Option<u32>,
    changed: Option<bool>,
    refused: Option<String>,
}

/// What `status` is asked.
pub(super) fn question(pool: &PoolRef) -> String {
    json(&Question { pool: pool.as_str() })
}

/// What `set` is asked; nothing for what is asked only of a platform that waits for word.
pub(super) fn order(change: &Change) -> Option<String> {
    Some(json(&match change {
        Change::GrowTo { pool, size } => Order::Grow { pool: pool.as_str(), grow_to: *size },
        Change::Remove { pool, instances, size } => {
            let remove = instances.iter().map(InstanceId::as_str).collect();
            Order::Remove { pool: pool.as_str(), remove, size: *size }
        }
        Change::Complete { .. } | Change::Extend { .. } => return None,
    }))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers can be written as JSON") + "\n"
}

/// What `status` answered.
pub(super) fn status(answer: &[u8]) -> Result<(PoolStatus, Limits), Failure> {
    let told: Status = read("status", answer)?;
    let wrong = |what: String| Failure::new(format!("the answer of status: {what}"));
    let mut ids = HashSet::new();
    let mut instances = Vec::with_capacity(told.instances.len());
    for item in told.instances {
        if item.id.is_empty() || item.id.len() > MAX_NAME || item.id.chars().any(char::is_control) {
            return Err(wrong(format!("the id {:?} is no name of 1 to {MAX_NAME} bytes", tail(&item.id, 40))));
        }
        if !ids.insert(item.id.clone()) {
            return Err(wrong(format!("two instances have the id {:?}", item.id)));
        }
        if told.limits.removal == Goes::Highest && item.ordinal.is_none() {
            return Err(wrong(format!("{:?} has no ordinal, and removal is highest", item.id)));
        }
        instances.push(Instance {
            age: seconds("age_s", item.age_s).map_err(wrong)?,
            id: InstanceId::from(item.id),
            pid: None,
            ordinal: item.ordinal,
            state: match item.state {
                Stands::Up => InstanceState::Up,
                Stands::Ending => InstanceState::Ending,
            },
        });
    }
    let length = |name, told: Option<f64>, without| told.map_or(Ok(without), |told| seconds(name, told).map_err(wrong));
    let boot = length("boot_s", told.limits.boot_s, UNKNOWN.boot)?;
    let limits = Limits {
        max: told.limits.max,
        min_bill: length("min_bill_s", told.limits.min_bill_s, UNKNOWN.min_bill)?,
        boot,
        overdue: (boot * 3).max(Limits::DEFAULT.overdue),
        removal: match told.limits.removal {
            Goes::Chosen => Removal::Chosen,
            Goes::Highest => Removal::Highest,
            Goes::Unknown => Removal::Unknown,
        },
        grace: length("grace_s", told.limits.grace_s, UNKNOWN.grace)?,
        shared: true,
    };
    let Status { desired, release, warnings, .. } = told;
    Ok((PoolStatus { desired, instances, release, warnings, ..PoolStatus::default() }, limits))
}

/// What `set` answered; an inner error is its refusal.
pub(super) fn applied(answer: &[u8]) -> Result<Result<Applied, String>, Failure> {
    match read("set", answer)? {
        Done { desired: Some(desired), changed: Some(changed), refused: None } => Ok(Ok(Applied { desired, changed })),
        Done { desired: None, changed: None, refused: Some(why) } => Ok(Err(tail(&why, MAX_ERROR).to_owned())),
        _ => Err(Failure::new(
            "the answer of set has either desired and changed, or refused, and nothing else".to_owned(),
        )),
    }
}

fn read<T: DeserializeOwned>(program: &str, answer: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| {
        if answer.trim_ascii().is_empty() {
            return Failure::new(format!("{program} wrote nothing; it answers with a JSON object on standard output"));
        }
        let begins = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        Failure::new(format!("the answer of {program} is not what it should be: {error}; it begins {begins:?}"))
    })
}

fn seconds(name: &str, told: f64) -> Result<Duration, String> {
    let length = Duration::try_from_secs_f64(told).ok().filter(|length| *length <= MAX_DELAY);
    length.ok_or_else(|| format!("{name} is a number of seconds from 0 to ten years, not {told}"))
}

//! How long a worker takes from being asked for to its first beat.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    driver::InstanceId,
    observe::{Observation, Standing},
};

/// So many boots are remembered: enough for a 95th percentile, and soon forgotten when the platform changes.
const REMEMBERED: usize = 60;
/// From so many on, what was assumed counts no more.
const ENOUGH: usize = 10;
/// An instance is not given up sooner than after this, however quickly others came up: a busy machine is slow for once.
const OVERDUE: Duration = Duration::from_secs(10);

/// The boots of a pool: those under way, and how long the latest took.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Boots {
    /// In seconds, the latest last.
    took: VecDeque<f64>,
    /// When each instance without a worker was asked for, in seconds.
    waiting: BTreeMap<String, f64>,
    /// When each instance was asked for that is not listed yet, the earliest first.
    asked: VecDeque<f64>,
    /// Instances that have been seen before: a worker that comes up on one of them did not boot with it.
    #[serde(skip)]
    seen: Option<Vec<InstanceId>>,
    #[serde(skip)]
    looked_at: Option<f64>,
}

impl Boots {
    /// Watches who is asked for, who is listed and who has come up.
    pub fn watch(&mut self, seen: &Observation) {
        let now = seconds(seen.at);
        // It was asked for after the reading before this one.
        let asked_at = self.looked_at.map_or(now, |looked| looked.min(now));
        let before = self.seen.take();
        for member in seen.members.iter().filter(|member| member.listed) {
            let is_new = before.as_ref().is_some_and(|before| !before.contains(&member.id));
            let silent = matches!(member.standing, Standing::Booting | Standing::Overdue);
            if is_new {
                let born = member.born_at.map_or(now, seconds);
                let asked = self.asked.pop_front().map_or(born, |asked| asked.min(born));
                self.waiting.insert(member.id.as_str().to_owned(), asked);
            }
            if !silent
                && let Some(asked) = self.waiting.remove(member.id.as_str())
                && let Some(up) = member.started_at.map(seconds)
            {
                self.took.push_back((up - asked).clamp(0.0, 86_400.0));
            }
        }
        while self.took.len() > REMEMBERED {
            self.took.pop_front();
        }
        let listed: Vec<InstanceId> = seen.members.iter().filter(|m| m.listed).map(|m| m.id.clone()).collect();
        self.waiting.retain(|id, _| listed.iter().any(|member| member.as_str() == id));
        self.asked.truncate(seen.unlisted as usize);
        while self.asked.len() < (seen.unlisted as usize).min(10_000) {
            self.asked.push_back(asked_at);
        }
        self.seen = Some(listed);
        self.looked_at = Some(now);
    }

    /// When this instance was asked for, in seconds, if it has no worker yet.
    pub(in crate::decide) fn asked_at(&self, id: &InstanceId) -> Option<f64> {
        self.waiting.get(id.as_str()).copied()
    }

    /// How long nine of ten take at most.
    pub fn usual(&self, assumed: Duration) -> Duration {
        self.quantile(0.9, assumed)
    }

    /// How long 19 of 20 take at most.
    pub fn slow(&self, assumed: Duration) -> Duration {
        self.quantile(0.95, assumed)
    }

    /// After how long an instance without a worker is no longer booting but lost: twice what 19 of 20 take.
    pub fn overdue(&self, assumed: Duration) -> Duration {
        // What is assumed for this is a time without doubt, and no time that a boot takes.
        if self.took.len() < ENOUGH { assumed } else { (self.quantile(0.95, assumed) * 2).max(OVERDUE) }
    }

    fn quantile(&self, share: f64, assumed: Duration) -> Duration {
        let mut took: Vec<f64> = self.took.iter().copied().collect();
        if took.len() < ENOUGH {
            // A few quick ones prove nothing yet.
            took.push(assumed.as_secs_f64());
        }
        took.sort_by(f64::total_cmp);
        let rank = (took.len() as f64 * share).ceil() as usize;
        let found = took.get(rank.saturating_sub(1)).copied().unwrap_or_default();
        Duration::try_from_secs_f64(found).unwrap_or(assumed)
    }

    pub(super) fn is_sane(&self) -> bool {
        let ok = |x: &f64| x.is_finite();
        self.took.iter().all(ok) && self.waiting.values().all(ok) && self.asked.iter().all(ok)
    }
}

fn seconds(at: chrono::DateTime<chrono::Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::{
        driver::Limits,
        observe::{Demand, Member, Workload},
    };

    const S: Duration = Duration::from_secs(1);

    fn at(second: f64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds((second * 1e3) as i64)
    }

    /// `(name, born at, came up at)`.
    fn seen(second: f64, unlisted: u32, members: &[(&str, f64, Option<f64>)]) -> Observation {
        let member = |&(id, born, up): &(&str, f64, Option<f64>)| Member {
            ordinal: None,
            epoch: None,
            oldest: None,
            id: id.into(),
            listed: true,
            ending: false,
            held: false,
            overdue: false,
            standing: if up.is_some() { Standing::Active } else { Standing::Booting },
            boots: Vec::new(),
            slots: 1,
            running: 0,
            born_at: Some(at(born)),
            started_at: up.map(at),
            drained_for: None,
            idle_for: None,
        };
        Observation {
            at: at(second),
            vacant: Vec::new(),
            strays: 0,
            strangers: 0,
            platform_age: Duration::ZERO,
            demand: Demand::default(),
            workload: Workload::default(),
            members: members.iter().map(member).collect(),
            desired: members.len() as u32 + unlisted,
            unlisted,
            trouble: None,
            release: None,
            foreign: None,
            peers: Vec::new(),
            limits: Limits::DEFAULT,
        }
    }

    fn watched(readings: &[Observation]) -> Boots {
        let mut boots = Boots::default();
        for seen in readings {
            boots.watch(seen);
        }
        boots
    }

    #[test]
    fn a_boot_lasts_from_the_request_to_the_first_beat() {
        let boots = watched(&[
            seen(0.0, 0, &[]),
            // Asked for at 0, listed with 7 s of age at 10, up at 21.
            seen(5.0, 1, &[]),
            seen(10.0, 0, &[("a", 3.0, None)]),
            seen(25.0, 0, &[("a", 3.0, Some(21.0))]),
        ]);
        assert_eq!(boots.took, [21.0]);
        // Listed and up between two looks: what the platform says of its age.
        let boots = watched(&[seen(0.0, 0, &[]), seen(5.0, 0, &[("a", 1.0, Some(1.5))])]);
        assert_eq!(boots.took, [0.5]);
    }

    #[test]
    fn who_was_up_before_and_who_comes_back_did_not_boot() {
        let boots = watched(&[
            seen(0.0, 0, &[("a", -90.0, Some(-50.0))]),
            seen(5.0, 0, &[("a", -90.0, None)]),
            seen(50.0, 0, &[("a", -90.0, Some(48.0))]),
        ]);
        assert!(boots.took.is_empty());
        assert_eq!(boots.usual(20 * S), 20 * S);
    }

    #[test]
    fn nine_of_ten_and_twice_what_nineteen_of_twenty_take() {
        let took: VecDeque<f64> = (1..=60).map(f64::from).collect();
        let boots = Boots { took, ..Boots::default() };
        assert_eq!(boots.usual(500 * S), 54 * S);
        assert_eq!(boots.overdue(500 * S), 114 * S);
        // A few quick ones leave what was assumed.
        let boots = Boots { took: [0.1, 0.1].into(), ..Boots::default() };
        assert_eq!((boots.usual(20 * S), boots.overdue(60 * S)), (20 * S, 60 * S));
        let boots = Boots { took: vec![0.1; 20].into(), ..Boots::default() };
        assert_eq!((boots.usual(20 * S), boots.overdue(60 * S)), (S / 10, OVERDUE));
    }
}

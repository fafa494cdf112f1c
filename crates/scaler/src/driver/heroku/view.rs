//! From what Heroku lists to the status of a pool. Pure.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};

use super::answer::{Dyno, Formation};
use crate::driver::{Instance, InstanceId, InstanceState, PoolStatus};

/// The dynos of an app, with the server's time at which it listed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) dynos: Vec<Dyno>,
    pub(super) served_at: Option<DateTime<Utc>>,
}

impl Listing {
    /// The newest release that a dyno runs.
    pub(super) fn release(&self) -> Option<u64> {
        self.dynos.iter().filter_map(|dyno| dyno.release.as_ref()).map(|release| release.version).max()
    }

    /// Whether a dyno of this process type has no number in its name: then Heroku removes which it likes.
    pub(super) fn is_without_numbers(&self, process_type: &str) -> bool {
        self.of(process_type).any(|dyno| dyno.ordinal().is_none())
    }

    fn of(&self, process_type: &str) -> impl Iterator<Item = &Dyno> {
        self.dynos.iter().filter(move |dyno| dyno.process_type == process_type)
    }
}

/// How many dynos of this process type Heroku keeps. One that was scaled to zero may be left out of the list.
pub(super) fn quantity(formation: &[Formation], process_type: &str) -> u32 {
    formation.iter().find(|entry| entry.process_type == process_type).map_or(0, |entry| entry.quantity)
}

/// Whether the formation leaves a process type out whose dynos are listed. Taken for none, it would have a growing pool
/// ask for fewer than it has.
pub(super) fn contradicts(formation: &[Formation], listing: &Listing, process_type: &str) -> bool {
    let named = formation.iter().any(|entry| entry.process_type == process_type);
    !named && listing.of(process_type).any(|dyno| dyno.state != "down")
}

/// The instances of a process type of which Heroku keeps `quantity`. `since`: how long ago they were listed.
///
/// During a release two dynos have one name for a while. Their workers register under one name too and cannot be told
/// apart by it, so they are one instance, as young as the younger of them.
pub(super) fn instances(listing: &Listing, process_type: &str, quantity: u32, since: Duration) -> Vec<Instance> {
    let mut instances: BTreeMap<(Option<u32>, &str), Instance> = BTreeMap::new();
    for dyno in listing.of(process_type) {
        let existed = dyno.created_at.zip(listing.served_at).and_then(|(created, now)| (now - created).to_std().ok());
        let seen = Instance {
            id: InstanceId::from(dyno.name.as_str()),
            pid: None,
            ordinal: dyno.ordinal(),
            age: existed.unwrap_or_default() + since,
            state: state(dyno, quantity),
        };
        let instance = instances.entry((seen.ordinal, &dyno.name)).or_insert_with(|| seen.clone());
        instance.age = instance.age.min(seen.age);
        if seen.state == InstanceState::Up {
            instance.state = InstanceState::Up;
        }
    }
    instances.into_values().collect()
}

/// A dyno above the quantity is being removed, whatever state it is listed with: the list may be slow to follow. A
/// crashed or sleeping one is Heroku's to start again, under the same name; `down` is one that was stopped.
fn state(dyno: &Dyno, quantity: u32) -> InstanceState {
    let above = dyno.ordinal().is_some_and(|ordinal| ordinal > quantity);
    if above || dyno.state == "down" { InstanceState::Ending } else { InstanceState::Up }
}

/// The pool of this process type, as it was so long ago.
pub(super) fn status(
    formation: &[Formation],
    listing: &Listing,
    process_type: &str,
    app: &str,
    age: (Duration, Duration),
) -> PoolStatus {
    let desired = quantity(formation, process_type);
    let crashed = listing.of(process_type).filter(|dyno| dyno.state == "crashed").map(|Dyno { name, .. }| {
        format!(
            "{name} has crashed; Heroku starts it again, each time after a longer pause: `heroku logs --app {app} \
             --dyno-name {name}` says why"
        )
    });
    PoolStatus {
        desired,
        instances: instances(listing, process_type, desired, age.1),
        warnings: crashed.collect(),
        age: age.0.max(age.1),
        ..PoolStatus::default()
    }
}

/// Whether the list shows other dynos of this process type than it will in the end.
pub(super) fn is_changing(formation: &[Formation], listing: &Listing, process_type: &str) -> bool {
    let desired = quantity(formation, process_type);
    let listed = instances(listing, process_type, desired, Duration::ZERO);
    listed.len() != desired as usize || listed.iter().any(|instance| instance.state == InstanceState::Ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-03-01T12:00:00Z";

    fn dyno(name: &str, state: &str, seconds_before: i64, version: u64) -> Dyno {
        let at: DateTime<Utc> = AT.parse().unwrap();
        let created = at - chrono::TimeDelta::seconds(seconds_before);
        let process_type = name.split(['.', '-']).next().unwrap();
        serde_json::from_value(serde_json::json!({
            "name": name, "type": process_type, "state": state, "created_at": created, "release": {"version": version},
        }))
        .unwrap()
    }

    fn listing(dynos: Vec<Dyno>) -> Listing {
        Listing { dynos, served_at: Some(AT.parse().unwrap()) }
    }

    fn seen(listing: &Listing, quantity: u32) -> Vec<(String, Option<u32>, u64, InstanceState)> {
        instances(listing, "worker", quantity, Duration::from_secs(5))
            .into_iter()
            .map(|instance| (instance.id.to_string(), instance.ordinal, instance.age.as_secs(), instance.state))
            .collect()
    }

    #[test]
    fn dynos_are_named_numbered_and_aged_by_the_servers_clock() {
        let listing = listing(vec![
            dyno("worker.10", "starting", 3, 7),
            dyno("worker.2", "up", 600, 7),
            dyno("web.1", "up", 600, 7),
            dyno("worker.1", "idle", 60, 7),
            dyno("worker.3", "crashed", 60, 7),
            dyno("worker.4", "down", 60, 7),
        ]);
        let (up, ending) = (InstanceState::Up, InstanceState::Ending);
        assert_eq!(
            seen(&listing, 10),
            [
                ("worker.1".into(), Some(1), 65, up),
                ("worker.2".into(), Some(2), 605, up),
                ("worker.3".into(), Some(3), 65, up),
                ("worker.4".into(), Some(4), 65, ending),
                ("worker.10".into(), Some(10), 8, up),
            ]
        );
        assert_eq!(seen(&listing, 3)[4].3, ending, "it is above the quantity, whatever its state says");
    }

    #[test]
    fn two_dynos_of_one_name_are_one_instance() {
        let twice = listing(vec![dyno("worker.1", "down", 86_400, 7), dyno("worker.1", "starting", 2, 8)]);
        assert_eq!(seen(&twice, 1), [("worker.1".into(), Some(1), 7, InstanceState::Up)]);
        assert_eq!(twice.release(), Some(8));
    }

    #[test]
    fn a_dyno_of_the_future_is_as_old_as_its_reading() {
        let listing = listing(vec![dyno("worker.1", "up", -30, 7)]);
        assert_eq!(seen(&listing, 1)[0].2, 5);
    }

    #[test]
    fn names_without_numbers_are_noticed() {
        let numbered = listing(vec![dyno("worker.1", "up", 1, 1)]);
        assert!(!numbered.is_without_numbers("worker"));
        let random = listing(vec![dyno("worker-5c6b7d8f9d-x2v4k", "up", 1, 1)]);
        assert!(random.is_without_numbers("worker"));
        assert_eq!(seen(&random, 0)[0].3, InstanceState::Up, "none can be said to be above the quantity");
    }
}

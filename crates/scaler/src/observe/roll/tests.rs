//! Readings, one after the other, and what the roll makes of them.

use super::*;
use crate::driver::Instance;

const LIMITS: Limits = Limits { boot: Duration::from_secs(1), ..Limits::DEFAULT };

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn listed(instances: &[&str]) -> PoolStatus {
    let instance = |id: &&str| Instance {
        id: InstanceId::from(*id),
        pid: id.strip_prefix("pid-").map(|pid| pid.parse().unwrap()),
        ordinal: None,
        age: Duration::ZERO,
        state: if id.starts_with('-') { InstanceState::Ending } else { InstanceState::Up },
    };
    PoolStatus { instances: instances.iter().map(instance).collect(), ..PoolStatus::default() }
}

fn ended(mut status: PoolStatus, ids: &[&str]) -> PoolStatus {
    status.ended =
        ids.iter().map(|&id| Ended { id: id.into(), how: "signal 9".into(), asked: id.starts_with('-') }).collect();
    status
}

/// A worker of the pool on this instance that beat just now.
fn worker(boot: i64, instance: &str, now: i64) -> WorkerRecord {
    WorkerRecord {
        boot: BootId(boot),
        instance: Some(instance.into()),
        host: "h".into(),
        pid: 7,
        pool: Some("here".into()),
        queues: headcount_queue::Binding::Any,
        kinds: Vec::new(),
        slots: 2,
        busy: 0,
        running: 0,
        oldest: None,
        state: WorkerState::Active,
        drain_epoch: 0,
        drained_by: None,
        drain_until: None,
        started_at: at(0),
        beat_at: at(now),
        read_at: at(now),
    }
}

fn busy(worker: WorkerRecord, running: u32) -> WorkerRecord {
    WorkerRecord { running, ..worker }
}

/// A worker as the store shows it at a drained place.
fn draining(worker: WorkerRecord) -> WorkerRecord {
    WorkerRecord { state: WorkerState::Draining, drain_until: Some(worker.read_at + TimeDelta::seconds(60)), ..worker }
}

/// A place that is drained for a minute from `now`.
fn place(instance: &str, by: &str, now: i64) -> PlaceRecord {
    PlaceRecord {
        instance: instance.into(),
        leaving: false,
        epoch: 3,
        by: by.into(),
        until: Some(at(now + 60)),
        since: at(now),
    }
}

fn call(roll: &mut Roll, status: &PoolStatus, workers: &[WorkerRecord], now: i64) -> Muster {
    call_with(roll, status, workers, &[], now)
}

fn call_with(
    roll: &mut Roll,
    status: &PoolStatus,
    workers: &[WorkerRecord],
    places: &[PlaceRecord],
    now: i64,
) -> Muster {
    let pool = PoolRef::from("here");
    roll.muster(&Reading { pool: &pool, limits: &LIMITS, status, workers, places, at: at(now) })
}

fn standings(muster: &Muster) -> Vec<(&str, Standing)> {
    muster.members.iter().map(|member| (member.id.as_str(), member.standing)).collect()
}

#[test]
fn an_instance_stands_as_its_place_and_its_workers_do() {
    use Standing::{Active, Booting, Drained, Leaving, Withheld};
    let w = |boot| worker(boot, "a", 0);
    let lapsed = || PlaceRecord { until: Some(at(0)), ..place("a", "me", 0) };
    let person = || PlaceRecord { until: None, ..place("a", "ann", 0) };
    let leaving = || PlaceRecord { leaving: true, ..place("a", "me", 0) };
    let dead = |worker| WorkerRecord { state: WorkerState::Dead, ..worker };
    for (workers, places, expected) in [
        (vec![], vec![], Booting),
        (vec![dead(w(1))], vec![], Booting),
        (vec![w(1)], vec![], Active),
        (vec![w(1), draining(w(2))], vec![], Active),
        (vec![draining(w(1))], vec![], Withheld),
        (vec![draining(w(1)), draining(w(2))], vec![place("a", "me", 0)], Drained),
        // It crashed while it was drained: whatever comes up there is drained too.
        (vec![], vec![place("a", "me", 0)], Drained),
        (vec![w(1)], vec![lapsed()], Active),
        (vec![draining(w(1))], vec![person()], Withheld),
        (vec![draining(w(1))], vec![leaving()], Leaving),
        (vec![], vec![leaving()], Leaving),
        (vec![w(1)], vec![place("b", "me", 0)], Active),
    ] {
        let muster = call_with(&mut Roll::default(), &listed(&["a"]), &workers, &places, 0);
        assert_eq!(standings(&muster)[0], ("a", expected), "{workers:?} {places:?}");
    }
    let muster = call(&mut Roll::default(), &listed(&["-a"]), &[worker(1, "-a", 0)], 0);
    assert_eq!(standings(&muster), [("-a", Leaving)]);
}

#[test]
fn an_instance_runs_and_holds_what_its_claiming_workers_do() {
    let workers = [busy(worker(1, "a", 0), 2), draining(busy(worker(2, "a", 0), 1))];
    let muster = call(&mut Roll::default(), &listed(&["a"]), &workers, 0);
    assert_eq!((muster.members[0].slots, muster.members[0].running), (2, 2));
}

#[test]
fn two_processes_under_one_name_are_one_instance_and_it_is_up_if_one_of_them_is() {
    let mut twice = listed(&["a", "a"]);
    twice.instances[0].state = InstanceState::Ending;
    let workers = [draining(busy(worker(1, "a", 0), 1)), draining(worker(2, "a", 0))];
    let muster = call_with(&mut Roll::default(), &twice, &workers, &[place("a", "me", 0)], 0);
    assert_eq!(standings(&muster), [("a", Standing::Drained)]);
    assert_eq!((muster.members[0].running, muster.members[0].idle_for), (1, None), "the old process works on");
}

#[test]
fn a_place_is_vacant_when_two_new_readings_show_nothing_there() {
    let mut roll = Roll::default();
    let places = [place("a", "me", 0), PlaceRecord { until: None, ..place("b", "ann", 0) }];
    let mut vacant = |age, now| {
        let status = PoolStatus { age: Duration::from_secs(age), ..listed(&[]) };
        call_with(&mut roll, &status, &[], &places, now).vacant
    };
    assert_eq!(vacant(0, 0), []);
    assert_eq!(vacant(5, 5), [], "the same reading again");
    assert_eq!(vacant(0, 6), [InstanceId::from("a")], "a person's is a person's");
    // The driver has seen it end: its name never comes again.
    let muster = call_with(&mut Roll::default(), &ended(listed(&[]), &["a"]), &[], &places, 0);
    assert_eq!(muster.vacant, [InstanceId::from("a")]);
}

#[test]
fn a_worker_without_an_instance_is_found_by_its_process() {
    let nameless = |pool: &str| WorkerRecord { instance: None, pool: Some(pool.into()), ..worker(1, "", 0) };
    let muster = call(&mut Roll::default(), &listed(&["pid-7"]), &[nameless("here")], 0);
    assert_eq!(standings(&muster), [("pid-7", Standing::Active)]);
    let muster = call(&mut Roll::default(), &listed(&["pid-7"]), &[nameless("there")], 0);
    assert_eq!(standings(&muster), [("pid-7", Standing::Booting)]);
}

#[test]
fn a_worker_that_somebody_else_started_is_capacity_but_not_ours() {
    let elsewhere = WorkerRecord { pool: None, ..worker(2, "b", 0) };
    let muster = call(&mut Roll::default(), &listed(&[]), &[worker(1, "a", 0), elsewhere], 0);
    assert_eq!(standings(&muster), [("a", Standing::Active)]);
    assert!(!muster.members[0].listed);
}

#[test]
fn a_silent_instance_boots_until_it_is_overdue() {
    let mut roll = Roll::default();
    let mut standing =
        |workers: &[WorkerRecord], now| call(&mut roll, &listed(&["a"]), workers, now).members[0].standing;
    assert_eq!(standing(&[], 0), Standing::Booting);
    assert_eq!(standing(&[], 60), Standing::Booting);
    assert_eq!(standing(&[], 61), Standing::Overdue);
    // It comes up after all; when it falls silent later, it restarts and is not gone.
    assert_eq!(standing(&[worker(1, "a", 70)], 70), Standing::Active);
    assert_eq!(standing(&[], 100), Standing::Booting);
    assert_eq!(standing(&[], 160), Standing::Booting);
    assert_eq!(standing(&[], 161), Standing::Overdue);
}

#[test]
fn a_drained_instance_without_a_worker_is_overdue_after_as_long() {
    let mut roll = Roll::default();
    let mut overdue = |workers: &[WorkerRecord], now| {
        let muster = call_with(&mut roll, &listed(&["a"]), workers, &[place("a", "me", now)], now);
        let member = &muster.members[0];
        assert_eq!(member.standing, Standing::Drained);
        member.overdue
    };
    assert!(!overdue(&[draining(worker(1, "a", 0))], 0));
    assert!(!overdue(&[], 5));
    assert!(!overdue(&[], 65));
    assert!(overdue(&[], 66));
    assert!(!overdue(&[draining(worker(2, "a", 70))], 70));
}

#[test]
fn who_does_not_say_where_it_lives_is_a_stray_and_who_beats_for_others_a_stranger() {
    let count = |workers: &[WorkerRecord]| {
        let muster = call(&mut Roll::default(), &listed(&["a", "b"]), workers, 0);
        (muster.strays, muster.strangers)
    };
    let of = |pool: Option<&str>, instance: Option<&str>| WorkerRecord {
        pool: pool.map(Into::into),
        instance: instance.map(Into::into),
        ..worker(2, "", 0)
    };
    assert_eq!(count(&[worker(1, "a", 0)]), (0, 0));
    // On an instance of the pool.
    assert_eq!(count(&[of(None, Some("a"))]), (0, 1));
    assert_eq!(count(&[of(Some("other"), Some("a"))]), (0, 1));
    assert_eq!(count(&[of(None, Some("a")), worker(1, "a", 0)]), (0, 0), "one of the pool's lives there too");
    // On none that is named.
    assert_eq!(count(&[of(Some("here"), None)]), (1, 0));
    assert_eq!(count(&[of(Some("here"), Some("c"))]), (1, 0));
    assert_eq!(count(&[of(None, None)]), (1, 0));
    // Elsewhere.
    assert_eq!(count(&[of(None, Some("c"))]), (0, 0));
    assert_eq!(count(&[of(Some("other"), None)]), (0, 0));
    assert_eq!(count(&[WorkerRecord { state: WorkerState::Dead, ..of(None, None) }]), (0, 0));
}

#[test]
fn idle_counts_from_the_reading_that_first_shows_it() {
    let mut roll = Roll::default();
    let mut idle = |running, now| {
        let workers = [draining(busy(worker(1, "a", now), running))];
        let places = [place("a", "me", now)];
        let muster = call_with(&mut roll, &listed(&["a"]), &workers, &places, now);
        muster.members[0].idle_for.map(|idle| idle.as_secs())
    };
    assert_eq!(idle(1, 0), None);
    assert_eq!(idle(0, 5), Some(0));
    assert_eq!(idle(0, 9), Some(4));
    assert_eq!(idle(1, 10), None);
    assert_eq!(idle(0, 12), Some(0));
    roll.lost_sight();
    let workers = [draining(worker(1, "a", 20))];
    let muster = call_with(&mut roll, &listed(&["a"]), &workers, &[place("a", "me", 20)], 20);
    assert_eq!(muster.members[0].idle_for, Some(Duration::ZERO));
}

#[test]
fn a_process_that_certainly_ended_is_buried_at_once_even_if_it_was_the_whole_pool() {
    let mut roll = Roll::default();
    let workers = [worker(1, "a", 0), worker(2, "b", 0)];
    call(&mut roll, &listed(&["a", "b"]), &workers, 0);
    let muster = call(&mut roll, &ended(listed(&[]), &["a", "b"]), &workers, 1);
    assert_eq!(muster.gone.boots, [BootId(1), BootId(2)]);
    assert_eq!(muster.gone.lost.len(), 2);
    assert!(muster.members.is_empty());
    // Each is reported once, and none that had been told to end.
    let muster = call(&mut roll, &ended(listed(&[]), &["a", "b", "c", "-d"]), &[], 2);
    assert_eq!(muster.gone.lost.iter().map(|ended| ended.id.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn what_is_no_longer_listed_is_gone_after_two_readings_and_two_beats() {
    let mut roll = Roll::default();
    let workers = ["a", "b", "c"].map(|id| worker(i64::from(id.as_bytes()[0]), id, 0));
    let (all, two) = (listed(&["a", "b", "c"]), listed(&["a", "b"]));
    call(&mut roll, &all, &workers, 0);
    // Missing once; missing twice, but it beat a moment ago; it is listed again.
    for (status, now) in [(&two, 20), (&all, 21), (&two, 22)] {
        let muster = call(&mut roll, status, &workers, now);
        assert_eq!((muster.gone.boots.len(), muster.members.len()), (0, 3), "{now}");
    }
    let mut beating = workers.clone();
    beating[2].beat_at = at(19);
    assert!(call(&mut roll, &two, &beating, 25).gone.boots.is_empty());
    assert_eq!(call(&mut roll, &two, &beating, 26).gone.boots, [BootId(i64::from(b'c'))]);
}

#[test]
fn readings_that_failed_in_between_do_not_count_as_two() {
    let mut roll = Roll::default();
    let workers = ["a", "b", "c"].map(|id| worker(i64::from(id.as_bytes()[0]), id, 0));
    call(&mut roll, &listed(&["a", "b", "c"]), &workers, 0);
    call(&mut roll, &listed(&["a", "b"]), &workers, 20);
    roll.lost_sight();
    assert!(call(&mut roll, &listed(&["a", "b"]), &workers, 25).gone.boots.is_empty());
    assert_eq!(call(&mut roll, &listed(&["a", "b"]), &workers, 26).gone.boots.len(), 1);
}

#[test]
fn a_reading_in_which_more_than_half_are_gone_is_not_believed() {
    let mut roll = Roll::default();
    let workers = ["a", "b", "c"].map(|id| worker(i64::from(id.as_bytes()[0]), id, 0));
    call(&mut roll, &listed(&["a", "b", "c"]), &workers, 0);
    for (now, spared) in [(20, 0), (25, 2), (30, 2)] {
        let muster = call(&mut roll, &listed(&["a"]), &workers, now);
        assert_eq!((muster.gone.boots.len(), muster.gone.spared, muster.members.len()), (0, spared, 3), "{now}");
    }
}

#[test]
fn a_pool_without_a_worker_knows_the_kinds_of_its_last_ones_for_an_hour() {
    let mut roll = Roll::default();
    let one = |kinds: &[&str], now: i64| WorkerRecord {
        kinds: kinds.iter().map(ToString::to_string).collect(),
        ..worker(1, "a", now)
    };
    assert_eq!(call(&mut roll, &listed(&[]), &[], 0).kinds, Kinds::Any, "nobody can tell");
    let only = Kinds::Only(["mail".to_owned()].into());
    assert_eq!(call(&mut roll, &listed(&["a"]), &[one(&["mail"], 5)], 5).kinds, only);
    assert_eq!(call(&mut roll, &listed(&[]), &[], 3600).kinds, only);
    assert_eq!(call(&mut roll, &listed(&[]), &[], 3605).kinds, Kinds::Any, "a release may have taught them more");
    assert_eq!(call(&mut roll, &listed(&["a"]), &[one(&[], 4000)], 4000).kinds, Kinds::Any);
}

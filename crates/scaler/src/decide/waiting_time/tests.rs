//! What is needed when, in numbers, and the sentences that say so.

use super::*;

/// A pool of one-slot workers that boot in 20 s and is looked at every 5 s.
fn facts(up: u32, running: u32) -> Facts<'static> {
    Facts {
        up,
        up_slots: f64::from(up),
        slots: 1,
        running: f64::from(running),
        left: 30.0,
        boot: 20.0,
        tick: 5.0,
        max: 100,
        ..Facts::default()
    }
}

/// A stream of so many jobs a second, up to now, which is second 10,000.
fn stream(rate: f64) -> Arrivals {
    let mut arrivals = Arrivals::default();
    arrivals.begin(0.0, Some(rate), 0.0, 0.0);
    for look in 0..2000 {
        let from = f64::from(look) * 5.0;
        arrivals.add(from, from + 5.0, rate * 5.0, rate * 5.0, 4000.0);
    }
    arrivals
}

/// Jobs of 30 s that may wait for `within`; so many wait, the oldest for so long.
fn reading(arrivals: &Arrivals, within: f64, ready: f64, oldest: f64) -> Reading<'_> {
    Reading {
        name: "",
        within,
        share: 0.05,
        ready,
        oldest: (ready > 0.0).then_some(oldest),
        ready_run: 30.0,
        run: 30.0,
        known: Vec::new(),
        arrivals,
        z: 1.0,
        now: 10_000.0,
    }
}

fn short(reading: Reading<'_>, run: f64) -> Reading<'_> {
    Reading { run, ready_run: run, ..reading }
}

#[test]
fn an_empty_pool_wakes_for_one_job_however_short_it_is() {
    let none = stream(0.0);
    for run in [0.001, 1.0, 30.0, 3000.0] {
        let need = need(&facts(0, 0), &[short(reading(&none, 60.0, 1.0, 0.0), run)]);
        assert_eq!((need.keep, need.add), (1, 1), "{run}");
    }
    let nothing = need(&facts(0, 0), &[reading(&none, 60.0, 0.0, 0.0)]);
    assert_eq!((nothing.keep, nothing.add, nothing.why.rule), (0, 0, Rule::Nothing));
    let suspect = Facts { suspects: true, ..facts(0, 0) };
    assert_eq!(need(&suspect, &[reading(&none, 60.0, 0.0, 0.0)]).add, 1);
}

#[test]
fn an_empty_pool_wakes_in_time_for_jobs_that_are_known_to_fall_due() {
    let none = stream(0.0);
    let due_in = |seconds: f64| Reading { known: vec![(seconds, 1.0)], ..reading(&none, 60.0, 0.0, 0.0) };
    for idle in [false, true] {
        let facts = Facts { idle, ..facts(0, 0) };
        assert_eq!(need(&facts, &[due_in(24.0)]).add, 1);
        assert_eq!(need(&facts, &[due_in(3600.0)]).add, 0);
    }
    // Many are more than one worker can start in time.
    let many = Reading { known: vec![(30.0, 60.0)], ..reading(&none, 60.0, 0.0, 0.0) };
    assert!(need(&facts(1, 0), &[many]).add > 5);
}

#[test]
fn what_boots_is_not_ordered_again() {
    let none = stream(0.0);
    for (within, boot) in [(60.0, 20.0), (300.0, 90.0), (30.0, 90.0), (10.0, 20.0)] {
        let mut facts = Facts { boot, ..facts(0, 0) };
        let mut ordered = 0;
        for look in 0..(boot / 5.0) as u32 {
            let age = f64::from(look) * 5.0;
            let add = need(&facts, &[reading(&none, within, 100.0, age)]).add;
            if look == 0 || ordered == 0 {
                ordered = add;
                facts.booting = vec![boot; add as usize];
            } else {
                assert!(add <= ordered / 10, "{add} more than {ordered} after {age} s, {within}/{boot}");
            }
            facts.booting.iter_mut().for_each(|left| *left = (*left - 5.0).max(5.0));
        }
        assert!(ordered > 10, "{ordered}");
    }
}

#[test]
fn long_waits_are_used_and_short_ones_are_paid_for() {
    let none = stream(0.0);
    let add = |within: f64| need(&facts(0, 0), &[reading(&none, within, 200.0, 0.0)]).add;
    assert!(add(60.0) > 2 * add(300.0) && add(300.0) > 2 * add(1800.0), "{} {} {}", add(60.0), add(300.0), add(1800.0));
    // Half a job is busy at any time on average: one is not enough to be safe, and five are too many.
    let keep = need(&facts(9, 1), &[short(reading(&stream(0.1), 60.0, 0.0, 0.0), 10.0)]).keep;
    assert!((1..5).contains(&keep), "{keep}");
}

#[test]
fn short_jobs_behind_long_ones_get_a_worker() {
    let slow = stream(0.01);
    // One slot, and what is in it runs for an hour.
    let stuck = Facts { left: 3600.0, ..facts(1, 1) };
    let waiting = |oldest: f64| short(reading(&slow, 60.0, 1.0, oldest), 1.0);
    let blocked = need(&stuck, &[waiting(50.0)]);
    assert_eq!((blocked.add, blocked.why.rule), (1, Rule::Blocked));
    // What is in it ends at any moment.
    assert_eq!(need(&Facts { left: 1.0, ..facts(1, 1) }, &[waiting(50.0)]).add, 0);
}

#[test]
fn a_job_that_has_outlasted_its_kind_frees_no_slot() {
    let mut run = RunTime::default();
    for _ in 0..300 {
        run.add(1, Duration::from_secs(2));
    }
    let none = stream(0.0);
    let waiting = [short(reading(&none, 60.0, 20.0, 40.0), 2.0)];
    let aged = |age: f64| Facts { left: 2.0, aged: vec![(Some(&run), age); 2], ..facts(2, 2) };
    assert_eq!(need(&aged(0.5), &waiting).add, 0);
    assert!(need(&aged(600.0), &waiting).add > 0);
}

#[test]
fn targets_are_counted_each_with_its_own_time() {
    let none = stream(0.0);
    let mail = |ready: f64| Reading { name: "mail", ..reading(&none, 30.0, ready, 0.0) };
    let reports = |ready: f64| Reading { name: "reports", ..reading(&none, 3600.0, ready, 0.0) };
    let both = need(&facts(2, 0), &[mail(40.0), reports(40.0)]);
    let one = need(&facts(2, 0), &[mail(80.0), reports(0.0)]);
    let long = need(&facts(2, 0), &[mail(0.0), reports(80.0)]);
    assert!(one.add > both.add && both.add > long.add, "{} {} {}", one.add, both.add, long.add);
    assert_eq!(long.add, 0, "two do eighty reports in an hour");
    assert_eq!((both.target.as_str(), both.within), ("mail", Duration::from_secs(30)));
}

#[test]
fn where_a_boot_comes_too_late_workers_stand_ready() {
    let steady = stream(0.2);
    let jobs = short(reading(&steady, 10.0, 0.0, 0.0), 10.0);
    let need_floor = need(&facts(2, 2), std::slice::from_ref(&jobs));
    assert_eq!(need_floor.why.rule, Rule::Floor);
    // Two are busy on average; with five hardly anyone waits for 10 s.
    assert!((4..=6).contains(&need_floor.keep), "{}", need_floor.keep);
    assert!(need(&facts(2, 2), &[Reading { z: 3.0, ..jobs.clone() }]).keep > need_floor.keep);
    // When nothing has come for long enough, the last may go, whatever the formula says.
    let idle = Facts { idle: true, ..facts(2, 0) };
    assert_eq!((need(&idle, std::slice::from_ref(&jobs)).keep, need(&idle, &[jobs]).add), (0, 0));
}

#[test]
fn more_that_waits_never_needs_fewer() {
    for within in [10.0, 60.0, 300.0] {
        for rate in [0.0, 0.5] {
            let arrivals = stream(rate);
            let mut last = 0;
            for ready in 0..200 {
                let need = need(&facts(5, 3), &[reading(&arrivals, within, f64::from(ready), 5.0)]);
                assert!(need.workers() >= last, "{ready} ready: {} < {last}", need.workers());
                last = need.workers();
            }
        }
    }
}

#[test]
fn the_sentence_says_what_there_is_what_is_needed_and_by_when() {
    let (none, busy) = (stream(0.0), stream(2.0));
    let say = |facts: &Facts<'_>, reading: Reading<'_>| need(facts, &[reading]).to_string();
    for (said, expected) in [
        (say(&facts(0, 0), reading(&none, 60.0, 0.0, 0.0)), "nothing to do; target 95% within 60.0s"),
        (
            say(&facts(0, 0), short(reading(&none, 60.0, 1.0, 2.0), 1.0)),
            "1 ready, the oldest for 2.0s: there is no worker yet; target 95% within 60.0s",
        ),
        (
            say(&facts(3, 3), Reading { z: -1.0, ..reading(&none, 60.0, 50.0, 50.0) }),
            "50 ready, the oldest for 50.0s, 3 running: the oldest can no longer start in time; 31 more start 50 jobs \
             within 40.0s; target 95% within 60.0s",
        ),
        (
            say(&facts(80, 60), reading(&busy, 60.0, 0.0, 0.0)),
            "60 running, 2.0 expected a second: 290 jobs must start within 205.0s, which 47 can do; target 95% within 60.0s",
        ),
        (
            say(&facts(2, 2), short(reading(&stream(0.2), 10.0, 0.0, 0.0), 10.0)),
            "2 running, 12 expected a minute: 4 must stand ready, since a boot comes too late: 2 more; target \
             95% within 10.0s, less than a boot (20.0s) and a look (5.0s) take: it needs spare workers",
        ),
    ] {
        assert_eq!(said, expected);
    }
}

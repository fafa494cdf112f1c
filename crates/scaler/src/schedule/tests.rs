//! Office hours, rare entries, and the two nights of a year in which the clock is put back or forward.

use std::time::{Duration, Instant};

use super::*;

fn entry(cron: &str, min: u32) -> Entry {
    Entry::new(cron, Some(min), None).unwrap()
}

fn schedule(timezone: &str, entries: &[(&str, u32)]) -> Schedule {
    Schedule::new(Timezone::named(timezone).unwrap(), entries.iter().map(|&(cron, min)| entry(cron, min)).collect())
}

fn utc(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

#[track_caller]
fn holds(schedule: &Schedule, at: &str, min: u32, since: &str, next: &str) {
    let found = schedule.at(utc(at));
    let expected = InForce { min: Some(min), max: None, since: Some(utc(since)), next_change: Some(utc(next)) };
    assert_eq!(found, expected, "at {at}");
}

#[test]
fn the_entry_whose_cron_fired_last_holds() {
    let office = schedule("UTC", &[("0 8 * * 1-5", 4), ("0 19 * * *", 0)]);
    // 2026-03-02 is a Monday.
    holds(&office, "2026-03-02T07:59:59Z", 0, "2026-03-01T19:00:00Z", "2026-03-02T08:00:00Z");
    holds(&office, "2026-03-02T08:00:00Z", 4, "2026-03-02T08:00:00Z", "2026-03-02T19:00:00Z");
    holds(&office, "2026-03-02T08:00:00.5Z", 4, "2026-03-02T08:00:00Z", "2026-03-02T19:00:00Z");
    holds(&office, "2026-03-07T12:00:00Z", 0, "2026-03-06T19:00:00Z", "2026-03-07T19:00:00Z");
}

#[test]
fn a_schedule_without_entries_says_nothing() {
    assert_eq!(Schedule::default().at(utc("2026-03-02T08:00:00Z")), InForce::default());
}

#[test]
fn of_two_that_fire_at_once_the_last_holds() {
    let both = schedule("UTC", &[("0 0 * * *", 1), ("0 0 1 * *", 2)]);
    assert_eq!(both.at(utc("2026-03-01T10:00:00Z")).min, Some(2));
    assert_eq!(both.at(utc("2026-03-02T10:00:00Z")).min, Some(1));
}

#[test]
fn a_rare_entry_is_found_years_back_and_quickly() {
    let rare = schedule("Europe/Berlin", &[("0 0 29 2 *", 3)]);
    let began = Instant::now();
    holds(&rare, "2027-12-31T00:00:00Z", 3, "2024-02-28T23:00:00Z", "2028-02-28T23:00:00Z");
    assert!(began.elapsed() < Duration::from_secs(1), "a tick does not wait for it: {:?}", began.elapsed());
}

#[test]
fn an_entry_that_the_clock_jumps_over_fires_when_the_clock_runs_on() {
    // On 2026-03-29 the clock of Berlin goes from 2:00 to 3:00, which is 1:00 UTC.
    let night = schedule("Europe/Berlin", &[("30 2 * * *", 5), ("0 12 * * *", 1)]);
    holds(&night, "2026-03-29T00:59:59Z", 1, "2026-03-28T11:00:00Z", "2026-03-29T01:00:00Z");
    holds(&night, "2026-03-29T01:10:00Z", 5, "2026-03-29T01:00:00Z", "2026-03-29T10:00:00Z");
    // And the day after at its own time, an hour earlier in UTC than in winter.
    holds(&night, "2026-03-30T00:30:00Z", 5, "2026-03-30T00:30:00Z", "2026-03-30T10:00:00Z");
}

#[test]
fn an_entry_in_the_hour_that_comes_twice_fires_once() {
    // On 2026-10-25 the clock of Berlin goes from 3:00 back to 2:00, which is 1:00 UTC.
    let night = schedule("Europe/Berlin", &[("30 2 * * *", 5), ("45 2 * * *", 1)]);
    holds(&night, "2026-10-25T00:40:00Z", 5, "2026-10-25T00:30:00Z", "2026-10-25T00:45:00Z");
    for again in ["2026-10-25T00:50:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:40:00Z"] {
        holds(&night, again, 1, "2026-10-25T00:45:00Z", "2026-10-26T01:30:00Z");
    }
}

#[test]
fn office_hours_stay_office_hours_through_the_year() {
    let office = schedule("America/New_York", &[("0 8 * * *", 4), ("0 19 * * *", 0)]);
    holds(&office, "2026-01-15T13:00:00Z", 4, "2026-01-15T13:00:00Z", "2026-01-16T00:00:00Z");
    holds(&office, "2026-07-15T12:00:00Z", 4, "2026-07-15T12:00:00Z", "2026-07-15T23:00:00Z");
}

#[test]
fn the_next_change_is_when_another_look_first_differs() {
    let office = schedule("Europe/Berlin", &[("0 8 * * 1-5", 4), ("*/20 19 * * *", 0), ("0 3 1 * *", 2)]);
    let mut at = utc("2026-03-20T00:00:00Z");
    for _ in 0..200 {
        let now = office.at(at);
        let next = now.next_change.unwrap();
        assert!(next > at);
        assert_eq!(office.at(next - chrono::TimeDelta::seconds(1)).since, now.since, "nothing fires before {next}");
        assert_eq!(office.at(next).since, Some(next), "something fires at {next}");
        at = next;
    }
}

#[test]
fn a_cron_that_is_none_is_refused_with_an_example() {
    for bad in ["", "0 8 * *", "0 8 * * 1-5 2026", "0 0 8 * * 1", "0 25 * * *", "noon"] {
        let error = Entry::new(bad, Some(1), None).unwrap_err().to_string();
        assert!(error.contains("0 8 * * 1-5"), "{bad}: {error}");
    }
    assert_eq!(Entry::new("0 0 * * *", None, None), Err(ScheduleError::Empty("0 0 * * *".into())));
    let began = Instant::now();
    assert_eq!(Entry::new("0 0 30 2 *", Some(1), None), Err(ScheduleError::Never("0 0 30 2 *".into())));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn a_day_begins_where_its_timezone_says() {
    for (zone, at, day, midnight, next) in [
        ("UTC", "2026-03-02T23:59:59Z", "2026-03-02", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"),
        ("Europe/Berlin", "2026-03-02T23:30:00Z", "2026-03-03", "2026-03-02T23:00:00Z", "2026-03-03T23:00:00Z"),
        // 23 hours, and 25.
        ("Europe/Berlin", "2026-03-29T10:00:00Z", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("Europe/Berlin", "2026-10-25T10:00:00Z", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        // Its clock was put forward at midnight: that day began at 1:00.
        ("America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
    ] {
        let zone = Timezone::named(zone).unwrap();
        let found = zone.day(utc(at));
        assert_eq!(found.to_string(), day);
        assert_eq!((zone.midnight(found), zone.next_midnight(utc(at))), (utc(midnight), utc(next)), "{zone} {at}");
    }
}

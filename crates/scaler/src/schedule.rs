//! A schedule: which least and most number of workers hold at which time of the week. Pure.
//!
//! Each entry begins to hold when its cron fires, and holds until that of another does. So the entry whose cron fired
//! last is in force, also right after a start: the past is searched for it.

use std::{fmt, str::FromStr as _};

use chrono::{DateTime, NaiveDate, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

/// When which bounds begin to hold, in a timezone.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    timezone: Timezone,
    entries: Vec<Entry>,
}

/// A timezone of the IANA's list; default UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timezone(Tz);

/// From a moment on, bounds.
#[derive(Debug, Clone)]
pub struct Entry {
    text: String,
    cron: Cron,
    min: Option<u32>,
    max: Option<u32>,
}

/// What a schedule says about a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InForce {
    /// The fewest workers; `None`: the pool's own.
    pub min: Option<u32>,
    /// The most workers; `None`: the pool's own.
    pub max: Option<u32>,
    /// Since when; `None`: no entry has ever fired.
    pub since: Option<DateTime<Utc>>,
    /// When an entry fires next; `None`: none ever will.
    pub next_change: Option<DateTime<Utc>>,
}

/// Why an entry is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The cron cannot be read.
    #[error("{0:?} is no cron of five fields (minute hour day month weekday), such as \"0 8 * * 1-5\": {1}")]
    Cron(String, String),
    /// There is no such date.
    #[error("{0:?} never fires: there is no such date")]
    Never(String),
    /// It changes nothing.
    #[error("{0:?} has neither min nor max: give at least one")]
    Empty(String),
}

impl Timezone {
    /// The timezone of this name: "Europe/Berlin".
    pub fn named(name: &str) -> Option<Self> {
        Tz::from_str(name).ok().map(Self)
    }

    /// The names that there are.
    pub fn names() -> impl Iterator<Item = &'static str> {
        chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())
    }

    /// The day that it is there.
    pub fn day(self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.0).date_naive()
    }

    /// When this day began there: midnight, or the first moment after it where the clock was put forward then.
    pub fn midnight(self, day: NaiveDate) -> DateTime<Utc> {
        let minutes = (0..24 * 60).filter_map(|minute| day.and_hms_opt(minute / 60, minute % 60, 0));
        minutes
            .filter_map(|local| self.0.from_local_datetime(&local).earliest())
            .map(|local| local.with_timezone(&Utc))
            .next()
            // A day that a place left out, when it moved across the date line.
            .unwrap_or_else(|| day.and_time(chrono::NaiveTime::MIN).and_utc())
    }

    /// When the day after this moment's begins there.
    pub fn next_midnight(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let mut day = self.day(at);
        loop {
            let Some(next) = day.succ_opt() else { return DateTime::<Utc>::MAX_UTC };
            day = next;
            let midnight = self.midnight(day);
            if midnight > at {
                return midnight;
            }
        }
    }
}

impl Default for Timezone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl fmt::Display for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name())
    }
}

impl Entry {
    /// From whenever this cron fires, at least and at most so many workers.
    pub fn new(cron: &str, min: Option<u32>, max: Option<u32>) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parsed = parser.parse(cron).map_err(|error| {
            ScheduleError::Cron(cron.to_owned(), error.to_string().trim_end_matches('.').to_owned())
        })?;
        if min.is_none() && max.is_none() {
            return Err(ScheduleError::Empty(cron.to_owned()));
        }
        // A fixed moment: whether a date exists does not depend on when one asks. 2000 was a leap year.
        if parsed.find_previous_occurrence(&epoch(), true).is_err() {
            return Err(ScheduleError::Never(cron.to_owned()));
        }
        Ok(Self { text: cron.to_owned(), cron: parsed, min, max })
    }

    /// The fewest workers while it holds.
    pub fn min(&self) -> Option<u32> {
        self.min
    }

    /// The most workers while it holds.
    pub fn max(&self) -> Option<u32> {
        self.max
    }
}

fn epoch() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2001, 1, 1, 0, 0, 0).single().expect("it is a date")
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.min.map_or(Ok(()), |min| write!(f, " min {min}"))?;
        self.max.map_or(Ok(()), |max| write!(f, " max {max}"))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.min, self.max) == (&other.text, other.min, other.max)
    }
}

impl Eq for Entry {}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (self.timezone, &self.entries) == (other.timezone, &other.entries)
    }
}

impl Eq for Schedule {}

impl Schedule {
    /// These entries, in this timezone.
    pub fn new(timezone: Timezone, entries: Vec<Entry>) -> Self {
        Self { timezone, entries }
    }

    /// The timezone, which also says when a day begins.
    pub fn timezone(&self) -> Timezone {
        self.timezone
    }

    /// The entries, in their order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What holds at this moment. Of entries that fire at the same time the last in their order holds.
    ///
    /// Where the clock is put forward over the time of an entry, it fires as soon as the clock runs on; where it is put
    /// back over it, it fires once.
    pub fn at(&self, now: DateTime<Utc>) -> InForce {
        let local = now.with_timezone(&self.timezone.0);
        let mut latest: Option<(DateTime<Utc>, &Entry)> = None;
        let mut next: Option<DateTime<Utc>> = None;
        for entry in &self.entries {
            // An error is a search that leads out of the calendar: the entry has not fired, or never will again.
            if let Ok(fired) = entry.cron.find_previous_occurrence(&local, true) {
                let fired = fired.with_timezone(&Utc);
                if latest.is_none_or(|(at, _)| fired >= at) {
                    latest = Some((fired, entry));
                }
            }
            if let Ok(fires) = entry.cron.find_next_occurrence(&local, false) {
                let fires = fires.with_timezone(&Utc);
                next = Some(next.map_or(fires, |next| next.min(fires)));
            }
        }
        InForce {
            min: latest.and_then(|(_, entry)| entry.min),
            max: latest.and_then(|(_, entry)| entry.max),
            since: latest.map(|(at, _)| at),
            next_change: next,
        }
    }
}

#[cfg(test)]
mod tests;

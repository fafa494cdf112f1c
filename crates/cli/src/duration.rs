//! Lengths of time as people write and read them.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Reads a length of time: `250ms`, `25s`, `5m`, `1h 30m`, `2d`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) => Ok(duration),
        Err(humantime::DurationError::UnknownUnit { value, unit, .. }) if unit.is_empty() => {
            Err(format!("{value} of what? write {value}ms, {value}s, {value}m, {value}h or {value}d"))
        }
        Err(error) => Err(format!("{error}; write for example 250ms, 25s, 5m, 1h 30m or 2d")),
    }
}

/// A length of time in its two largest units, cut and not rounded: `250ms`, `12s`, `3m 12s`, `4h 5m`, `2d 4h`.
pub(crate) fn human(duration: Duration) -> String {
    let two = |large: u64, unit: char, small: u64, sub: char| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit} {small}{sub}") }
    };
    match duration.as_secs() {
        0 if duration.is_zero() => "0s".into(),
        0 => format!("{}ms", duration.as_millis()),
        s @ 1..60 => format!("{s}s"),
        s @ 60..3600 => two(s / 60, 'm', s % 60, 's'),
        s @ 3600..86_400 => two(s / 3600, 'h', s % 3600 / 60, 'm'),
        s => two(s / 86_400, 'd', s % 86_400 / 3600, 'h'),
    }
}

/// How long ago `then` was; zero for what is still to come.
pub(crate) fn since(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - then).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, millis) in [
            ("250ms", 250),
            ("25s", 25_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
            ("1.5s", 1500),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        assert_eq!(parse("5").unwrap_err(), "5 of what? write 5ms, 5s, 5m, 5h or 5d");
        for bad in ["", "m", "-5s", "5 parsecs", "99999999999999999999s"] {
            assert!(parse(bad).unwrap_err().contains("250ms"), "{bad:?}");
        }
    }

    #[test]
    fn lengths_are_shown_in_two_units_at_most() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (999, "999ms"),
            (1000, "1s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (192_000, "3m 12s"),
            (3_600_000, "1h"),
            (14_700_000, "4h 5m"),
            (187_200_000, "2d 4h"),
        ] {
            assert_eq!(human(Duration::from_millis(millis)), text);
        }
    }
}

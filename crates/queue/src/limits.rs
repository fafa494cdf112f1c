//! What is allowed in, each limit said once.

use std::time::Duration;

use crate::{Error, Result};

/// The largest payload, in bytes of JSON text.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// The largest output that is kept, in bytes; a longer one is cut.
pub const MAX_OUTPUT: usize = 64 << 10;

/// The longest error message that is kept, in bytes; of a longer one the end is kept.
pub const MAX_ERROR: usize = 16 << 10;

/// The longest name of a queue, a kind or a pool, in bytes.
pub const MAX_NAME: usize = 128;

/// The longest coalesce key, in bytes.
pub const MAX_KEY: usize = 512;

/// The most attempts that a job may be given.
pub const MAX_ATTEMPTS: u16 = 10_000;

/// The longest delay, snooze, timeout or retention: ten years.
pub const MAX_DELAY: Duration = Duration::from_hours(10 * 365 * 24);

/// The most jobs in one bulk enqueue.
pub const MAX_BULK: usize = 50_000;

/// A worker whose last beat is longer ago than this is not counted on to claim what lies ready.
pub const LATELY: Duration = Duration::from_secs(10);

/// How often a job may be interrupted (stop, death, hung) before it is failed as quarantined.
pub const MAX_INTERRUPTIONS: u16 = 20;

/// How often a job's process may die under it before it is failed as quarantined.
///
/// At one less the job is a suspect: it is run only in a process that runs nothing else, so that the last death is
/// certainly its own.
pub const MAX_DEATHS: u16 = 3;

/// Payloads and outputs above this many bytes lie apart from the job's row, which then moves cheaply.
pub const INLINE_BYTES: usize = 1024;

/// Queues whose name begins so are private: a worker bound to any queue never takes their jobs.
pub const PRIVATE_PREFIX: &str = "run:";

/// Checks a name: 1 to 128 bytes, no spaces, control characters, commas or asterisks.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '*');
    if name.is_empty() {
        return Err(Error::Rejected(format!("{what} has no name")));
    }
    if name.len() > MAX_NAME {
        return Err(Error::Rejected(format!(
            "the name of {what} has {} bytes; at most {MAX_NAME} are allowed",
            name.len()
        )));
    }
    if let Some(c) = name.chars().find(|&c| bad(c)) {
        return Err(Error::Rejected(format!(
            "the name of {what}, {name:?}, holds {c:?}: spaces, control characters, commas and asterisks are not allowed"
        )));
    }
    Ok(())
}

/// Checks a coalesce key: 1 to 512 bytes, no control characters.
pub fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > MAX_KEY || key.chars().any(char::is_control) {
        let shown = head(key, 40);
        return Err(Error::Rejected(format!(
            "the coalesce key {shown:?} has {} bytes: 1 to {MAX_KEY} without control characters are allowed",
            key.len()
        )));
    }
    Ok(())
}

/// Checks a length of time against [`MAX_DELAY`].
pub fn check_delay(what: &str, delay: Duration) -> Result<()> {
    if delay > MAX_DELAY {
        return Err(Error::Rejected(format!("{what} of {} s is longer than ten years", delay.as_secs())));
    }
    Ok(())
}

/// The end of `text`, at most `max` bytes, cut at a character.
pub fn tail(text: &str, max: usize) -> &str {
    let mut start = text.len().saturating_sub(max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// The beginning of `text`, at most `max` bytes, cut at a character.
pub fn head(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_with_a_reason() {
        for good in ["mail", "App\\Jobs\\Mail", "mail.urgent", "run:x", "größe"] {
            check_name("a queue", good).unwrap();
        }
        for bad in ["", "a b", "a,b", "mail.*", "a\n", &"x".repeat(129)] {
            assert!(check_name("a queue", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cutting_never_splits_a_character() {
        assert_eq!(tail("größe", 3), "ße");
        assert_eq!(tail("größe", 2), "e");
        assert_eq!(head("größe", 3), "gr");
        assert_eq!(head("ab", 3), "ab");
    }
}

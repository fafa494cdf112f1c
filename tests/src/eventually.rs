//! Waiting for something that gives no sign when it happens: looking again and again, until a deadline.
//!
//! This is the one place in the tests that sleeps. Where there is an event to wait for (a process that ends, a line
//! that is printed), wait for that.

use std::{
    fmt,
    panic::Location,
    time::{Duration, Instant},
};

/// Looks until `look` finds what the test waits for, and returns it.
///
/// `look` answers `Ok` with what it found, or `Err` with what it saw instead. `within` should be about three times the
/// promise that is being tested: only a failing test waits that long.
///
/// # Panics
/// When nothing was found in time, naming `what`, and the last thing seen instead.
#[track_caller]
pub fn eventually<T, S: fmt::Debug>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let mut pace = Pace::until(within);
        loop {
            match look().await {
                Ok(found) => return found,
                Err(seen) => match pace.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => panic!("{what}: not within {within:?} (at {caller}); last seen: {seen:?}"),
                },
            }
        }
    }
}

/// The same without a runtime, for a `Drop`. Whether it was found.
pub(crate) fn blocking(within: Duration, mut found: impl FnMut() -> bool) -> bool {
    let mut pace = Pace::until(within);
    loop {
        if found() {
            return true;
        }
        match pace.next() {
            Some(pause) => std::thread::sleep(pause),
            None => return false,
        }
    }
}

/// The pauses between looks: short at first, for most things happen at once, and never long.
struct Pace {
    end: Instant,
    pause: Duration,
}

impl Pace {
    fn until(within: Duration) -> Self {
        Self { end: Instant::now() + within, pause: Duration::from_millis(2) }
    }
}

impl Iterator for Pace {
    type Item = Duration;

    /// The next pause; none once the deadline has passed. The last one ends at the deadline, so that a look is always
    /// taken there.
    fn next(&mut self) -> Option<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        self.pause = (self.pause * 3 / 2).min(Duration::from_millis(100));
        (!left.is_zero()).then(|| self.pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_found_is_returned_at_the_look_that_found_it() {
        let mut looks = 0;
        let found = eventually("the fourth look", Duration::from_secs(10), async || {
            looks += 1;
            if looks == 4 { Ok(looks) } else { Err(looks) }
        })
        .await;
        assert_eq!(found, 4);
        assert_eq!(looks, 4);
    }

    #[tokio::test]
    #[should_panic(expected = "the moon is full: not within 30ms (at tests/src/eventually.rs")]
    async fn what_is_not_found_fails_by_its_name() {
        eventually::<(), _>("the moon is full", Duration::from_millis(30), async || Err("half")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "last seen: \"look 1\"")]
    async fn the_last_thing_seen_is_told() {
        let mut looks = 0;
        eventually::<(), _>("never", Duration::ZERO, async || {
            looks += 1;
            Err(format!("look {looks}"))
        })
        .await;
    }
}

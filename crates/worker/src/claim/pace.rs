//! How many jobs to hold beyond the free slots, and when to look again: pure arithmetic on what was measured.

use std::time::Duration;

/// Nothing should wait in the buffer for longer than this.
pub(super) const HOLD: Duration = Duration::from_millis(50);
/// The most jobs that a buffer holds.
const MOST: u32 = 2000;
/// The most jobs that one claim asks for.
const AT_ONCE: u32 = 1000;
/// The most bytes of payloads that a buffer is meant to hold.
const MOST_BYTES: f64 = 8.0 * 1024.0 * 1024.0;

/// Measured so far.
#[derive(Debug)]
pub(super) struct Pace {
    /// The moving average of run times, in seconds.
    mean: Option<f64>,
    /// The moving average of payloads, in bytes.
    size: f64,
    /// How many polls in a row brought nothing.
    dry: u32,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { mean: None, size: 0.0, dry: 0 }
    }

    /// An attempt took this long.
    pub(super) fn ran(&mut self, time: Duration) {
        // What a slot costs beside the handler itself: without it a no-op job would ask for a boundless buffer.
        let time = time.as_secs_f64() + 20e-6;
        self.mean = Some(self.mean.map_or(time, |mean| mean + (time - mean) / 16.0));
    }

    /// A claim brought so many jobs, with so many bytes of payloads together.
    pub(super) fn brought(&mut self, jobs: usize, bytes: usize) {
        let size = bytes as f64 / jobs.max(1) as f64;
        // A larger one counts at once.
        self.size = size.max(self.size + (size - self.size) / 16.0);
    }

    /// The buffer was not worked off in time: the average was wrong about what is to come.
    pub(super) fn stalled(&mut self) {
        self.mean = Some(self.mean.unwrap_or_default().max(HOLD.as_secs_f64()));
    }

    /// How many jobs to hold beyond the free slots, so that `turning` slots start the last of them after half of
    /// [`HOLD`]. None as long as nothing was measured, or where a job takes longer than that.
    pub(super) fn buffer(&self, turning: u32) -> u32 {
        let Some(mean) = self.mean else { return 0 };
        let half = HOLD.as_secs_f64() / 2.0;
        if mean > half {
            return 0;
        }
        ((half / mean * f64::from(turning)) as u32).min(MOST).min((MOST_BYTES / self.size.max(1.0)) as u32)
    }

    /// How many jobs to ask for now: to fill `free` slots and the buffer, and only when a slot would stand idle or a third
    /// of the buffer is gone. Held are those that wait, and those that claims under way may bring.
    pub(super) fn want(&self, free: u32, turning: u32, held: u32) -> u32 {
        let target = self.buffer(turning);
        if held >= free && held - free > self.low(turning) || free + target == 0 {
            return 0;
        }
        (free + target).saturating_sub(held).min(AT_ONCE)
    }

    /// With all slots taken, it asks for jobs when it holds no more than so many. Two claims under way and a third's jobs
    /// being worked off keep the store and the slots busy at the same time.
    pub(super) fn low(&self, turning: u32) -> u32 {
        self.buffer(turning) / 3 * 2
    }

    /// The wait after a claim that brought fewer jobs than wanted: a quarter of the poll interval after one that
    /// brought any, then doubling back to the whole; to four of them where jobs that come in are `told`.
    ///
    /// It doubles there too, and does not jump: a transaction that enqueued before the workers fell asleep, and commits
    /// after, tells nobody. If it is short, one of the first looks finds it.
    pub(super) fn rest(&mut self, brought_any: bool, poll: Duration, told: bool) -> Duration {
        let longest = if told { 4 } else { 2 };
        self.dry = if brought_any { 0 } else { (self.dry + 1).min(longest) };
        poll / 4 * (1 << self.dry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(run: Duration) -> Pace {
        let mut pace = Pace::new();
        pace.ran(run);
        pace
    }

    #[test]
    fn nothing_is_buffered_before_a_measurement_nor_for_long_jobs() {
        assert_eq!(Pace::new().want(10, 10, 0), 10);
        assert_eq!(measured(Duration::from_millis(40)).want(10, 10, 0), 10);
        assert_eq!(measured(Duration::from_secs(9)).want(0, 10, 0), 0);
    }

    #[test]
    fn the_buffer_is_worked_off_within_the_hold_whatever_the_run_time() {
        for millis in [0.0, 0.1, 1.0, 3.0, 10.0, 24.0] {
            let pace = measured(Duration::from_secs_f64(millis / 1e3));
            for slots in [1, 10, 100] {
                let last_waits = f64::from(pace.buffer(slots)) / f64::from(slots) * millis / 1e3;
                assert!(last_waits <= HOLD.as_secs_f64() / 2.0, "{millis} ms, {slots} slots: {last_waits} s");
            }
        }
        assert_eq!(measured(Duration::ZERO).buffer(100), MOST);
    }

    #[test]
    fn one_asks_again_when_a_third_is_gone() {
        let pace = measured(Duration::from_millis(1));
        let target = pace.buffer(10);
        assert!(target > 100);
        assert_eq!(pace.want(0, 10, target), 0);
        let low = pace.low(10);
        assert_eq!(low, target / 3 * 2);
        assert_eq!(pace.want(0, 10, low + 1), 0);
        assert_eq!(pace.want(0, 10, low), target - low);
        assert_eq!(pace.want(3, 10, 2), target + 1);
    }

    #[test]
    fn large_payloads_are_not_hoarded() {
        let mut pace = measured(Duration::ZERO);
        pace.brought(10, 10 << 20);
        assert_eq!(pace.buffer(10), 8, "of a MiB each");
        (0..200).for_each(|_| pace.brought(10, 1000));
        assert_eq!(pace.buffer(10), MOST);
    }

    #[test]
    fn a_stalled_buffer_ends_the_buffering_and_short_jobs_bring_it_back() {
        let mut pace = measured(Duration::from_millis(1));
        pace.stalled();
        assert_eq!(pace.buffer(10), 0);
        (0..64).for_each(|_| pace.ran(Duration::from_millis(1)));
        assert!(pace.buffer(10) > 0);
    }

    #[test]
    fn polls_come_sooner_after_work_was_found() {
        let poll = Duration::from_millis(400);
        let mut pace = Pace::new();
        let rests: Vec<_> =
            [true, false, false, false, true].map(|any| pace.rest(any, poll, false).as_millis()).into_iter().collect();
        assert_eq!(rests, [100, 200, 400, 400, 100]);
    }

    #[test]
    fn who_is_told_polls_ever_less_often_up_to_four_intervals_and_at_once_as_often_as_others_when_no_longer_told() {
        let poll = Duration::from_millis(400);
        let mut pace = Pace::new();
        let rests: Vec<_> =
            [true, true, true, true, true, false].map(|told| pace.rest(false, poll, told).as_millis()).into();
        assert_eq!(rests, [200, 400, 800, 1600, 1600, 400]);
    }
}

//! How far a run is: a bar on a terminal, plain lines elsewhere.

use std::{
    cell::Cell,
    fmt,
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal, how often a line is written at most.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How far a run is, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// Lines that succeeded.
    pub(crate) done: i64,
    /// Lines that failed.
    pub(crate) failed: i64,
    /// Lines that run.
    pub(crate) running: i64,
    /// Lines that wait.
    pub(crate) left: i64,
    /// Worker processes.
    pub(crate) workers: u32,
    /// Whether the input has not ended yet: there will be more lines.
    pub(crate) reading: bool,
}

impl Figures {
    fn ended(&self) -> i64 {
        self.done + self.failed
    }

    fn total(&self) -> i64 {
        self.ended() + self.running + self.left
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, failed, running, workers, reading, .. } = self;
        let more = if *reading { "+" } else { "" };
        let total = self.total();
        write!(f, "{done} done, {failed} failed, {running} running, {workers} workers, {total}{more} lines in all")
    }
}

/// Shows how far a run is, on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    begun: Instant,
    first: Cell<Option<Figures>>,
    last: Cell<(Option<Instant>, Figures)>,
}

impl Progress {
    /// A bar on a terminal, else plain lines, else, if `quiet`, nothing.
    pub(crate) fn new(quiet: bool, terminal: bool) -> Self {
        let bar = (terminal && !quiet).then(|| {
            let style = ProgressStyle::with_template("{bar:24} {percent:>3}% {msg}").expect("the template is constant");
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { bar, quiet, begun: Instant::now(), first: Cell::default(), last: Cell::default() }
    }

    /// Shows these figures.
    pub(crate) fn show(&self, figures: &Figures) {
        let first = self.first.get().unwrap_or(*figures);
        self.first.set(Some(first));
        let text = match time_left(figures, first.ended(), self.begun.elapsed()) {
            Some(left) => format!("{figures}, about {} left", HumanDuration(left)),
            None => figures.to_string(),
        };
        if let Some(bar) = &self.bar {
            bar.set_length(figures.total() as u64);
            bar.set_position(figures.ended() as u64);
            bar.set_message(text);
            return;
        }
        let (shown_at, shown) = self.last.get();
        if !self.quiet && shown != *figures && shown_at.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            eprintln!("{text}");
            self.last.set((Some(Instant::now()), *figures));
        }
    }

    /// Says something beside it.
    pub(crate) fn say(&self, text: &str) {
        self.aside(|| eprintln!("{text}"));
    }

    /// Does something that writes to the terminal while the bar is out of the way.
    pub(crate) fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The time that what is left takes at the rate since this process began; none before anything has ended.
fn time_left(figures: &Figures, ended_before: i64, elapsed: Duration) -> Option<Duration> {
    let ended = figures.ended() - ended_before;
    let left = figures.running + figures.left;
    (ended > 0 && left > 0).then(|| Duration::from_secs_f64(elapsed.as_secs_f64() / ended as f64 * left as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_rate_of_this_process_alone() {
        let figures = Figures { done: 150, failed: 10, running: 4, left: 16, workers: 4, reading: false };
        assert_eq!(time_left(&figures, 100, Duration::from_secs(30)), Some(Duration::from_secs(10)));
        assert_eq!(time_left(&figures, 160, Duration::from_secs(30)), None);
        assert_eq!(figures.to_string(), "150 done, 10 failed, 4 running, 4 workers, 180 lines in all");
    }
}

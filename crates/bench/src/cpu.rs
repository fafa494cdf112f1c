//! The processor time of processes, the kernel's for them included, as Linux tells it in `/proc`.

use std::{fs, time::Duration};

/// What a process has taken. None: it has ended, or the system does not say.
pub(crate) fn of(process: u32) -> Option<Duration> {
    let fields = Fields::of(process)?;
    Some(fields.time(UTIME) + fields.time(STIME))
}

/// What a process has taken together with those of its children that have ended.
pub(crate) fn of_its_ended_children(process: u32) -> Option<Duration> {
    let fields = Fields::of(process)?;
    Some([UTIME, STIME, CUTIME, CSTIME].map(|field| fields.time(field)).iter().sum())
}

/// The processes that a process has started.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes
        .filter(|&process| Fields::of(process).is_some_and(|fields| fields.number(PPID) == u64::from(parent)))
        .collect()
}

// Of /proc/PID/stat, counted from the one after the program's name.
const PPID: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;
const CUTIME: usize = 13;
const CSTIME: usize = 14;

struct Fields(Vec<u64>);

impl Fields {
    fn of(process: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name may hold anything, brackets too.
        let (_, fields) = stat.rsplit_once(") ")?;
        Some(Self(fields.split_ascii_whitespace().map(|field| field.parse().unwrap_or_default()).collect()))
    }

    fn number(&self, field: usize) -> u64 {
        self.0.get(field).copied().unwrap_or_default()
    }

    fn time(&self, field: usize) -> Duration {
        // In ticks, of which Linux tells programs a hundred a second.
        Duration::from_millis(self.number(field) * 10)
    }
}

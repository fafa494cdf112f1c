//! A process and everything it started, found by a mark that they inherit.
//!
//! Neither process groups nor parents are enough: workers and job programs make groups and sessions of their own, and
//! when a parent is killed its children become someone else's. The environment is inherited through all of that. It is
//! read from `/proc`, so these tests run on Linux.

use std::{
    fs, io,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::eventually;

/// Not named `HEADCOUNT_…`: the product may take such variables from the programs it starts.
const MARK: &str = "TEST_PROCESS_TREE";

/// The mark of one tree.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    mark: String,
}

/// A process of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub pid: u32,
    /// Its program and arguments, with spaces between.
    pub command: String,
}

impl Tree {
    /// A mark that no other tree has.
    pub(crate) fn plant() -> Self {
        static PLANTED: AtomicU32 = AtomicU32::new(0);
        let number = PLANTED.fetch_add(1, Ordering::Relaxed);
        Self { mark: format!("{}.{number}", std::process::id()) }
    }

    /// The variable that marks a program as the root of this tree.
    pub(crate) fn mark(&self) -> (&'static str, &str) {
        (MARK, &self.mark)
    }

    /// Those that run. One that has ended and whose parent has not yet asked how is not among them.
    pub(crate) fn members(&self) -> Vec<Member> {
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&pid| self.includes(pid))
            .map(|pid| {
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
                Member { pid, command }
            })
            .collect()
    }

    fn includes(&self, pid: u32) -> bool {
        // Empty for one that has ended.
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mark = format!("{MARK}={}", self.mark);
        environ.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
    }

    /// Kills them all and waits until none is left. Kills again as long as there are any: one may have started another
    /// between the look and the kill.
    pub(crate) fn kill(&self) {
        let gone = eventually::blocking(Duration::from_secs(10), || {
            let members = self.members();
            for member in &members {
                let _ = self.signal_one(member.pid, Signal::KILL);
            }
            members.is_empty()
        });
        if !gone {
            // No panic: this runs in a `Drop`, perhaps of a test that is failing already.
            eprintln!("could not be killed: {:?}", self.members());
        }
    }

    /// Sends a signal to each of them, as a platform does that ends a whole container. Returns how many there were.
    pub(crate) fn signal(&self, signal: Signal) -> usize {
        self.members().iter().filter(|member| self.signal_one(member.pid, signal).is_ok()).count()
    }

    fn signal_one(&self, pid: u32, signal: Signal) -> io::Result<()> {
        let Some(number) = Pid::from_raw(pid as i32) else { return Ok(()) };
        // The handle means one process and no later one of the same number; whether it is ours is asked once we have it.
        let handle = pidfd_open(number, PidfdFlags::empty())?;
        if self.includes(pid) {
            pidfd_send_signal(handle, signal)?;
        }
        Ok(())
    }
}

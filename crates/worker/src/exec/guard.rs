//! What a worker's death would leave running: its programs, in groups of their own that no KILL of the worker's reaches.
//! Their jobs are run again elsewhere, beside them. A small process watches over the worker, and ends with it what it
//! had begun.
//!
//! A parent-death signal would need no process, but it is bound to the thread that forked, and can only be set by unsafe
//! code between fork and exec.

use std::{
    collections::{BTreeSet, VecDeque},
    io::{self, PipeWriter, Write, pipe},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    process::Pid,
};
use tokio::process::{Child, Command};

/// Takes note of groups, a line each, `+ GROUP` or `- GROUP`, until its input ends: whoever held the other end is dead,
/// and so are they. What ends a worker nicely is not for it.
const WATCH: &str = r#"
trap '' HUP INT QUIT TERM
groups=' '
while read -r sign group; do
    case $sign$groups in
        +*) groups="$groups$group " ;;
        -*" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
"#;

/// Has the groups that run ended with this process.
#[derive(Debug, Default)]
pub(super) struct Guard(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Who watches; none before the first group, and where none can be had.
    watch: Option<Watch>,
    groups: BTreeSet<i32>,
    warned: bool,
}

#[derive(Debug)]
struct Watch {
    notes: PipeWriter,
    /// What the pipe had no room for.
    waiting: VecDeque<u8>,
    /// Reaped by the runtime once it has ended.
    _process: Child,
}

impl Guard {
    /// Has this group ended with this process, until the answer is dropped.
    pub(super) fn over(self: &Arc<Self>, group: Pid) -> Guarded {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.groups.insert(group.as_raw_pid());
        state.note('+', group);
        Guarded { guard: Arc::clone(self), group }
    }
}

/// A group that is watched over.
#[derive(Debug)]
pub(super) struct Guarded {
    guard: Arc<Guard>,
    group: Pid,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let mut state = self.guard.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.groups.remove(&self.group.as_raw_pid());
        state.note('-', self.group);
    }
}

impl State {
    fn note(&mut self, sign: char, group: Pid) {
        let told = match &mut self.watch {
            Some(watch) => watch.tell(&format!("{sign} {}\n", group.as_raw_pid())),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        // The first group, or somebody has killed who watched.
        if told.is_err() && !self.groups.is_empty() {
            let begun = Watch::begin().and_then(|mut watch| {
                self.groups.iter().try_for_each(|group| watch.tell(&format!("+ {group}\n")))?;
                Ok(watch)
            });
            self.watch = begun.inspect_err(|error| self.warn(error)).ok();
        }
    }

    fn warn(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(%error, "/bin/sh cannot be started: programs will outlive this worker, should it be killed");
        }
    }
}

impl Watch {
    fn begin() -> io::Result<Self> {
        let (input, notes) = pipe()?;
        // A full pipe must not hold up whoever has a program to start.
        fcntl_setfl(&notes, OFlags::NONBLOCK)?;
        let process = Command::new("/bin/sh")
            .args(["-c", WATCH, "headcount-guard"])
            // It has no use for secrets, nor for a folder that somebody may want to remove.
            .env_clear()
            .current_dir("/")
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { notes, waiting: VecDeque::new(), _process: process })
    }

    fn tell(&mut self, note: &str) -> io::Result<()> {
        self.waiting.extend(note.as_bytes());
        while !self.waiting.is_empty() {
            match self.notes.write(self.waiting.as_slices().0) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

//! The linear policies: a slot for each job, or half of that.

use std::fmt;

use crate::observe::Observation;

/// What the work calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Jobs that could start now.
    pub ready: u64,
    /// Jobs that run on workers that claim, those of pools that share the queues too.
    pub running: u32,
    /// Suspects wait for a worker of their own.
    pub suspects: bool,
    /// How many jobs a worker runs at once.
    pub slots: u32,
    /// How many workers that makes.
    pub workers: u64,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ready, self.running, self.suspects) {
            (0, 0, false) => return f.write_str("nothing to do"),
            (0, 0, true) => return f.write_str("a suspect waits for a worker of its own"),
            (ready, 0, _) => write!(f, "{ready} ready")?,
            (0, running, _) => write!(f, "{running} running")?,
            (ready, running, _) => write!(f, "{ready} ready and {running} running")?,
        }
        write!(f, ", {} a worker, call for {}", self.slots, self.workers)
    }
}

/// As many workers as give a slot to every job that runs or could: (ready + running) / slots, rounded up.
///
/// Waiting suspects call for one worker, since each of them runs only in a process that runs nothing else. `assumed`
/// slots count while no worker has said how many it has.
pub fn linear(seen: &Observation, assumed: u32) -> Work {
    let slots = seen.slots(assumed);
    let running = seen.peers.iter().map(|peer| peer.running).fold(seen.running(), u32::saturating_add);
    let ready = seen.demand.jobs();
    let workers = (ready + u64::from(running)).div_ceil(u64::from(slots));
    let suspects = seen.demand.suspects;
    Work { ready, running, suspects, slots, workers: workers.max(u64::from(suspects)) }
}

/// Half the workers that [`linear`] asks for, rounded up: one as soon as there is any work.
pub fn half_linear(seen: &Observation, assumed: u32) -> Work {
    let work = linear(seen, assumed);
    Work { workers: work.workers.div_ceil(2), ..work }
}

//! The work of a pool, queue by queue and kind by kind, as counts that ever grow: what a policy learns from.
//!
//! Only what a worker of the pool could run is work: paused queues, held jobs and kinds that no worker knows are left
//! out, and shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use headcount_queue::{
    Binding, BootId, Flow, QueueState, WorkerRecord,
    store::{Known, LongRun},
};

/// The work of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workload {
    /// Its queues, by name.
    pub queues: Vec<QueueWork>,
    /// Jobs that have run for a while on workers that claim. Of the others it is not known for how long, and they are
    /// taken to be of any age.
    pub running: Vec<RunningJob>,
}

/// The work of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueWork {
    /// The queue.
    pub queue: String,
    /// Nobody may claim from it: what waits in it is no work.
    pub paused: bool,
    /// How long its oldest claimable job has waited.
    pub oldest: Option<Duration>,
    /// How many jobs were enqueued to run at once, and in how much time up to now.
    pub recent: Option<(u64, Duration)>,
    /// Its kinds, by name.
    pub kinds: Vec<KindWork>,
    /// Jobs that are going to fall due: `None` if that is not told. Then those that do count as new arrivals, since
    /// nobody saw them coming.
    pub known: Option<Vec<Known>>,
}

/// The work of one kind in one queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KindWork {
    /// The kind.
    pub kind: String,
    /// Whether a worker of the pool can run it.
    pub known: bool,
    /// How many of its jobs could be claimed now.
    pub ready: u64,
    /// How many run, on whatever worker.
    pub running: u64,
    /// What happened since the store was made.
    pub flow: Flow,
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningJob {
    /// Its kind.
    pub kind: String,
    /// How long it has run.
    pub age: Duration,
}

/// The kinds that a pool's workers can run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kinds {
    /// All of them, or nobody can tell.
    #[default]
    Any,
    /// These.
    Only(BTreeSet<String>),
}

impl Kinds {
    /// What these workers can run together. Without a worker nobody can tell.
    pub fn of<'w>(workers: impl IntoIterator<Item = &'w WorkerRecord>) -> Self {
        let mut kinds = BTreeSet::new();
        for worker in workers {
            if worker.kinds.is_empty() {
                return Self::Any;
            }
            kinds.extend(worker.kinds.iter().cloned());
        }
        if kinds.is_empty() { Self::Any } else { Self::Only(kinds) }
    }

    /// Whether this one is among them.
    pub fn include(&self, kind: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(kinds) => kinds.contains(kind),
        }
    }
}

impl Workload {
    /// The work of these queues for workers that can run these kinds.
    pub fn of(states: &[QueueState], queues: &Binding, kinds: &Kinds) -> Self {
        let ours = states.iter().filter(|state| queues.includes(&state.queue));
        Self { queues: ours.map(|state| QueueWork::of(state, kinds)).collect(), running: Vec::new() }
    }

    /// The same, and how long these workers have been at what they hold.
    #[must_use]
    pub fn with_runs(mut self, runs: &[LongRun], workers: &BTreeSet<BootId>) -> Self {
        let ours = runs.iter().filter(|run| workers.contains(&run.boot));
        self.running = ours.map(|run| RunningJob { kind: run.kind.clone(), age: run.age }).collect();
        self
    }
}

impl QueueWork {
    fn of(state: &QueueState, kinds: &Kinds) -> Self {
        let mut by_kind: BTreeMap<&str, KindWork> = BTreeMap::new();
        for lane in &state.lanes {
            let work = by_kind.entry(&lane.kind).or_insert_with(|| KindWork {
                kind: lane.kind.clone(),
                known: kinds.include(&lane.kind),
                ..KindWork::default()
            });
            // Counters are folded from deltas, and a fold may see a claim before its enqueue: a moment below zero.
            work.ready += lane.depth.ready.max(0) as u64;
            work.running += lane.depth.running.max(0) as u64;
            add(&mut work.flow, &lane.flow);
        }
        let arrived = state.recent.flow.arrived.max(0) as u64;
        Self {
            queue: state.queue.clone(),
            paused: state.paused,
            oldest: state.oldest,
            recent: (!state.recent.over.is_zero()).then_some((arrived, state.recent.over)),
            kinds: by_kind.into_values().collect(),
            known: None,
        }
    }

    /// Jobs that a worker of the pool could start now.
    pub fn ready(&self) -> u64 {
        if self.paused { 0 } else { self.waiting(true) }
    }

    /// Jobs that wait in it although no worker of the pool knows their kind.
    pub fn unknown(&self) -> u64 {
        self.waiting(false)
    }

    fn waiting(&self, known: bool) -> u64 {
        let kinds = self.kinds.iter().filter(|kind| kind.known == known);
        kinds.map(|kind| kind.ready).fold(0, u64::saturating_add)
    }
}

fn add(sum: &mut Flow, one: &Flow) {
    sum.arrived += one.arrived;
    sum.deferred += one.deferred;
    sum.promoted += one.promoted;
    sum.returned += one.returned;
    sum.started += one.started;
    sum.late += one.late;
    sum.completed += one.completed;
    sum.failed += one.failed;
    sum.run_ms += one.run_ms;
    sum.delays.merge(&one.delays);
}

#[cfg(test)]
mod tests {
    use headcount_queue::{Depth, LaneState, Recent};

    use super::*;

    fn lane(priority: i16, kind: &str, ready: i64) -> LaneState {
        let depth = Depth { ready, held: 7, running: 1, ..Depth::default() };
        let flow = Flow { arrived: ready, ..Flow::default() };
        LaneState { queue: "mail".into(), priority, kind: kind.into(), depth, flow }
    }

    fn mail(paused: bool) -> QueueState {
        QueueState {
            queue: "mail".into(),
            paused,
            depth: Depth::default(),
            oldest: None,
            priorities: Vec::new(),
            recent: Recent { over: Duration::from_mins(5), flow: Flow { arrived: 30, ..Flow::default() } },
            flow: Flow::default(),
            lanes: vec![lane(0, "send", 3), lane(5, "send", 4), lane(0, "fetch", 5), lane(0, "odd", -1)],
            read_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn kinds_that_no_worker_knows_are_no_work_and_are_counted() {
        let kinds = Kinds::Only(["send".to_owned()].into());
        let work = Workload::of(&[mail(false)], &Binding::Any, &kinds).queues.remove(0);
        assert_eq!((work.ready(), work.unknown()), (7, 5));
        let send = work.kinds.iter().find(|kind| kind.kind == "send").unwrap();
        assert_eq!((send.ready, send.running, send.flow.arrived), (7, 2, 7), "its priorities are one");
        assert_eq!(work.recent, Some((30, Duration::from_mins(5))));
        assert_eq!(Workload::of(&[mail(false)], &Binding::Any, &Kinds::Any).queues[0].ready(), 12);
    }

    #[test]
    fn a_paused_queue_and_a_queue_of_others_are_no_work() {
        assert_eq!(Workload::of(&[mail(true)], &Binding::Any, &Kinds::Any).queues[0].ready(), 0);
        assert!(Workload::of(&[mail(false)], &"media".parse().unwrap(), &Kinds::Any).queues.is_empty());
    }
}

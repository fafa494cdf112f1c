//! The rights of each task: what its statements touch, and no more.
//!
//! Postgres asks for the rights of a whole statement, whatever part of it finds something to do.

/// Of the functions in the schema.
#[derive(Debug, Clone, Copy)]
pub(super) enum Functions {
    /// All of them.
    All,
    /// Those of these names.
    Named(&'static [&'static str]),
}

/// A task.
#[derive(Debug)]
pub(super) struct Task {
    /// What it may do with which table, view or sequence.
    pub(super) rights: &'static [(&'static str, &'static str)],
    /// Which functions it may call.
    pub(super) functions: Functions,
}

/// To enqueue, the worker's, the scaler's, and to look.
pub(super) const TASKS: [&Task; 4] = [&ENQUEUE, &WORKER, &SCALER, &READ];

/// May add jobs and read none. `SELECT (id)`: the ids are what an enqueue returns, and so it can see which ids are ready.
/// May answer for a job whose secret it was given: that, and no right, is what counts.
const ENQUEUE: Task = Task {
    rights: &[
        ("migration", "SELECT"),
        ("place", "USAGE"),
        ("ready", "INSERT, SELECT (id)"),
        ("later", "INSERT, SELECT (id)"),
        ("body", "INSERT"),
        ("tally", "INSERT"),
        ("queue", "SELECT (queue, asleep)"),
    ],
    functions: Functions::Named(&["enqueue", "enqueue_all", "wake", "resolve", "try_resolve"]),
};

/// Moves jobs, and keeps the store in order. Sets nothing for queues and kinds but that their workers sleep and that
/// places have changed.
const WORKER: Task = Task {
    rights: &[
        ("migration", "SELECT"),
        ("place", "USAGE"),
        ("ready", "SELECT, INSERT, UPDATE, DELETE"),
        ("running", "SELECT, INSERT, UPDATE, DELETE"),
        ("later", "SELECT, INSERT, UPDATE, DELETE"),
        ("held", "SELECT, INSERT, UPDATE, DELETE"),
        ("parked", "SELECT, INSERT, UPDATE, DELETE"),
        ("finished", "SELECT, INSERT, UPDATE, DELETE"),
        ("body", "SELECT, INSERT, UPDATE, DELETE"),
        ("attempt", "SELECT, INSERT, DELETE"),
        ("coalesce", "SELECT, INSERT, UPDATE, DELETE"),
        ("worker", "SELECT, INSERT, UPDATE, DELETE"),
        ("queue", "SELECT, INSERT (queue, recalls, asleep), UPDATE (recalls, asleep)"),
        ("kind", "SELECT"),
        ("duty", "SELECT, UPDATE"),
        ("tally", "SELECT, INSERT, DELETE"),
        ("lane", "SELECT, INSERT, DELETE"),
        ("queue_state", "SELECT, INSERT, DELETE"),
        ("lane_head", "SELECT, INSERT, DELETE"),
        ("history", "SELECT, INSERT, UPDATE, DELETE"),
        ("pool", "SELECT (name, ordered)"),
        ("jobs", "SELECT"),
    ],
    functions: Functions::All,
};

/// Acts under a lease, knows pools, drains places and workers, writes the ledger; reads the counters, takes jobs from the
/// dead, promotes and folds. It neither enqueues anything of its
/// own nor claims: it can take nothing out of `ready` and put nothing into `running`.
const SCALER: Task = Task {
    rights: &[
        ("migration", "SELECT"),
        ("place", "USAGE"),
        ("ready", "SELECT, INSERT"),
        ("running", "SELECT, UPDATE, DELETE"),
        ("later", "SELECT, INSERT, UPDATE, DELETE"),
        ("held", "SELECT, INSERT, UPDATE, DELETE"),
        ("parked", "SELECT, INSERT, UPDATE, DELETE"),
        ("finished", "SELECT (id), INSERT"),
        ("body", "SELECT (job_id, part), INSERT, DELETE"),
        ("attempt", "SELECT, INSERT, DELETE"),
        ("coalesce", "SELECT, UPDATE, DELETE"),
        ("worker", "SELECT, UPDATE, DELETE"),
        ("queue", "SELECT, INSERT (queue, recalls), UPDATE (recalls)"),
        ("kind", "SELECT"),
        ("duty", "SELECT, UPDATE"),
        ("tally", "SELECT, INSERT, DELETE"),
        ("lane", "SELECT, INSERT"),
        ("queue_state", "SELECT, INSERT, DELETE"),
        ("lane_head", "SELECT, INSERT, DELETE"),
        ("history", "SELECT, INSERT, UPDATE, DELETE"),
        ("lease", "SELECT, INSERT, UPDATE"),
        ("pool", "SELECT, INSERT, UPDATE, DELETE"),
        ("drain", "SELECT, INSERT, UPDATE, DELETE"),
        ("decision", "SELECT, INSERT, UPDATE"),
    ],
    // What a rescue, a promotion and a passed deadline go through; enqueue, cancel and resolve run with their owner's
    // rights, and are not for it.
    functions: Functions::Named(&["end_parked", "free_again", "let_go", "may_hold", "stands"]),
};

/// Sees everything and changes nothing.
const READ: Task = Task {
    rights: &[
        ("migration", "SELECT"),
        ("ready", "SELECT"),
        ("running", "SELECT"),
        ("later", "SELECT"),
        ("held", "SELECT"),
        ("parked", "SELECT"),
        ("finished", "SELECT"),
        ("body", "SELECT"),
        ("attempt", "SELECT"),
        ("coalesce", "SELECT"),
        ("worker", "SELECT"),
        ("queue", "SELECT"),
        ("kind", "SELECT"),
        ("duty", "SELECT"),
        ("tally", "SELECT"),
        ("lane", "SELECT"),
        ("queue_state", "SELECT"),
        ("lane_head", "SELECT"),
        ("history", "SELECT"),
        ("lease", "SELECT"),
        ("pool", "SELECT"),
        ("drain", "SELECT"),
        ("decision", "SELECT"),
        ("jobs", "SELECT"),
    ],
    functions: Functions::Named(&[]),
};

//! The queue of Headcount: what a job is, how it moves, and where it is kept.
//!
//! An application enqueues through a [`Queue`]; a worker (the `headcount-worker` crate) claims through a
//! [`store::Claimer`]; everything between is a [`store::Store`]. Most programs use the `headcount` crate, which
//! re-exports this one.
//!
//! In reading order: [`job`](Job) and [`NewJob`] say what a job is, [`State`] how it moves, [`Backoff`] when it is
//! tried again, [`Callback`] how others answer for it, [`Queue`] what applications do, and [`store`] what a store promises.

mod job;
mod coalesce;
mod new_job;
mod context;
mod state;
mod retry;
mod parking;
mod binding;
pub mod limits;
mod queue;
mod record;
mod bytes;
mod delays;
mod error;
pub mod rescue;
pub mod store;

pub use binding::Binding;
pub use bytes::JsonBytes;
pub use coalesce::{Coalesce, Conflict, Scope};
pub use context::{Attempt, Context, Stop};
pub use delays::Delays;
pub use error::{Error, Result};
pub use job::{Job, JobError, JobId, Outcome, Retention};
pub use new_job::{NewJob, When};
pub use parking::{Callback, Expiry, Resolution, Secret};
pub use queue::Queue;
pub use record::{
    AttemptOutcome, AttemptRecord, Depth, Flow, JobRecord, Json, LaneState, OldestJob, PriorityState, QueueState,
    Recent, WorkerRecord,
};
pub use retry::Backoff;
pub use state::{State, UnknownState};
pub use store::{Admission, BootId, Enqueued, StoreUrl};

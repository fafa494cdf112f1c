//! Background jobs on Postgres or SQLite that hire their own workers.
//!
//! A job is a struct with its run function on it. A [`Queue`] takes it in, in the application's own transaction where
//! it likes; a [`Worker`] runs it, at least once: write handlers so that running them again does no harm.
//!
//! ```
//! use headcount::{Context, Exit, Job, JobError, Outcome, Queue, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! struct App {
//!     folder: &'static str,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Thumbnail {
//!     image: i64,
//! }
//!
//! impl Job for Thumbnail {
//!     const KIND: &'static str = "thumbnail";
//!     const QUEUE: &'static str = "media";
//!     type State = App;
//!
//!     async fn run(self, cx: &Context<App>) -> Result<Outcome, JobError> {
//!         println!("{}/{}.png, attempt {}", cx.state().folder, self.image, cx.attempt());
//!         Ok(Outcome::DONE)
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Or postgres://…, or sqlite:jobs.db: nothing else changes.
//! let queue = Queue::connect("sqlite::memory:").await?;
//! queue.enqueue(Thumbnail { image: 7 }).await?;
//! queue.enqueue(Thumbnail { image: 8 }.job().priority(5)).await?;
//!
//! let worker = Worker::builder(queue).state(App { folder: "thumbs" }).handle::<Thumbnail>();
//! let exit = worker.queues("media, mail").slots(20).exit_if_empty(true).run().await?;
//! assert_eq!(exit, Exit::Done);
//! # Ok(())
//! # }
//! ```

pub use headcount_queue::{
    Admission, Attempt, AttemptOutcome, AttemptRecord, Backoff, Binding, BootId, Callback, Coalesce, Conflict, Context,
    Delays, Depth, Enqueued, Error, Expiry, Flow, Job, JobError, JobId, JobRecord, Json, JsonBytes, LaneState, NewJob,
    Outcome, PriorityState, Queue, QueueState, Recent, Resolution, Result, Retention, Scope, Secret, State, Stop,
    StoreUrl, When, WorkerRecord, limits, rescue, store,
};
pub use headcount_worker::{Builder, Exit, Handler, Stopper, Verbosity, Worker, exec, signals};

/// What can go wrong with a worker.
pub use headcount_worker::Error as WorkerError;

/// The example of the README, compiled and run as this page's own is.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

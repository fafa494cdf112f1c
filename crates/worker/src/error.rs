//! What can go wrong with a worker as a whole; what goes wrong with a job stays with the job.

/// Why a worker could not be built or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The worker cannot be as configured: fix the configuration.
    #[error("{0}")]
    Rejected(String),
    /// The store refused the worker.
    #[error(transparent)]
    Store(#[from] headcount_queue::Error),
    /// The metadata of the EC2 instance that it runs on could not be read: it goes on without, or tries again.
    #[error("the metadata service of this EC2 instance does not answer")]
    Metadata(#[source] std::io::Error),
    /// The operating system refused something that the worker needs to run at all.
    #[error("{what} is not to be had from the operating system")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
}

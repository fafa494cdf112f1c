//! What the tests of whole processes stand on: real servers, real programs, and waiting without sleeping.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use headcount_tests::{Database, Folder};
//! # async fn test() {
//! let database = Database::fresh().await;
//! let folder = Folder::new();
//! folder.headcount(["enqueue", "mail", "{}"]).url(database.url()).start().ends_well(Duration::from_secs(30)).await;
//! # }
//! ```
//!
//! Nothing here outlives the test that made it, whichever way the test ends: databases are dropped, servers stopped,
//! and processes killed with everything they started.

pub mod eventually;
pub mod folder;
mod script;
pub mod postgres;
pub mod pgbouncer;
pub mod moto;
#[cfg(feature = "conformance")]
pub mod fixture;
pub mod process;
pub mod place;
pub mod web;
pub mod heroku;
pub mod inbox;

pub use eventually::eventually;
#[cfg(feature = "conformance")]
pub use fixture::PostgresFixture;
pub use folder::Folder;
pub use heroku::FakeHeroku;
pub use inbox::Inbox;
pub use moto::Aws;
pub use pgbouncer::PgBouncer;
pub use place::Place;
pub use postgres::{Database, Server};
pub use process::{Ended, Process, Program, Signal, headcount};

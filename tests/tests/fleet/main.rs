//! Promises of a fleet of workers when the world misbehaves: kills, outages, lost answers, handlers that block
//! everything.

mod heavy;
mod replies;
mod waking;

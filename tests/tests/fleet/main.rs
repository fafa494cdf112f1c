//! Promises of a fleet of workers when the world misbehaves: kills, outages, handlers that block everything.

mod heavy;

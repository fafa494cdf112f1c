//! What the Postgres store promises beyond the suite: that it holds under crowds, crashes and bad luck with plans.

mod ground;
mod claims;
mod cursors;
mod ranges;
mod settings;
mod recent;
mod bulk;
mod moves;
mod plans;
mod crash;
mod waking;
mod migrations;
mod coalesce;
mod parked;
mod scale;
mod sql;
mod schema;
mod roles;
mod release_before;

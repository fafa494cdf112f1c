//! What the Postgres store promises beyond the suite: that it holds under crowds, crashes and bad luck with plans.

mod ground;
mod claims;
mod cursors;
mod moves;
mod plans;
mod crash;
mod migrations;
mod schema;
mod roles;
mod release_before;

//! `headcount migrate`: makes or updates a store's tables.

use anyhow::Result;
use serde::Serialize;

use crate::{commands::Session, exit::Exit, store};

/// Make or update the store's tables
///
/// Safe to run again, from several processes at once, and while workers run. Prints the version of the tables. A
/// Postgres store needs it once before its first use and after an upgrade that says so; an embedded store does it by
/// itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Migrated {
    store: String,
    version: i64,
}

pub(crate) async fn run(_: Args, session: &mut Session) -> Result<Exit> {
    let choice = session.choose_store()?;
    let version = store::migrate(&choice).await?;
    let migrated = Migrated { store: choice.url.to_string(), version };
    session.out.row(&migrated, |migrated| format!("the store is at version {}", migrated.version))?;
    Ok(Exit::Done)
}

//! What is told beside the results: to standard output for a worker, whose log is its result, else to standard error.

use std::io::{self, IsTerminal as _};

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use crate::{
    args::Cli,
    env::{self, Env},
    exit::refused,
    global::Global,
};

/// Starts logging as the flags and `HEADCOUNT_LOG` say.
pub(crate) fn start(cli: &Cli, env: &Env) -> Result<()> {
    let filter = match env.get(&env::LOG)? {
        Some(text) => EnvFilter::builder()
            .parse(text)
            .map_err(|error| refused(format!("HEADCOUNT_LOG={text:?}: {error}; write for example headcount=debug")))?,
        None => EnvFilter::new(default_filter(&cli.global, cli.command.is_service())),
    };
    // A reader of the log that has gone must not stop a worker, nor fill standard error.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let plain = env.get(&env::NO_COLOR)?.is_some();
    if cli.command.is_service() {
        builder.with_ansi(!plain && io::stdout().is_terminal()).with_writer(io::stdout).init();
    } else {
        builder.with_ansi(!plain && io::stderr().is_terminal()).with_writer(io::stderr).without_time().init();
    }
    Ok(())
}

/// The filter where `HEADCOUNT_LOG` is silent. `headcount` also covers `headcount_worker` and the other crates.
fn default_filter(global: &Global, service: bool) -> &'static str {
    match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, true) => "info,headcount=debug",
        _ if service => "warn,headcount=info",
        _ => "warn",
    }
}

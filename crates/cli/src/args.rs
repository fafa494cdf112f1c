//! The command line. Each verb's own arguments stand in its file under [`commands`](crate::commands).

use std::fmt::Write as _;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    commands::{enqueue, jobs, migrate, queues, rescue, run, work, workers},
    env,
    exit::Exit,
};

/// Background jobs on Postgres or SQLite, with workers that follow the queue.
#[derive(Debug, Parser)]
#[command(name = "headcount", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The store: postgres://USER@HOST/DATABASE or sqlite:FILE. Without it HEADCOUNT_URL, else
    /// DATABASE_URL, else the embedded store in your data folder. A password is safer in HEADCOUNT_URL, since other
    /// users of the machine see command lines.
    // Text, and read later: the parser would print a URL that it refuses, password and all.
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    pub(crate) url: Option<String>,
    /// Print one JSON object a row, with stable snake_case names.
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) json: bool,
    /// Say only what was asked for, and errors.
    #[arg(long, short, global = true, conflicts_with = "verbose", hide_short_help = true)]
    pub(crate) quiet: bool,
    /// Say more of what goes on.
    #[arg(long, short, global = true, hide_short_help = true)]
    pub(crate) verbose: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    Enqueue(enqueue::Args),
    Work(work::Args),
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    Queues(queues::Args),
    Workers(workers::Args),
    Rescue(rescue::Args),
    Migrate(migrate::Args),
}

impl Command {
    /// Whether it runs until it is told to stop, and its log is what it has to show.
    pub(crate) const fn is_service(&self) -> bool {
        matches!(self, Self::Work(_))
    }
}

impl Cli {
    /// Reads the command line; ends the process with the help, or with status 2 where it makes no sense.
    pub(crate) fn from_command_line() -> Self {
        let matches = command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

fn command() -> clap::Command {
    Cli::command().after_long_help(environment_and_statuses())
}

/// The end of the long help: every environment variable and every exit status, from where they are defined.
fn environment_and_statuses() -> String {
    let mut text = String::from("Environment:\n");
    let width = env::ALL.iter().map(|variable| variable.name.len()).max().unwrap_or_default();
    for variable in env::ALL {
        let _ = writeln!(text, "  {:width$}  {}", variable.name, variable.meaning);
    }
    text.push_str("\nExit status:\n");
    for (exit, meaning) in Exit::ALL {
        let _ = writeln!(text, "  {:>3}  {meaning}", exit as u8);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_option_says_what_it_means() {
        fn check(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} says nothing");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some() || arg.get_id() == "help", "{path} {}", arg.get_id());
            }
            for sub in command.get_subcommands() {
                check(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        check(&command(), "headcount");
    }

    #[test]
    fn the_long_help_names_every_variable_and_every_status() {
        let help = command().render_long_help().to_string();
        for variable in env::ALL {
            assert!(help.contains(variable.name), "{}", variable.name);
        }
        assert!(help.contains(" 78  the configuration is refused"));
    }
}

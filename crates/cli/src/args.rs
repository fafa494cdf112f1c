//! The command line: what every verb takes ([`Global`]), and the verbs ([`Command`]), whose own arguments stand in
//! their files.

use std::fmt::Write as _;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::{commands::Command, env, exit::Exit, global::Global};

/// Background jobs on Postgres or SQLite, with workers that follow the queue.
#[derive(Debug, Parser)]
#[command(name = "headcount", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
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

//! The `headcount` command: enqueue jobs, run workers, look after both.
//!
//! In reading order: [`args`] is the command line, [`env`] every environment variable, [`exit`] every exit status,
//! [`store`] which store a command works on, [`output`] what goes to standard output, [`log`] what is told beside it,
//! [`listen`] what a service shows over HTTP,
//! and [`commands`] what each verb does, one file a verb.

#![expect(clippy::doc_markdown, reason = "doc comments of arguments are the help, which shows them as they are")]

mod args;
mod global;
mod env;
mod exit;
mod duration;
mod store;
mod output;
mod log;
mod lease;
mod listen;
mod commands;

use std::process::ExitCode;

use crate::{args::Cli, commands::Session, env::Env, exit::Exit};

fn main() -> ExitCode {
    let cli = Cli::from_command_line();
    let exit = run(cli).unwrap_or_else(|error| {
        if output::is_reader_gone(&error) {
            // `headcount jobs list | head`: whoever read has seen enough.
            return Exit::Done;
        }
        exit::explain(&error)
    });
    exit.into()
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let env = Env::read();
    log::start(&cli, &env)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(commands::run(cli.command, Session::new(cli.global, env)));
    // A thread that still waits for a line of standard input must not hold up the end.
    runtime.shutdown_background();
    exit
}

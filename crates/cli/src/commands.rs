//! What each verb does, one file a verb.

pub(crate) mod run;
pub(crate) mod enqueue;
pub(crate) mod work;
pub(crate) mod scale;
pub(crate) mod jobs;
pub(crate) mod queues;
pub(crate) mod workers;
pub(crate) mod pools;
pub(crate) mod why;
pub(crate) mod rescue;
pub(crate) mod migrate;
pub(crate) mod bench;

use anyhow::Result;
use clap::Subcommand;
use headcount_queue::{Queue, store::Options};

use crate::{
    env::Env,
    exit::Exit,
    global::Global,
    output::{Output, tell},
    store::{self, Choice},
};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    Enqueue(enqueue::Args),
    Work(work::Args),
    Scale(scale::Args),
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    Queues(queues::Args),
    Workers(workers::Args),
    Pools(pools::Args),
    Why(why::Args),
    Rescue(rescue::Args),
    Migrate(migrate::Args),
    Bench(bench::Args),
}

impl Command {
    /// Whether it runs until it is told to stop, and its log is what it has to show.
    pub(crate) const fn is_service(&self) -> bool {
        matches!(self, Self::Work(_) | Self::Scale(_))
    }
}

/// What every verb works with.
#[derive(Debug)]
pub(crate) struct Session {
    /// The flags of every verb.
    pub(crate) global: Global,
    /// The environment.
    pub(crate) env: Env,
    /// Standard output.
    pub(crate) out: Output,
}

impl Session {
    /// A session with these flags in this environment.
    pub(crate) fn new(global: Global, env: Env) -> Self {
        let out = Output::new(global.json);
        Self { global, env, out }
    }

    /// Chooses the store and says once, on standard error, which it is.
    pub(crate) fn choose_store(&self) -> Result<Choice> {
        let choice = store::store_url(&self.global, &self.env, true)?;
        self.note(&format!("store: {choice}"));
        Ok(choice)
    }

    /// Opens the chosen store. One connection is enough for a verb that asks one thing after another.
    pub(crate) async fn open_store(&self) -> Result<Queue> {
        let options = Options { connections: 1, ..Options::default() };
        store::open(&self.choose_store()?, &options).await
    }

    /// Says something on standard error beside the result, unless it should be quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.global.quiet {
            tell(text);
        }
    }
}

/// Tells sleeping workers of jobs before the process ends. The jobs are safe whether or not that succeeds.
async fn flush(queue: &Queue) {
    if let Err(error) = queue.flush().await {
        tracing::warn!(%error, "sleeping workers could not be told: they find the jobs at their next poll");
    }
}

/// Does what the command line asks.
pub(crate) async fn run(command: Command, mut session: Session) -> Result<Exit> {
    let exit = match command {
        Command::Run(args) => run::run(args, &mut session).await,
        Command::Enqueue(args) => enqueue::run(args, &mut session).await,
        Command::Work(args) => work::run(args, &mut session).await,
        Command::Jobs(verb) => jobs::run(verb, &mut session).await,
        Command::Queues(args) => queues::run(args, &mut session).await,
        Command::Pools(args) => pools::run(args, &mut session).await,
        Command::Why(args) => why::run(args, &mut session).await,
        Command::Scale(args) => scale::run(args, &mut session).await,
        Command::Workers(args) => workers::run(args, &mut session).await,
        Command::Rescue(args) => rescue::run(args, &mut session).await,
        Command::Migrate(args) => migrate::run(args, &mut session).await,
        Command::Bench(args) => bench::run(args, &mut session).await,
    }?;
    session.out.flush()?;
    Ok(exit)
}

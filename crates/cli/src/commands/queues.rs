//! `headcount queues`: look at queues, pause them, and set what holds for all their jobs.

mod list;
mod set;

use anyhow::Result;
use headcount_queue::store::Target;

use crate::{
    commands::Session,
    exit::{Exit, usage},
};

/// Show the queues: how many jobs stand where and how fast they go; pause queues and kinds, and set what holds for them
///
/// Costs the same at ten jobs and at ten million. READY may be claimed now; LATER is not due yet; HELD is queued but
/// held back; OLDEST is how long the oldest ready job has waited. Of the last five minutes or so: IN, how many became
/// ready; DONE and ERRORS, how many attempts completed and failed; LATE, the share of starts that came later than
/// promised (`queues set --start-within`, else a minute); P50, P95 and P99, how long 50, 95 and 99 of a hundred jobs
/// waited at most for their start. --json has more, and every queue's kinds and priorities.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    list: list::Args,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Pause queues, or kinds in every queue, for everyone and until they are resumed
    ///
    /// Their jobs are not started; those that run go on. A claim under way at that moment may still take some.
    Pause(Targets),
    /// Resume queues or kinds that are paused
    Resume(Targets),
    /// Set how long finished jobs of a queue or a kind are kept, and when its starts are late
    ///
    /// For how long counts, in this order: what the job itself says, what is set for its kind, what is set for its
    /// queue, what the code of its kind says. Workers know of a change within 5 s; jobs that have started by then keep
    /// what held before.
    Set(set::Args),
    /// List what is set for queues and kinds
    Settings,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    match args.verb {
        None => list::run(args.list, session).await,
        Some(Verb::Pause(targets)) => set::pause(targets, true, session).await,
        Some(Verb::Resume(targets)) => set::pause(targets, false, session).await,
        Some(Verb::Set(args)) => set::run(args, session).await,
        Some(Verb::Settings) => set::list(session).await,
    }
}

/// Queues and kinds.
#[derive(Debug, clap::Args)]
struct Targets {
    /// The queues.
    #[arg(value_name = "QUEUE")]
    queues: Vec<String>,
    /// A kind, in every queue; repeat it, or separate several with commas.
    #[arg(long, short = 'k', value_name = "NAME", value_delimiter = ',')]
    kind: Vec<String>,
}

impl Targets {
    /// All of them, of which there must be one at least.
    fn all(self) -> Result<Vec<Target>> {
        let targets: Vec<Target> =
            self.queues.into_iter().map(Target::Queue).chain(self.kind.into_iter().map(Target::Kind)).collect();
        if targets.is_empty() {
            return Err(usage("which queues or kinds? name queues, or kinds with --kind"));
        }
        targets.iter().try_for_each(Target::check)?;
        Ok(targets)
    }
}

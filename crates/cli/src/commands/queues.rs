//! `headcount queues`: how many jobs stand where, queue by queue.

use anyhow::Result;
use headcount_queue::{QueueState, store::Store};

use crate::{commands::Session, duration::human, exit::Exit, output::Table};

/// Show the queues: how many jobs stand where, and how long the oldest has waited
///
/// Costs the same at ten jobs and at ten million. READY may be claimed now; LATER is not due yet; HELD is queued but
/// held back; OLDEST is how long the oldest ready job has waited. With --json also what happened since the store was
/// made, as ever-growing counts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this queue.
    #[arg(long, short = 'Q', value_name = "NAME")]
    queue: Option<String>,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    fold(queue.store().as_ref()).await?;
    let mut queues = queue.store().queues().await?;
    queues.retain(|state| args.queue.as_ref().is_none_or(|name| *name == state.queue));
    if queues.is_empty() {
        session.note(match args.queue {
            Some(_) => "no such queue has ever had a job",
            None => "no queue has ever had a job; `headcount enqueue KIND` makes one",
        });
        return Ok(Exit::Done);
    }
    session.out.rows(&queues, table)?;
    Ok(Exit::Done)
}

/// Brings the counts up to date, which workers do otherwise: without any the table would show the past.
async fn fold(store: &dyn Store) -> Result<()> {
    // A busy store makes new ones all the time: a few rounds are recent enough.
    for _ in 0..10 {
        if store.fold().await? == 0 {
            break;
        }
    }
    Ok(())
}

fn table(queues: &[QueueState]) -> Table {
    let heads =
        ["QUEUE", ">READY", ">LATER", ">HELD", ">RUNNING", ">FAILED", ">CANCELLED", ">COMPLETED", ">OLDEST", "STATE"];
    let mut table = Table::new(heads);
    for state in queues {
        let depth = &state.depth;
        let counts =
            [depth.ready, depth.scheduled, depth.held, depth.running, depth.failed, depth.cancelled, depth.completed];
        let [ready, later, held, running, failed, cancelled, completed] = counts.map(|count| count.to_string());
        table.row([
            state.queue.clone(),
            ready,
            later,
            held,
            running,
            failed,
            cancelled,
            completed,
            state.oldest.map(human).unwrap_or_default(),
            if state.paused { "paused" } else { "open" }.into(),
        ]);
    }
    table
}

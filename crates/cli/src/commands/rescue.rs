//! `headcount rescue`: takes the jobs of dead workers back, for those who run neither workers nor a scaler just now.

use std::time::Instant;

use anyhow::{Context as _, Result};
use headcount_queue::{
    State,
    rescue::{Rescuer, Vigil},
    store::{Expired, Rescue, Rescued, Store},
};

use crate::{commands::Session, duration::human, exit::Exit};

/// How many parked jobs' waits end in one call.
const EXPIRE: u32 = 1000;

/// Take the jobs of dead workers back into the queue, once
///
/// A worker is dead when it has not beaten for 15 s. Since an outage of the store looks the same, the store is watched
/// for as long first; the living beat again in that time. Workers do all this for each other: this verb is for when
/// none runs. Prints each job that was taken back, and what became of it. Jobs that are parked past their deadline are
/// taken up as well.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Judge at once, without watching first: only when you know that the store was there all along.
    #[arg(long)]
    now: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    let store = queue.store().as_ref();
    let vigil = Vigil::default();
    let rescued = if args.now {
        Rescuer::new(vigil).judge(store).await?
    } else {
        session.note(&format!("watching the store for {} before judging; --now skips this", human(vigil.window)));
        watch(store, vigil).await.context("watching the store; nobody was judged after it was lost")?
    };
    for job in &rescued {
        session.out.row(job, describe)?;
    }
    if rescued.is_empty() {
        session.note("no job lies with a dead worker");
    }
    loop {
        let expired = store.expire(EXPIRE).await?;
        for job in &expired {
            session.out.row(job, describe_expired)?;
        }
        if expired.len() < EXPIRE as usize {
            break;
        }
    }
    Ok(Exit::Done)
}

/// Watches for one whole window and judges at its end.
async fn watch(store: &dyn Store, vigil: Vigil) -> Result<Vec<Rescued>> {
    let mut rescuer = Rescuer::new(vigil);
    let mut taken_back = rescuer.scan(store).await?;
    // The rescuer began to watch before this instant, so the scan after a whole window from here does judge.
    let begun = Instant::now();
    loop {
        let left = vigil.window.saturating_sub(begun.elapsed());
        tokio::time::sleep(left.min(vigil.scan)).await;
        let last = begun.elapsed() >= vigil.window;
        taken_back.extend(rescuer.scan(store).await?);
        if last {
            return Ok(taken_back);
        }
    }
}

fn describe(rescued: &Rescued) -> String {
    let became = match rescued.rescue {
        Rescue::Requeued => "queued again, in its place",
        Rescue::Isolated => "queued again, to run in a process that runs nothing else: its process died repeatedly",
        Rescue::Quarantined => "failed: its process died under it once more, or it was interrupted too often",
        Rescue::Cancelled => "cancelled, as had been asked",
    };
    format!("job {} of worker {}: {became}", rescued.id, rescued.boot)
}

fn describe_expired(expired: &Expired) -> String {
    let became = if expired.state == State::Queued { "queued again, the attempt spent" } else { "failed" };
    format!("job {}: nobody answered for it before its deadline: {became}", expired.id)
}

//! A dyno: a process that is started, told to end, killed, and seen to end.

use std::{
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::{sync::watch, time::timeout};

use super::platform::Platform;
use crate::process::{Printing, Program, Signal, Tree};

/// A dyno as Heroku keeps it. Until it has ended it may share its name with the one that takes its place.
#[derive(Debug)]
pub(super) struct Dyno {
    pub(super) id: u64,
    pub(super) process_type: String,
    pub(super) ordinal: u32,
    pub(super) name: String,
    pub(super) release: u64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) state: State,
    pub(super) process: Option<Running>,
    /// Set once it is to end.
    pub(super) end: watch::Sender<Option<End>>,
    /// Dropped with it, when it has ended.
    pub(super) over: watch::Sender<()>,
}

/// Its process.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) tree: Tree,
    pub(super) printing: Printing,
}

/// Where a dyno stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its process is about to be started.
    Starting,
    /// Its process runs.
    Up,
    /// Its process has ended by itself, and Heroku waits before it starts another.
    Crashed,
    /// It was told to end.
    Ending,
}

/// How a dyno is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// TERM, and KILL after the grace.
    Asked,
    /// KILL at once: what a test does to it.
    Crash,
}

/// How the process of a dyno ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was told to, by TERM, and did within the grace.
    Asked(ExitStatus),
    /// It was told to and did not: KILL, with whatever it was at.
    Killed,
    /// By itself.
    Itself(ExitStatus),
    /// A test [crashed](super::FakeHeroku::crash) it.
    Crashed,
}

/// Runs the dyno's process to its end. `after`: the dyno whose end it waits for, if any.
pub(super) async fn live(
    platform: Arc<Platform>,
    id: u64,
    program: Program,
    boot: Duration,
    after: Option<watch::Receiver<()>>,
    mut end: watch::Receiver<Option<End>>,
) {
    let before = async {
        if let Some(mut ended) = after {
            while ended.changed().await.is_ok() {}
        }
        // An end that comes first is one without a process.
        let _ = timeout(boot, std::future::pending::<()>()).await;
    };
    tokio::select! {
        biased;
        _ = end.wait_for(Option::is_some) => return platform.vanished(id),
        () = before => {}
    }
    let Some(mut process) = platform.start(id, program) else { return };
    let tree = process.marked();
    let told = async { end.wait_for(Option::is_some).await.ok().and_then(|told| *told) };
    let asked = tokio::select! {
        biased;
        status = process.wait() => Err(How::Itself(status)),
        told = told => Ok((told, Instant::now())),
    };
    let (how, took) = match asked {
        Err(how) => (how, None),
        Ok((Some(End::Crash), _)) => (How::Crashed, None),
        Ok((_, since)) => {
            // Heroku sends TERM to every process of the dyno, not to the first alone.
            tree.signal(Signal::TERM);
            let how = timeout(platform.grace(), process.wait()).await.map_or(How::Killed, How::Asked);
            (how, Some(since.elapsed()))
        }
    };
    let left_behind = tree.members().len();
    process.kill_tree();
    if matches!(how, How::Killed | How::Crashed) {
        process.wait().await;
    }
    platform.ended(id, how, took, left_behind);
}

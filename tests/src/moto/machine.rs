//! An instance with its worker: what EC2 would be to it.

use std::{process::ExitStatus, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    imds::{ENDPOINT, Metadata},
    xml::Element,
};
use crate::process::{Process, Program, Signal};

/// Longer than any test.
const EVER: Duration = Duration::from_hours(24);

/// An instance of a group.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) group: String,
    pub(super) stage: Stage,
    /// As moto listed it last.
    pub(super) listed: Element,
    /// What runs on it.
    pub(super) body: Option<Body>,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its launch has failed, or nothing is launched: nobody lists it.
    Withheld,
    /// It boots.
    Pending,
    /// It runs.
    InService,
    /// It waits in a termination hook; the number tells one wait from the next.
    Waiting(u64),
    /// Its machine goes down.
    Ending,
}

impl Stage {
    /// As the service lists it.
    pub(super) fn state(self) -> Option<&'static str> {
        match self {
            Self::Withheld => None,
            Self::Pending => Some("Pending"),
            Self::InService => Some("InService"),
            Self::Waiting(_) => Some("Terminating:Wait"),
            Self::Ending => Some("Terminating"),
        }
    }

    pub(super) fn is_ending(self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Ending)
    }
}

/// What runs on an instance.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) metadata: Metadata,
    end: watch::Sender<bool>,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerEnd {
    /// On which instance.
    pub instance: String,
    /// Whether its machine was going down.
    pub asked: bool,
    /// Whether it had to be killed, as it did not end in time.
    pub killed: bool,
    /// Its exit status, signal included.
    pub status: ExitStatus,
}

impl Body {
    /// Boots: metadata, and the worker if there is to be one. The future is to be driven until the machine is down.
    pub(super) fn boot(
        instance: &str,
        region: &str,
        worker: Option<Program>,
        grace: Duration,
    ) -> (Self, impl Future<Output = Option<WorkerEnd>> + Send + use<>) {
        let metadata = Metadata::of(instance, region).expect("a port for the metadata");
        let (end, ending) = watch::channel(false);
        let worker = worker.map(|program| {
            // The last as the start script of an image would set it, for the tests' own notes.
            program.env(ENDPOINT, &metadata.endpoint).env("AWS_REGION", region).env("MACHINE", instance).start()
        });
        let instance = instance.to_owned();
        (Self { metadata, end }, live(instance, worker, ending, grace))
    }

    /// Whether nothing runs on it any more.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_closed()
    }

    /// Goes down, as a machine does that is shut down: TERM, and after a while KILL.
    pub(super) fn end(&self) {
        self.end.send_replace(true);
    }
}

async fn live(
    instance: String,
    worker: Option<Process>,
    mut ending: watch::Receiver<bool>,
    grace: Duration,
) -> Option<WorkerEnd> {
    let Some(mut worker) = worker else {
        let _ = ending.wait_for(|&ending| ending).await;
        return None;
    };
    let ended = |asked, killed, status| Some(WorkerEnd { instance, asked, killed, status });
    let told = tokio::select! {
        by_itself = worker.ends(EVER) => Err(by_itself),
        told = async { ending.wait_for(|&ending| ending).await.is_ok() } => Ok(told),
    };
    match told {
        Err(by_itself) => return ended(false, false, by_itself.status()),
        Ok(false) => return None,
        Ok(true) => {}
    }
    worker.signal(Signal::TERM);
    if let Ok(in_time) = timeout(grace, worker.ends(EVER)).await {
        return ended(true, false, in_time.status());
    }
    worker.kill_tree();
    let late = worker.ends(EVER).await;
    ended(true, true, late.status())
}

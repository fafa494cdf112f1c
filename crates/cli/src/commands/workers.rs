//! `headcount workers`: who works, and the order to stop claiming or to go on.

use std::collections::BTreeMap;

use anyhow::Result;
use headcount_queue::{
    WorkerRecord,
    store::{BootId, WorkerState},
};
use serde::Serialize;

use crate::{
    commands::Session,
    duration::{human, since},
    exit::{Exit, usage},
    output::{Output, Table},
};

/// Show the workers, or tell some to stop claiming jobs (drain) and to go on (recall)
///
/// RUNNING counts the jobs that a worker holds now: a draining worker with none is idle and can be stopped without
/// harm. BEAT is how long ago it last said that it lives.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(Debug, clap::Subcommand)]
enum Order {
    /// Stop workers from claiming: they finish what they have, stay up, and can be recalled
    ///
    /// Has no end until `headcount workers recall`. When it returns, no claim of these workers is in flight.
    Drain {
        /// Each a worker's boot number, its instance, or its host:pid. An instance stands for all processes on it.
        #[arg(required = true, value_name = "BOOT_OR_INSTANCE")]
        workers: Vec<String>,
    },
    /// Let draining workers claim again
    Recall {
        /// Each a worker's boot number, its instance, or its host:pid.
        #[arg(required = true, value_name = "BOOT_OR_INSTANCE")]
        workers: Vec<String>,
    },
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    let store = queue.store();
    let workers = store.workers().await?;
    match args.order {
        None if workers.is_empty() => {
            session.note("no worker is up; `headcount work` starts one");
            Ok(Exit::Done)
        }
        None => {
            session.out.rows(&workers, table)?;
            Ok(Exit::Done)
        }
        Some(Order::Drain { workers: names }) => {
            let boots = named(&workers, &names)?;
            let drained = store.drain(&boots, &session.env.actor(), None).await?;
            let epochs: BTreeMap<BootId, i64> = drained.into_iter().collect();
            let after = store.workers().await?;
            report(&mut session.out, &after, &boots, |boot| epochs.get(&boot).map(|&epoch| ("draining", Some(epoch))))
        }
        Some(Order::Recall { workers: names }) => {
            let boots = named(&workers, &names)?;
            let recalled = store.recall(&boots).await?;
            let after = store.workers().await?;
            report(&mut session.out, &after, &boots, |boot| recalled.contains(&boot).then_some(("recalled", None)))
        }
    }
}

/// The workers that these names stand for, each once. A name that stands for none is refused, and nothing is done.
fn named(workers: &[WorkerRecord], names: &[String]) -> Result<Vec<BootId>> {
    let mut boots = Vec::new();
    for name in names {
        let matches = workers.iter().filter(|worker| {
            worker.boot.to_string() == *name || worker.instance.as_ref() == Some(name) || place(worker) == *name
        });
        let before = boots.len();
        boots.extend(matches.map(|worker| worker.boot));
        if boots.len() == before {
            return Err(usage(format!(
                "no worker has the boot number, the instance or the host:pid {name:?}; `headcount workers` lists them"
            )));
        }
    }
    boots.sort_unstable();
    boots.dedup();
    Ok(boots)
}

/// What an order did to one worker.
#[derive(Serialize)]
struct Ordered {
    boot: BootId,
    instance: Option<String>,
    host: String,
    pid: u32,
    /// What it did; none where the worker's state did not allow it.
    result: Option<&'static str>,
    state: Option<WorkerState>,
    drain_epoch: Option<i64>,
    running: u32,
}

fn report(
    out: &mut Output,
    workers: &[WorkerRecord],
    boots: &[BootId],
    result: impl Fn(BootId) -> Option<(&'static str, Option<i64>)>,
) -> Result<Exit> {
    let mut exit = Exit::Done;
    for &boot in boots {
        let result = result(boot);
        if result.is_none() {
            exit = Exit::Failed;
        }
        let worker = workers.iter().find(|worker| worker.boot == boot);
        let ordered = Ordered {
            boot,
            instance: worker.and_then(|worker| worker.instance.clone()),
            host: worker.map(|worker| worker.host.clone()).unwrap_or_default(),
            pid: worker.map(|worker| worker.pid).unwrap_or_default(),
            result: result.map(|(what, _)| what),
            state: worker.map(|worker| worker.state),
            drain_epoch: result.and_then(|(_, epoch)| epoch),
            running: worker.map(|worker| worker.running).unwrap_or_default(),
        };
        out.row(&ordered, |ordered| {
            let name = worker.map_or_else(|| format!("worker {boot}"), |worker| format!("worker {}", label(worker)));
            match (ordered.result, ordered.state) {
                (Some("draining"), _) if ordered.running == 0 => format!("{name} claims no more, and is idle"),
                (Some("draining"), _) => format!("{name} claims no more; {} jobs still run", ordered.running),
                (Some(_), _) => format!("{name} claims again from its next poll"),
                (None, Some(state)) => format!("{name} is {state}: nothing was changed"),
                (None, None) => format!("{name} has gone: nothing was changed"),
            }
        })?;
    }
    Ok(exit)
}

/// A worker's host and process.
fn place(worker: &WorkerRecord) -> String {
    format!("{}:{}", worker.host, worker.pid)
}

/// A worker as people call it.
fn label(worker: &WorkerRecord) -> String {
    let name = worker.instance.clone().unwrap_or_else(|| place(worker));
    format!("{name} (boot {})", worker.boot)
}

fn table(workers: &[WorkerRecord]) -> Table {
    let mut table =
        Table::new([">BOOT", "INSTANCE", "HOST:PID", "POOL", "QUEUES", ">SLOTS", ">RUNNING", ">UP", ">BEAT", "STATE"]);
    for worker in workers {
        let queues = worker.queues.to_string();
        let mut state = worker.state.to_string();
        if let Some(by) = worker.drained_by.as_ref().filter(|_| worker.state == WorkerState::Draining) {
            state = format!("{state}, by {by}");
        }
        if let Some(until) = worker.drain_until {
            state = format!("{state}, for {}", human(since(worker.read_at, until)));
        }
        table.row([
            worker.boot.to_string(),
            worker.instance.clone().unwrap_or_default(),
            place(worker),
            worker.pool.clone().unwrap_or_default(),
            if queues.is_empty() { "any".into() } else { queues },
            worker.slots.to_string(),
            worker.running.to_string(),
            human(since(worker.started_at, worker.read_at)),
            human(since(worker.beat_at, worker.read_at)),
            state,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use headcount_queue::Binding;

    use super::*;
    use crate::exit::status;

    fn worker(boot: i64, instance: Option<&str>, pid: u32) -> WorkerRecord {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        WorkerRecord {
            boot: BootId(boot),
            instance: instance.map(str::to_owned),
            host: "h".into(),
            pid,
            pool: None,
            queues: Binding::Any,
            kinds: Vec::new(),
            slots: 1,
            busy: 0,
            running: 0,
            oldest: None,
            state: WorkerState::Active,
            drain_epoch: 0,
            drained_by: None,
            drain_until: None,
            started_at: at,
            beat_at: at,
            read_at: at,
        }
    }

    #[test]
    fn an_instance_stands_for_all_its_processes_and_each_is_named_once() {
        let workers = [worker(7, Some("worker.1"), 70), worker(8, Some("worker.1"), 80), worker(9, None, 90)];
        let boots = |names: &[&str]| {
            named(&workers, &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
                .map(|boots| boots.iter().map(|boot| boot.0).collect::<Vec<_>>())
        };
        assert_eq!(boots(&["worker.1", "8", "h:90"]).unwrap(), [7, 8, 9]);
        let error = boots(&["7", "worker.2"]).unwrap_err();
        assert_eq!(status(&error), Exit::Usage);
        assert!(error.to_string().contains("worker.2"));
    }

    #[test]
    fn a_drain_says_who_ordered_it() {
        let mut draining = worker(7, None, 70);
        draining.state = WorkerState::Draining;
        draining.drained_by = Some("ada@h".into());
        assert!(table(&[draining]).to_string().contains("draining, by ada@h"));
    }
}

//! A store, a connection of somebody else's to its file, jobs, and a worker's hand that claims them.

use std::{path::Path, time::Duration};

use headcount_queue::{
    Binding, JobId, NewJob,
    store::{BootId, Claim, Claimer, Gate, NewWorker, Options, Settlement, Token, Verdict, Want, sqlite::SqliteStore},
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

pub(crate) async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(Some(path), &Options::default()).await.unwrap()
}

pub(crate) async fn memory() -> SqliteStore {
    SqliteStore::open(None, &Options::default()).await.unwrap()
}

pub(crate) async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(10));
    SqliteConnection::connect_with(&options).await.unwrap()
}

pub(crate) async fn worker(store: &dyn Claim) -> Box<dyn Claimer> {
    worker_of(store, BootId::random()).await
}

pub(crate) async fn worker_of(store: &dyn Claim, boot: BootId) -> Box<dyn Claimer> {
    let worker = NewWorker {
        boot,
        instance: None,
        host: "here".into(),
        pid: 7,
        pool: None,
        queues: Binding::Any,
        kinds: Vec::new(),
        slots: 4,
    };
    store.register(&worker).await.unwrap();
    store.claimer(boot, &Binding::Any, None)
}

pub(crate) fn want(claim: i64, jobs: u32) -> Want {
    Want { claim, jobs, ..Want::default() }
}

pub(crate) fn completed(id: JobId, token: Token) -> Settlement {
    let verdict = Verdict::Completed { output: None, keep: Duration::ZERO };
    Settlement { id, token, verdict, ran: Duration::from_millis(1) }
}

pub(crate) fn bulk(n: usize) -> Vec<NewJob> {
    (0..n).map(|i| NewJob::new("k", i.to_string())).collect()
}

/// Works until the store has nothing left to claim; returns the ids in the order of claiming.
pub(crate) async fn work_off(claimer: &mut Box<dyn Claimer>, batch: u32) -> Vec<JobId> {
    let (mut ids, mut settled) = (Vec::new(), Vec::new());
    for claim in 1.. {
        let answer = claimer.next(&settled, want(claim, batch)).await.unwrap();
        assert_eq!(answer.gate, Gate::Open);
        settled = answer.jobs.iter().map(|job| completed(job.id, job.token)).collect();
        ids.extend(answer.jobs.iter().map(|job| job.id));
        if answer.jobs.is_empty() {
            break;
        }
    }
    ids
}

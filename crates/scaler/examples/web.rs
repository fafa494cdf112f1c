//! A web process that takes jobs in and hires the workers for them itself, with the scaler as a library.
//!
//! ```sh
//! cargo build -p headcount-cli
//! cargo run --example web -- 127.0.0.1:8080 sqlite:jobs.db target/debug/headcount work --exec cat
//! curl -d '{"image": 7}' localhost:8080/jobs/thumbnail
//! curl localhost:8080/pools
//! ```
//!
//! Any number of such processes may run for one store: the scaler of one acts, those of the others stand by.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use headcount_queue::{NewJob, Queue};
use headcount_scaler::{LocalConfig, LocalDriver, PoolSpec, Reconciler, TickRecord, Watch};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the handlers have.
#[derive(Debug, Clone)]
struct App {
    queue: Queue,
    scaler: Watch,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, url, worker @ ..] = words.as_slice() else {
        return Err("usage: web ADDRESS STORE WORKER-COMMAND…".into());
    };
    let queue = Queue::connect(url).await?;

    // The workers get the store's URL in their environment, which other users of the machine cannot read.
    let config = LocalConfig::new(worker).env("HEADCOUNT_URL", url).env("HEADCOUNT_POOL", "web");
    let driver = Arc::new(LocalDriver::new(config));
    let pool = PoolSpec::new("web", "web".parse()?, 0..=4)?.interval(Duration::from_secs(1));
    let mut reconciler = Reconciler::new(Arc::clone(queue.store()), "web").pool(pool, driver.clone())?;
    let app = App { queue, scaler: reconciler.watch() };
    let stop = CancellationToken::new();
    let rounds = tokio::spawn({
        let stop = stop.clone();
        async move { reconciler.run(stop).await }
    });

    let routes = Router::new()
        .route("/jobs/{kind}", post(enqueue))
        .route("/pools", get(pools))
        .route("/ready", get(ready))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut term = signal(SignalKind::terminate())?;
    let told = async move {
        term.recv().await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(told).await?;

    // No more requests come. The scaler gives its lease back, and then its workers end, each with its jobs.
    stop.cancel();
    rounds.await?;
    driver.shutdown(Duration::from_mins(1)).await;
    println!("stopped");
    Ok(())
}

/// Takes a job of this kind in. It is durable when this answers.
async fn enqueue(State(app): State<App>, Path(kind): Path<String>, Json(payload): Json<Value>) -> (StatusCode, String) {
    match app.queue.enqueue(NewJob::new(kind, payload.to_string()).queue("web")).await {
        Ok(enqueued) => (StatusCode::ACCEPTED, format!("{}\n", enqueued.id)),
        Err(error @ headcount_queue::Error::Rejected(_)) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
        Err(error) => {
            tracing::error!(%error, "a job was not taken in");
            (StatusCode::SERVICE_UNAVAILABLE, "the job was not taken in: try again later\n".to_owned())
        }
    }
}

/// The pools, as this process's scaler sees them; without their numbers while that of another process acts.
async fn pools(State(app): State<App>) -> Json<Value> {
    let pools = app.scaler.look().pools;
    Json(
        pools
            .iter()
            .map(
                |(name, pool)| json!({ "pool": name.as_str(), "latest": pool.latest.as_ref().map(TickRecord::detail) }),
            )
            .collect(),
    )
}

/// For whoever routes requests here.
async fn ready(State(app): State<App>) -> (StatusCode, String) {
    let verdict = app.scaler.look().ready();
    (if verdict.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, verdict.why + "\n")
}

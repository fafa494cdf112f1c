//! What a service shows of itself over HTTP: /metrics, /health and /ready.
//!
//! It shows numbers, names of pools and of processes, and no text of an error: what fails is in the log.

mod address;
mod scalers;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use headcount_scaler::watch::Verdict;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::{
    env::{self, Env},
    exit::refused,
};

pub(crate) use scalers::Scalers;

/// The port where none is given: the one that is kept for exporters of Prometheus metrics.
pub(crate) const PORT: &str = "9464";

/// So many are answered at once; more wait.
const CONNECTIONS: usize = 32;
/// A request's head has to come within this time, and a connection, which has one request, is over within the other.
const HEAD: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);
/// The pause after a connection that could not be taken, since the next one could not either.
const REST: Duration = Duration::from_millis(100);

/// The text format of Prometheus' metrics that the collectors write.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is shown.
pub(crate) trait Watched: Send + Sync + 'static {
    /// Whether it lives; if not, only a new process helps.
    fn health(&self) -> impl Future<Output = Verdict> + Send;

    /// Whether it does its work.
    fn ready(&self) -> impl Future<Output = Verdict> + Send;

    /// Its metrics as of now.
    fn metrics(&self) -> impl Future<Output = Registry> + Send;

    /// Since when no scaler acts, if none does.
    fn scalers(&self) -> impl Future<Output = Option<String>> + Send;
}

/// A place where it listens already, and does not answer yet.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens where the argument says, or `HEADCOUNT_LISTEN`; nowhere if neither does.
    pub(crate) async fn bind(argument: Option<&str>, env: &Env) -> Result<Option<Self>> {
        let (given, by) = match (argument, env.get(&env::LISTEN)?) {
            (Some(given), _) => (given, "--listen"),
            (None, Some(given)) => (given, env::LISTEN.name),
            (None, None) => return Ok(None),
        };
        let address = address::parse(given).map_err(|why| refused(format!("{by} {given:?}: {why}")))?;
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(error).with_context(|| {
                    format!("{by}: another process listens on {address} already: stop it, or choose another port")
                });
            }
            Err(error) => {
                return Err(refused(format!(
                    "{by}: this process cannot listen on {address}: {error}; choose an address of this machine and a \
                     port above 1023"
                )));
            }
        };
        let address = listener.local_addr().context("where it listens")?;
        Ok(Some(Self { listener, address }))
    }

    /// Shows this, until the handle is dropped.
    pub(crate) fn show(self, watched: impl Watched) -> AbortOnDropHandle<()> {
        info!("listening on http://{}: /metrics, /health, /ready", self.address);
        AbortOnDropHandle::new(tokio::spawn(serve(self.listener, Arc::new(watched))))
    }
}

async fn serve<W: Watched>(listener: TcpListener, watched: Arc<W>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&free).acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let watched = Arc::clone(&watched);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(&*watched, request));
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD)
                        .keep_alive(false)
                        .serve_connection(TokioIo::new(stream), service);
                    // Whoever went away has no answer to miss.
                    let _ = timeout(WHOLE, connection).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be taken");
                tokio::time::sleep(REST).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer<W: Watched, B>(watched: &W, request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET it\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match request.uri().path() {
        "/metrics" => metrics(&watched.metrics().await),
        "/health" => verdict(watched.health().await, watched.scalers().await),
        "/ready" => verdict(watched.ready().await, watched.scalers().await),
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /health and /ready\n"),
    })
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("a text takes what is written to it");
    response(StatusCode::OK, METRICS, text)
}

/// The body of a health check.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    why: String,
    /// Since when no scaler acts, if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    scaler: Option<String>,
}

fn verdict(Verdict { ok, why }: Verdict, scaler: Option<String>) -> Response<Full<Bytes>> {
    let (code, status) = if ok { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable") };
    let body = serde_json::to_string(&Health { status, why, scaler }).expect("texts are JSON");
    response(code, "application/json", body + "\n")
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

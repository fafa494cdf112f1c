//! A web address that keeps what is posted to it, as a chat or a pager would.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

/// See the module. It ends when it is dropped.
#[derive(Debug)]
pub struct Inbox {
    url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<Vec<Value>>,
    refusals: AtomicU32,
}

impl Inbox {
    /// An inbox under this path, which answers the first so many POSTs with 503 and keeps nothing of them.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn open(path: &str, refusals: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/{path}", listener.local_addr().expect("its address"));
        let shared = Arc::new(Shared { refusals: refusals.into(), ..Shared::default() });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&shared), format!("/{path}")));
        Self { url, shared, _serving: serving }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has taken, in order.
    ///
    /// # Panics
    /// If serving has panicked.
    pub fn taken(&self) -> Vec<Value> {
        self.shared.taken.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, path: String) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, path) = (Arc::clone(&shared), path.clone());
        connections.spawn(async move {
            let service = service_fn(|request| take(request, &shared, &path));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn take(
    request: hyper::Request<Incoming>,
    shared: &Shared,
    path: &str,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let right = request.method() == hyper::Method::POST && request.uri().path() == path;
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let refused = |left: u32| left.checked_sub(1);
    let status = if shared.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refused).is_ok() {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        match serde_json::from_slice(&body) {
            Ok(value) if right => {
                shared.taken.lock().unwrap().push(value);
                StatusCode::NO_CONTENT
            }
            _ => StatusCode::BAD_REQUEST,
        }
    };
    Ok(Response::builder().status(status).body(Empty::new()).expect("a status is an answer"))
}

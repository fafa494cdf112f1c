//! Tells [notices](Notice) to a web address: a chat, a pager, a program of your own.
//!
//! Each is one POST of JSON: `text` in words, which chats of Slack's manner show as they are, and beside it `event`,
//! `pool` and `over` for programs. It is sent from a queue of its own and tried again while the address does not take
//! it; no tick waits for it. What cannot be told is logged.

use std::{fmt, time::Duration};

use headcount_queue::{Error, Result};
use http_body_util::Full;
use hyper::{
    Request, Uri,
    body::Bytes,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
    http::uri::Scheme,
};
use tokio::sync::mpsc;

use crate::{http::Server, notice::Notice};

/// The time limit of one try.
const LIMIT: Duration = Duration::from_secs(10);
/// The waits between tries.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(2)];
/// So many notices wait to be told; those beyond are logged only.
const WAITING: usize = 100;

/// Where notices are told. Cheap to clone; clones share one queue. The address is often a secret: nothing shows it but
/// for its host.
#[derive(Clone)]
pub struct Webhook {
    host: String,
    waiting: mpsc::Sender<Notice>,
}

impl Webhook {
    /// Tells them to this address, from now on and in the background of the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Rejected`] for what is no address that begins with `https://`; `http://` is for this machine only. The
    /// message does not show the address.
    pub fn new(url: &str) -> Result<Self> {
        let wrong = |why: &str| Error::Rejected(format!("the webhook's address is not one: {why}"));
        let uri: Uri = url.trim().parse().map_err(|error| wrong(&format!("{error}")))?;
        let host = uri.host().ok_or_else(|| wrong("it should look like https://hooks.example.com/abc"))?.to_owned();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it must hold no user or password"));
        }
        let here = matches!(&*host, "localhost" | "127.0.0.1" | "[::1]");
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS || (*scheme == Scheme::HTTP && here) => {}
            _ => return Err(wrong("it must begin with https://, or what it tells would travel in the open")),
        }
        let (waiting, notices) = mpsc::channel(WAITING);
        tokio::spawn(deliver(uri, notices));
        Ok(Self { host, waiting })
    }

    /// Tells it. Never waits.
    pub fn tell(&self, notice: Notice) {
        tracing::warn!(event = ?notice.event, "{}", notice.text);
        if let Err(mpsc::error::TrySendError::Full(_)) = self.waiting.try_send(notice) {
            tracing::warn!(host = self.host, "the webhook does not keep up: this is not told there");
        }
    }
}

async fn deliver(uri: Uri, mut notices: mpsc::Receiver<Notice>) {
    let server = Server::new(&uri);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    while let Some(notice) = notices.recv().await {
        let body = Bytes::from(serde_json::to_vec(&notice).expect("texts are JSON"));
        let mut waits = WAITS.iter();
        while let Err(why) = post(&server, path, body.clone()).await {
            let Some(wait) = waits.next() else {
                tracing::error!(host = server.host(), "the webhook was not told: {why}");
                break;
            };
            tracing::debug!(host = server.host(), "the webhook is told again in {wait:?}: {why}");
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.75..1.0))).await;
        }
    }
}

/// One try. What the address answers is not shown: it may be anybody's words.
async fn post(server: &Server, path: &str, body: Bytes) -> std::result::Result<(), String> {
    let request = Request::post(path)
        .header(HOST, server.host())
        .header(USER_AGENT, concat!("headcount/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let answer = server.call(request, LIMIT).await.map_err(|silence| silence.why)?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status)) }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_would_travel_in_the_open_or_is_none_is_refused_unshown() {
        for bad in [
            "hooks.example.com/s3cret",
            "http://hooks.example.com/s3cret",
            "https://a:s3cret@b.example.com",
            "s3cret x",
        ] {
            let error = Webhook::new(bad).unwrap_err().to_string();
            assert!(error.contains("webhook") && !error.contains("s3cret"), "{error}");
        }
        for good in ["https://hooks.example.com/s3cret?x=y", "http://127.0.0.1:8080/s3cret"] {
            let shown = format!("{:?}", Webhook::new(good).unwrap());
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}

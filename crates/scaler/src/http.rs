//! One HTTP request on a connection of its own.
//!
//! A connection is not kept for the next call: there are two calls a minute, and on a kept one that the server has just
//! closed nobody could tell whether a change was sent. Here it is known, since the request goes out on a connection
//! that has been made for it.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    http::uri::{Authority, Scheme},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

/// No answer is larger: a thousand dynos are half of it.
const LARGEST: usize = 1 << 20;

/// The server that is called.
#[derive(Clone)]
pub(crate) struct Server {
    authority: Authority,
    tls: Option<TlsConnector>,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// That it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Whether the request may have reached it.
    pub(crate) sent: bool,
    /// What happened instead.
    pub(crate) why: String,
}

impl Server {
    /// The server of this address, which has a scheme and a host. It is not called yet.
    pub(crate) fn new(base: &Uri) -> Self {
        let authority = base.authority().cloned().expect("the configuration has checked it");
        let tls = (base.scheme() == Some(&Scheme::HTTPS)).then(|| TlsConnector::from(Arc::new(tls())));
        Self { authority, tls }
    }

    /// The `Host` header of a request to it.
    pub(crate) fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// Sends the request and reads the whole answer, within this time.
    pub(crate) async fn call(&self, request: Request<Full<Bytes>>, limit: Duration) -> Result<Answer, Silence> {
        let sent = AtomicBool::new(false);
        let silence = |why| Silence { sent: sent.load(Ordering::Relaxed), why };
        match tokio::time::timeout(limit, self.exchange(request, &sent)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(silence(told(&*error))),
            Err(_) => Err(silence(format!("no answer from {} within {limit:?}", self.authority))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, sent: &AtomicBool) -> Result<Answer, BoxError> {
        let host = self.authority.host().trim_matches(['[', ']']);
        let port = self.authority.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("cannot connect to {}: {error}", self.authority)))?;
        match &self.tls {
            None => exchange(stream, request, sent).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())?;
                exchange(tls.connect(name, stream).await?, request, sent).await
            }
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>, sent: &AtomicBool) -> Result<Answer, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ended when this call is, however it ends.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    sender.ready().await?;
    sent.store(true, Ordering::Relaxed);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

fn tls() -> ClientConfig {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// An error with its causes: hyper says "connection error" and keeps the reason one level down.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !told.contains(&why) {
            told = format!("{told}: {why}");
        }
        cause = error.source();
    }
    told
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.authority.as_str()).finish()
    }
}

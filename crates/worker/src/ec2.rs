//! The machine that a worker runs on, where it is an instance of EC2: which one, and whether it is about to end.
//!
//! Asked is the metadata service of the machine itself (`IMDSv2`), which needs no permissions: it is no provider's API. An
//! instance that Auto Scaling ends, and a Spot instance that is taken back, hear it there and nowhere else, minutes before
//! the TERM.

use std::{
    fmt, fs, io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::DateTime;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{DATE, HOST},
    http::uri::{Authority, Scheme},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{Error, Stopper};

/// The link-local address, the same on every instance.
const ENDPOINT: &str = "http://169.254.169.254";
/// The service is on the machine's own host: what does not come at once does not come.
const LIMIT: Duration = Duration::from_secs(1);
/// So often it is asked for the instance's name before it is given up.
const TRIES: u32 = 3;
/// So often it is asked whether the instance is to end, as EC2 recommends.
const EVERY: Duration = Duration::from_secs(5);
/// How long a token is good; the longest that there is.
const TTL: &str = "21600";
/// No answer that is asked for here is larger.
const LARGEST: usize = 16 << 10;
/// What is left of a Spot instance's two minutes at worst when its notice is found, where the notice's time cannot be told.
const LEFT: Duration = Duration::from_secs(110);
/// The machine goes down at that moment: the worker is out by so much earlier.
const EARLIER: Duration = Duration::from_secs(5);

/// The metadata service of this machine.
pub struct Ec2 {
    authority: Authority,
    token: Mutex<Option<String>>,
}

/// What an instance is told of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Auto Scaling ends it, and waits in a termination hook if there is one.
    Ending,
    /// It is a Spot instance and is taken back, so long from now.
    TakenBack(Duration),
}

/// Listening for notices; it ends when this is dropped.
#[derive(Debug)]
pub struct Listening(#[expect(dead_code, reason = "dropping it is its use")] AbortOnDropHandle<()>);

impl Ec2 {
    /// The service at this address, or at the one that all instances have.
    ///
    /// # Errors
    /// [`Error::Rejected`] if it is no address of the form `http://HOST:PORT`.
    pub fn new(endpoint: Option<&str>) -> Result<Self, Error> {
        let endpoint = endpoint.unwrap_or(ENDPOINT);
        let uri = endpoint.parse::<Uri>().ok().filter(|uri| uri.scheme() == Some(&Scheme::HTTP));
        let authority = uri.and_then(|uri| uri.authority().cloned()).ok_or_else(|| {
            Error::Rejected(format!("the metadata endpoint {endpoint:?} is no address like http://169.254.169.254"))
        })?;
        Ok(Self { authority, token: Mutex::default() })
    }

    /// Whether this machine says that it is an instance of EC2: by its firmware, or on Xen by its hypervisor. A container
    /// sees the same.
    pub fn is_here() -> bool {
        let says = |path, is: fn(&str) -> bool| fs::read_to_string(path).is_ok_and(|text| is(&text));
        says("/sys/class/dmi/id/sys_vendor", |vendor| vendor.trim() == "Amazon EC2")
            || says("/sys/hypervisor/uuid", |uuid| uuid.to_ascii_lowercase().starts_with("ec2"))
    }

    /// The instance's id, `i-0123456789abcdef0`. Takes at most a few seconds.
    ///
    /// # Errors
    /// [`Error::Metadata`]: the service does not answer. To a container it may not: each hop counts, and the instance's hop
    /// limit for metadata is 1 unless it is raised.
    pub async fn instance_id(&self) -> Result<String, Error> {
        let mut tries = 1;
        loop {
            match self.get("instance-id").await {
                Ok(Some((_, id))) => return Ok(id.trim().to_owned()),
                Ok(None) => return Err(Error::Metadata(io::Error::other("it knows no instance-id"))),
                Err(source) if tries == TRIES => return Err(Error::Metadata(source)),
                Err(_) => tries += 1,
            }
        }
    }

    /// Whether the instance is about to end. The nearer end comes first.
    ///
    /// # Errors
    /// [`Error::Metadata`]: the service does not answer.
    pub async fn notice(&self) -> Result<Option<Notice>, Error> {
        if let Some((headers, action)) = self.get("spot/instance-action").await.map_err(Error::Metadata)? {
            let now = headers.get(DATE).and_then(|date| date.to_str().ok());
            return Ok(Some(Notice::TakenBack(left(&action, now))));
        }
        // Not there on an instance of no group.
        let state = self.get("autoscaling/target-lifecycle-state").await.map_err(Error::Metadata)?;
        // `Warmed:Terminated` is that of one that waits in a warm pool.
        Ok(state.filter(|(_, state)| state.trim().ends_with("Terminated")).map(|_| Notice::Ending))
    }

    /// Obeys the instance's notices on behalf of this worker, from now on. One that Auto Scaling ends
    /// [finishes](Stopper::finish) what runs; the scaler has the hook wait for it. One that is taken back
    /// [stops in time](Stopper::stop_by). Must be called within a tokio runtime.
    pub fn listen(self, stopper: &Stopper) -> Listening {
        let stopper = stopper.clone();
        Listening(AbortOnDropHandle::new(tokio::spawn(async move {
            let (mut silent, mut told) = (false, false);
            loop {
                match self.notice().await {
                    Ok(Some(Notice::TakenBack(within))) => {
                        tracing::warn!(?within, "this Spot instance is taken back: stopping in time");
                        stopper.stop_by(Instant::now() + within.saturating_sub(EARLIER));
                        return;
                    }
                    Ok(Some(Notice::Ending)) if !told => {
                        told = true;
                        tracing::info!("Auto Scaling ends this instance: finishing what runs");
                        stopper.finish();
                    }
                    Ok(_) => silent = false,
                    Err(error) if !silent => {
                        silent = true;
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "whether this instance is to end cannot be heard; asked again");
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(EVERY).await;
            }
        })))
    }

    /// What is at this path; none if there is nothing.
    async fn get(&self, path: &str) -> io::Result<Option<(HeaderMap, String)>> {
        let known = self.lock().clone();
        let fresh = known.is_none();
        let token = match known {
            Some(token) => token,
            None => self.fetch_token().await?,
        };
        let path = format!("/latest/meta-data/{path}");
        let ask = |token: String| self.call(Method::GET, &path, "x-aws-ec2-metadata-token", token);
        let mut answer = ask(token).await?;
        if answer.0 == StatusCode::UNAUTHORIZED && !fresh {
            // It has run out.
            answer = ask(self.fetch_token().await?).await?;
        }
        match answer {
            (StatusCode::OK, headers, body) => Ok(Some((headers, body))),
            (StatusCode::NOT_FOUND, ..) => Ok(None),
            (status, ..) => Err(io::Error::other(format!("it answers {status} to {path}"))),
        }
    }

    async fn fetch_token(&self) -> io::Result<String> {
        let header = "x-aws-ec2-metadata-token-ttl-seconds";
        match self.call(Method::PUT, "/latest/api/token", header, TTL.to_owned()).await? {
            (StatusCode::OK, _, token) => Ok(self.lock().insert(token).clone()),
            (status, ..) => Err(io::Error::other(format!("it answers {status} where a token is asked for"))),
        }
    }

    /// One request on a connection of its own, within the limit.
    async fn call(
        &self,
        method: Method,
        path: &str,
        header: &'static str,
        value: String,
    ) -> io::Result<(StatusCode, HeaderMap, String)> {
        let request = Request::builder().method(method).uri(path).header(HOST, self.authority.as_str());
        let request = request.header(header, value).body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
        let exchange = async {
            let host = self.authority.host().trim_matches(['[', ']']);
            let stream = TcpStream::connect((host, self.authority.port_u16().unwrap_or(80))).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            // Ended when this call is, however it ends.
            let mut driving = JoinSet::new();
            driving.spawn(connection);
            let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(io::Error::other)?.to_bytes();
            Ok((head.status, head.headers, String::from_utf8_lossy(&body).into_owned()))
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {LIMIT:?}"));
        timeout(LIMIT, exchange).await.map_err(late)?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ec2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ec2").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// How long from now until the time that a notice names. Now is the service's own, in the answer's date: the clock of this
/// machine may be wrong.
fn left(action: &str, now: Option<&str>) -> Duration {
    let named = || {
        let action: serde_json::Value = serde_json::from_str(action).ok()?;
        let at = DateTime::parse_from_rfc3339(action.get("time")?.as_str()?).ok()?;
        Some((at - DateTime::parse_from_rfc2822(now?).ok()?).to_std().unwrap_or_default())
    };
    named().unwrap_or(LEFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_counts_from_the_service_s_own_clock_and_at_worst_from_its_being_found() {
        let action = r#"{"action":"terminate","time":"2026-03-01T12:02:00Z"}"#;
        let now = "Sun, 01 Mar 2026 12:00:15 GMT";
        for (action, now, seconds) in [
            (action, Some(now), 105),
            (action, Some("Sun, 01 Mar 2026 12:03:00 GMT"), 0),
            (action, None, 110),
            (action, Some("today"), 110),
            ("{}", Some(now), 110),
            ("terminate", Some(now), 110),
        ] {
            assert_eq!(left(action, now), Duration::from_secs(seconds), "{action} {now:?}");
        }
    }

    #[test]
    fn an_endpoint_that_is_no_address_is_refused() {
        for good in [None, Some("http://127.0.0.1:1338"), Some("http://[fd00:ec2::254]/")] {
            assert!(Ec2::new(good).is_ok(), "{good:?}");
        }
        for bad in ["169.254.169.254", "https://169.254.169.254", "/latest", ""] {
            let Err(Error::Rejected(why)) = Ec2::new(Some(bad)) else { panic!("{bad} was accepted") };
            assert!(why.contains(bad), "{why}");
        }
    }
}

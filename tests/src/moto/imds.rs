//! The metadata service of one instance, as EC2 has it (IMDSv2): a token first, then what is asked with it.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::http::{Answer, Request};

/// Where a worker looks for it, instead of at the link-local address.
pub(super) const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
/// Whether the instance is to be terminated.
pub(super) const TARGET_STATE: &str = "autoscaling/target-lifecycle-state";
/// When a Spot instance is taken back.
pub(super) const SPOT_ACTION: &str = "spot/instance-action";

const TOKEN: &str = "a-token-of-this-instance";

/// A metadata service on a port of its own; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) endpoint: String,
    values: Arc<Mutex<BTreeMap<String, String>>>,
    _serving: JoinSet<()>,
}

impl Metadata {
    /// That of this instance. Must be called within a tokio runtime.
    pub(super) fn of(instance: &str, region: &str) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let listener = TcpListener::from_std(listener)?;
        let values = [("instance-id", instance), ("placement/region", region), (TARGET_STATE, "InService")];
        let values = values.map(|(path, value)| (path.to_owned(), value.to_owned()));
        let values = Arc::new(Mutex::new(BTreeMap::from(values)));
        let mut serving = JoinSet::new();
        let answers = Arc::clone(&values);
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A worker that goes away in between is no failure of ours.
                let _ = serve(stream, &answers).await;
            }
        });
        Ok(Self { endpoint, values, _serving: serving })
    }

    /// Says this from now on.
    pub(super) fn set(&self, path: &str, value: &str) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), value.to_owned());
    }
}

/// The service's clock, which is no worker's: an hour ahead.
pub(super) fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "it stands for a clock outside of the product")]
    let now = Utc::now();
    now + TimeDelta::hours(1)
}

async fn serve(mut stream: TcpStream, values: &Mutex<BTreeMap<String, String>>) -> io::Result<()> {
    let Some(request) = Request::read(&mut stream).await? else { return Ok(()) };
    let answer = match (&*request.method, &*request.path) {
        ("PUT", "/latest/api/token") if request.header("x-aws-ec2-metadata-token-ttl-seconds").is_some() => {
            Answer::new(200, TOKEN)
        }
        ("PUT", _) => Answer::new(400, "no such token"),
        _ if request.header("x-aws-ec2-metadata-token") != Some(TOKEN) => Answer::new(401, "ask for a token first"),
        (_, path) => {
            let value = path.strip_prefix("/latest/meta-data/");
            let values = values.lock().unwrap_or_else(PoisonError::into_inner);
            value
                .and_then(|path| values.get(path))
                .map_or_else(|| Answer::new(404, "not there"), |v| Answer::new(200, v))
        }
    };
    let answer = Answer { date: Some(now().to_rfc2822()), ..answer };
    answer.write(&mut stream).await
}

//! Dynos on Heroku: a pool is a process type of an app.
//!
//! Heroku knows one number per process type, its quantity, and no conditional write. It removes the dynos with the
//! highest numbers, with TERM and after 30 s with KILL, and answers at once while they still end. So every change reads
//! the formation right before it, never lowers a quantity to grow, and lowers it only where that removes exactly the
//! dynos that were [named](change).
//!
//! Calls cost tokens of the account, which deploys and people use too: [`tokens`] keeps count. While nothing changes,
//! formation and dynos are read once a minute, and what is answered in between says how old it is.
//!
//! Source: Heroku Platform API, version 3, by its published schema: formation list and batch update, dyno list, rate
//! limits.

mod answer;
mod change;
mod config;
mod facts;
mod failure;
mod http;
mod sizes;
#[cfg(test)]
mod tests;
mod tokens;
mod view;

use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use headcount_queue::{Error, Result as Checked};
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RANGE, USER_AGENT},
};
use serde::de::DeserializeOwned;

use super::{Applied, Change, DriverError, Limits, PoolRef, PoolStatus, Removal, ScalerDriver};
use answer::{Formation, RateLimit, Refusal, Update, Updates};
use change::{Ask, ask};
use facts::{Due, Facts, Read};
use failure::{Doing, Failure, refused, served_at, silent, unreadable};
use http::{Answer, Server};
use tokens::{Need, Saving};
use view::{Listing, quantity};

pub use config::{HerokuConfig, Token};
pub use sizes::{DynoSize, SIZES, price_per_hour};

/// What Heroku gives a dyno between TERM and KILL.
const GRACE: Duration = Duration::from_secs(30);
/// How long a dyno usually takes, until its boot time has been learned.
const BOOT: Duration = Duration::from_secs(20);
/// One that has no worker after this long is lost.
const OVERDUE: Duration = Duration::from_mins(2);
/// A list in more pages than this is not one that Heroku would send.
const PAGES: usize = 20;
const VERSION: &str = "application/vnd.heroku+json; version=3";
const AGENT: &str = concat!("headcount/", env!("CARGO_PKG_VERSION"));

/// Resizes the process types of one app on Heroku.
///
/// A dyno without a [worker](crate::observe) of the pool for two minutes counts as lost. Its instance is named as Heroku
/// names the dyno, `worker.2`, which is what the dyno finds in `DYNO`.
pub struct HerokuDriver {
    config: HerokuConfig,
    server: Server,
    facts: Mutex<Facts>,
    /// Held by whoever calls Heroku: what one call learns is for all that wait.
    turn: tokio::sync::Mutex<()>,
}

/// Something that Heroku is asked for, and which of the changes it is for.
struct Asked<'c> {
    change: usize,
    process_type: &'c str,
    before: u32,
    quantity: u32,
}

type Answers = [Option<Result<Applied, DriverError>>];

impl HerokuDriver {
    /// A driver of this configuration. Heroku is not called yet.
    ///
    /// # Errors
    /// [`Error::Rejected`] if it has no pool.
    pub fn new(config: HerokuConfig) -> Checked<Self> {
        if config.pools.is_empty() {
            return Err(Error::Rejected(format!("no pool is a process type of {}", config.app)));
        }
        let server = Server::new(&config.base);
        Ok(Self { config, server, facts: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    /// The size of a pool's dynos, by the latest reading; `None` if there is none yet, or if the size is not among
    /// [`SIZES`].
    pub fn size(&self, pool: &PoolRef) -> Option<&'static DynoSize> {
        self.lock().size(self.config.pools.get(pool)?)
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process_type(&self, pool: &PoolRef) -> Result<&str, DriverError> {
        self.config.pools.get(pool).map(String::as_str).ok_or_else(|| {
            DriverError::Refused(format!("pool {pool} is no process type of {}: configure one", self.config.app))
        })
    }

    /// Reads what is due. Where no token is to be spent on it, what was read last still stands, with its age.
    async fn refresh(&self) -> Result<(), DriverError> {
        if self.lock().tokens.want_news(Instant::now()) {
            self.hear_of_tokens().await;
        }
        let now = Instant::now();
        let due = {
            let mut facts = self.lock();
            let due = facts.due(&self.config, now);
            if due == (Due { formation: false, listing: false }) {
                return Ok(());
            }
            if let Err(saving) = facts.tokens.allow(Need::Read, now) {
                let known = facts.formation.is_some() && facts.listing.is_some();
                return if known { Ok(()) } else { Err(DriverError::Unavailable(saving.to_string())) };
            }
            due
        };
        let limit = self.config.read_timeout;
        let formation = async { if due.formation { self.read_formation(limit).await.map(drop) } else { Ok(()) } };
        let listing = async { if due.listing { self.read_dynos(limit).await } else { Ok(()) } };
        let (formation, listing) = tokio::join!(formation, listing);
        formation.and(listing).map_err(|failure| failure.error)
    }

    async fn read_formation(&self, limit: Duration) -> Result<Vec<Formation>, Failure> {
        let at = Instant::now();
        let (formation, _) = self.list::<Formation>("formation", limit).await?;
        self.lock().formation = Some(Read { at, what: formation.clone() });
        Ok(formation)
    }

    async fn read_dynos(&self, limit: Duration) -> Result<(), Failure> {
        let at = Instant::now();
        let (dynos, first) = self.list("dynos", limit).await?;
        self.lock().list(&self.config, Listing { dynos, served_at: served_at(&first.headers) }, at);
        Ok(())
    }

    /// Costs no token. A failure leaves what was known.
    async fn hear_of_tokens(&self) {
        let request = self.request(Method::GET, "/account/rate-limits").body(Full::default());
        let Ok(answer) = self.call(Doing::Reading, request, self.config.read_timeout).await else { return };
        if let Ok(RateLimit { remaining }) = serde_json::from_slice(&answer.body) {
            self.lock().tokens.told(remaining, Instant::now());
        }
    }

    /// A list of the app's, whole, and the first of its answers. Heroku sends long ones in pages.
    async fn list<T: DeserializeOwned>(&self, of: &str, limit: Duration) -> Result<(Vec<T>, Answer), Failure> {
        let path = format!("/apps/{}/{of}", self.config.app);
        let mut items = Vec::new();
        let mut first = None;
        let mut range = None;
        for _ in 0..PAGES {
            let mut request = self.request(Method::GET, &path);
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            self.lock().tokens.spend(Instant::now());
            let answer = self.call(Doing::Reading, request.body(Full::default()), limit).await?;
            items.extend(self.parse::<Vec<T>>(Doing::Reading, &answer)?);
            range = answer.headers.get("next-range").cloned();
            let whole = answer.status != StatusCode::PARTIAL_CONTENT;
            if !whole && range.is_none() {
                return Err(unreadable(
                    &self.config,
                    Doing::Reading,
                    &answer,
                    "a part of a list without the next range",
                ));
            }
            let first = first.get_or_insert(answer);
            if whole {
                let (status, headers) = (first.status, std::mem::take(&mut first.headers));
                return Ok((items, Answer { status, headers, body: Bytes::new() }));
            }
        }
        Err(DriverError::Unavailable(format!("the list of {of} of {} does not end", self.config.app)).into())
    }

    /// Asks for these quantities in one call, and returns what Heroku made of them.
    async fn update(&self, asked: &[Asked<'_>]) -> Result<Vec<Formation>, Failure> {
        let update =
            |asked: &Asked<'_>| Update { process_type: asked.process_type.to_owned(), quantity: asked.quantity };
        let updates = Updates { updates: asked.iter().map(update).collect() };
        let body = serde_json::to_vec(&updates).expect("names and numbers are JSON");
        let request = self
            .request(Method::PATCH, &format!("/apps/{}/formation", self.config.app))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body));
        let before = {
            let mut facts = self.lock();
            let now = Instant::now();
            facts.tokens.spend(now);
            facts.sending(now)
        };
        let answer = self.call(Doing::Changing, request, self.config.write_timeout).await;
        let outcome = answer.and_then(|answer| {
            let made = self.parse::<Vec<Formation>>(Doing::Changing, &answer)?;
            // An answer that leaves out what was asked for says nothing about it.
            let lists = |asked: &Asked<'_>| made.iter().any(|entry| entry.process_type == asked.process_type);
            match asked.iter().find(|asked| !lists(asked)) {
                None => Ok(made),
                Some(Asked { process_type, .. }) => {
                    let why = format!("it does not mention {process_type}");
                    Err(unreadable(&self.config, Doing::Changing, &answer, &why))
                }
            }
        });
        match &outcome {
            Ok(made) => self.lock().answered(before.map(|read| read.with(made))),
            Err(Failure { error: DriverError::Unknown(_), .. }) => {}
            Err(_) => self.lock().answered(before),
        }
        outcome
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.server.host())
            .header(ACCEPT, VERSION)
            .header(USER_AGENT, AGENT)
            .header(AUTHORIZATION, self.config.token.header())
    }

    /// Makes a call. An answer that does not say that all is well is a failure.
    async fn call(
        &self,
        doing: Doing,
        request: hyper::http::Result<Request<Full<Bytes>>>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let request = request.expect("the configuration has checked what a request is made of");
        let what = format!("{} {}", request.method(), request.uri());
        let answer = match self.server.call(request, limit).await {
            Ok(answer) => answer,
            Err(silence) => {
                let failure = silent(&self.config, doing, &silence);
                tracing::debug!(what, error = %failure.error, "heroku did not answer");
                return Err(failure);
            }
        };
        let now = Instant::now();
        let remaining = answer.headers.get("ratelimit-remaining").and_then(|value| value.to_str().ok()?.parse().ok());
        tracing::debug!(what, status = answer.status.as_u16(), remaining, "heroku answered");
        let mut facts = self.lock();
        if let Some(remaining) = remaining {
            facts.tokens.told(remaining, now);
        }
        if answer.status.is_success() {
            return Ok(answer);
        }
        let failure = refused(&self.config, doing, &answer);
        if let Some(wait) = failure.wait {
            facts.tokens.close(wait, now);
        }
        Err(failure)
    }

    fn parse<T: DeserializeOwned>(&self, doing: Doing, answer: &Answer) -> Result<T, Failure> {
        serde_json::from_slice(&answer.body)
            .map_err(|error| unreadable(&self.config, doing, answer, &format!("{error}")))
    }

    /// Makes these of the changes, no two of one pool, in one call.
    ///
    /// If Heroku refuses them together, each is asked for alone: one that it does not want harms no other.
    async fn together(&self, changes: &[Change], which: &[usize], answers: &mut Answers) {
        let mut wanted = Vec::new();
        for &change in which {
            match self.allowed(&changes[change]) {
                Ok(process_type) => wanted.push((change, process_type)),
                Err(error) => answers[change] = Some(Err(error)),
            }
        }
        if wanted.is_empty() {
            return;
        }
        let formation = match self.read_formation(self.config.read_timeout.min(self.config.write_timeout)).await {
            Ok(formation) => formation,
            Err(failure) => {
                wanted.iter().for_each(|(change, _)| answers[*change] = Some(Err(failure.error.clone())));
                return;
            }
        };
        let mut asked = Vec::new();
        for (change, process_type) in wanted {
            let before = quantity(&formation, process_type);
            match ask(&changes[change], process_type, before) {
                Ok(Ask::For(quantity)) => asked.push(Asked { change, process_type, before, quantity }),
                Ok(Ask::Nothing) => answers[change] = Some(Ok(Applied { desired: before, changed: false })),
                Err(why) => answers[change] = Some(Err(DriverError::Refused(why))),
            }
        }
        if asked.is_empty() {
            return;
        }
        match self.update(&asked).await {
            Ok(made) => {
                for Asked { change, process_type, .. } in asked {
                    let desired = quantity(&made, process_type);
                    answers[change] = Some(Ok(Applied { desired, changed: true }));
                }
            }
            Err(Failure { refusal: Some(_), .. }) if asked.len() > 1 => {
                for Asked { change, .. } in asked {
                    Box::pin(self.together(changes, &[change], answers)).await;
                }
            }
            Err(failure) => {
                if let (Some(refusal), [asked]) = (&failure.refusal, asked.as_slice()) {
                    self.limited(asked, refusal);
                }
                asked.iter().for_each(|asked| answers[asked.change] = Some(Err(failure.error.clone())));
            }
        }
    }

    /// Whether the change may be asked for at all; the process type that it is for.
    fn allowed(&self, change: &Change) -> Result<&str, DriverError> {
        let process_type = self.process_type(change.pool())?;
        let need = match change {
            Change::GrowTo { .. } => Need::Grow,
            Change::Remove { .. } => Need::Shrink,
        };
        match self.lock().tokens.allow(need, Instant::now()) {
            Ok(()) => Ok(process_type),
            Err(saving @ Saving::Told { .. }) => Err(DriverError::Unavailable(saving.to_string())),
            Err(saving) => Err(DriverError::Refused(saving.to_string())),
        }
    }

    fn limited(&self, asked: &Asked<'_>, refusal: &Refusal) {
        if refusal.is_above_limit() {
            let Asked { process_type, before, quantity, .. } = *asked;
            self.lock().limited(process_type, before, quantity, refusal.limit(), Instant::now());
        }
    }
}

impl Read<Vec<Formation>> {
    /// This reading, with what has been made of some of it since.
    fn with(mut self, made: &[Formation]) -> Self {
        self.what.retain(|entry| !made.iter().any(|new| new.process_type == entry.process_type));
        self.what.extend_from_slice(made);
        self
    }
}

#[async_trait]
impl ScalerDriver for HerokuDriver {
    fn limits(&self, pool: &PoolRef) -> Limits {
        let limits =
            Limits { boot: BOOT, overdue: OVERDUE, removal: Removal::Highest, grace: GRACE, ..Limits::DEFAULT };
        let Some(process_type) = self.config.pools.get(pool) else { return limits };
        let facts = self.lock();
        let removal = if facts.is_without_numbers(process_type) { Removal::Unknown } else { Removal::Highest };
        Limits { max: facts.most(process_type, Instant::now()), removal, ..limits }
    }

    async fn status(&self, pools: &[PoolRef]) -> Vec<Result<PoolStatus, DriverError>> {
        let _turn = self.turn.lock().await;
        if let Err(error) = self.refresh().await {
            return pools.iter().map(|pool| self.process_type(pool).and(Err(error.clone()))).collect();
        }
        let facts = self.lock();
        let now = Instant::now();
        let (Some(formation), Some(listing)) = (&facts.formation, &facts.listing) else {
            let lost = DriverError::Unavailable("what was read has been lost".into());
            return pools.iter().map(|_| Err(lost.clone())).collect();
        };
        let age = (now - formation.at, now - listing.at);
        let status = |process_type: &str| {
            let mut status = view::status(&formation.what, &listing.what, process_type, &self.config.app, age);
            status.release = facts.release.map(|version| format!("v{version}"));
            if facts.tokens.are_scarce() {
                status.warnings.push(format!(
                    "few API requests are left for the account of {}: until there are more, dynos are added but not \
                     removed; see what else uses its token",
                    self.config.token
                ));
            }
            status
        };
        pools.iter().map(|pool| self.process_type(pool).map(status)).collect()
    }

    async fn apply(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>> {
        let _turn = self.turn.lock().await;
        let mut answers = vec![None; changes.len()];
        // Heroku takes one quantity per process type and call: several changes of a pool are made one after another.
        loop {
            let mut pools = HashSet::new();
            let open = (0..changes.len()).filter(|&change| answers[change].is_none());
            let next: Vec<usize> = open.filter(|&change| pools.insert(changes[change].pool())).collect();
            if next.is_empty() {
                break;
            }
            self.together(changes, &next, &mut answers).await;
            let unknown = |change: &&usize| matches!(answers[**change], Some(Err(DriverError::Unknown(_))));
            for pool in next.iter().filter(unknown).map(|&change| changes[change].pool()).collect::<Vec<_>>() {
                let later = (0..changes.len()).filter(|&change| changes[change].pool() == pool);
                for change in later.filter(|&change| answers[change].is_none()).collect::<Vec<_>>() {
                    let why = format!("what came of the change of {pool} before is not known yet");
                    answers[change] = Some(Err(DriverError::Unavailable(why)));
                }
            }
        }
        answers.into_iter().map(|answer| answer.expect("each round answers its changes")).collect()
    }
}

impl fmt::Display for HerokuDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heroku: {}", self.config.app)
    }
}

impl fmt::Debug for HerokuDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HerokuDriver").field("config", &self.config).finish_non_exhaustive()
    }
}

//! The calls of the API, as the driver makes them: readings go into its [`Facts`], and so does what every answer tells
//! of the account's tokens.

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RANGE, USER_AGENT},
};
use serde::de::DeserializeOwned;

use super::{
    HerokuDriver,
    answer::{Formation, RateLimit, Update, Updates},
    facts::{Due, Read},
    failure::{Doing, Failure, refused, served_at, silent, unreadable},
    make::Asked,
    tokens::Need,
    view::Listing,
};
use crate::{driver::DriverError, http::Answer};

/// A list in more pages than this is not one that Heroku would send.
const PAGES: usize = 20;
const VERSION: &str = "application/vnd.heroku+json; version=3";
const AGENT: &str = concat!("headcount/", env!("CARGO_PKG_VERSION"));

impl HerokuDriver {
    /// Reads what is due. Where no token is to be spent on it, what was read last still stands, with its age.
    pub(super) async fn refresh(&self) -> Result<(), DriverError> {
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

    pub(super) async fn read_formation(&self, limit: Duration) -> Result<Vec<Formation>, Failure> {
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
    pub(super) async fn update(&self, asked: &[Asked<'_>]) -> Result<Vec<Formation>, Failure> {
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
}

impl Read<Vec<Formation>> {
    /// This reading, with what has been made of some of it since.
    fn with(mut self, made: &[Formation]) -> Self {
        self.what.retain(|entry| !made.iter().any(|new| new.process_type == entry.process_type));
        self.what.extend_from_slice(made);
        self
    }
}

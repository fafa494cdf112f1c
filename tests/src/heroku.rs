//! A Heroku of a test's own: the API in front of real processes, one for each dyno.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use headcount_tests::{FakeHeroku, heroku::{Call, Fault}};
//! # async fn test() {
//! let heroku = FakeHeroku::app("shop")
//!     .process("worker", ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do read line < /dev/zero; done"])
//!     .grace(Duration::from_millis(200))
//!     .start()
//!     .await;
//! heroku.scale("worker", 2); // by hand; a driver does it at heroku.url(), with heroku.token()
//! heroku.printed("worker.2", "up", Duration::from_secs(30)).await;
//! heroku.fail(Call::Update, Fault::status(500).once_done());
//! heroku.cycle("worker.2");
//! assert_eq!(heroku.killed(), []);
//! # }
//! ```
//!
//! It does what is known of Heroku and hurts: the highest numbers are removed, with TERM to every process of the dyno
//! and KILL after the grace; the API answers at once while processes still end, and by then no longer lists them; in a
//! release and when a dyno is cycled the new one starts under the old one's name while that one still ends.
//!
//! Every request and every answer is held against Heroku's own schema. When it is dropped it kills every process, and
//! panics if the schema was violated.

mod builder;
mod fault;
mod record;
mod schema;
mod serve;
mod platform;
mod show;
mod dyno;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::eventually;
use platform::Platform;

pub use builder::Builder;
pub use dyno::{How, State};
pub use fault::{Call, Fault};
pub use record::{EndedDyno, ListedDyno, Request};

/// A Heroku with one app.
#[derive(Debug)]
pub struct FakeHeroku {
    platform: Arc<Platform>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl FakeHeroku {
    async fn of(settings: Builder) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let platform = Platform::new(settings);
        let server = tokio::spawn(serve::serve(listener, platform.clone()));
        Self { platform, address, server }
    }

    /// An app of this name, without process types.
    pub fn app(name: &str) -> Builder {
        Builder::new(name)
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token that it accepts.
    pub fn token(&self) -> &str {
        &self.platform.settings.token
    }

    /// Sets a quantity, as a person does on the dashboard: no request is made.
    ///
    /// # Panics
    /// If there is no such process type, or if it may not have so many.
    pub fn scale(&self, process_type: &str, quantity: u32) {
        self.platform.scale(&[(process_type.into(), quantity)]).expect("a quantity that Heroku takes");
    }

    /// The quantity of a process type.
    pub fn quantity(&self, process_type: &str) -> u32 {
        self.platform.quantity(process_type)
    }

    /// Ends the dyno of this name and starts another under it at once, while the old one still ends.
    pub fn cycle(&self, name: &str) {
        self.platform.replace(name, false);
    }

    /// Ends the dyno of this name and starts another under it once the old one has ended.
    pub fn cycle_in_turn(&self, name: &str) {
        self.platform.replace(name, true);
    }

    /// Kills the process of this dyno, as if it had crashed. The first time it is started again at once; from then on
    /// it stays crashed until it is [revived](Self::revive).
    pub fn crash(&self, name: &str) {
        self.platform.crash(name);
    }

    /// Starts a crashed dyno again.
    pub fn revive(&self, name: &str) {
        self.platform.revive(name);
    }

    /// Makes a new release: every dyno is cycled. Returns its version.
    pub fn release(&self) -> u64 {
        self.platform.release()
    }

    /// Lets this happen to the next call of this kind, after what was ordered before.
    pub fn fail(&self, call: Call, fault: Fault) {
        self.platform.lock().faults.push_back((call, fault));
    }

    /// The faults that were ordered and have not happened yet.
    pub fn faults_left(&self) -> usize {
        self.platform.lock().faults.len()
    }

    /// Forgets the faults that have not happened yet.
    pub fn forget_faults(&self) {
        self.platform.lock().faults.clear();
    }

    /// How many requests the account has left.
    pub fn tokens(&self) -> u32 {
        self.platform.lock().tokens
    }

    /// Sets how many requests the account has left, as if others had used it.
    pub fn set_tokens(&self, tokens: u32) {
        self.platform.lock().tokens = tokens;
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.platform.lock().requests.clone()
    }

    /// The requests so far, as `GET formation`, and forgets them: paths without the app.
    pub fn take_requests(&self) -> Vec<String> {
        let app = format!("/apps/{}/", self.platform.settings.app);
        let requests = std::mem::take(&mut self.platform.lock().requests);
        let short = |request: Request| {
            format!("{} {}", request.method, request.path.strip_prefix(&app).unwrap_or(&request.path))
        };
        requests.into_iter().map(short).collect()
    }

    /// The bodies of the changes that were asked for so far.
    pub fn updates(&self) -> Vec<Value> {
        let requests = self.requests().into_iter().filter(|request| request.method == "PATCH");
        requests.map(|request| request.body["updates"].clone()).collect()
    }

    /// Every dyno, those that still end too.
    pub fn dynos(&self) -> Vec<ListedDyno> {
        self.platform.listed()
    }

    /// Every process that has ended, the latest last.
    pub fn ended(&self) -> Vec<EndedDyno> {
        self.platform.lock().ended.clone()
    }

    /// Those that had to be killed after the grace: whatever they were at is lost.
    pub fn killed(&self) -> Vec<EndedDyno> {
        self.ended().into_iter().filter(|ended| ended.how == How::Killed).collect()
    }

    /// Waits until the dynos are as wished, those that still end among them, and returns them.
    #[track_caller]
    pub fn until(
        &self,
        what: &str,
        within: Duration,
        wish: impl Fn(&[ListedDyno]) -> bool,
    ) -> impl Future<Output = Vec<ListedDyno>> {
        eventually(what, within, async move || {
            let dynos = self.dynos();
            if wish(&dynos) { Ok(dynos) } else { Err(dynos) }
        })
    }

    /// Waits until so many processes have ended, and returns how.
    #[track_caller]
    pub fn until_ended(&self, count: usize, within: Duration) -> impl Future<Output = Vec<EndedDyno>> {
        eventually("so many processes have ended", within, async move || {
            let ended = self.ended();
            if ended.len() >= count { Ok(ended) } else { Err(ended) }
        })
    }

    /// Waits until a dyno of this name that is there has printed this.
    #[track_caller]
    pub fn printed(&self, name: &str, text: &str, within: Duration) -> impl Future<Output = ()> {
        let (name, text) = (name.to_owned(), text.to_owned());
        eventually("the dyno prints what it should", within, async move || {
            let dynos = self.dynos();
            let printed = dynos.iter().any(|dyno| dyno.name == name && dyno.printed.contains(&text));
            if printed { Ok(()) } else { Err((name.clone(), text.clone(), dynos)) }
        })
    }

    /// What was asked or answered against Heroku's schema, which is then forgiven.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.platform.lock().violations)
    }
}

impl Drop for FakeHeroku {
    fn drop(&mut self) {
        self.server.abort();
        self.platform.close();
        let violations = self.take_violations();
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "against Heroku's schema: {violations:#?}");
        }
    }
}

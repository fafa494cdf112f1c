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

mod dyno;
mod fault;
mod platform;
mod schema;
mod serve;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{eventually, process::Printing};
use platform::Platform;

pub use dyno::{How, State};
pub use fault::{Call, Fault};

/// A Heroku before it is started.
#[derive(Debug, Clone)]
pub struct Builder {
    app: String,
    token: String,
    processes: BTreeMap<String, ProcessType>,
    env: Vec<(String, OsString)>,
    grace: Duration,
    boot: Duration,
    tokens: u32,
    page: Option<usize>,
    hides_empty: bool,
    lists_ending: bool,
    clock: TimeDelta,
    started_at: DateTime<Utc>,
}

/// A line of the Procfile.
#[derive(Debug, Clone)]
struct ProcessType {
    command: Vec<OsString>,
    size: String,
    most: Option<u32>,
}

impl ProcessType {
    fn shown(&self) -> String {
        self.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}

impl Builder {
    /// A process type with this command, at quantity 0.
    #[must_use]
    pub fn process<A: AsRef<OsStr>>(mut self, process_type: &str, command: impl IntoIterator<Item = A>) -> Self {
        let command = command.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let process = ProcessType { command, size: "Standard-1X".into(), most: None };
        self.processes.insert(process_type.into(), process);
        self
    }

    /// The size of a process type's dynos. Default `Standard-1X`.
    #[must_use]
    pub fn size(mut self, process_type: &str, size: &str) -> Self {
        self.processes.get_mut(process_type).expect("it has been given").size = size.into();
        self
    }

    /// The most dynos that the process type is given; more are refused with 422.
    #[must_use]
    pub fn most(mut self, process_type: &str, most: u32) -> Self {
        self.processes.get_mut(process_type).expect("it has been given").most = Some(most);
        self
    }

    /// A variable of every dyno, beside `DYNO`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The time from TERM to KILL. Default 30 s, as Heroku's.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a dyno is `starting` before its process is started. Default: not at all.
    #[must_use]
    pub fn boot(mut self, boot: Duration) -> Self {
        self.boot = boot;
        self
    }

    /// How many requests the account has left. Default 4500.
    #[must_use]
    pub fn tokens(mut self, tokens: u32) -> Self {
        self.tokens = tokens;
        self
    }

    /// Lists are sent in parts of so many. Default: whole.
    #[must_use]
    pub fn page(mut self, items: usize) -> Self {
        self.page = Some(items);
        self
    }

    /// A process type at quantity 0 is left out of the list, and is not found on its own. Default false.
    #[must_use]
    pub fn hides_empty(mut self) -> Self {
        self.hides_empty = true;
        self
    }

    /// Dynos that still end are listed, as `down`; so a name may be listed twice. Default: they are listed no longer.
    #[must_use]
    pub fn lists_ending(mut self) -> Self {
        self.lists_ending = true;
        self
    }

    /// How far Heroku's clock is ahead of this machine's. Default not at all.
    #[must_use]
    pub fn clock(mut self, ahead: TimeDelta) -> Self {
        self.clock = ahead;
        self.started_at = self.now();
        self
    }

    /// Starts it. Must be called within a tokio runtime, on which its processes are watched.
    pub async fn start(self) -> FakeHeroku {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let platform = Platform::new(self);
        let server = tokio::spawn(serve::serve(listener, platform.clone()));
        FakeHeroku { platform, address, server }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the server, whose clock is nobody else's")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.clock
    }
}

/// A Heroku with one app.
#[derive(Debug)]
pub struct FakeHeroku {
    platform: Arc<Platform>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What was asked; null if nothing.
    pub body: Value,
    /// The status of the answer; none while there is none.
    pub status: Option<u16>,
}

/// A dyno that is there. Two may have one name while one of them ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDyno {
    /// Its name, as in `DYNO`.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// The release that it runs.
    pub release: u64,
    /// The number of its process, while it has one.
    pub pid: Option<u32>,
    /// What its process has printed so far.
    pub printed: String,
}

/// A dyno whose process has ended.
#[derive(Debug, Clone)]
pub struct EndedDyno {
    /// Its name.
    pub name: String,
    /// The number of its process.
    pub pid: u32,
    /// The release that it ran.
    pub release: u64,
    /// How its process ended.
    pub how: How,
    /// How long that took from TERM, where it was told to.
    pub took: Option<Duration>,
    /// How many processes outlived it in the dyno; they were killed.
    pub left_behind: usize,
    printing: Printing,
}

impl EndedDyno {
    /// What its process printed.
    pub fn printed(&self) -> String {
        self.printing.so_far()
    }
}

impl PartialEq for EndedDyno {
    fn eq(&self, other: &Self) -> bool {
        (self.pid, self.release, &self.name, self.how) == (other.pid, other.release, &other.name, other.how)
    }
}

impl FakeHeroku {
    /// An app of this name, without process types.
    pub fn app(name: &str) -> Builder {
        let mut builder = Builder {
            app: name.into(),
            token: "f4ke-h3roku-t0ken".into(),
            processes: BTreeMap::new(),
            env: Vec::new(),
            grace: Duration::from_secs(30),
            boot: Duration::ZERO,
            tokens: 4500,
            page: None,
            hides_empty: false,
            lists_ending: false,
            clock: TimeDelta::zero(),
            started_at: DateTime::UNIX_EPOCH,
        };
        builder.started_at = builder.now();
        builder
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

//! What a fake Heroku is made of, before it is started.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::FakeHeroku;

/// A Heroku before it is started.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(super) app: String,
    pub(super) token: String,
    pub(super) processes: BTreeMap<String, ProcessType>,
    pub(super) env: Vec<(String, OsString)>,
    pub(super) grace: Duration,
    pub(super) boot: Duration,
    pub(super) tokens: u32,
    pub(super) page: Option<usize>,
    pub(super) hides_empty: bool,
    pub(super) lists_ending: bool,
    pub(super) clock: TimeDelta,
    pub(super) started_at: DateTime<Utc>,
}

/// A line of the Procfile.
#[derive(Debug, Clone)]
pub(super) struct ProcessType {
    pub(super) command: Vec<OsString>,
    pub(super) size: String,
    pub(super) most: Option<u32>,
}

impl ProcessType {
    pub(super) fn shown(&self) -> String {
        self.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}

impl Builder {
    pub(super) fn new(app: &str) -> Self {
        let mut builder = Self {
            app: app.into(),
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
        FakeHeroku::of(self).await
    }

    #[expect(clippy::disallowed_methods, reason = "this is the server, whose clock is nobody else's")]
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.clock
    }
}

//! Which handler runs which kind, and by which rules.

use std::{collections::HashMap, fmt, future::Future, marker::PhantomData, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use headcount_queue::{
    Attempt, Backoff, Context, Expiry, Job, JobError, Outcome, Retention, limits, store::ClaimedJob,
};

/// Runs jobs: what stands behind every kind.
///
/// Most programs implement [`Job`] instead and register it; [`Exec`](crate::exec::Exec) is a handler that runs a
/// program.
pub trait Handler: Send + Sync {
    /// Does the work of one attempt. The future is dropped when the attempt's time is up, when it is taken away, and
    /// when the worker must end; its [stop](Attempt::stop) says so beforehand, or in that moment.
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Result<Outcome, JobError>>;

    /// How long an attempt whose time is up may still take to clean up, having been told [`Stop::TimedOut`](headcount_queue::Stop::TimedOut). Its
    /// result no longer counts. Default none: it is dropped at once.
    fn wind_down(&self) -> Duration {
        Duration::ZERO
    }

    /// Why nothing can be run here any more, if so: failed attempts are then given back at no cost, and the worker
    /// ends with [`Exit::BrokenEnvironment`](crate::Exit::BrokenEnvironment).
    fn broken(&self) -> Option<String> {
        None
    }

    /// Ends what dropped attempts left behind, within `limit`. Awaited before a stopping worker gives its jobs back.
    fn close(&self, limit: Duration) -> BoxFuture<'static, ()> {
        let _ = limit;
        Box::pin(std::future::ready(()))
    }
}

/// A kind's rules, each overridden by the job's own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_run_time: Option<Duration>,
    pub(crate) backoff: Backoff,
    pub(crate) retention: Retention,
    pub(crate) expiry: Expiry,
}

impl Rules {
    fn of<J: Job>() -> Self {
        Self {
            timeout: J::TIMEOUT,
            max_run_time: J::MAX_RUN_TIME,
            backoff: J::BACKOFF,
            retention: J::RETENTION,
            expiry: J::EXPIRY,
        }
    }

    /// These rules as they hold for this job.
    pub(crate) fn for_job(self, job: &ClaimedJob) -> Self {
        Self {
            timeout: job.timeout.or(self.timeout),
            max_run_time: job.max_run_time.or(self.max_run_time),
            backoff: job.backoff.unwrap_or(self.backoff),
            retention: job.retention.unwrap_or(self.retention),
            expiry: self.expiry,
        }
    }
}

/// A handler with the rules of its kind.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) rules: Rules,
}

/// A kind to be registered: its names and what runs it.
pub(crate) struct Registration {
    names: Vec<&'static str>,
    type_name: &'static str,
    entry: Entry,
}

impl Registration {
    pub(crate) fn of<J: Job>(state: Arc<J::State>) -> Self {
        let names = std::iter::once(J::KIND).chain(J::ALIASES.iter().copied()).collect();
        let handler = Arc::new(Typed::<J> { state, job: PhantomData });
        Self { names, type_name: std::any::type_name::<J>(), entry: Entry { handler, rules: Rules::of::<J>() } }
    }
}

/// Every handler of a worker.
pub(crate) struct Registry {
    kinds: HashMap<&'static str, Entry>,
    any: Option<Entry>,
}

impl Registry {
    /// Refuses a name that two kinds claim, bad names, and a worker that could run nothing.
    pub(crate) fn new(registrations: Vec<Registration>, any: Option<Arc<dyn Handler>>) -> Result<Self, String> {
        let mut kinds = HashMap::new();
        let mut owners = HashMap::new();
        for Registration { names, type_name, entry } in registrations {
            for name in names {
                limits::check_name("a kind", name).map_err(|error| format!("{type_name}: {error}"))?;
                if let Some(owner) = owners.insert(name, type_name) {
                    return Err(format!(
                        "the kind {name:?} is claimed by {owner} and by {type_name}: each kind and alias has one handler"
                    ));
                }
                kinds.insert(name, entry.clone());
            }
        }
        let any = any.map(|handler| Entry { handler, rules: Rules::default() });
        if kinds.is_empty() && any.is_none() {
            return Err("the worker can run nothing: register a kind with handle, or one handler for all".into());
        }
        Ok(Self { kinds, any })
    }

    /// What runs this kind.
    pub(crate) fn find(&self, kind: &str) -> Option<&Entry> {
        self.kinds.get(kind).or(self.any.as_ref())
    }

    /// The kinds it can run, sorted, aliases included; empty means any.
    pub(crate) fn kinds(&self) -> Vec<String> {
        if self.any.is_some() {
            return Vec::new();
        }
        let mut kinds: Vec<String> = self.kinds.keys().map(|&kind| kind.to_owned()).collect();
        kinds.sort();
        kinds
    }

    /// Ends what dropped attempts of any handler left behind.
    pub(crate) fn close(&self, limit: Duration) -> impl Future<Output = ()> + use<> {
        let closing: Vec<_> = self.handlers().map(|handler| handler.close(limit)).collect();
        async move {
            futures::future::join_all(closing).await;
        }
    }

    fn handlers(&self) -> impl Iterator<Item = &Arc<dyn Handler>> {
        self.kinds.values().chain(&self.any).map(|entry| &entry.handler)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = self.any.is_some();
        f.debug_struct("Registry").field("kinds", &self.kinds()).field("any", &any).finish()
    }
}

/// A kind of [`Job`] as a handler: the payload is the struct, the struct is run.
struct Typed<J: Job> {
    state: Arc<J::State>,
    job: PhantomData<fn() -> J>,
}

impl<J: Job> Handler for Typed<J> {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Result<Outcome, JobError>> {
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            let job = attempt.job();
            let decoded: J = serde_json::from_str(&job.payload).map_err(|error| undecodable(&job.kind, &error))?;
            decoded.run(&Context::new(attempt, state)).await
        })
    }
}

/// A payload that does not decode will not do so tomorrow: failed for good, the payload left byte for byte.
fn undecodable(kind: &str, error: &serde_json::Error) -> JobError {
    JobError::fatal(format!(
        "the payload does not decode as {kind}: {error}; it is kept as it is: retry the job once its kind reads it"
    ))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    macro_rules! kind {
        ($name:ident, $kind:literal, $aliases:expr) => {
            #[derive(Serialize, Deserialize)]
            struct $name;
            impl Job for $name {
                const KIND: &'static str = $kind;
                const ALIASES: &'static [&'static str] = $aliases;
                type State = ();
                async fn run(self, _: &Context<()>) -> Result<Outcome, JobError> {
                    Ok(Outcome::DONE)
                }
            }
        };
    }
    kind!(New, "new", &["old", "older"]);
    kind!(Clash, "old", &[]);
    kind!(Unnamed, "a kind", &[]);

    fn unit<J: Job<State = ()>>() -> Registration {
        Registration::of::<J>(Arc::new(()))
    }

    #[test]
    fn a_kind_is_found_under_its_name_and_its_aliases() {
        let registry = Registry::new(vec![unit::<New>()], None).unwrap();
        assert_eq!(registry.kinds(), ["new", "old", "older"]);
        assert!(registry.find("older").is_some());
        assert!(registry.find("other").is_none());
    }

    #[test]
    fn a_name_claimed_twice_a_bad_name_and_no_handler_at_all_are_refused() {
        let clash = Registry::new(vec![unit::<New>(), unit::<Clash>()], None).unwrap_err();
        assert!(clash.contains("\"old\"") && clash.contains("New") && clash.contains("Clash"), "{clash}");
        let twice = Registry::new(vec![unit::<New>(), unit::<New>()], None).unwrap_err();
        assert!(twice.contains("\"new\""), "{twice}");
        assert!(Registry::new(vec![unit::<Unnamed>()], None).unwrap_err().contains("not allowed"));
        assert!(Registry::new(vec![], None).unwrap_err().contains("can run nothing"));
    }
}

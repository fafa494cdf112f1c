//! What a case holds: the store under test, workers on it, and the few steps that every case is made of.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::Fixture;
use crate::{
    AttemptRecord, Binding, Coalesce, Conflict, Expiry, JobId, JobRecord, NewJob, QueueState, Resolution, Result,
    Retention, Scope, Secret, State,
    store::{
        Beat, BeatAnswer, BootId, Claimed, ClaimedJob, Claimer, Enqueued, Filter, Gate, Maintain, NewWorker, Observe,
        Setting, Settlement, Store, Target, Token, Verdict, Want, WorkerState,
    },
};

/// How long a condition may take to come about. Far above what any store needs, so that a loaded machine fails nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough that a store under test never reaches its end.
pub(super) const HOUR: Duration = Duration::from_hours(1);

/// The store under test, as its case holds it.
#[derive(Debug)]
pub struct Trial<'f> {
    fixture: &'f dyn Fixture,
    /// The store.
    pub(super) store: Arc<dyn Store>,
}

impl<'f> Trial<'f> {
    /// A trial of this fixture's store.
    pub fn new(fixture: &'f dyn Fixture) -> Self {
        Self { fixture, store: fixture.store() }
    }

    pub(super) async fn another_handle(&self) -> Arc<dyn Store> {
        self.fixture.another_handle().await.expect("another handle opens")
    }

    pub(super) async fn enqueue_in_transaction(&self, jobs: &[NewJob], commit: bool) -> Option<Result<Vec<Enqueued>>> {
        self.fixture.enqueue_in_transaction(jobs, commit).await
    }

    /// Enqueues one job.
    pub(super) async fn enqueue(&self, job: NewJob) -> JobId {
        self.admit(job).await.id
    }

    /// Enqueues one job, and says what became of it.
    pub(super) async fn admit(&self, job: NewJob) -> Enqueued {
        let enqueued = self.store.enqueue(&[job]).await.expect("the job is taken in");
        assert_eq!(enqueued.len(), 1);
        enqueued[0]
    }

    /// Enqueues as many plain jobs as asked into this queue, in one bulk.
    pub(super) async fn fill(&self, queue: &str, jobs: usize) -> Vec<JobId> {
        let jobs = vec![plain(queue); jobs];
        self.store.enqueue(&jobs).await.expect("the jobs are taken in").into_iter().map(|e| e.id).collect()
    }

    /// A job that must be there.
    pub(super) async fn job(&self, id: JobId) -> JobRecord {
        self.find(id).await.unwrap_or_else(|| panic!("job {id} is there"))
    }

    /// A job that may be there.
    pub(super) async fn find(&self, id: JobId) -> Option<JobRecord> {
        self.store.job(id).await.expect("the store shows a job")
    }

    /// All that is shown of a job: what was refused must not have changed it.
    pub(super) async fn shown(&self, id: JobId) -> (Option<JobRecord>, Vec<AttemptRecord>) {
        (self.find(id).await, self.store.attempts(id).await.expect("the store shows attempts"))
    }

    pub(super) async fn state(&self, id: JobId) -> State {
        self.job(id).await.state
    }

    pub(super) async fn assert_state(&self, id: JobId, state: State) {
        assert_eq!(self.state(id).await, state, "the state of job {id}");
    }

    /// Every job that the filter lets through.
    pub(super) async fn jobs(&self, filter: &Filter) -> Vec<JobRecord> {
        self.store.jobs(filter, u32::MAX >> 1).await.expect("the store shows its jobs")
    }

    pub(super) async fn jobs_of(&self, queue: &str) -> Vec<JobRecord> {
        self.jobs(&Filter { queue: Some(queue.into()), ..Filter::default() }).await
    }

    pub(super) async fn now(&self) -> DateTime<Utc> {
        self.store.now().await.expect("the store tells the time")
    }

    /// A registered worker bound to these queues (`"a,b"`; `""` means any).
    pub(super) async fn worker(&self, queues: &str) -> Hand {
        Hand::register(self.store.clone(), queues).await
    }

    /// Promotes until this job is claimable.
    pub(super) async fn until_promoted(&self, id: JobId) {
        eventually("the scheduled job falls due", async || {
            self.store.promote(100).await.expect("a promotion passes");
            (self.state(id).await == State::Queued).then_some(())
        })
        .await;
    }

    /// Ends waits until this job's is over.
    pub(super) async fn until_expired(&self, id: JobId) -> State {
        eventually("the parked job's deadline passes", async || {
            let expired = self.store.expire(100).await.expect("an expiry passes");
            expired.into_iter().find(|expired| expired.id == id).map(|expired| expired.state)
        })
        .await
    }

    /// Waits until the store's clock has passed this time.
    pub(super) async fn until_past(&self, time: DateTime<Utc>) {
        eventually("the store's clock gets there", async || (self.now().await > time).then_some(())).await;
    }

    /// Sets something for a queue.
    pub(super) async fn set_queue(&self, queue: &str, setting: Setting) {
        self.store.set(&Target::Queue(queue.into()), setting).await.expect("a queue is set");
    }

    /// Sets something for a kind.
    pub(super) async fn set_kind(&self, kind: &str, setting: Setting) {
        self.store.set(&Target::Kind(kind.into()), setting).await.expect("a kind is set");
    }

    /// Releases until nothing is left to be released.
    pub(super) async fn release_all(&self) {
        // A pass that makes nothing claimable may have held something back; the next finds no more of that.
        while self.store.release(1000).await.expect("a release passes") > 0 {}
    }

    /// The counters equal a recount, by the suite and by the store itself.
    pub(super) async fn assert_counted(&self) {
        for (name, queue) in self.queues().await {
            let recount = super::recount::recount(&self.jobs_of(&name).await);
            assert_eq!(queue.depth, recount, "the counters of {name} and a recount");
        }
        assert_eq!(self.store.audit().await.expect("an audit passes"), [], "the store's own audit");
    }

    /// Folds every delta and reads the queues.
    pub(super) async fn queues(&self) -> BTreeMap<String, QueueState> {
        fold(&*self.store).await;
        let queues = self.store.queues().await.expect("the store shows its queues");
        queues.into_iter().map(|queue| (queue.queue.clone(), queue)).collect()
    }

    pub(super) async fn queue(&self, name: &str) -> QueueState {
        self.queues().await.remove(name).unwrap_or_else(|| panic!("the queue {name} is listed"))
    }

    /// The worker dies with these of its jobs started, as the platform tells at once; its jobs are taken away.
    pub(super) async fn dies(&self, worker: &Hand, holds: &[&ClaimedJob], started: &[&ClaimedJob]) {
        worker.beat(holds, started).await;
        assert_eq!(self.store.bury(&[worker.boot]).await.expect("a worker is buried"), [worker.boot]);
        self.store.rescue_dead(true).await.expect("its jobs are rescued");
    }

    /// A queued job whose process has died under it as often as it takes to be a suspect.
    pub(super) async fn suspect(&self, job: NewJob) -> JobId {
        let queue = job.queue.clone();
        let id = self.enqueue(job).await;
        self.make_suspect(&queue, id).await;
        id
    }

    /// Lets workers die under this job, which must be the first of its queue, until it is a suspect.
    pub(super) async fn make_suspect(&self, queue: &str, id: JobId) {
        for _ in 1..crate::limits::MAX_DEATHS {
            let mut worker = self.worker(queue).await;
            let job = worker.take_one().await;
            assert_eq!(job.id, id, "the job comes first in its queue");
            self.dies(&worker, &[&job], &[&job]).await;
        }
    }
}

/// A plain job of this queue.
pub(super) fn plain(queue: &str) -> NewJob {
    NewJob::new("kind", "{}").queue(queue)
}

/// A plain job of this queue with a key.
pub(super) fn keyed(queue: &str, key: &str, scope: Scope, conflict: Conflict) -> NewJob {
    plain(queue).key(key).coalesce(Coalesce { scope, conflict })
}

/// Every scope with every rule, and a queue for each.
pub(super) fn coalescings() -> Vec<(String, Coalesce)> {
    let rules = [Conflict::Keep, Conflict::Replace, Conflict::RunAgain];
    let scopes = [Scope::Pending, Scope::Unfinished, Scope::UnfinishedOrFailed];
    let pairs = scopes.into_iter().flat_map(|scope| rules.map(|conflict| Coalesce { scope, conflict }));
    pairs.map(|rule| (format!("{}.{}", rule.scope, rule.conflict), rule)).collect()
}

/// Waits until the condition gives a value: the one place of the suite that lets time pass.
pub(super) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Folds until nothing is left.
pub(super) async fn fold(store: &dyn Store) {
    // Nobody else folds a store of this suite, so a pass that finds nothing leaves nothing.
    while Maintain::fold(store).await.expect("a fold passes") > 0 {}
}

/// Waits until the store's clock shows another time than it does now.
pub(super) async fn tick(store: &dyn Store) -> DateTime<Utc> {
    let now = Observe::now(store).await.expect("the store tells the time");
    eventually("the store's clock goes on", async || {
        let then = Observe::now(store).await.expect("the store tells the time");
        (then > now).then_some(then)
    })
    .await
}

pub(super) fn completed() -> Verdict {
    Verdict::Completed { output: None, keep: Duration::ZERO }
}

pub(super) fn kept(output: &str) -> Verdict {
    Verdict::Completed { output: Some(output.into()), keep: HOUR }
}

pub(super) fn retry(after: Duration) -> Verdict {
    Verdict::Retry { error: "it broke".into(), after }
}

pub(super) fn failed() -> Verdict {
    Verdict::Failed { error: "it broke for good".into(), keep: None }
}

pub(super) fn snooze(after: Duration) -> Verdict {
    Verdict::Snooze { reason: Some("not yet".into()), after }
}

pub(super) fn interrupt() -> Verdict {
    Verdict::Interrupt { reason: "the worker stops".into() }
}

pub(super) fn cancelled() -> Verdict {
    Verdict::Cancelled { reason: "someone cancelled it".into() }
}

/// Handed to a third party, which has an hour.
pub(super) fn park() -> Verdict {
    park_for(HOUR, Expiry::Retry)
}

/// Handed to a third party for so long; kept for an hour once it has completed.
pub(super) fn park_for(wait: Duration, expiry: Expiry) -> Verdict {
    Verdict::Park { wait, expiry, keep: Retention { completed: HOUR, failed: None }, retry: HOUR }
}

pub(super) fn done(output: &str) -> Resolution {
    Resolution::Completed { output: Some(output.into()) }
}

pub(super) fn broken() -> Resolution {
    Resolution::Failed { error: "they broke it".into() }
}

pub(super) fn again(after: Option<Duration>) -> Resolution {
    Resolution::Retry { error: "they want it again".into(), after }
}

/// One of each answer, and what becomes of a job that waits for it.
pub(super) fn resolutions() -> [(Resolution, State); 5] {
    [
        (done("by them"), State::Completed),
        (Resolution::StillWaiting(2 * HOUR), State::WaitAsync),
        (broken(), State::Failed),
        (again(Some(HOUR)), State::Scheduled),
        (again(None), State::Scheduled),
    ]
}

/// One of each, and what becomes of the job. `None`: it is gone.
pub(super) fn verdicts() -> [(Verdict, Option<State>); 9] {
    [
        (completed(), None),
        (kept("done"), Some(State::Completed)),
        (retry(HOUR), Some(State::Scheduled)),
        (failed(), Some(State::Failed)),
        (snooze(HOUR), Some(State::Scheduled)),
        (park(), Some(State::WaitAsync)),
        (Verdict::Return, Some(State::Queued)),
        (interrupt(), Some(State::Queued)),
        (cancelled(), Some(State::Cancelled)),
    ]
}

/// The end of this attempt.
pub(super) fn end(job: &ClaimedJob, verdict: Verdict) -> Settlement {
    Settlement { id: job.id, token: job.token, verdict, ran: Duration::from_millis(7) }
}

pub(super) fn ids<'a>(jobs: impl IntoIterator<Item = &'a ClaimedJob>) -> Vec<JobId> {
    jobs.into_iter().map(|job| job.id).collect()
}

/// A worker of the suite: it counts its claims as a worker must.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) boot: BootId,
    store: Arc<dyn Store>,
    queues: Binding,
    /// The claims made so far.
    pub(super) claims: i64,
}

/// A worker that announces itself for these queues, at a place of its own.
pub(super) fn new_worker(queues: &str) -> NewWorker {
    let boot = BootId::random();
    NewWorker {
        boot,
        instance: Some(instance_of(boot)),
        host: "host-1".into(),
        pid: 4711,
        pool: Some("pool-1".into()),
        queues: queues.parse().expect("a binding"),
        kinds: vec!["kind".into(), "other".into()],
        slots: 8,
    }
}

impl Hand {
    pub(super) async fn register(store: Arc<dyn Store>, queues: &str) -> Self {
        let (hand, state) = Self::announce(store, new_worker(queues)).await;
        assert_eq!(state, WorkerState::Active);
        hand
    }

    /// This worker, and the state in which it comes up.
    pub(super) async fn announce(store: Arc<dyn Store>, worker: NewWorker) -> (Self, WorkerState) {
        let state = store.register(&worker).await.expect("a worker registers");
        (Self { boot: worker.boot, store, queues: worker.queues, claims: 0 }, state)
    }

    /// The same worker, speaking through another handle.
    pub(super) fn moved_to(self, store: Arc<dyn Store>) -> Self {
        Self { store, ..self }
    }

    pub(super) fn claimer(&self) -> Box<dyn Claimer> {
        self.store.claimer(self.boot, &self.queues, None)
    }

    /// A claimer under which jobs rise with their age.
    pub(super) fn aging_claimer(&self, aging: Duration) -> Box<dyn Claimer> {
        self.store.claimer(self.boot, &self.queues, Some(aging))
    }

    /// What the next claim for so many jobs asks; its number is used up.
    pub(super) fn want(&mut self, jobs: u32) -> Want {
        self.claims += 1;
        Want { claim: self.claims, jobs, sweep: true, ..Want::default() }
    }

    /// One call of a fresh claimer, which looks at the whole queue; asks again while the gate is busy.
    pub(super) async fn next(&mut self, settled: &[Settlement], jobs: u32, alone: bool) -> Claimed {
        let mut claimer = self.claimer();
        let mut settled = settled;
        loop {
            let want = Want { alone, ..self.want(jobs) };
            let claimed = claimer.next(settled, want).await.expect("a claim passes");
            for job in &claimed.jobs {
                assert_eq!(job.token, Token { boot: self.boot, claim: self.claims }, "the token is the claim's");
            }
            if claimed.gate != Gate::Busy {
                return claimed;
            }
            settled = &[];
        }
    }

    /// Claims up to so many jobs by a claimer of the case's own, which looks at the whole queue.
    pub(super) async fn take_by(&mut self, claimer: &mut dyn Claimer, jobs: u32) -> Vec<ClaimedJob> {
        loop {
            let claimed = claimer.next(&[], self.want(jobs)).await.expect("a claim passes");
            if claimed.gate != Gate::Busy {
                return claimed.jobs;
            }
        }
    }

    /// Claims up to so many jobs.
    pub(super) async fn take(&mut self, jobs: u32) -> Vec<ClaimedJob> {
        let claimed = self.next(&[], jobs, false).await;
        assert_eq!(claimed.gate, Gate::Open, "the worker may claim");
        claimed.jobs
    }

    /// Claims one job, which must be there; a suspect too.
    pub(super) async fn take_one(&mut self) -> ClaimedJob {
        let mut claimed = self.next(&[], 1, true).await;
        assert_eq!(claimed.gate, Gate::Open, "the worker may claim");
        assert_eq!(claimed.jobs.len(), 1, "one job is claimed");
        claimed.jobs.remove(0)
    }

    /// The secret of this attempt, as its handler asks for one.
    pub(super) async fn callback(&self, job: &ClaimedJob) -> Secret {
        let secret = Secret::random();
        self.store.callback(job.id, job.token, &secret.digest()).await.expect("the store notes a secret");
        secret
    }

    /// Claims one job, which must be there, and parks it under a secret.
    pub(super) async fn park_one(&mut self, verdict: Verdict) -> (ClaimedJob, Secret) {
        let job = self.take_one().await;
        let secret = self.callback(&job).await;
        self.settle(&job, verdict).await;
        (job, secret)
    }

    /// Settles one attempt, and claims nothing.
    pub(super) async fn settle(&self, job: &ClaimedJob, verdict: Verdict) {
        self.settle_all(&[end(job, verdict)]).await;
    }

    /// Settles these attempts, and claims nothing.
    pub(super) async fn settle_all(&self, settled: &[Settlement]) {
        let claimed = self.claimer().next(settled, Want::default()).await.expect("a settlement passes");
        assert!(claimed.jobs.is_empty(), "a claim of nothing claims nothing");
    }

    /// A beat that accounts for every claim so far.
    pub(super) async fn beat(&self, holds: &[&ClaimedJob], started: &[&ClaimedJob]) -> BeatAnswer {
        self.store.beat(&self.sign(holds, started)).await.expect("a beat passes")
    }

    pub(super) fn sign(&self, holds: &[&ClaimedJob], started: &[&ClaimedJob]) -> Beat {
        Beat {
            boot: self.boot,
            holds: holds.iter().map(|job| (job.id, job.token.claim)).collect(),
            started: started.iter().map(|job| job.id).collect(),
            through: self.claims,
            grace: None,
        }
    }
}

/// Where a worker of the suite lives: each at a place of its own, so that a drain of one is no other's.
pub(super) fn instance_of(boot: BootId) -> String {
    format!("instance-1-{boot}")
}

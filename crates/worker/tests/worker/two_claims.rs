//! Two claims under way at a time, on a store that says that it bears them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use headcount_queue::{
    Binding, BootId, JobId, Queue, Result,
    store::{
        Beat, BeatAnswer, Claim, Claimed, Claimer, NewWorker, Settlement, Store, Token, Wakes, Want, WorkerState,
        faulty::{Call, Fault, Faulty, When},
    },
};
use headcount_worker::Exit;

use crate::common::soon;
use crate::stage::{Act, Event, Sample, Stage, add, hire, memory, worker};

/// What was seen of the claims.
#[derive(Debug, Default)]
struct Seen {
    under_way: usize,
    most: usize,
    /// One that might have brought a suspect was under way together with another.
    beside_one_alone: bool,
    alone: usize,
}

/// A store with two claimers for each worker.
#[derive(Debug, Clone)]
struct Twofold {
    store: Arc<dyn Store>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Watched {
    inner: Box<dyn Claimer>,
    seen: Arc<Mutex<Seen>>,
}

#[async_trait]
impl Claimer for Watched {
    async fn next(&mut self, settled: &[Settlement], want: Want) -> Result<Claimed> {
        let (claims, alone) = (usize::from(want.claim > 0), usize::from(want.alone));
        {
            let mut seen = self.seen.lock().unwrap();
            seen.under_way += claims;
            seen.alone += alone;
            seen.most = seen.most.max(seen.under_way);
            seen.beside_one_alone |= seen.alone > 0 && seen.under_way > 1;
        }
        let answer = self.inner.next(settled, want).await;
        let mut seen = self.seen.lock().unwrap();
        seen.under_way -= claims;
        seen.alone -= alone;
        answer
    }
}

#[async_trait]
impl Claim for Twofold {
    async fn register(&self, worker: &NewWorker) -> Result<WorkerState> {
        self.store.register(worker).await
    }

    async fn deregister(&self, boot: BootId) -> Result<bool> {
        self.store.deregister(boot).await
    }

    fn claimer(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Box<dyn Claimer> {
        Box::new(Watched { inner: self.store.claimer(boot, queues, aging), seen: Arc::clone(&self.seen) })
    }

    fn claimers(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Vec<Box<dyn Claimer>> {
        vec![self.claimer(boot, queues, aging), self.claimer(boot, queues, aging)]
    }

    async fn listen(&self, queues: &Binding) -> Result<Option<Box<dyn Wakes>>> {
        self.store.listen(queues).await
    }

    async fn sleep(&self, queues: &Binding, asleep: bool) -> Result<()> {
        self.store.sleep(queues, asleep).await
    }

    async fn beat(&self, beat: &Beat) -> Result<BeatAnswer> {
        self.store.beat(beat).await
    }

    async fn callback(&self, id: JobId, token: Token, digest: &str) -> Result<()> {
        self.store.callback(id, token, digest).await
    }

    async fn heart(&self) -> Result<Arc<dyn Claim>> {
        Ok(Arc::new(self.clone()))
    }
}

/// A queue on such a store that holds so many jobs, its faults, what is seen of its claims, and a handle that never fails.
async fn twofold(jobs: usize) -> (Queue, Faulty, Arc<Mutex<Seen>>, Queue) {
    let sound = memory().await;
    add_many(&sound, jobs).await;
    let seen = Arc::<Mutex<Seen>>::default();
    let claim = Twofold { store: Arc::clone(sound.store()), seen: Arc::clone(&seen) };
    let faulty = Faulty::new(Arc::clone(sound.store())).claiming_through(Arc::new(claim));
    (Queue::new(Arc::new(faulty.clone())), faulty, seen, sound)
}

async fn add_many(queue: &Queue, jobs: usize) {
    queue.enqueue_all((0..jobs).map(|_| Sample { act: Act::Done })).await.unwrap();
}

/// Every one of so many jobs was started, once.
fn all_once(stage: &Stage, jobs: usize) {
    let mut started = started(stage);
    assert_eq!(started.len(), jobs);
    started.sort_unstable();
    started.dedup();
    assert_eq!(started.len(), jobs, "none ran twice");
}

fn started(stage: &Stage) -> Vec<JobId> {
    stage.events().into_iter().filter(|(_, event)| *event == Event::Started).map(|(id, _)| id).collect()
}

#[tokio::test]
async fn under_load_two_claims_are_under_way_and_lost_replies_cost_no_job_and_double_none() {
    const JOBS: usize = 6000;
    let (queue, faulty, seen, _) = twofold(JOBS).await;
    let stage = Stage::new();
    let _claims = faulty.rule(Call::Claim, Fault::LoseReply, When::Every(4));
    let exit = hire(worker(&queue, &stage).exit_if_empty(true)).end().await.0;
    assert_eq!(exit, Exit::Done);
    assert!(faulty.faults(Call::Claim) >= 2, "{faulty:?}");
    all_once(&stage, JOBS);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.most, 2);
    assert!(!seen.beside_one_alone, "a claim that may bring a suspect has no other beside it");
}

#[tokio::test]
async fn no_beat_gives_the_jobs_of_a_claim_back_whose_answer_is_long_on_its_way() {
    const JOBS: usize = 6000;
    let (queue, faulty, _, sound) = twofold(0).await;
    let stage = Stage::new();
    // Who holds nothing claims alone, since it may be given a suspect: so it holds something.
    let gate = add(&sound, Act::Gate).await;
    let hired = hire(worker(&queue, &stage).exit_if_empty(true));
    stage.started(gate).await;
    add_many(&sound, JOBS - 1).await;
    stage.until("it is at work", |stage| stage.count(Event::Started) > 500).await;
    let late = faulty.rule(Call::Claim, Fault::StallAfter, When::First(1));
    soon("a claim hangs", faulty.until_faults(Call::Claim, 1)).await;
    let beats = faulty.calls(Call::Beat);
    soon("beats go on", faulty.until_calls(Call::Beat, beats + 3)).await;
    assert!(started(&stage).len() < JOBS, "its jobs are on their way");
    late.lift();
    stage.gate.add_permits(1);
    assert_eq!(hired.end().await.0, Exit::Done);
    all_once(&stage, JOBS);
}

#[tokio::test]
async fn with_one_slot_there_is_one_claim_at_a_time_and_jobs_start_in_their_order() {
    const JOBS: usize = 2000;
    let (queue, _, seen, _) = twofold(JOBS).await;
    let stage = Stage::new();
    assert_eq!(hire(worker(&queue, &stage).slots(1).exit_if_empty(true)).end().await.0, Exit::Done);
    let started = started(&stage);
    assert_eq!(started.len(), JOBS);
    assert!(started.is_sorted());
    assert_eq!(seen.lock().unwrap().most, 1);
}

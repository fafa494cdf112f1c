//! Answers of the store that are lost after their commit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use headcount::{Context, Exit, Job, JobError, Outcome, Queue, Worker};
use headcount_queue::{
    Binding,
    store::faulty::{Call, Fault, Faulty, When},
};
use headcount_tests::{Place, eventually, on_each_store};
use serde::{Deserialize, Serialize};

const JOBS: usize = 200;
/// The work of a job: too long to be buffered, so that each claim brings few and there are many claims.
const WORK: Duration = Duration::from_millis(30);
const SOON: Duration = Duration::from_mins(1);

on_each_store!(with_every_fifth_claims_and_settles_answer_lost_every_job_completes_and_runs_once);

#[derive(Debug, Serialize, Deserialize)]
struct Count;

/// How often each job ran.
type Runs = Arc<Mutex<BTreeMap<i64, usize>>>;

impl Job for Count {
    const KIND: &'static str = "count";
    type State = Runs;

    async fn run(self, cx: &Context<Runs>) -> Result<Outcome, JobError> {
        *cx.state().lock().unwrap().entry(cx.id().0).or_default() += 1;
        let _ = tokio::time::timeout(WORK, cx.stopped()).await;
        Ok(Outcome::DONE)
    }
}

async fn with_every_fifth_claims_and_settles_answer_lost_every_job_completes_and_runs_once(place: Place) {
    let sound = Queue::connect(&place.url).await.unwrap();
    sound.enqueue_all((0..JOBS).map(|_| Count)).await.unwrap();
    let faulty = Faulty::new(Arc::clone(sound.store()));
    let _claims = faulty.rule(Call::Claim, Fault::LoseReply, When::Every(5));
    let _settles = faulty.rule(Call::Settle, Fault::LoseReply, When::Every(5));

    let runs = Runs::default();
    let queue = Queue::new(Arc::new(faulty.clone()));
    let worker = Worker::builder(queue).state(Arc::clone(&runs)).handle::<Count>().slots(4);
    let worker = worker.beat(Duration::from_millis(200)).exit_if_empty(true).run();
    let exit = tokio::time::timeout(SOON * 2, worker).await.expect("it comes to an end").unwrap();

    assert_eq!(exit, Exit::Done);
    assert!(faulty.faults(Call::Claim) >= 3 && faulty.faults(Call::Settle) >= 3, "{faulty:?}");
    let runs = runs.lock().unwrap().clone();
    assert_eq!(runs.len(), JOBS, "each ran");
    assert_eq!(runs.values().filter(|&&n| n > 1).count(), 0, "none ran twice");
    eventually("nothing is left, running jobs included", SOON, async || {
        let left = sound.store().outstanding(&Binding::Any).await.unwrap();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

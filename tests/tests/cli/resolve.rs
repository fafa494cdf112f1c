//! `headcount jobs resolve`: answers for jobs that a program of the application's own has handed to a third party.

use std::{sync::Arc, time::Duration};

use headcount::{Context, Exit, Job, JobError, Outcome, Queue, Retention, Worker};
use headcount_queue::Callback;
use serde::{Deserialize, Serialize};
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::{Place, SOON};

const HOUR: Duration = Duration::from_hours(1);

/// Hands its callback over, and waits once the gate lets it.
#[derive(Debug, Serialize, Deserialize)]
struct Errand {}

struct Desk {
    given: UnboundedSender<Callback>,
    gate: Arc<Semaphore>,
}

impl Job for Errand {
    const KIND: &'static str = "errand";
    const RETENTION: Retention = Retention { completed: HOUR, failed: None };
    type State = Desk;

    async fn run(self, cx: &Context<Desk>) -> Result<Outcome, JobError> {
        cx.state().given.send(cx.callback().await?)?;
        cx.state().gate.acquire().await?.forget();
        Ok(Outcome::Waiting(HOUR))
    }
}

/// The application: its worker, and whoever is handed callbacks.
struct Application {
    queue: Queue,
    desk: Option<Desk>,
    given: UnboundedReceiver<Callback>,
    gate: Arc<Semaphore>,
}

impl Application {
    async fn of(place: &Place) -> Self {
        let (sender, given) = unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let desk = Some(Desk { given: sender, gate: Arc::clone(&gate) });
        Self { queue: Queue::connect(&place.url).await.unwrap(), desk, given, gate }
    }

    /// Enqueues a job and starts a worker, which ends when nothing is left to be done. Returns the job's callback once it
    /// has been handed over; the job is parked when the worker has ended.
    async fn hand_over(&mut self) -> (Callback, tokio::task::JoinHandle<Exit>) {
        self.queue.enqueue(Errand {}).await.unwrap();
        let desk = self.desk.take().expect("there is one worker in a test");
        let worker = Worker::builder(self.queue.clone()).state(desk).handle::<Errand>().exit_if_empty(true);
        let worker = tokio::spawn(async move { worker.run().await.unwrap() });
        let callback = tokio::time::timeout(SOON, self.given.recv()).await.unwrap().unwrap();
        (callback, worker)
    }

    /// The callback of a job that is parked.
    async fn park(&mut self) -> Callback {
        self.gate.add_permits(1);
        let (callback, worker) = self.hand_over().await;
        assert_eq!(worker.await.unwrap(), Exit::Done);
        callback
    }
}

/// The command fails with this status, says this, and keeps the secret to itself.
async fn is_refused(place: &Place, line: &str, stdin: &str, status: i32, why: &str) {
    let ended = place.headcount(line).stdin(stdin).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(status), "{line}: {ended}");
    assert!(ended.stderr().contains(why), "{line}: {why}: {ended}");
    assert_eq!(ended.stdout(), "", "{line}: {ended}");
    let secret = line.split([' ', ':']).find(|word| word.len() == 32);
    assert!(secret.is_none_or(|secret| !ended.stderr().contains(secret)), "{line}: {ended}");
}

#[tokio::test]
async fn an_answer_completes_a_parked_job_with_what_it_has_to_show() {
    let place = Place::sqlite();
    let callback = Application::of(&place).await.park().await;
    assert_eq!(place.states().await, ["wait_async"]);
    let id = callback.id;
    let shown = place.row(&format!("jobs show {id}")).await;
    assert!(shown["deadline"].is_string(), "{shown}");
    assert_eq!(place.row("queues").await["parked"], 1);

    let answered = place.says(&format!("jobs resolve {callback} --completed --output {{\"pages\":7}}")).await;
    assert_eq!(answered.stdout(), format!("job {id}: completed\n"));
    let shown = place.row(&format!("jobs show {id}")).await;
    assert_eq!((&shown["state"], &shown["output"]), (&"completed".into(), &"{\"pages\":7}".into()), "{shown}");
    is_refused(&place, &format!("jobs resolve {callback} --completed"), "", 1, "is completed: it cannot be resolved")
        .await;
}

#[tokio::test]
async fn a_callback_on_standard_input_stands_in_no_list_of_processes() {
    let place = Place::sqlite();
    let callback = Application::of(&place).await.park().await;
    let id = callback.id;
    let deadline = async || place.row(&format!("jobs show {id}")).await["deadline"].as_str().unwrap().to_owned();
    let before = deadline().await;
    let resolve = async |answer: &str| {
        let command = place.headcount(&format!("jobs resolve - {answer}")).stdin(format!("{callback}\n"));
        command.start().ends_well(SOON).await
    };
    let row = &resolve("--still-waiting 3h --json").await.json::<serde_json::Value>()[0];
    assert_eq!(*row, serde_json::json!({"id": id, "resolution": "still_waiting", "result": "done"}));
    assert!(deadline().await > before);
    // Its secret is good still.
    let retried = resolve("--retry busy --after 2h").await.stdout();
    assert_eq!(retried, format!("job {id}: retried, while it has attempts left\n"));
    let shown = place.row(&format!("jobs show {id}")).await;
    assert_eq!((&shown["state"], &shown["error"]), (&"scheduled".into(), &"busy".into()), "{shown}");
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "{shown}");
}

#[tokio::test]
async fn an_answer_that_comes_early_says_so_and_counts_once_the_job_is_parked() {
    let place = Place::sqlite();
    let mut application = Application::of(&place).await;
    let (callback, worker) = application.hand_over().await;
    let id = callback.id;
    let line = format!("jobs resolve {callback} --failed");
    let answered = place.says(&format!("{line} lost")).await.stdout();
    assert_eq!(answered, format!("job {id} still runs: once it is parked: failed\n"));
    assert_eq!(place.states().await, ["running"]);
    is_refused(&place, &format!("{line} twice"), "", 1, &format!("job {id} has been answered for already")).await;
    application.gate.add_permits(1);
    assert_eq!(worker.await.unwrap(), Exit::Done);
    let shown = place.row(&format!("jobs show {id}")).await;
    assert_eq!((&shown["state"], &shown["error"]), (&"failed".into(), &"lost".into()), "{shown}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_given_says_why_and_changes_nothing() {
    let place = Place::sqlite();
    let callback = Application::of(&place).await.park().await;
    let waits = place.enqueue("errand").await;
    let id = callback.id;
    let long = "x".repeat((64 << 10) + 1);
    for (line, stdin, status, why) in [
        (format!("{id}:wrong --completed"), "", 1, "cannot be resolved by this secret"),
        (format!("4711:{} --completed", callback.secret.reveal()), "", 1, "no job has the id 4711"),
        (format!("{waits}:x --completed"), "", 1, "is queued: it cannot be resolved"),
        (format!("{id} --completed"), "", 2, "a callback is ID:SECRET"),
        ("- --completed".into(), "", 2, "a callback is ID:SECRET"),
        ("- --completed".into(), "nothing of the kind\n", 2, "a callback is ID:SECRET"),
        (format!("{callback}"), "", 2, "required"),
        (format!("{callback} --completed --failed no"), "", 2, "cannot be used with"),
        (format!("{callback} --failed no --output x"), "", 2, "cannot be used with"),
        (format!("{callback} --still-waiting 0s"), "", 2, "fail or retry the job instead"),
        (format!("{callback} --still-waiting 99999d"), "", 2, "longer than ten years"),
        (format!("{callback} --completed --output {long}"), "", 2, "an output has at most 65536 bytes"),
    ] {
        is_refused(&place, &format!("jobs resolve {line}"), stdin, status, why).await;
    }
    assert_eq!(place.states().await, ["wait_async", "queued"]);
    place.says(&format!("jobs resolve {callback} --completed")).await;
    assert_eq!(place.states().await, ["completed", "queued"]);
}

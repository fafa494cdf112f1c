//! The store misbehaves: lost replies, outages, silence.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use headcount_queue::{
    Queue, State,
    rescue::{Rescuer, Vigil},
    store::{
        Filter,
        faulty::{Call, Calls, Fault, Faulty, When},
    },
};
use headcount_worker::Exit;

use crate::common::soon;
use crate::stage::{Act, Event, Sample, Stage, add, hire, memory, no_workers, until_gone, until_state, worker};

/// A queue whose store fails on cue; its other handle never does.
async fn faulty() -> (Queue, Faulty, Queue) {
    let sound = memory().await;
    let faulty = Faulty::new(sound.store().clone());
    (Queue::new(Arc::new(faulty.clone())), faulty, sound)
}

async fn file(path: &Path) -> Queue {
    Queue::connect(&format!("sqlite:{}", path.display())).await.unwrap()
}

const SHORT: Vigil = Vigil { window: Duration::from_millis(600), scan: Duration::from_millis(50) };

async fn until_faults(store: &Faulty, call: Call, faults: u64) {
    soon(&format!("{faults} faults of {call:?}"), store.until_faults(call, faults)).await;
}

async fn until_calls(store: &Faulty, call: Call, calls: u64) {
    soon(&format!("{calls} calls of {call:?}"), store.until_calls(call, calls)).await;
}

/// A failing beat is tried again after 50 to 150 ms, so that this many fail in no less than 1 s: more than a window.
const WINDOW_OF_BEATS: u64 = 20;

#[tokio::test]
async fn with_every_fifth_claims_and_settles_reply_lost_every_job_completes_and_runs_once() {
    let (queue, faulty, sound) = faulty().await;
    let stage = Stage::new();
    // Too long to be buffered: each claim brings few, so that there are many claims.
    let nap = |i: u64| Sample { act: Act::Nap(Duration::from_millis(26 + i % 9)) };
    sound.enqueue_all((0..120).map(nap)).await.unwrap();
    let claims = faulty.rule(Call::Claim, Fault::LoseReply, When::Every(5));
    let settles = faulty.rule(Call::Settle, Fault::LoseReply, When::Every(5));
    let exit = hire(worker(&queue, &stage).exit_if_empty(true)).end().await.0;
    assert_eq!(exit, Exit::Done);
    assert!(faulty.faults(Call::Claim) >= 3 && faulty.faults(Call::Settle) >= 3, "{faulty:?}");
    drop((claims, settles));
    assert_eq!((stage.count(Event::Started), stage.count(Event::Ended)), (120, 120));
    let mut jobs: Vec<_> = stage.events().into_iter().filter(|event| event.1 == Event::Ended).collect();
    jobs.sort_by_key(|event| event.0);
    jobs.dedup();
    assert_eq!(jobs.len(), 120, "none ran twice");
    assert_eq!(sound.store().jobs(&Filter::default(), 10).await.unwrap(), [], "nothing is left, nothing is running");
}

#[tokio::test]
async fn calls_that_fail_now_and_then_cost_nothing_but_time() {
    let (queue, faulty, sound) = faulty().await;
    let stage = Stage::new();
    sound.enqueue_all((0..200).map(|_| Sample { act: Act::Done })).await.unwrap();
    let _failing = faulty.rule(Calls::ALL, Fault::Fail, When::Every(3));
    assert_eq!(hire(worker(&queue, &stage).exit_if_empty(true)).end().await.0, Exit::Done);
    assert_eq!((stage.count(Event::Started), stage.count(Event::Ended)), (200, 200));
    assert_eq!(sound.store().jobs(&Filter::default(), 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_job_whose_claim_was_never_answered_goes_back_by_the_beat_and_runs() {
    let (queue, faulty, sound) = faulty().await;
    let stage = Stage::new();
    let id = add(&sound, Act::Done).await;
    let _once = faulty.rule(Call::Claim, Fault::LoseReply, When::First(1));
    let hired = hire(worker(&queue, &stage));
    until_gone(&sound, id).await;
    assert_eq!(stage.count(Event::Started), 1);
    hired.stop().await;
}

#[tokio::test]
async fn a_stopping_worker_gives_back_even_what_it_never_heard_of() {
    let (queue, faulty, sound) = faulty().await;
    let stage = Stage::new();
    let id = add(&sound, Act::Done).await;
    let _claims = faulty.rule(Call::Claim, Fault::LoseReply, When::Always);
    // No beat comes before the stop: only the farewell can give it back.
    let hired = hire(worker(&queue, &stage).beat(Duration::from_secs(1)));
    until_faults(&faulty, Call::Claim, 1).await;
    assert_eq!(hired.stop().await, Exit::Stopped);
    let record = sound.job(id).await.unwrap().unwrap();
    assert_eq!((record.state, record.interruptions), (State::Queued, 0));
    assert!(no_workers(&sound).await);
}

#[tokio::test]
async fn a_worker_waits_for_a_store_that_is_not_there_yet() {
    let (queue, faulty, sound) = faulty().await;
    let stage = Stage::new();
    let down = faulty.down();
    let hired = hire(worker(&queue, &stage));
    until_faults(&faulty, Call::Register, 3).await;
    down.lift();
    let id = add(&sound, Act::Done).await;
    until_gone(&sound, id).await;
    hired.stop().await;
}

#[tokio::test]
async fn a_worker_whose_store_stays_away_ends_saying_so_whether_idle_or_busy() {
    for busy in [false, true] {
        let (queue, faulty, sound) = faulty().await;
        let stage = Stage::new();
        let hired = hire(worker(&queue, &stage).slots(1).store_patience(Duration::from_millis(300)));
        let id = add(&sound, Act::Gate).await;
        stage.started(id).await;
        if !busy {
            stage.gate.add_permits(1);
            until_gone(&sound, id).await;
        }
        let _down = faulty.down();
        assert_eq!(hired.end().await.0, Exit::StoreLost, "busy: {busy}");
        assert_eq!(stage.count(Event::Dropped), usize::from(busy));
    }
}

#[tokio::test]
async fn an_idle_worker_whose_store_hangs_is_gone_at_once_all_the_same() {
    let (queue, faulty, sound) = faulty().await;
    let stage = Stage::new();
    let hired = hire(worker(&queue, &stage).grace(Duration::from_mins(1)));
    let id = add(&sound, Act::Done).await;
    until_gone(&sound, id).await;
    let claims = faulty.calls(Call::Claim);
    let _hanging = faulty.rule(Calls::ALL, Fault::StallBefore, When::Always);
    until_calls(&faulty, Call::Claim, claims + 1).await;
    hired.stopper.stop();
    let (exit, took) = hired.end().await;
    assert_eq!(exit, Exit::Stopped);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_worker_that_could_not_beat_for_a_window_starts_nothing_until_a_beat_succeeds() {
    let (queue, faulty, sound) = faulty().await;
    let stage = Stage::new();
    let hired = hire(worker(&queue, &stage).vigil(SHORT));
    let first = add(&sound, Act::Done).await;
    until_gone(&sound, first).await;
    // Its claims would succeed, and nobody takes it for dead.
    let silent = faulty.rule(Call::Beat | Call::Heart | Call::Rescue, Fault::Fail, When::Always);
    until_faults(&faulty, Call::Heart, WINDOW_OF_BEATS).await;
    let claims = faulty.calls(Call::Claim);
    let id = add(&queue, Act::Done).await;
    until_faults(&faulty, Call::Heart, WINDOW_OF_BEATS * 2).await;
    assert_eq!(faulty.calls(Call::Claim), claims, "it does not even ask");
    assert_eq!(sound.job(id).await.unwrap().unwrap().state, State::Queued);
    assert_eq!(stage.count_of(id, Event::Started), 0);
    silent.lift();
    until_gone(&sound, id).await;
    hired.stop().await;
}

#[tokio::test]
async fn an_outage_of_several_windows_kills_nobody_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let stage = Stage::new();
    let mut stores = Vec::new();
    let mut hired = Vec::new();
    for _ in 0..2 {
        let faulty = Faulty::new(file(&path).await.store().clone());
        let queue = Queue::new(Arc::new(faulty.clone()));
        hired.push(hire(worker(&queue, &stage).slots(3).vigil(SHORT)));
        stores.push(faulty);
    }
    let sound = file(&path).await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(add(&sound, Act::Gate).await);
    }
    for &id in &jobs {
        stage.started(id).await;
    }
    // Both have watched for longer than a window, so that they would judge at once.
    for store in &stores {
        until_calls(store, Call::Rescue, 3).await;
    }
    let down: Vec<_> = stores.iter().map(Faulty::down).collect();
    for store in &stores {
        until_faults(store, Call::Heart, WINDOW_OF_BEATS * 3).await;
    }
    // Three end during the outage, three after it.
    stage.gate.add_permits(3);
    stage.until("three end", |stage| stage.count(Event::Ended) == 3).await;
    drop(down);
    for store in &stores {
        let judged = store.calls(Call::Rescue);
        until_calls(store, Call::Rescue, judged + 3).await;
    }
    stage.gate.add_permits(3);
    for id in jobs {
        until_gone(&sound, id).await;
        assert_eq!(stage.count_of(id, Event::Started), 1, "job {id}");
    }
    assert_eq!(stage.count(Event::Dropped), 0);
    for hired in hired {
        assert_eq!(hired.stop().await, Exit::Stopped);
    }
}

#[test]
fn handlers_that_block_every_thread_of_the_runtime_kill_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let (watch, watched) = (path.clone(), mpsc::channel::<()>());
    let (stop, stopped) = watched;
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Someone else looks for the dead all the while.
    let rescuer = thread::spawn(move || {
        runtime().block_on(async {
            let queue = file(&watch).await;
            let mut rescuer = Rescuer::new(SHORT);
            let mut taken = Vec::new();
            let mut look = tokio::time::interval(SHORT.scan);
            while stopped.try_recv().is_err() {
                look.tick().await;
                taken.extend(rescuer.scan(&**queue.store()).await.unwrap());
            }
            taken
        })
    });
    let crowded = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    crowded.block_on(async {
        let (queue, stage) = (file(&path).await, Stage::new());
        let hired = hire(worker(&queue, &stage).vigil(SHORT));
        let mut jobs = Vec::new();
        for _ in 0..4 {
            jobs.push(add(&queue, Act::Block(SHORT.window * 2)).await);
        }
        for id in jobs {
            until_gone(&queue, id).await;
            assert_eq!(stage.count_of(id, Event::Started), 1);
        }
        assert_eq!(hired.stop().await, Exit::Stopped);
    });
    stop.send(()).unwrap();
    assert_eq!(rescuer.join().unwrap(), []);
}

#[tokio::test]
async fn a_settle_whose_reply_is_lost_is_sent_again_and_changes_nothing_then() {
    let (queue, faulty, sound) = faulty().await;
    let stage = Stage::new();
    let lost = faulty.rule(Call::Settle, Fault::LoseReply, When::First(2));
    let hired = hire(worker(&queue, &stage));
    let id = add(&queue, Act::Fail).await;
    until_faults(&faulty, Call::Settle, 2).await;
    until_calls(&faulty, Call::Settle, 3).await;
    lost.lift();
    let record = until_state(&sound, id, State::Scheduled).await;
    assert_eq!(record.attempt, 1, "the same failure counts once");
    assert_eq!(sound.store().attempts(id).await.unwrap().len(), 1);
    assert_eq!(hired.stop().await, Exit::Stopped);
}

//! The process's signals. One test, since a process has one set of them.

use std::time::Duration;

use headcount_queue::Stop;
use headcount_worker::Exit;
use rustix::process::{Signal, getpid, kill_process};

use crate::stage::{Act, Event, Hired, Stage, add, hire, memory, worker};

fn signal(signal: Signal) {
    kill_process(getpid(), signal).unwrap();
}

#[tokio::test]
async fn each_signal_stops_the_worker_as_its_supervisor_or_its_terminal_means_it() {
    let stage = Stage::new();
    let queue = memory().await;
    let start = async || -> Hired {
        let hired = hire(worker(&queue, &stage).signals(true).grace(Duration::from_secs(1)));
        // Once a job runs, the handlers of the signals are in place.
        let id = add(&queue, Act::Gate).await;
        stage.started(id).await;
        hired
    };

    for gentle in [Signal::HUP, Signal::INT] {
        let hired = start().await;
        signal(gentle);
        // The job may end in its own time, and then the worker does: one that had not heard would go on.
        stage.gate.add_permits(1);
        assert_eq!(hired.end().await.0, Exit::Stopped);
    }
    for hard in [Signal::TERM, Signal::QUIT] {
        let hired = start().await;
        let id = add(&queue, Act::Obey).await;
        stage.started(id).await;
        signal(hard);
        stage.until("the handler is told", |stage| stage.count_of(id, Event::Told(Stop::Stopping)) == 1).await;
        assert_eq!(hired.end().await.0, Exit::Forced { given_back: 1 }, "the other job had its grace");
        stage.gate.add_permits(1);
        hire(worker(&queue, &stage).exit_after(1)).end().await;
        queue.cancel(id).await.unwrap();
    }
    let hired = start().await;
    // Signals of one kind that come at once are one signal, so the second is repeated until it is heard.
    crate::common::eventually("a second INT stops it at once", || async {
        signal(Signal::INT);
        (!hired.is_running()).then_some(())
    })
    .await;
    assert_eq!(hired.end().await.0, Exit::Forced { given_back: 1 });
}

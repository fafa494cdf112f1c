//! Options that change how a worker goes about its work, and not what becomes of jobs.

use std::{
    io,
    sync::{Arc, Mutex},
};

use headcount_worker::{Exit, Verbosity};
use tracing_subscriber::fmt::MakeWriter;

use crate::stage::{Act, Stage, add, hire, memory, until_gone, worker};

/// A log that a test reads.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What a worker logs, from info up, that runs one job which completes and one which fails.
async fn log(verbosity: Verbosity) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_env_filter("info").with_writer(log.clone()).with_ansi(false);
    let _here = tracing::subscriber::set_default(subscriber.finish());
    let (queue, stage) = (memory().await, Stage::new());
    add(&queue, Act::Done).await;
    add(&queue, Act::Fatal).await;
    let worker = worker(&queue, &stage).verbosity(verbosity).exit_if_empty(true);
    assert_eq!(hire(worker).end().await.0, Exit::Done);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[tokio::test]
async fn a_worker_logs_as_much_as_it_is_told_to() {
    for (verbosity, own, jobs) in
        [(Verbosity::Quiet, false, false), (Verbosity::Normal, true, false), (Verbosity::Verbose, true, true)]
    {
        let log = log(verbosity).await;
        assert!(log.contains("job failed"), "failures are always told: {log}");
        for line in ["worker ready", "worker ended"] {
            assert_eq!(log.contains(line), own, "{verbosity:?} {line}: {log}");
        }
        for line in ["attempt started", "job completed"] {
            assert_eq!(log.contains(line), jobs, "{verbosity:?} {line}: {log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_thread_of_a_nice_worker_is_nice() {
    let niceness = |thread: Option<rustix::process::Pid>| rustix::process::getpriority_process(thread).unwrap();
    let (queue, stage) = (memory().await, Stage::new());
    // This test's own process becomes a little nicer, and stays so.
    let nice = (niceness(None) + 1).min(19);
    let hired = hire(worker(&queue, &stage).nice(nice));
    let id = add(&queue, Act::Done).await;
    until_gone(&queue, id).await;
    let mut seen = 0;
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let id = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
        assert_eq!(niceness(rustix::process::Pid::from_raw(id)), nice, "thread {id}");
        seen += 1;
    }
    assert!(seen >= 4, "the runtime's and the heartbeat's");
    assert_eq!(hired.stop().await, Exit::Stopped);
}

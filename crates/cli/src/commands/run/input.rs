//! Lines on their way from standard input into the queue.

use std::{
    io::{self, BufRead as _, BufReader, Read},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use headcount_queue::{Backoff, JsonBytes, NewJob, Queue, limits::MAX_PAYLOAD};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use crate::exit::usage;

/// So many lines are enqueued at once, at most, and as many may wait for it.
const BULK: usize = 1000;

/// The reading of the input.
#[derive(Debug)]
pub(crate) struct Input(Option<JoinHandle<Result<()>>>);

impl Input {
    /// No input: it was read before.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// All of standard input.
    pub(crate) fn from_start(queue: &Queue, name: &str, retries: u16) -> Self {
        Self::after(0, queue, name, retries)
    }

    /// Standard input after its first `skip` lines.
    pub(crate) fn after(skip: u64, queue: &Queue, name: &str, retries: u16) -> Self {
        let (queue, name) = (queue.clone(), name.to_owned());
        Self(Some(tokio::spawn(async move {
            let mut lines = read(io::stdin(), skip);
            take(&mut lines, skip, &queue, &name, retries).await
        })))
    }

    /// Whether lines may still come.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Returns when every line has been taken, once; after that, never.
    pub(crate) async fn end(&mut self) -> Result<()> {
        let Some(task) = &mut self.0 else { return std::future::pending().await };
        let result = task.await.map_err(|error| anyhow!("reading the input: {error}")).and_then(|result| result);
        self.0 = None;
        result
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Reads lines in a thread of its own, since a read of standard input cannot be called off.
fn read(source: impl Read + Send + 'static, skip: u64) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(BULK);
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut left = skip;
        loop {
            let mut line = Vec::new();
            let line = match source.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {
                    line.pop_if(|byte| *byte == b'\n');
                    Ok(line)
                }
                Err(error) => Err(error),
            };
            if left > 0 && line.is_ok() {
                left -= 1;
                continue;
            }
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Enqueues every line, in order, each once.
async fn take(
    lines: &mut mpsc::Receiver<io::Result<Vec<u8>>>,
    mut taken: u64,
    queue: &Queue,
    name: &str,
    retries: u16,
) -> Result<()> {
    let mut bulk = Vec::with_capacity(BULK);
    loop {
        bulk.clear();
        // Whatever is there, up to a bulk: one line at once if lines come slowly, a thousand if they come fast.
        if lines.recv_many(&mut bulk, BULK).await == 0 {
            return Ok(());
        }
        let mut jobs = Vec::with_capacity(bulk.len());
        for (line, number) in bulk.drain(..).zip(taken + 1..) {
            let line = line.with_context(|| format!("reading line {number} of the input"))?;
            jobs.push(job(line, name, retries, number)?);
        }
        enqueue(&jobs, taken, queue, name).await?;
        taken += jobs.len() as u64;
    }
}

fn job(line: Vec<u8>, name: &str, retries: u16, number: u64) -> Result<NewJob> {
    let payload = serde_json::to_string(&JsonBytes(line)).expect("strings always serialize");
    if payload.len() > MAX_PAYLOAD {
        return Err(usage(format!(
            "line {number} of the input has {} bytes as JSON; at most {MAX_PAYLOAD} are allowed. The lines before it \
             were taken",
            payload.len()
        )));
    }
    let backoff = Backoff { base: Duration::from_secs(1), factor: 2.0, cap: Duration::from_mins(1), jitter: 0.25 };
    Ok(NewJob::new("line", payload).queue(name).max_attempts(retries.saturating_add(1)).backoff(backoff))
}

/// Enqueues a bulk once, although an answer may be lost: the queue itself says how many lines it has taken.
async fn enqueue(jobs: &[NewJob], before: u64, queue: &Queue, name: &str) -> Result<()> {
    let mut wait = Duration::from_millis(100);
    loop {
        let error = match queue.enqueue_all(jobs.iter().cloned()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_unknown() && wait < Duration::from_mins(2) => error,
            Err(error) => return Err(error).context("enqueueing the input; --resume with --input goes on later"),
        };
        tracing::warn!(%error, "the input could not be enqueued; trying again");
        loop {
            sleep(wait).await;
            wait *= 2;
            match taken(queue, name).await {
                Ok(taken) if taken >= before + jobs.len() as u64 => return Ok(()),
                Ok(_) => break,
                Err(error) if wait < Duration::from_mins(2) => tracing::warn!(%error, "the store does not answer"),
                Err(error) => return Err(error),
            }
        }
    }
}

/// How many lines of its input a run has taken: each was one new job.
pub(crate) async fn taken(queue: &Queue, name: &str) -> Result<u64> {
    let store = queue.store();
    while store.fold().await? > 0 {}
    let queues = store.queues().await?;
    Ok(queues.iter().find(|queue| queue.queue == name).map_or(0, |queue| queue.flow.arrived as u64))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use headcount_queue::{Json, store::Filter};

    use super::*;

    async fn payloads(queue: &Queue) -> Vec<String> {
        let jobs = queue.store().jobs(&Filter::default(), 10_000).await.unwrap();
        jobs.into_iter()
            .map(|job| {
                let Json(text) = job.payload;
                text
            })
            .collect()
    }

    #[tokio::test]
    async fn every_line_becomes_a_job_whatever_its_bytes_and_is_counted() {
        let queue = Queue::connect("sqlite::memory:").await.unwrap();
        let mut lines = read(Cursor::new(b"a\n\n \"b\" \n\xff\nlast".to_vec()), 0);
        take(&mut lines, 0, &queue, "run:x", 0).await.unwrap();
        assert_eq!(payloads(&queue).await, [r#""a""#, r#""""#, r#"" \"b\" ""#, r#"{"b64":"/w=="}"#, r#""last""#]);
        assert_eq!(taken(&queue, "run:x").await.unwrap(), 5);
    }

    #[tokio::test]
    async fn reading_goes_on_after_the_lines_already_taken() {
        let queue = Queue::connect("sqlite::memory:").await.unwrap();
        let mut lines = read(Cursor::new(b"a\nb\nc\n".to_vec()), 2);
        take(&mut lines, 2, &queue, "run:x", 0).await.unwrap();
        assert_eq!(payloads(&queue).await, [r#""c""#]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_named_and_those_before_it_stay() {
        let queue = Queue::connect("sqlite::memory:").await.unwrap();
        let mut input = vec![b'a', b'\n'];
        input.resize(MAX_PAYLOAD + 2, b'x');
        let mut lines = read(Cursor::new(input), 0);
        let first = lines.recv().await.unwrap().unwrap();
        enqueue(&[job(first, "run:x", 0, 1).unwrap()], 0, &queue, "run:x").await.unwrap();
        let error = take(&mut lines, 1, &queue, "run:x", 0).await.unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert_eq!(payloads(&queue).await, [r#""a""#]);
    }
}

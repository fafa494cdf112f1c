//! A job for each line of standard input, in bulks: whatever its length, the input costs the memory of one bulk.

use std::{
    io::{self, BufRead, BufReader, Read},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use headcount_queue::{Error, NewJob, Queue, limits::MAX_PAYLOAD};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{
    exit::usage,
    output::{Output, is_reader_gone},
};

/// The most lines in a bulk: beyond a thousand a longer one is hardly faster, and more is lost with a bad line.
const BULK_LINES: usize = 1000;
/// A bulk that has reached this many bytes takes no further line.
const BULK_BYTES: usize = 4 << 20;
/// How long a bulk waits for further lines. Input that trickles is enqueued as it comes; a short file in one bulk.
const LINGER: Duration = Duration::from_millis(100);
/// Lines read ahead. Few, since each may have a megabyte.
const AHEAD: usize = 64;

/// A line of input, without its line break.
#[derive(Debug)]
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

/// Enqueues a job for each line and prints their ids. Returns how many of them coalesced with jobs that were there.
pub(super) async fn enqueue(
    queue: &Queue,
    input: impl Read + Send + 'static,
    job: impl Fn(String) -> Result<NewJob>,
    out: &mut Output,
) -> Result<usize> {
    let mut lines = read(input);
    let mut last_enqueued = 0;
    let mut anyone_reads = true;
    let mut coalesced = 0;
    while let Some(bulk) = next_bulk(&mut lines).await.with_context(|| progress(last_enqueued))? {
        let Some(last) = bulk.last().map(|line| line.number) else { continue };
        let jobs = jobs(bulk, &job).with_context(|| progress(last_enqueued))?;
        let enqueued = queue.enqueue_all(jobs).await.map_err(|error| unsettled(error, last_enqueued, last))?;
        last_enqueued = last;
        coalesced += enqueued.iter().filter(|enqueued| !enqueued.is_new()).count();
        if anyone_reads {
            let printed = enqueued
                .iter()
                .try_for_each(|enqueued| out.row(enqueued, |enqueued| enqueued.id.to_string()))
                .and_then(|()| out.flush());
            match printed {
                // `| head -1` wants fewer ids, not fewer jobs.
                Err(error) if is_reader_gone(&error) => anyone_reads = false,
                printed => printed?,
            }
        }
    }
    Ok(coalesced)
}

/// Where to go on after an error that is certain.
fn progress(last_enqueued: u64) -> String {
    match last_enqueued {
        0 => "nothing was enqueued".into(),
        last => format!("the lines up to {last} were enqueued; mend the input and go on from line {}", last + 1),
    }
}

/// An error of the store, with what is known of the bulk that it met.
fn unsettled(error: Error, last_enqueued: u64, last: u64) -> anyhow::Error {
    let context = if error.is_unknown() {
        let before =
            if last_enqueued == 0 { String::new() } else { format!("the lines up to {last_enqueued} were enqueued; ") };
        format!("{before}of lines {} to {last} all or none were: look which before you go on", last_enqueued + 1)
    } else {
        progress(last_enqueued)
    };
    anyhow::Error::new(error).context(context)
}

/// Reads lines in a thread of its own, since a read of standard input blocks.
fn read(input: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Line>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let mut input = BufReader::with_capacity(1 << 16, input);
        for number in 1.. {
            let line = match read_line(&mut input) {
                Ok(None) => break,
                Ok(Some(bytes)) => Ok(Line { number, bytes }),
                Err(error) => Err(error),
            };
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// The next line without its line break. Of a line that is too long no more is read than shows it.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // The longest payload, its line break, and one byte that betrays a longer one.
    input.take(MAX_PAYLOAD as u64 + 3).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Some(bytes))
}

/// The next lines that go together, empty ones left out; none at the end of the input.
async fn next_bulk(lines: &mut mpsc::Receiver<io::Result<Line>>) -> Result<Option<Vec<Line>>> {
    let Some(first) = lines.recv().await else { return Ok(None) };
    let deadline = Instant::now() + LINGER;
    let mut bulk = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(line) = next {
        let line = line.context("reading standard input")?;
        if !line.bytes.iter().all(u8::is_ascii_whitespace) {
            bytes += line.bytes.len();
            bulk.push(line);
        }
        if bulk.len() >= BULK_LINES || bytes >= BULK_BYTES {
            break;
        }
        next = timeout_at(deadline, lines.recv()).await.ok().flatten();
    }
    Ok(Some(bulk))
}

/// The jobs of a bulk, or why one of its lines cannot be one.
fn jobs(bulk: Vec<Line>, job: impl Fn(String) -> Result<NewJob>) -> Result<Vec<NewJob>> {
    bulk.into_iter()
        .map(|Line { number, bytes }| {
            if bytes.len() > MAX_PAYLOAD {
                let limit =
                    format!("line {number} has more than {MAX_PAYLOAD} bytes, the most that a payload may have");
                return Err(usage(limit));
            }
            let text =
                String::from_utf8(bytes).map_err(|_| usage(format!("line {number} is not UTF-8, as JSON is")))?;
            let job = job(text).map_err(|error| usage(format!("line {number}: {error}")))?;
            job.check().map_err(|error| usage(format!("line {number}: {error}")))?;
            Ok(job)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{Exit, message, status};

    async fn bulks(input: impl Read + Send + 'static) -> Vec<Vec<(u64, String)>> {
        let mut lines = read(input);
        let mut bulks = Vec::new();
        while let Some(bulk) = next_bulk(&mut lines).await.unwrap() {
            let text = |line: Line| (line.number, String::from_utf8(line.bytes).unwrap());
            bulks.push(bulk.into_iter().map(text).collect());
        }
        bulks
    }

    #[tokio::test]
    async fn lines_keep_their_numbers_and_empty_ones_are_skipped() {
        let lines: Vec<_> = bulks(&b"1\r\n\n  \n{\"a\": 2}\n3"[..]).await.concat();
        assert_eq!(lines, [(1, "1".into()), (4, "{\"a\": 2}".into()), (5, "3".into())]);
    }

    #[tokio::test]
    async fn a_long_input_comes_in_bounded_bulks() {
        let input = "1\n".repeat(2500);
        let sizes: Vec<_> = bulks(io::Cursor::new(input)).await.iter().map(Vec::len).collect();
        assert!(sizes.iter().all(|&size| size <= BULK_LINES), "{sizes:?}");
        assert_eq!(sizes.iter().sum::<usize>(), 2500);

        let line = format!("\"{}\"\n", "x".repeat(1_000_000));
        for bulk in bulks(io::Cursor::new(line.repeat(10))).await {
            assert!(bulk.len() <= 5, "{} lines of a megabyte in one bulk", bulk.len());
        }
    }

    #[tokio::test]
    async fn an_endless_line_is_refused_without_being_read() {
        let mut lines = read(io::repeat(b'1'));
        let bulk = next_bulk(&mut lines).await.unwrap().unwrap();
        assert!(bulk[0].bytes.len() <= MAX_PAYLOAD + 3);
        let error = jobs(bulk, |payload| Ok(NewJob::new("k", payload))).unwrap_err();
        assert!(error.to_string().contains("line 1 has more than"), "{error}");
    }

    #[test]
    fn an_answer_that_was_lost_leaves_only_its_bulk_in_doubt() {
        let lost = || Error::TimedOut(Duration::from_secs(10));
        let text = message(&unsettled(lost(), 1000, 2000));
        assert!(
            text.starts_with("the lines up to 1000 were enqueued; of lines 1001 to 2000 all or none were"),
            "{text}"
        );
        let error = unsettled(lost(), 0, 3);
        assert!(error.to_string().starts_with("of lines 1 to 3 all or none were"), "{error}");
        assert_eq!(status(&error), Exit::StoreLost);
        assert_eq!(unsettled(Error::Rejected("no".into()), 0, 3).to_string(), "nothing was enqueued");
    }

    #[test]
    fn a_line_that_cannot_be_a_job_is_named() {
        let line = |number, bytes: &[u8]| Line { number, bytes: bytes.to_vec() };
        for (bytes, why) in [(&b"{"[..], "line 8: the payload is no JSON"), (b"\"\xff\"", "line 8 is not UTF-8")] {
            let bulk = vec![line(7, b"{}"), line(8, bytes)];
            let error = jobs(bulk, |payload| Ok(NewJob::new("k", payload))).unwrap_err().context(progress(6));
            assert_eq!(status(&error), Exit::Usage);
            let text = message(&error);
            assert!(text.contains(why) && text.contains("go on from line 7"), "{text}");
        }
    }
}

//! Jobs come and go while a transaction that does nothing holds a snapshot: what others delete stays in tables and indexes,
//! and whoever walks over it gets slower and slower.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use headcount_queue::{Binding, NewJob};
use tokio::time::sleep;

use super::noop;
use crate::{
    figure::{Bar, Sample, Unit, median},
    floor,
    labour::Order,
    stage::{Field, Stage, millis},
};

pub(super) const MINUTE: Duration = Duration::from_mins(1);
pub(super) const HALF_AN_HOUR: Duration = Duration::from_mins(30);

/// So many wait at the most: who enqueues waits for who works.
const AHEAD: u64 = 20_000;
const EACH: usize = 500;
/// One in so many is delayed, and one in so many fails once.
const DELAYED: usize = 20;
const FAILS: u64 = 50;

pub(super) async fn run(stage: &Stage, length: Duration) -> Result<Vec<Sample>> {
    let length = stage.long(length);
    let field = stage.field().await?;
    let mut holder = stage.connect().await?;
    floor::hold_snapshot(&mut holder).await?;
    let order = Order { url: field.site.url.clone(), until_told: true, fails_each: Some(FAILS), ..Order::default() };
    let mut hand = stage.labour().hire(&order).await?;
    hand.go().await?;

    let began = Instant::now();
    let latest = AtomicU64::new(0);
    // None of these is dropped half-way: what was sent to the store may have been done.
    let enqueuing = async {
        let mut enqueued = 0;
        while began.elapsed() < length {
            if enqueued - latest.load(Ordering::Relaxed).min(enqueued) < AHEAD {
                enqueued += enqueue(&field).await?;
            } else {
                sleep(Duration::from_millis(5)).await;
            }
        }
        Ok::<_, anyhow::Error>(enqueued)
    };
    let listening = async {
        let mut done = Vec::new();
        while began.elapsed() < length {
            let Some(now) = told(&hand.line().await?) else { continue };
            latest.store(now, Ordering::Relaxed);
            if done.len() as u64 <= began.elapsed().as_secs() {
                done.push(now);
            }
        }
        Ok::<_, anyhow::Error>(done)
    };
    let probing = async {
        let mut probes = Vec::new();
        while began.elapsed() < length {
            sleep(Duration::from_millis(500)).await;
            let asked = Instant::now();
            field.site.store().queues().await?;
            probes.push(millis(asked.elapsed()));
        }
        Ok::<_, anyhow::Error>(probes)
    };
    let (enqueued, done, probes) = tokio::try_join!(enqueuing, listening, probing)?;

    // What was put in is done, the delayed and the failed too: none is stranded.
    let patience = Instant::now();
    while !field.site.store().outstanding(&Binding::Any).await?.is_empty() {
        ensure!(
            patience.elapsed() < length + Duration::from_mins(2),
            "jobs are stranded: {:?}",
            field.site.store().queues().await?
        );
        hand.line().await?;
    }
    let account = hand.stop().await?;
    ensure!(account.jobs == enqueued, "{enqueued} jobs were put in, and {} have completed", account.jobs);
    floor::close(holder).await?;
    field.site.balance(enqueued).await?;
    field.clear().await?;

    let (first, last) = ends(&done, length);
    Ok(vec![
        Sample::new("the last sixth of the time", Unit::JobsPerSecond, last)
            .against("the first", first)
            .bar(Bar::Share(0.8)),
        Sample::new("state of the queues meanwhile", Unit::Milliseconds, median(&probes)).bar(Bar::AtMost(2.0)),
    ])
}

async fn enqueue(field: &Field) -> Result<u64> {
    let job = |n: usize| -> NewJob {
        if n.is_multiple_of(DELAYED) { noop(n).delay(Duration::from_secs(2)) } else { noop(n) }
    };
    field.site.queue.enqueue_all((0..EACH).map(job).collect::<Vec<_>>()).await?;
    Ok(EACH as u64)
}

/// How many jobs were done so far, if that is what the line says.
fn told(line: &str) -> Option<u64> {
    line.strip_prefix("done ")?.parse().ok()
}

/// Jobs a second in the first and in the last sixth of the time, by what had been done at each second.
fn ends(done: &[u64], length: Duration) -> (f64, f64) {
    let seconds = done.len().min(length.as_secs() as usize).max(2);
    let sixth = (seconds / 6).max(1);
    let at = |second: usize| done.get(second).or(done.last()).copied().unwrap_or_default();
    let rate = |from: usize, to: usize| at(to).saturating_sub(at(from)) as f64 / (to - from) as f64;
    // The first second begins with an empty queue.
    let from = usize::from(seconds > 2 * sixth);
    (rate(from, from + sixth), rate(seconds - 1 - sixth.min(seconds - 1), seconds - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_sixth_are_rates_a_second() {
        let steady: Vec<u64> = (0..61).map(|second| second * 100).collect();
        assert_eq!(ends(&steady, MINUTE), (100.0, 100.0));
        let slowing: Vec<u64> =
            (0..61).map(|second| if second < 30 { second * 100 } else { 3000 + (second - 30) * 10 }).collect();
        assert_eq!(ends(&slowing, MINUTE), (100.0, 10.0));
        assert_eq!(ends(&[0, 5], Duration::from_secs(1)), (5.0, 5.0));
    }
}

//! Jobs go in by the thousand.

use std::time::Instant;

use anyhow::Result;
use headcount_queue::NewJob;

use super::noop;
use crate::{
    figure::{Bar, Sample, Unit},
    floor,
    stage::{Field, Stage},
};

const JOBS: usize = 50_000;
const EACH: usize = 1000;

pub(super) async fn run(stage: &Stage, floor_first: bool) -> Result<Vec<Sample>> {
    let jobs = stage.many(JOBS);
    let mut ours = 0.0;
    if !floor_first {
        ours = enqueue(stage, jobs).await?;
    }
    let mut field = stage.field().await?;
    let began = Instant::now();
    floor::insert_select(&mut field.sql, &field.schema, jobs, EACH).await?;
    let inserted = rate(jobs, began);
    field.clear().await?;
    let mut field = stage.field().await?;
    let began = Instant::now();
    floor::copy(&mut field.sql, &field.schema, jobs).await?;
    let copied = rate(jobs, began);
    field.clear().await?;
    if floor_first {
        ours = enqueue(stage, jobs).await?;
    }
    let sample = |name| Sample::new(name, Unit::JobsPerSecond, ours);
    Ok(vec![
        sample("a thousand a statement").against("INSERT … SELECT", inserted).bar(Bar::Share(0.5)),
        sample("the same beside COPY").against("one COPY", copied),
    ])
}

async fn enqueue(stage: &Stage, count: usize) -> Result<f64> {
    let field: Field = stage.field().await?;
    let jobs: Vec<NewJob> = (0..count).map(noop).collect();
    let began = Instant::now();
    for bulk in jobs.chunks(EACH) {
        field.site.queue.enqueue_all(bulk.to_vec()).await?;
    }
    let rate = rate(count, began);
    field.clear().await?;
    Ok(rate)
}

pub(super) fn rate(jobs: usize, began: Instant) -> f64 {
    jobs as f64 / began.elapsed().as_secs_f64()
}

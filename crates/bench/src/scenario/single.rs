//! Jobs go in one at a time, each with a durable commit.

use std::time::Instant;

use anyhow::Result;
use futures::future::try_join_all;

use super::{bulk::rate, noop};
use crate::{
    figure::{Bar, Sample, Unit},
    floor,
    stage::{Site, Stage},
};

/// How many go in by each connection.
pub(super) const JOBS: usize = 1000;

pub(super) async fn run(stage: &Stage, floor_first: bool) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for connections in [1, 16] {
        let mut ours = 0.0;
        if !floor_first {
            ours = enqueue(stage, connections).await?;
        }
        let floor = insert(stage, connections).await?;
        if floor_first {
            ours = enqueue(stage, connections).await?;
        }
        let name = if connections == 1 { "by one connection".into() } else { format!("by {connections} connections") };
        let sample = Sample::new(name, Unit::JobsPerSecond, ours).against("a prepared INSERT", floor);
        samples.push(sample.bar(Bar::Share(0.75)));
    }
    Ok(samples)
}

async fn enqueue(stage: &Stage, connections: usize) -> Result<f64> {
    let field = stage.field_for(connections as u32).await?;
    let rate = by(&field.site, connections, stage.many(JOBS)).await?;
    field.clear().await?;
    Ok(rate)
}

/// Jobs a second, by so many at a time, so many by each.
pub(super) async fn by(site: &Site, many: usize, each: usize) -> Result<f64> {
    // Each has its connection before the clock starts.
    try_join_all((0..many).map(|n| site.queue.enqueue(noop(n)))).await?;
    let one = async || {
        for n in 0..each {
            site.queue.enqueue(noop(n)).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let began = Instant::now();
    try_join_all((0..many).map(|_| one())).await?;
    Ok(rate(each * many, began))
}

async fn insert(stage: &Stage, connections: usize) -> Result<f64> {
    let (field, each) = (stage.field().await?, stage.many(JOBS));
    let mut lines = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut line = stage.connect().await?;
        floor::insert_each(&mut line, &field.schema, 1).await?;
        lines.push(line);
    }
    let began = Instant::now();
    try_join_all(lines.iter_mut().map(|line| floor::insert_each(line, &field.schema, each))).await?;
    let rate = rate(each * connections, began);
    field.clear().await?;
    Ok(rate)
}

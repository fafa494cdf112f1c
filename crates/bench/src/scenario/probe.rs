//! What the scaler and the dashboards ask at every look: the state of all queues.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::noop;
use crate::{
    figure::{Bar, Sample, Unit, median},
    stage::{Stage, millis},
};

const QUEUES: usize = 100;
const MANY: usize = 1_000_000;
const LOOKS: usize = 50;

pub(super) async fn run(stage: &Stage) -> Result<Vec<Sample>> {
    let (few, many) = (looks(stage, QUEUES).await?, looks(stage, stage.many(MANY).max(QUEUES)).await?);
    let name = |pending| format!("{QUEUES} queues, {pending} pending");
    Ok(vec![
        Sample::new(name("100"), Unit::Milliseconds, few).bar(Bar::AtMost(2.0)),
        Sample::new(name("a million"), Unit::Milliseconds, many).bar(Bar::AtMost(2.0)),
        Sample::new("a million beside 100", Unit::Milliseconds, many).against("100 pending", few).bar(Bar::Times(2.0)),
    ])
}

/// How long one look takes while so many jobs wait, in milliseconds: the middle of some.
async fn looks(stage: &Stage, pending: usize) -> Result<f64> {
    let field = stage.field().await?;
    field.site.fill(pending, |n| noop(n).queue(format!("q{}", n % QUEUES))).await?;
    field.site.fold().await?;
    let mut times = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let began = Instant::now();
        let queues = field.site.store().queues().await?;
        times.push(millis(began.elapsed()));
        ensure!(queues.len() == QUEUES, "{} queues are shown", queues.len());
    }
    field.clear().await?;
    Ok(median(&times))
}

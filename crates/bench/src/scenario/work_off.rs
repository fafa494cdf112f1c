//! Jobs that do nothing are worked off by worker processes with their default settings.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use headcount_queue::NewJob;

use super::noop;
use crate::{
    figure::{Bar, Sample, Unit},
    floor,
    labour::{Account, Order},
    stage::{Field, Site, Stage},
};

pub(super) const JOBS: usize = 50_000;
const MANY: usize = 1_000_000;
/// As the floor of the claims is known: a hundred jobs a statement, on two connections.
const BATCH: i64 = 100;
const CONNECTIONS: usize = 2;

const FLOOR: &str = "its bare moves";
const PLAIN: &str = "50 k of one queue";

/// One process, 2 and 4; what one costs; and the floor.
pub(super) async fn plain(stage: &Stage, floor_first: bool) -> Result<Vec<Sample>> {
    let jobs = stage.many(JOBS);
    let mut bare = 0.0;
    if floor_first {
        bare = moves(stage, jobs).await?;
    }
    let mut samples = Vec::new();
    let mut costs = Vec::new();
    for processes in [1, 2, 4] {
        let mut field = stage.field().await?;
        field.site.fill(jobs, noop).await?;
        let before = floor::log_position(&mut field.sql).await?;
        let spent = stage.server_cpu();
        let done = work_off(stage, &field.site, jobs, processes).await?;
        let spent = stage.server_cpu().zip(spent).map(|(after, before)| after.saturating_sub(before));
        let logged = floor::log_position(&mut field.sql).await? - before;
        if processes == 1 {
            let each = |total: f64| total / jobs as f64;
            let server = spent.map(|spent| {
                Sample::new("processor, server", Unit::MicrosecondsPerJob, each(spent.as_secs_f64() * 1e6))
            });
            costs = vec![
                Sample::new("processor, worker", Unit::MicrosecondsPerJob, each(done.cpu as f64)),
                Sample::new("log of the server", Unit::BytesPerJob, each(logged as f64)),
                Sample::new(
                    "tables afterwards",
                    Unit::BytesPerJob,
                    each(floor::size(&mut field.sql, &field.schema).await? as f64),
                ),
            ];
            costs.extend(server);
        }
        field.clear().await?;
        let name = if processes == 1 { "one process".into() } else { format!("{processes} processes") };
        samples.push((name, done.rate()));
    }
    let mut field = stage.field().await?;
    field.site.fill(jobs, noop).await?;
    let order = Order { slots: Some(100), ..order(&field.site) };
    let wide = stage.labour().work_off(&order, 1).await?;
    costs.push(
        Sample::new("memory with 100 slots", Unit::Mebibytes, wide.memory as f64 / 1024.0).bar(Bar::AtMost(40.0)),
    );
    field.sql = stage.connect().await?;
    field.clear().await?;
    if !floor_first {
        bare = moves(stage, jobs).await?;
    }
    let mut all: Vec<Sample> = samples
        .into_iter()
        .map(|(name, rate)| Sample::new(name, Unit::JobsPerSecond, rate).against(FLOOR, bare).bar(Bar::Share(0.8)))
        .collect();
    all.extend(costs);
    Ok(all)
}

/// The first of a million.
pub(super) async fn deep(stage: &Stage, plain_first: bool) -> Result<Vec<Sample>> {
    let (jobs, many) = (stage.many(JOBS), stage.many(MANY));
    beside_plain(stage, plain_first, "a million behind them", Some(Bar::Share(0.9)), async || {
        let field = stage.field().await?;
        field.site.fill(many, noop).await?;
        let order = Order { jobs: Some(jobs as u64), ..order(&field.site) };
        let done = stage.labour().work_off(&order, 1).await?;
        ensure!(done.jobs >= jobs as u64, "of {jobs} jobs only {} were done", done.jobs);
        Ok((field, done))
    })
    .await
}

/// Of 20 queues with three priorities each.
pub(super) async fn lanes(stage: &Stage, plain_first: bool) -> Result<Vec<Sample>> {
    let job = |n: usize| noop(n).queue(format!("q{}", n % 20)).priority((n / 20 % 3) as i16);
    other(stage, plain_first, "of 20 queues with 3 priorities", job).await
}

/// A coalescing key on each.
pub(super) async fn keys(stage: &Stage, plain_first: bool) -> Result<Vec<Sample>> {
    other(stage, plain_first, "a coalescing key on each", |n| noop(n).key(n.to_string())).await
}

/// Each with a payload of 10 KB.
pub(super) async fn payloads(stage: &Stage, plain_first: bool) -> Result<Vec<Sample>> {
    let payload = format!("{{\"_pad\":\"{}\"}}", "x".repeat(10_000));
    other(stage, plain_first, "10 KB on each", |_| NewJob::new("noop", payload.clone()).queue("q")).await
}

/// A million come at once into tables whose statistics say that they are empty: the first of them are done as fast as
/// later ones.
pub(super) async fn cold(stage: &Stage) -> Result<Vec<Sample>> {
    let (jobs, many) = (stage.many(JOBS), stage.many(MANY));
    let mut field = stage.field().await?;
    floor::analyse_empty(&mut field.sql, &field.schema).await?;
    field.site.fill(many, noop).await?;
    let order = Order { jobs: Some(jobs as u64), ..order(&field.site) };
    let first = stage.labour().work_off(&order, 1).await?;
    // Those in between.
    stage
        .labour()
        .work_off(&Order { jobs: Some((many / 2).saturating_sub(jobs).max(1) as u64), ..order.clone() }, 1)
        .await?;
    let later = stage.labour().work_off(&order, 1).await?;
    field.clear().await?;
    let sample = Sample::new("the first of a million at once", Unit::JobsPerSecond, first.rate());
    Ok(vec![sample.against("later ones", later.rate()).bar(Bar::Share(0.9))])
}

fn order(site: &Site) -> Order {
    Order { url: site.url.clone(), ..Order::default() }
}

/// So many jobs that differ from the plain ones, and these beside them.
async fn other(stage: &Stage, plain_first: bool, name: &str, job: impl Fn(usize) -> NewJob) -> Result<Vec<Sample>> {
    let jobs = stage.many(JOBS);
    beside_plain(stage, plain_first, name, None, async || {
        let field = stage.field().await?;
        field.site.fill(jobs, &job).await?;
        let done = work_off(stage, &field.site, jobs, 1).await?;
        Ok((field, done))
    })
    .await
}

async fn beside_plain(
    stage: &Stage,
    plain_first: bool,
    name: &str,
    bar: Option<Bar>,
    other: impl AsyncFnOnce() -> Result<(Field, Account)>,
) -> Result<Vec<Sample>> {
    let jobs = stage.many(JOBS);
    let usual = async || {
        let field = stage.field().await?;
        field.site.fill(jobs, noop).await?;
        let done = work_off(stage, &field.site, jobs, 1).await?;
        field.clear().await?;
        Ok::<_, anyhow::Error>(done.rate())
    };
    let mut plain = 0.0;
    if plain_first {
        plain = usual().await?;
    }
    let (field, done) = other().await?;
    field.clear().await?;
    if !plain_first {
        plain = usual().await?;
    }
    let mut sample = Sample::new(name, Unit::JobsPerSecond, done.rate()).against(PLAIN, plain);
    sample.bar = bar;
    Ok(vec![sample])
}

/// Has so many processes do all that the field holds, and sees that the books balance.
pub(super) async fn work_off(stage: &Stage, site: &Site, jobs: usize, processes: usize) -> Result<Account> {
    let done = stage.labour().work_off(&order(site), processes).await?;
    ensure!(done.jobs == jobs as u64, "{jobs} jobs were put in, and the workers have done {}", done.jobs);
    site.balance(jobs as u64).await?;
    Ok(done)
}

/// The floor: jobs a second.
async fn moves(stage: &Stage, jobs: usize) -> Result<f64> {
    let mut field = stage.field().await?;
    floor::insert_select(&mut field.sql, &field.schema, jobs, 1000).await?;
    let mut lines = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        lines.push(stage.connect().await?);
    }
    let began = Instant::now();
    let moved: usize =
        try_join_all(lines.iter_mut().map(|line| floor::work_off(line, &field.schema, BATCH))).await?.into_iter().sum();
    let took = began.elapsed();
    ensure!(moved == jobs, "the floor has moved {moved} of {jobs} jobs");
    field.clear().await?;
    Ok(jobs as f64 / took.as_secs_f64())
}

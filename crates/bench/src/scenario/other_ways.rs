//! The same by other ways than straight to a server: through PgBouncer, and in the embedded store.

use anyhow::Result;
use headcount_queue::store::Options;

use super::{idle, noop, single, work_off};
use crate::{
    figure::{Sample, Unit},
    stage::{Field, Site, Stage},
};

/// At a time, where there are several.
const SEVERAL: usize = 16;
const STRAIGHT: &str = "straight";

/// What a way brings.
struct Found {
    one_by_one: f64,
    several: f64,
    worked_off: f64,
    delays: Vec<f64>,
}

/// Through PgBouncer, beside the straight way. Nothing where there is no PgBouncer, or the server is not the bench's own.
pub(super) async fn pooled(stage: &Stage, straight_first: bool) -> Result<Vec<Sample>> {
    let Some(bouncer) = stage.pooler()? else { return Ok(Vec::new()) };
    let straight = async || measure(stage, async |connections| stage.field_for(connections).await).await;
    let pooled = async || measure(stage, async |connections| stage.field_through(&bouncer, connections).await).await;
    let (straight, pooled) = if straight_first {
        let straight = straight().await?;
        (straight, pooled().await?)
    } else {
        let pooled = pooled().await?;
        (straight().await?, pooled)
    };
    let [one, several, off] = rates(&pooled);
    let mut samples = vec![
        one.against(STRAIGHT, straight.one_by_one),
        several.against(STRAIGHT, straight.several),
        off.against(STRAIGHT, straight.worked_off),
    ];
    samples.extend(idle::percentiles("idle, polling", pooled.delays));
    Ok(samples)
}

async fn measure(stage: &Stage, field: impl AsyncFn(u32) -> Result<Field>) -> Result<Found> {
    let usual = Options::default().connections;
    let new = field(SEVERAL as u32).await?;
    let one_by_one = single::by(&new.site, 1, stage.many(single::JOBS)).await?;
    let several = single::by(&new.site, SEVERAL, stage.many(single::JOBS)).await?;
    new.clear().await?;
    let new = field(usual).await?;
    let worked_off = work_off(stage, &new.site).await?;
    new.clear().await?;
    let new = field(usual).await?;
    let delays = idle::delays(stage, &new.site, false, None).await?;
    new.clear().await?;
    Ok(Found { one_by_one, several, worked_off, delays })
}

/// In the embedded store, a file of its own for each measurement.
pub(super) async fn embedded(stage: &Stage) -> Result<Vec<Sample>> {
    let folder = tempfile::Builder::new().prefix("headcount-bench.").tempdir()?;
    let site = async |name: &str| {
        let url = format!("sqlite:{}", folder.path().join(name).display());
        Site::make(&url, &url, Options::default().connections).await
    };
    let new = site("single").await?;
    let one_by_one = single::by(&new, 1, stage.many(single::JOBS)).await?;
    let several = single::by(&new, SEVERAL, stage.many(single::JOBS / 10)).await?;
    let worked_off = work_off(stage, &site("work-off").await?).await?;
    let delays = idle::delays(stage, &site("idle").await?, false, None).await?;
    let found = Found { one_by_one, several, worked_off, delays };
    let mut samples = rates(&found).to_vec();
    samples.extend(idle::percentiles("idle, polling", found.delays));
    Ok(samples)
}

async fn work_off(stage: &Stage, site: &Site) -> Result<f64> {
    let jobs = stage.many(work_off::JOBS);
    site.fill(jobs, noop).await?;
    Ok(work_off::work_off(stage, site, jobs, 1).await?.rate())
}

fn rates(found: &Found) -> [Sample; 3] {
    [
        ("single, one by one".to_owned(), found.one_by_one),
        (format!("single, {SEVERAL} at a time"), found.several),
        ("work-off, one process".to_owned(), found.worked_off),
    ]
    .map(|(name, rate)| Sample::new(name, Unit::JobsPerSecond, rate))
}

//! What is to be run, how often, and how large.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Result, ensure};

use crate::{
    figure::{Figure, Sample},
    labour::Labour,
    report::Report,
    scenario::Scenario,
    server::Server,
    stage::Stage,
};

/// A run of the bench.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server's URL; `None` starts one of its own.
    pub url: Option<String>,
    /// Which scenarios. Default all but the long ones.
    pub only: Vec<Scenario>,
    /// How often each is run. Default 5.
    pub rounds: u32,
    /// How large: 1 is the size that the figures are about, 0.01 a hundredth of the jobs and of the time.
    pub scale: f64,
    /// The program, and its arguments, that calls [`labour`](crate::labour()): a worker process.
    pub worker: (PathBuf, Vec<OsString>),
}

impl Plan {
    /// Everything once over, at full size, with this program as its worker processes.
    pub fn new(worker: PathBuf, args: Vec<OsString>) -> Self {
        let only = Scenario::ALL.iter().copied().filter(|scenario| !scenario.is_long()).collect();
        Self { url: None, only, rounds: 5, scale: 1.0, worker: (worker, args) }
    }

    /// Runs it, round by round, each round through all scenarios. `told` hears what is going on.
    ///
    /// # Errors
    /// The server fails; or the books do not balance: a job was lost, or done twice.
    pub async fn run(&self, told: impl Fn(&str)) -> Result<Report> {
        ensure!(self.rounds > 0, "no rounds, no figures: --rounds 1 is the least");
        ensure!(self.scale > 0.0 && self.scale <= 100.0, "--scale is above 0 and at most 100");
        let server = Server::at(self.url.as_deref())?;
        let (program, args) = self.worker.clone();
        let stage = Stage::new(server, self.scale, Labour::new(program, args)).await?;
        let mut figures: Vec<Figure> = Vec::new();
        for round in 0..self.rounds {
            for &scenario in &self.only {
                told(&format!("round {} of {}: {scenario}", round + 1, self.rounds));
                let before = stage.commit().await?;
                let samples = scenario.run(&stage, round).await?;
                let commit = f64::midpoint(before, stage.commit().await?);
                for sample in &samples {
                    enter(&mut figures, scenario, sample, commit);
                }
            }
        }
        Ok(Report::new(figures, stage.version().await?, self.rounds, self.scale))
    }
}

/// Puts a sample to those of the rounds before.
fn enter(figures: &mut Vec<Figure>, scenario: Scenario, sample: &Sample, commit: f64) {
    let known = figures.iter().position(|figure| figure.scenario == scenario.name() && figure.name == sample.name);
    let at = known.unwrap_or_else(|| {
        // Beside the others of its scenario, in the order in which they came.
        let at = figures.iter().rposition(|f| f.scenario == scenario.name()).map_or(figures.len(), |last| last + 1);
        figures.insert(at, Figure::of(scenario.name(), sample));
        at
    });
    figures[at].add(sample, commit);
}

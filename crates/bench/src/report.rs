//! What is printed.

use serde::Serialize;

use crate::figure::Figure;

/// Every figure of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was measured, the scenarios in the order in which they were run.
    pub figures: Vec<Figure>,
    /// The server.
    pub server: String,
    /// How often each was measured.
    pub rounds: u32,
    /// How large it was.
    pub scale: f64,
    /// The version of Headcount.
    pub version: &'static str,
    /// How many processors this machine has.
    pub processors: usize,
}

impl Report {
    pub(crate) fn new(figures: Vec<Figure>, server: String, rounds: u32, scale: f64) -> Self {
        let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let version = env!("CARGO_PKG_VERSION");
        Self { figures, server, rounds, scale, version, processors }
    }

    /// The figures that do not reach what they should.
    pub fn short(&self) -> Vec<&Figure> {
        self.figures.iter().filter(|figure| figure.reaches() == Some(false)).collect()
    }
}

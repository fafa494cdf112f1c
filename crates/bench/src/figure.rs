//! What is measured: a value, what it is measured against, and what it should reach.

use serde::Serialize;

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Jobs a second: the more the better.
    JobsPerSecond,
    /// Milliseconds: the fewer the better.
    Milliseconds,
    /// Microseconds of processor time for a job.
    MicrosecondsPerJob,
    /// Bytes for a job.
    BytesPerJob,
    /// Mebibytes.
    Mebibytes,
}

/// What a figure should reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// At least this share of what it is measured against.
    Share(f64),
    /// At most so many times what it is measured against.
    Times(f64),
    /// At most this.
    AtMost(f64),
    /// At most this, where a bare durable commit takes no longer than so many milliseconds.
    AtMostWhereCommitsTake(f64, f64),
}

/// One measurement.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) value: f64,
    /// What it is measured against, and how that is called.
    pub(crate) against: Option<(&'static str, f64)>,
    pub(crate) bar: Option<Bar>,
}

impl Sample {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self { name: name.into(), unit, value, against: None, bar: None }
    }

    pub(crate) fn against(mut self, what: &'static str, value: f64) -> Self {
        self.against = Some((what, value));
        self
    }

    pub(crate) fn bar(mut self, bar: Bar) -> Self {
        self.bar = Some(bar);
        self
    }
}

/// The same measurement of every round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The scenario.
    pub scenario: &'static str,
    /// What is measured.
    pub name: String,
    /// What the values count.
    pub unit: Unit,
    /// A value a round.
    pub values: Vec<f64>,
    /// How that is called which it is measured against.
    pub against: Option<&'static str>,
    /// What it is measured against, a value a round.
    pub floors: Vec<f64>,
    /// How long a bare durable commit took in each round, in milliseconds.
    pub commits: Vec<f64>,
    /// What it should reach.
    pub bar: Option<Bar>,
}

impl Figure {
    pub(crate) fn of(scenario: &'static str, sample: &Sample) -> Self {
        Self {
            scenario,
            name: sample.name.clone(),
            unit: sample.unit,
            values: Vec::new(),
            against: sample.against.map(|(what, _)| what),
            floors: Vec::new(),
            commits: Vec::new(),
            bar: sample.bar,
        }
    }

    pub(crate) fn add(&mut self, sample: &Sample, commit: f64) {
        self.values.push(sample.value);
        self.floors.extend(sample.against.map(|(_, value)| value));
        self.commits.push(commit);
    }

    /// The value in the middle.
    pub fn median(&self) -> f64 {
        median(&self.values)
    }

    /// The least and the greatest value.
    pub fn spread(&self) -> (f64, f64) {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    /// The middle of the ratios of each value to that which was measured beside it: the machine's speed drifts, but seldom
    /// within a pair.
    pub fn ratio(&self) -> Option<f64> {
        let ratios: Vec<f64> =
            self.values.iter().zip(&self.floors).filter(|(_, floor)| **floor > 0.0).map(|(v, f)| v / f).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// How long a bare durable commit took, in milliseconds.
    pub fn commit(&self) -> f64 {
        median(&self.commits)
    }

    /// Whether it reaches what it should; `None` where there is nothing to reach, or not on a disk like this one.
    pub fn reaches(&self) -> Option<bool> {
        match self.bar? {
            Bar::Share(share) => self.ratio().map(|ratio| ratio >= share),
            Bar::Times(times) => self.ratio().map(|ratio| ratio <= times),
            Bar::AtMost(most) => Some(self.median() <= most),
            Bar::AtMostWhereCommitsTake(most, commit) => (self.commit() <= commit).then(|| self.median() <= most),
        }
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(pairs: &[(f64, f64)], bar: Bar) -> Figure {
        let sample = |value, floor| Sample::new("x", Unit::Milliseconds, value).against("its floor", floor).bar(bar);
        let mut figure = Figure::of("s", &sample(0.0, 0.0));
        for &(value, floor) in pairs {
            figure.add(&sample(value, floor), 0.5);
        }
        figure
    }

    #[test]
    fn a_ratio_is_the_middle_of_the_pairs_and_not_of_the_middles() {
        let figure = figure(&[(10.0, 10.0), (50.0, 100.0), (90.0, 100.0)], Bar::Share(0.9));
        assert_eq!((figure.median(), figure.ratio(), figure.spread()), (50.0, Some(0.9), (10.0, 90.0)));
        assert_eq!(figure.reaches(), Some(true));
    }

    #[test]
    fn each_bar_is_reached_from_its_own_side() {
        let pair = [(2.0, 4.0)];
        for (bar, reached) in [
            (Bar::Share(0.5), Some(true)),
            (Bar::Share(0.51), Some(false)),
            (Bar::Times(0.5), Some(true)),
            (Bar::Times(0.49), Some(false)),
            (Bar::AtMost(2.0), Some(true)),
            (Bar::AtMost(1.9), Some(false)),
            (Bar::AtMostWhereCommitsTake(1.9, 0.5), Some(false)),
            (Bar::AtMostWhereCommitsTake(1.9, 0.4), None),
        ] {
            assert_eq!(figure(&pair, bar).reaches(), reached, "{bar:?}");
        }
    }
}

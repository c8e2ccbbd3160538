//! The simulator beside the laboratory: the same scenarios in both, and how far apart the two are.
//!
//! A row takes the median of the laboratory's runs that count, and the median of as many simulated runs with seeds of their
//! own, of the makespan and of the median node. What the laboratory cannot measure here stays in the table, without figures.

pub mod table;

use serde::Serialize;
use shoal_sim::{
    baseline::Baseline,
    run::{Options, RunError},
    scenario::{Link, Overrides, Scenario, ScenarioError, by_name},
    statistics::median,
};
use thiserror::Error;

use crate::{
    report::Experiment,
    result::{Outcome, RunResult},
};

/// One comparison: a scenario that ships with both, and who pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in the table and on the command line.
    pub name: &'static str,
    /// Name of the shipped scenario.
    pub scenario: &'static str,
    /// In place of the scenario's number of nodes.
    pub nodes: Option<u32>,
    /// The laboratory's name of the system: `shoal`, or `single` for pulls straight from the upstream.
    pub system: &'static str,
}

/// All comparisons, in the order of the table.
pub const ROWS: &[Row] = &[
    Row { name: "single-source", scenario: "cold-start", nodes: Some(4), system: "single" },
    Row { name: "cold-start-4", scenario: "cold-start", nodes: Some(4), system: "shoal" },
    Row { name: "cold-start-8", scenario: "cold-start", nodes: Some(8), system: "shoal" },
    Row { name: "cold-start-16", scenario: "cold-start", nodes: Some(16), system: "shoal" },
    Row { name: "asymmetric", scenario: "asymmetric", nodes: None, system: "shoal" },
    Row { name: "zones", scenario: "zones", nodes: None, system: "shoal" },
    Row { name: "stragglers", scenario: "stragglers", nodes: None, system: "shoal" },
    Row { name: "staggered", scenario: "staggered", nodes: None, system: "shoal" },
    Row { name: "kill", scenario: "kill", nodes: None, system: "shoal" },
];

impl Row {
    /// The scenario with the content and links of this calibration.
    ///
    /// # Errors
    /// Those of the scenario: a size or link that it does not allow.
    pub fn scenario(&self, size: Option<u64>, link: Option<Link>) -> Result<Scenario, ScenarioError> {
        let text = by_name(self.scenario).expect("a test reads the scenarios of all rows");
        let overrides = Overrides { nodes: self.nodes, size, link, ..Overrides::default() };
        Scenario::parse_with(text, self.scenario, &overrides)
    }
}

/// Makespan and median node, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// From the first start to the last end.
    pub makespan_s: f64,
    /// Median of the pulls that ended well, each from its own start.
    pub median_s: f64,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// See [`Row::name`].
    pub row: &'static str,
    /// Nodes of the scenario.
    pub nodes: u32,
    /// The laboratory's runs that count.
    pub runs: u32,
    /// Medians over them; none where no run counts.
    pub laboratory: Option<Times>,
    /// Why, where none counts.
    pub reason: Option<String>,
    /// Medians over the simulated runs.
    pub simulator: Times,
}

impl Comparison {
    /// How much longer the simulator says the last node takes, as a share of the laboratory's time; negative for shorter.
    pub fn makespan_error(&self) -> Option<f64> {
        self.laboratory.map(|laboratory| self.simulator.makespan_s / laboratory.makespan_s - 1.0)
    }

    /// The same of the median node.
    pub fn median_error(&self) -> Option<f64> {
        self.laboratory.map(|laboratory| self.simulator.median_s / laboratory.median_s - 1.0)
    }
}

/// Why a row could not be simulated.
#[derive(Debug, Error)]
pub enum CalibrationError {
    /// The simulated cluster did not form.
    #[error("the simulator cannot run {row}: {error}")]
    Run {
        /// The row.
        row: &'static str,
        /// Why.
        error: RunError,
    },
    /// Nobody finished in the simulator.
    #[error("in the simulator no node finishes {row}; a size that is larger leaves the faults less of the blob")]
    NobodyFinished {
        /// The row.
        row: &'static str,
    },
}

/// Sets the laboratory's runs of a row's system beside as many simulated ones, at least one.
///
/// # Errors
/// A scenario that cannot be simulated to its end.
pub fn compare(row: &Row, experiment: &Experiment) -> Result<Comparison, CalibrationError> {
    let scenario = &experiment.scenario;
    let of_system = || experiment.runs.iter().filter(|run| run.system == row.system);
    let measured: Vec<Times> = of_system().filter(|run| run.invalid.is_none()).filter_map(times).collect();
    let runs = u32::try_from(measured.len()).unwrap_or(u32::MAX);
    let simulated: Vec<Times> =
        (0..runs.max(1)).map(|number| simulate(row, scenario, number)).collect::<Result<_, _>>()?;
    let reason = || of_system().find_map(|run| run.invalid.clone()).unwrap_or_else(|| "no node finished".into());
    Ok(Comparison {
        row: row.name,
        nodes: scenario.nodes,
        runs,
        laboratory: middle(&measured),
        reason: measured.is_empty().then(reason),
        simulator: middle(&simulated).expect("there is at least one"),
    })
}

fn times(run: &RunResult) -> Option<Times> {
    let done = run.nodes.iter().filter(|node| node.outcome == Outcome::Done).filter_map(|node| node.done_s);
    median(done).map(|median_s| Times { makespan_s: run.makespan_s, median_s })
}

fn middle(all: &[Times]) -> Option<Times> {
    let makespan_s = median(all.iter().map(|times| times.makespan_s))?;
    Some(Times { makespan_s, median_s: median(all.iter().map(|times| times.median_s))? })
}

fn simulate(row: &Row, scenario: &Scenario, number: u32) -> Result<Times, CalibrationError> {
    let nobody = || CalibrationError::NobodyFinished { row: row.name };
    if row.system == "single" {
        let outcome = Baseline::SingleSource.run(scenario);
        let median_s = median(outcome.node_s).ok_or_else(nobody)?;
        return Ok(Times { makespan_s: outcome.makespan_s, median_s });
    }
    let scenario = Scenario { seed: scenario.seed + u64::from(number), ..scenario.clone() };
    let outcome = shoal_sim::run::run(&scenario, &Options::default(), &mut |_| {})
        .map_err(|error| CalibrationError::Run { row: row.name, error })?;
    let median_s = median(outcome.completions_s()).ok_or_else(nobody)?;
    Ok(Times { makespan_s: outcome.makespan_s, median_s })
}

#[cfg(test)]
mod tests;

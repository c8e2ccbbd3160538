//! What people and programs read of a set of runs: one JSON object, a table, CSV files, plots, and a page.
//!
//! `figures` computes what one run says, `summary` puts the runs of a system together; all else only shows these. A run
//! that the machine disturbed, or in which a pull failed, is listed everywhere and counted nowhere.

mod figures;
mod files;
mod page;
mod plots;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use serde::Serialize;
use shoal_sim::scenario::{Content, Scenario};

use crate::result::RunResult;

pub use figures::RunFigures;
pub use files::WriteError;
pub use shoal_sim::{
    plot::{Plot, PlotError},
    statistics::{Quantiles, Range},
};
pub use summary::{Basis, Ranges, SystemFigures, SystemSummary, summary};

/// Name of the system against which speed-ups are taken.
pub const SINGLE: &str = "single";

/// Name of the system that the laboratory is about.
pub const SHOAL: &str = "shoal";

/// What one invocation measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where and how.
    pub context: Context,
    /// Each scenario with its runs. Scenarios of one name and several numbers of nodes become one plot.
    pub experiments: Vec<Experiment>,
}

/// A scenario and its runs.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The scenario as it was run, with what was replaced in it.
    pub scenario: Scenario,
    /// All runs, those that do not count too.
    pub runs: Vec<RunResult>,
}

/// Where and how the runs were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Context {
    /// Version of Shoal, with the commit where it is known.
    pub version: String,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Number of processors.
    pub processors: u32,
    /// Day of the runs in UTC, as in 2026-11-21.
    pub date: String,
    /// The command line.
    pub command: String,
}

/// A scenario's part of the JSON object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScenarioSummary {
    /// Its name.
    pub scenario: String,
    /// What it is.
    pub about: String,
    /// Number of nodes.
    pub nodes: u32,
    /// Bytes of the blobs that each node pulls.
    pub content_bytes: u64,
    /// Sizes of the blobs.
    pub blob_bytes: Vec<u64>,
    /// Rate of a node's link away from it, payload bytes per second.
    pub link_up_bytes_per_s: u64,
    /// Rate of a node's link towards it, payload bytes per second.
    pub link_down_bytes_per_s: u64,
    /// Rate of the upstream, payload bytes per second.
    pub upstream_bytes_per_s: u64,
    /// One-way delay, in seconds.
    pub latency_s: f64,
    /// The seed.
    pub seed: u64,
    /// What no system can beat, in seconds, see `shoal_core::bound`.
    pub bound_fluid_s: f64,
    /// The same with whole pieces, in seconds: the optimum where all links are equal, a reference otherwise.
    pub bound_granular_s: f64,
    /// The least time when each node takes all from the upstream, in seconds.
    pub bound_single_source_s: f64,
    /// The systems, in the order in which they first ran.
    pub systems: Vec<SystemSummary>,
}

impl Experiment {
    /// The scenario and its systems, summed up.
    pub fn summary(&self) -> ScenarioSummary {
        let scenario = &self.scenario;
        let bounds = scenario.bound();
        ScenarioSummary {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            nodes: scenario.nodes,
            content_bytes: scenario.content.bytes(),
            blob_bytes: match &scenario.content {
                Content::Blob(bytes) => vec![*bytes],
                Content::Image(layers) => layers.clone(),
            },
            link_up_bytes_per_s: scenario.link.up,
            link_down_bytes_per_s: scenario.link.down,
            upstream_bytes_per_s: scenario.upstream.rate,
            latency_s: scenario.latency.as_secs_f64(),
            seed: scenario.seed,
            bound_fluid_s: bounds.fluid_s,
            bound_granular_s: bounds.granular_s,
            bound_single_source_s: bounds.single_source_s,
            systems: summary(scenario, &self.runs),
        }
    }
}

//! Runs of scenarios in the simulated world, and what they leave.
//!
//! A run means what the laboratory's means: the nodes of the cluster know each other and warm nodes have everything
//! before the clock starts; the clock runs from the first pull to the end of the last; faults happen when readers have
//! received a share of all bytes. Equal scenarios and options give equal outcomes, to the last bit.
//!
//! ```
//! use shoal_sim::{run::{Options, run}, scenario::{Overrides, Scenario, by_name}};
//!
//! let overrides = Overrides { nodes: Some(4), size: Some(4 << 20), ..Overrides::default() };
//! let scenario = Scenario::parse_with(by_name("cold-start").unwrap(), "cold-start", &overrides)?;
//! let outcome = run(&scenario, &Options::default(), &mut |_| {})?;
//! assert_eq!((outcome.failures(), outcome.completions_s().len()), (0, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod arrivals;
mod conduct;
mod options;
mod outcome;
mod pull;
mod series;
mod tracks;

use thiserror::Error;

use crate::scenario::Scenario;

pub use options::{Forming, Options};
pub use outcome::{ControlOutcome, End, FaultOutcome, NodeOutcome, Outcome, Row, UpstreamOutcome, ZoneOutcome};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Since the start of the run, in virtual seconds.
    pub at_s: f64,
    /// Share of all bytes that the readers of the pulling nodes have together, 0.0 to 1.0.
    pub share: f64,
    /// Pulls that are done.
    pub done: u32,
    /// Pulls of the scenario.
    pub pulls: u32,
    /// Events worked off.
    pub events: u64,
}

/// Why a run was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// The nodes did not find each other; no pull was begun.
    #[error("the cluster did not form within {seconds} s of virtual time")]
    NotFormed {
        /// Virtual seconds that it had.
        seconds: u64,
    },
}

/// Runs a scenario. `report` is called now and then, several times a second of computing.
///
/// # Errors
/// Where the cluster does not form.
pub fn run(scenario: &Scenario, options: &Options, report: &mut dyn FnMut(&Progress)) -> Result<Outcome, RunError> {
    conduct::conduct(scenario, options, report)
}

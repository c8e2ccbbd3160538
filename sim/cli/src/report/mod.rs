//! What people and programs read of a simulated run: one JSON object, a table, sentences, CSV files, plots, and a page.
//!
//! `figures` computes what a run says; all else only shows it.

mod animation;
mod comparison;
mod csv_files;
mod figures;
mod files;
mod page;
mod plots;
mod table;
#[cfg(test)]
mod tests;
mod words;

use shoal_sim::{
    run::Outcome,
    scenario::{Bounds, Scenario},
};

use comparison::Comparison;

pub use comparison::{Compared, Kind};
pub use figures::{Figures, FirstByte, NodeSeconds};
pub use files::{WriteError, check_folder};

/// A scenario, what came of it, and what is needed to understand it later.
#[derive(Clone, Debug)]
pub struct Report {
    scenario: Scenario,
    outcome: Outcome,
    context: Context,
    bounds: Bounds,
    figures: Figures,
    comparison: Option<Comparison>,
}

/// How a run was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// Version of Shoal.
    pub version: String,
    /// The command line.
    pub command: String,
    /// Time that the run took on the clock of the machine, in seconds.
    pub wall_s: f64,
}

impl Report {
    /// Of a run.
    pub fn new(scenario: Scenario, outcome: Outcome, context: Context) -> Self {
        let bounds = scenario.bound();
        let figures = Figures::of(&scenario, &bounds, &outcome, &context);
        Self { scenario, outcome, context, bounds, figures, comparison: None }
    }

    /// What the run says in numbers.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }
}

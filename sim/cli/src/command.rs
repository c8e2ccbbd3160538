//! Flags of `shoal-sim`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shoal_sim::scenario::Scenario;
use shoal_sim_cli::{ScenarioArgs, check_folder};

use crate::{
    check::CheckArgs,
    plan::PlanArgs,
    search::{SweepArgs, TuneArgs},
};

/// Simulates clusters that pull container images: the nodes' own state machines, in virtual time, with up to thousands of
/// nodes in one process
///
/// Equal scenarios and seeds give equal runs. What is modelled and what not is in docs/simulator.md.
#[derive(Parser)]
#[command(name = "shoal-sim", version, arg_required_else_help = true, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// List the scenarios that come with it, as the command `scenarios` does
    #[arg(long)]
    pub(crate) list: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a scenario, and print how long it took and how near it came to what the links allow
    ///
    /// Exit codes: 0 all pulls ended well that no fault ended, 1 a pull failed or the report could not be written, 2 wrong
    /// usage or a scenario that cannot be.
    Run(Box<RunArgs>),
    /// Say what a cluster can expect: simulate it, and compare it with single-source pulls, a pull-through
    /// cache, and models of other systems
    ///
    /// Exit codes as those of `run`.
    Plan(Box<PlanArgs>),
    /// Try values of the engine's parameters, all combinations or some, in the same runs, and compare what comes of them
    ///
    /// Exit codes: 0 all runs were made, 1 a run could not be made or the results not be written, 2 wrong usage, a parameter
    /// or value that cannot be, or a scenario that cannot be.
    Sweep(Box<SweepArgs>),
    /// Search for better values of the engine's parameters by successive halving, over a space that a file describes
    ///
    /// Exit codes as those of `sweep`.
    Tune(Box<TuneArgs>),
    /// Check the engine: small clusters with much bad luck, drawn from seeds, that must come to a good end
    ///
    /// Exit codes: 0 all held, 1 a rule was broken, 2 wrong usage or a plan that cannot be.
    Check(CheckArgs),
    /// List the scenarios that come with it
    Scenarios,
}

/// Arguments of `shoal-sim run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// Number of nodes, in place of the scenario's
    #[arg(long, value_name = "N")]
    nodes: Option<u32>,
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Write the page, plots, tables and the scenario as it ran into this folder, which must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl RunArgs {
    /// The scenario, with the folder made. Errors are the user's.
    pub(crate) fn checked(&self) -> anyhow::Result<Scenario> {
        let scenario = self.scenario.scenario(self.nodes)?;
        if let Some(out) = &self.out {
            check_folder(out)?;
        }
        Ok(scenario)
    }
}

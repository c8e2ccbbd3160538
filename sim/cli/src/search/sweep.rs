//! Flags of `shoal-sim sweep`.

use std::{fmt::Write as _, time::Duration};

use anyhow::Context as _;
use clap::Args;
use shoal_core::{
    config::CoreConfig,
    units::{Rate, Size},
};
use shoal_sim::{
    scenario::{Link, Overrides, parse_duration},
    search::{Axis, Case, Parameter, Round, Search, Space, Weights, seeds},
};
use shoal_sim_cli::{link, scenario_named};

use super::{Ready, SearchArgs};

/// Arguments of `shoal-sim sweep`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SweepArgs {
    /// Names of scenarios that come with it, or files; every candidate runs all of them
    #[arg(value_name = "SCENARIO", required_unless_present = "parameters")]
    scenarios: Vec<String>,
    /// A parameter of the engine with its values, as upload_slots=2,4,6 or window_pieces=16..64; once for each parameter
    #[arg(long = "param", value_name = "NAME=VALUES", required_unless_present = "parameters")]
    params: Vec<String>,
    /// List the engine's parameters with their defaults and ranges, and do nothing else
    #[arg(long)]
    pub(crate) parameters: bool,
    /// Draw so many combinations instead of trying all
    #[arg(long, value_name = "N")]
    random: Option<u32>,
    /// Values that a grid takes from a range
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    points: u32,
    /// Seeds of the runs, the same for every candidate, as 1..5
    #[arg(long, value_name = "FIRST..LAST", default_value = "1..3")]
    seeds: String,
    /// Decides which combinations --random draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    draw_seed: u64,
    /// Number of nodes, in place of each scenario's
    #[arg(long, value_name = "N")]
    nodes: Option<u32>,
    /// Bytes of the content, in place of each scenario's
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// Link of each node, in place of each scenario's, as 1gbit, or up/down
    #[arg(long, value_name = "RATE", value_parser = link)]
    link: Option<Link>,
    /// What the upstream sends, in place of each scenario's
    #[arg(long, value_name = "RATE")]
    upstream: Option<Rate>,
    /// One-way delay, in place of each scenario's
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    latency: Option<Duration>,
    #[command(flatten)]
    search: SearchArgs,
}

impl SweepArgs {
    /// The search. Errors are the user's.
    pub(crate) fn checked(&self) -> anyhow::Result<Ready> {
        let axes = self.params.iter().map(|text| Axis::read(text)).collect::<Result<Vec<_>, _>>();
        let space = axes.and_then(Space::new).context("--param")?;
        let candidates = match self.random {
            Some(0) => anyhow::bail!("--random: 0 is out of range; allowed are 1 to 10000"),
            Some(count) => space.random(count as usize, self.draw_seed),
            None => space.grid(self.points as usize),
        };
        let candidates = candidates.context("--param")?;
        let overrides = Overrides {
            nodes: self.nodes,
            size: self.size.map(|size| size.0),
            link: self.link,
            upstream: self.upstream.map(|rate| rate.0),
            latency: self.latency,
            ..Overrides::default()
        };
        let mut cases: Vec<Case> = Vec::new();
        for name in &self.scenarios {
            let scenario = scenario_named(name, &overrides)?;
            let name = scenario.name.clone();
            anyhow::ensure!(!cases.iter().any(|case| case.name == name), "the scenario {name} is named twice");
            cases.push(Case { name, scenario });
        }
        let seeds = seeds(&self.seeds).context("--seeds")?;
        let round = Round { cases: (0..cases.len()).collect(), seeds, keep: 1, is_held_out: false };
        let search = Search::new(space, candidates, cases, vec![round], Weights::default())?;
        self.search.ready("sweep".to_owned(), search)
    }
}

/// The engine's parameters, one a line.
pub(crate) fn parameters() -> String {
    let core = CoreConfig::default();
    let mut lines = String::new();
    for parameter in Parameter::all() {
        let default = parameter.unit.write(parameter.get(&core));
        // Writing to a string does not fail.
        let _ =
            writeln!(lines, "{:<24}{:<11}default {default:<8}{}", parameter.name, parameter.part, parameter.range());
    }
    lines
}

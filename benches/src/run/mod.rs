//! Runs scenarios: for each repeat every system once, in random order, on a bench that is built for that run alone.

mod arrival;
mod bench;
mod board;
mod conduct;
mod containerd;
mod content;
mod crew;
mod faults;
mod listening;
mod measure;
mod preflight;
mod registry_log;
mod rot;
mod scratch;
mod systems;
mod timeline;
mod tracks;
mod upstream;

use std::path::PathBuf;

use anyhow::Context;
use shoal_core::rng::Stream;
use shoal_sim::scenario::Scenario;

use crate::{
    network::{Network, Shaper},
    report::Experiment,
    result::{MachineResult, Outcome, RunResult, UpstreamResult},
};
use bench::Setup;
use board::Board;
use content::Stock;
pub use preflight::{Lacking, check};
use scratch::Scratch;
pub use systems::BUILT_IN;
use systems::System;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Scenarios, in order.
    pub scenarios: Vec<Scenario>,
    /// Systems to compare.
    pub systems: Vec<SystemChoice>,
    /// Runs of each system in each scenario that are to count, at least 1.
    pub repeats: u32,
    /// How often a run that does not count is made again.
    pub retries: u32,
    /// Who pulls.
    pub client: ClientKind,
    /// What holds the links to their rates.
    pub shaper: Shaper,
    /// The `shoal` to run.
    pub shoal: PathBuf,
}

/// A system by its name, or by an adapter of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemChoice {
    /// One of [`BUILT_IN`].
    BuiltIn(String),
    /// See docs/laboratory.md.
    Adapter {
        /// Its name in tables.
        name: String,
        /// What starts and stops it.
        executable: PathBuf,
    },
}

/// Who pulls at a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientKind {
    /// The laboratory's own client, which asks as containerd does, checks each digest and keeps nothing.
    #[default]
    Http,
    /// The same, which keeps each blob in a file.
    HttpToFiles,
    /// A real containerd, which unpacks as well.
    Containerd,
}

/// What failed: runs that could not be made, and pulls that did not end well and were not ended by a fault.
pub fn failures(experiment: &Experiment) -> Vec<String> {
    let mut failures = Vec::new();
    for run in &experiment.runs {
        let place = format!("{}, {}, repeat {}", experiment.scenario.name, run.system, run.repeat + 1);
        if let Some(reason) = run.invalid.as_ref().filter(|_| run.nodes.is_empty()) {
            failures.push(format!("{place}: {reason}"));
        }
        for node in run.nodes.iter().filter(|node| node.outcome == Outcome::Failed) {
            let error = node.error.as_deref().unwrap_or("it did not begin");
            failures.push(format!("{place}, node {}: {error}", node.node));
        }
    }
    failures
}

/// Makes all runs of a plan. Dropping the future ends and removes whatever there is by then.
pub async fn run(plan: &Plan) -> anyhow::Result<Vec<Experiment>> {
    let board = Board::new();
    for name in Network::remove_leftovers()? {
        board.say(&format!("removed {name}, which an invocation that was killed had left"));
    }
    for path in scratch::remove_leftovers()? {
        board.say(&format!("removed {}, which an invocation that was killed had left", path.display()));
    }
    let scratch = Scratch::create()?;
    let mut laboratory = Laboratory { plan, board, scratch, runs: 0 };
    let mut all = Vec::new();
    for (number, scenario) in plan.scenarios.iter().enumerate() {
        all.push(laboratory.series(number, scenario).await?);
    }
    Ok(all)
}

struct Laboratory<'a> {
    plan: &'a Plan,
    board: Board,
    scratch: Scratch,
    runs: u32,
}

impl Laboratory<'_> {
    async fn series(&mut self, number: usize, scenario: &Scenario) -> anyhow::Result<Experiment> {
        self.board.doing("making the content");
        let storage = self.scratch.create_dir(&format!("content-{number}"))?;
        let stock = Stock::make(&storage, &scenario.content, scenario.seed).await?;
        let systems: Vec<Box<dyn System>> =
            self.plan.systems.iter().map(|choice| choice.system(&self.plan.shoal)).collect::<anyhow::Result<_>>()?;
        let mut order = Stream::new(scenario.seed, "order of the systems");
        let mut runs = Vec::new();
        for repeat in 0..self.plan.repeats {
            let mut turns: Vec<&dyn System> = systems.iter().map(AsRef::as_ref).collect();
            order.shuffle(&mut turns);
            for system in turns {
                self.until_it_counts(scenario, &stock, system, repeat, &mut runs).await?;
            }
        }
        std::fs::remove_dir_all(&storage).with_context(|| format!("cannot remove {}", storage.display()))?;
        Ok(Experiment { scenario: scenario.clone(), runs })
    }

    async fn until_it_counts(
        &mut self,
        scenario: &Scenario,
        stock: &Stock,
        system: &dyn System,
        repeat: u32,
        runs: &mut Vec<RunResult>,
    ) -> anyhow::Result<()> {
        for attempt in 0..=self.plan.retries {
            let (name, of) = (&scenario.name, self.plan.repeats);
            self.board.doing(format!("{name}, {} nodes: {}, {} of {of}", scenario.nodes, system.name(), repeat + 1));
            let mut run = self.one(scenario, stock, system).await?;
            run.repeat = repeat;
            run.order = u32::try_from(runs.len()).unwrap_or(u32::MAX);
            let again = run.invalid.is_some() && !run.nodes.is_empty() && attempt < self.plan.retries;
            if let Some(reason) = &run.invalid {
                let then = if again { "; again" } else { "" };
                self.board.say(&format!("{}, repeat {}, does not count: {reason}{then}", run.system, repeat + 1));
            }
            runs.push(run);
            if !again {
                break;
            }
        }
        Ok(())
    }

    /// A run that cannot be made is a result too: one without nodes.
    async fn one(&mut self, scenario: &Scenario, stock: &Stock, system: &dyn System) -> anyhow::Result<RunResult> {
        let directory = self.scratch.create_dir(&format!("run-{}", self.runs))?;
        self.runs += 1;
        let (client, shaper) = (self.plan.client, self.plan.shaper);
        let setup = Setup { scenario, stock, system, client, shaper, directory: &directory };
        let run = match conduct::conduct(&setup, &self.board).await {
            Ok(run) => run,
            Err(error) => not_made(system.name(), scenario, format!("{error:#}")),
        };
        std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
        Ok(run)
    }
}

fn not_made(system: &str, scenario: &Scenario, reason: String) -> RunResult {
    RunResult {
        system: system.to_owned(),
        repeat: 0,
        order: 0,
        invalid: Some(reason),
        makespan_s: 0.0,
        bound_s: scenario.bound().makespan_s(),
        nodes: Vec::new(),
        upstream: UpstreamResult::default(),
        zones: Vec::new(),
        machine: MachineResult::default(),
        timeline: Vec::new(),
    }
}

impl SystemChoice {
    /// Its name in tables.
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(name) | Self::Adapter { name, .. } => name,
        }
    }

    fn system(&self, shoal: &std::path::Path) -> anyhow::Result<Box<dyn System>> {
        match self {
            Self::BuiltIn(name) => systems::built_in(name, shoal)
                .with_context(|| format!("there is no system {name}; there are {}", BUILT_IN.join(", "))),
            Self::Adapter { name, executable } => systems::adapted(name, executable),
        }
    }
}

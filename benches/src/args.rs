//! Flags of `shoal-lab`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use shoal_core::units::Size;
use shoal_lab::{
    calibration::{Comparison, ROWS, Row, table},
    local::{latency, memory, throughput},
    network::Shaper,
    report::Report,
    run::{BUILT_IN, ClientKind, Plan, SystemChoice},
};
use shoal_sim::scenario::Link;
use shoal_sim_cli::ScenarioArgs;

/// Measures ways to pull container images: real nodes in network namespaces behind shaped links, on one machine
///
/// It needs Linux, root, iproute2 and docker-registry. Scenarios say what is pulled by how many nodes over which links.
#[derive(Parser)]
#[command(name = "shoal-lab", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a scenario, and print how long it took and how near it came to what the links allow
    Run(Box<RunArgs>),
    /// Run the same scenarios here and in the simulator, and print how far apart the two are
    Calibrate(CalibrateArgs),
    /// List the scenarios that come with it
    Scenarios,
    Throughput(throughput::Args),
    Memory(memory::Args),
    Latency(latency::Args),
}

/// Arguments of `shoal-lab calibrate`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CalibrateArgs {
    /// Comparisons to make, all of them unless named
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    rows: Vec<String>,
    /// Bytes of the blob, as in 64MiB
    #[arg(long, default_value = "64MiB")]
    size: Size,
    /// Link of each node, as in 25mbit or up/down as in 10mbit/50mbit; the upstream and slow links follow it
    #[arg(long, value_parser = shoal_sim_cli::link, default_value = "25mbit")]
    link: Link,
    /// Runs of each comparison that are to count, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// How often a run that the machine disturbed is made again, 0 to 100
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    retries: u32,
    /// What holds the links to their rates
    #[arg(long, value_enum, default_value_t = ShaperChoice::Tbf)]
    shaper: ShaperChoice,
    /// Write the table in all its forms into this folder, which must not exist
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

impl CalibrateArgs {
    /// The comparisons that are asked for, and what the laboratory runs for each.
    pub(crate) fn plans(&self) -> anyhow::Result<Vec<(Row, Plan)>> {
        for name in &self.rows {
            let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
            ensure!(ROWS.iter().any(|row| row.name == name), "there is no comparison {name:?}; there are {}", names());
        }
        refuse_existing(self.out.as_deref())?;
        let is_wanted = |row: &&Row| self.rows.is_empty() || self.rows.iter().any(|name| name == row.name);
        ROWS.iter().filter(is_wanted).map(|row| Ok((*row, self.plan(row)?))).collect()
    }

    fn plan(&self, row: &Row) -> anyhow::Result<Plan> {
        Ok(Plan {
            scenarios: vec![row.scenario(Some(self.size.0), Some(self.link))?],
            systems: vec![SystemChoice::BuiltIn(row.system.into())],
            repeats: self.repeats,
            retries: self.retries,
            client: ClientKind::Http,
            shaper: self.shaper.kind(),
            shoal: crate::binary::shoal(),
        })
    }

    /// Writes the table where it is asked for, and prints it.
    pub(crate) fn show(&self, rows: &[Comparison]) -> anyhow::Result<()> {
        if let Some(out) = &self.out {
            table::write(rows, out)?;
        }
        let text = if self.json { format!("{}\n", table::object(rows)) } else { table::markdown(rows) };
        crate::print(&text)
    }
}

/// Arguments of `shoal-lab run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// Numbers of nodes, in place of the scenario's; several make a series each
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    nodes: Vec<u32>,
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Systems to compare: single, single-parallel, pull-through, shoal, shoal-no-peers, and those of --system
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "single,shoal")]
    systems: Vec<String>,
    /// A system that an executable starts and stops (docs/laboratory.md); repeatable
    #[arg(long = "system", value_name = "NAME=ADAPTER", value_parser = adapter)]
    adapters: Vec<(String, PathBuf)>,
    /// Runs of each system that are to count, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// How often a run that the machine disturbed is made again, 0 to 100; those that were disturbed are listed all the same
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    retries: u32,
    /// Who pulls
    #[arg(long, value_enum, default_value_t = Client::Http)]
    client: Client,
    /// What holds the links to their rates
    #[arg(long, value_enum, default_value_t = ShaperChoice::Tbf)]
    shaper: ShaperChoice,
    /// Write the report, plots and all raw results into this folder, which must not exist
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Who pulls at a node.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Client {
    /// A client that asks as containerd does, checks each digest and keeps nothing
    Http,
    /// The same, which keeps each blob in a file
    HttpToFiles,
    /// A real containerd, which unpacks as well
    Containerd,
}

/// What holds the links to their rates.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShaperChoice {
    /// A timer for each packet that waits
    Tbf,
    /// A timer for each burst, for machines whose timers are dear; needs the kernel's htb_hysteresis (docs/laboratory.md)
    Htb,
}

impl ShaperChoice {
    fn kind(self) -> Shaper {
        match self {
            Self::Tbf => Shaper::Tbf,
            Self::Htb => Shaper::Htb,
        }
    }
}

impl RunArgs {
    /// What the arguments ask for. Errors are the user's.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let nodes: Vec<Option<u32>> = match self.nodes.as_slice() {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        let scenarios = nodes.into_iter().map(|nodes| self.scenario.scenario(nodes));
        let client = match self.client {
            Client::Http => ClientKind::Http,
            Client::HttpToFiles => ClientKind::HttpToFiles,
            Client::Containerd => ClientKind::Containerd,
        };
        Ok(Plan {
            scenarios: scenarios.collect::<Result<_, _>>()?,
            systems: self.choices()?,
            repeats: self.repeats,
            retries: self.retries,
            client,
            shaper: self.shaper.kind(),
            shoal: crate::binary::shoal(),
        })
    }

    /// Refuses a folder that is there, before anything takes time.
    pub(crate) fn check_output(&self) -> anyhow::Result<()> {
        refuse_existing(self.out.as_deref())
    }

    /// Writes the report where it is asked for, and prints the result.
    pub(crate) fn show(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(out) = &self.out {
            report.write(out)?;
        }
        let text = if self.json { format!("{}\n", report.object()) } else { report.markdown() };
        crate::print(&text)
    }

    fn choices(&self) -> anyhow::Result<Vec<SystemChoice>> {
        let mut choices: Vec<SystemChoice> = Vec::new();
        let adapted = self
            .adapters
            .iter()
            .map(|(name, executable)| SystemChoice::Adapter { name: name.clone(), executable: executable.clone() });
        // An adapter need not be named twice.
        let named = self.systems.iter().filter(|name| !self.adapters.iter().any(|(adapter, _)| adapter == *name));
        for choice in named.map(|name| SystemChoice::BuiltIn(name.clone())).chain(adapted) {
            let name = choice.name();
            let is_known = !matches!(choice, SystemChoice::BuiltIn(_)) || BUILT_IN.contains(&name);
            ensure!(is_known, "there is no system {name:?}; there are {} and those of --system", BUILT_IN.join(", "));
            ensure!(choices.iter().all(|other| other.name() != name), "the system {name} is named twice");
            choices.push(choice);
        }
        Ok(choices)
    }
}

fn refuse_existing(out: Option<&Path>) -> anyhow::Result<()> {
    if let Some(out) = out.filter(|out| out.exists()) {
        bail!("{} is there already: name a folder that is not, or remove it", out.display());
    }
    Ok(())
}

fn adapter(text: &str) -> anyhow::Result<(String, PathBuf)> {
    let (name, executable) = text.split_once('=').context("expected NAME=ADAPTER, as in other=./other.sh")?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    ensure!(
        !name.is_empty() && name.len() <= 63 && name.bytes().all(is_name),
        "{name:?} is no name of a system: lower-case letters, digits and -, at most 63"
    );
    ensure!(!BUILT_IN.contains(&name), "{name} is a system that is built in; give the adapter another name");
    Ok((name.to_owned(), executable.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
        let arguments = ["shoal-lab", "run"].iter().chain(arguments);
        match Cli::try_parse_from(arguments)?.command {
            Command::Run(arguments) => Ok(*arguments),
            _ => unreachable!("run was asked for"),
        }
    }

    #[test]
    fn flags_override_the_scenario() {
        let arguments = ["cold-start", "--nodes", "2,4", "--size", "16MiB", "--link", "10mbit/20mbit", "--seed", "9"];
        let plan = parse(&arguments).unwrap().plan().unwrap();
        assert_eq!(plan.scenarios.iter().map(|scenario| scenario.nodes).collect::<Vec<_>>(), [2, 4]);
        let scenario = &plan.scenarios[0];
        assert_eq!((scenario.content.bytes(), scenario.seed), (16 << 20, 9));
        assert_eq!(scenario.link, Link { up: 1_250_000, down: 2_500_000 });
        assert_eq!(plan.systems.iter().map(SystemChoice::name).collect::<Vec<_>>(), ["single", "shoal"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |arguments: &[&str]| match parse(arguments) {
            Ok(arguments) => arguments.plan().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(refused(&["no-such"]).contains("cold-start"));
        assert!(refused(&["cold-start", "--nodes", "0"]).contains("nodes"));
        assert!(refused(&["cold-start", "--systems", "other"]).contains("single-parallel"));
        assert!(refused(&["cold-start", "--systems", "shoal,shoal"]).contains("twice"));
        assert!(refused(&["cold-start", "--system", "shoal=./a"]).contains("built in"));
        assert!(refused(&["cold-start", "--system", "Other"]).contains("NAME=ADAPTER"));
        assert!(refused(&["cold-start", "--repeats", "0"]).contains("repeats"));
        assert!(refused(&["cold-start", "--link", "fast"]).contains("200mbit"));
        assert!(refused(&["cold-start", "--size", "1MiB", "--layers", "1MiB"]).contains("--layers"));
    }

    #[test]
    fn a_calibration_names_its_comparisons_and_refuses_others() {
        let parse = |arguments: &[&str]| match Cli::try_parse_from(["shoal-lab", "calibrate"].iter().chain(arguments)) {
            Ok(Cli { command: Command::Calibrate(arguments) }) => arguments.plans(),
            Ok(_) => unreachable!("calibrate was asked for"),
            Err(error) => Err(error.into()),
        };
        assert_eq!(parse(&[]).unwrap().len(), ROWS.len());
        let chosen = parse(&["--rows", "kill,zones", "--size", "8MiB", "--link", "10mbit"]).unwrap();
        assert_eq!(chosen.iter().map(|(row, _)| row.name).collect::<Vec<_>>(), ["zones", "kill"]);
        assert_eq!(chosen[0].1.scenarios[0].content.bytes(), 8 << 20);
        assert!(parse(&["--rows", "other"]).unwrap_err().to_string().contains("cold-start-16"));
        assert!(parse(&["--out", "/"]).unwrap_err().to_string().contains("is there already"));
    }

    #[test]
    fn an_adapter_is_a_system_beside_the_others() {
        let plan = parse(&["cold-start", "--system", "other=/bin/true", "--systems", "single,other"]).unwrap().plan();
        assert_eq!(plan.unwrap().systems.iter().map(SystemChoice::name).collect::<Vec<_>>(), ["single", "other"]);
    }
}

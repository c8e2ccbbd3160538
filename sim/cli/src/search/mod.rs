//! Searches over the engine's parameters at the command line: `sweep` and `tune`.

mod results;
mod run;
mod sweep;
mod table;
mod tune;

pub(crate) use sweep::{SweepArgs, parameters};
pub(crate) use tune::TuneArgs;

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use shoal_sim::search::{Search, Space};
use shoal_sim_cli::check_folder;

use results::Results;

/// Flags that both commands have.
#[derive(Args, Clone, Debug)]
pub(crate) struct SearchArgs {
    /// Two of the parameters, as A,B: of what they do together heat maps are drawn. The first two where it is left out
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    heat: Vec<String>,
    /// Runs at a time, each on a thread of its own; as many as there are processors where it is left out. The result is
    /// the same with any number
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroU32>,
    /// Write tables, the object and heat maps into this folder, which must not exist or be empty
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// A search that can begin.
pub(crate) struct Ready {
    title: String,
    search: Search,
    /// Axes of the heat maps by their places, where there are two.
    heat: Option<(usize, usize)>,
    arguments: SearchArgs,
}

impl SearchArgs {
    /// With the folder made. Errors are the user's.
    fn ready(&self, title: String, search: Search) -> anyhow::Result<Ready> {
        let heat = self.heat_axes(search.space())?;
        if let Some(out) = &self.out {
            check_folder(out)?;
        }
        Ok(Ready { title, search, heat, arguments: self.clone() })
    }

    fn heat_axes(&self, space: &Space) -> anyhow::Result<Option<(usize, usize)>> {
        let names: Vec<&str> = space.axes().iter().map(|axis| axis.parameter.name).collect();
        let place = |name: &String| {
            let found = names.iter().position(|other| other == name);
            found.with_context(|| format!("--heat: {name:?} is not searched; there are {}", names.join(", ")))
        };
        match &self.heat[..] {
            [] => Ok((names.len() > 1).then_some((0, 1))),
            [one, other] => {
                ensure!(one != other, "--heat: two different parameters are needed, as in --heat {}", names.join(","));
                Ok(Some((place(one)?, place(other)?)))
            }
            _ => bail!("--heat: two parameters are needed, as in --heat {}", names.join(",")),
        }
    }

    fn jobs(&self) -> usize {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(processors, |jobs| usize::try_from(jobs.get()).unwrap_or(1))
    }
}

impl Ready {
    /// Makes all runs, writes what is asked for, and gives what is to be printed.
    pub(crate) fn go(self) -> anyhow::Result<String> {
        let Self { title, mut search, heat, arguments } = self;
        let start = Instant::now();
        run::run(&mut search, arguments.jobs())?;
        let results = Results::new(title, search, heat, start.elapsed().as_secs_f64());
        if let Some(out) = &arguments.out {
            results.write(out)?;
        }
        Ok(if arguments.json { format!("{}\n", results.object()) } else { results.text() })
    }
}

/// Reads a file that a user names.
fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

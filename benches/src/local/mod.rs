//! What two nodes on loopback cost, without any shaped link: `throughput`, `memory` and `latency`.
//!
//! Each command starts nginx as the registry and real `shoal node` processes, all on free ports of the loopback
//! interface with their files in one temporary directory, and removes everything at the end. Node A has the content,
//! node B gets it from A. That it came from A and not from the registry is checked by B's own counters, and a run in
//! which it did not is an error.
//!
//! Needs nginx, but no root.

mod client;
mod content;
pub mod latency;
pub mod memory;
mod nginx;
mod node;
mod pair;
pub mod throughput;

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;

/// What all commands about two nodes take.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The program `shoal` to measure; the one beside this program, or in the directory above, where it is not said
    #[arg(long, value_name = "FILE")]
    pub shoal: Option<PathBuf>,
    /// Where the temporary directory is made: a disk with room for four copies of the content
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub directory: PathBuf,
    /// One line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// The program to measure.
    fn program(&self) -> anyhow::Result<PathBuf> {
        if let Some(program) = &self.shoal {
            return Ok(program.clone());
        }
        let own = std::env::current_exe().context("cannot find this program")?;
        let beside = own.ancestors().skip(1).take(2).map(|directory| directory.join("shoal"));
        let Some(found) = beside.into_iter().find(|program| program.is_file()) else {
            bail!("no program shoal beside {}: build it with `cargo build --release`, or say --shoal", own.display());
        };
        Ok(found)
    }

    /// Prints a result for people or for programs.
    fn print<T: Serialize + std::fmt::Display>(&self, result: &T) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(result)?);
        } else {
            println!("{result}");
        }
        Ok(())
    }
}

//! What two nodes on loopback cost, without any shaped link: `throughput`, `memory` and `latency`.
//!
//! Each command starts nginx as the registry and real `shoal node` processes, all on free ports of the loopback
//! interface with their files in one temporary directory, and removes everything at the end. Node A has the content,
//! node B gets it from A. That it came from A and not from the registry is checked by B's own counters, and a run in
//! which it did not is an error.
//!
//! Needs nginx and util-linux' `setpriv`, but no root.

mod client;
mod content;
pub mod latency;
pub mod memory;
mod nginx;
mod node;
mod pair;
mod process;
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

/// The value below which `share` (0.0 to 1.0) of `values` lie, by the nearest rank; 0 of none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length is a small index")]
    let rank = ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        let found: Vec<f64> = [0.0, 0.2, 0.5, 0.99, 1.0].map(|share| quantile(&values, share)).to_vec();
        assert_eq!(found, [1.0, 1.0, 3.0, 5.0, 5.0]);
        assert_eq!(quantile(&[], 0.5).to_bits(), 0.0f64.to_bits());
    }
}

//! Flags of `shoal-sim tune`.

use std::path::PathBuf;

use clap::Args;
use shoal_sim::search::SpaceFile;

use super::{Ready, SearchArgs, read};

/// Arguments of `shoal-sim tune`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TuneArgs {
    /// File with the parameters and their values, the scenarios, the seeds and the rounds
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    search: SearchArgs,
}

impl TuneArgs {
    /// The search. Errors are the user's.
    pub(crate) fn checked(&self) -> anyhow::Result<Ready> {
        let text = read(&self.file)?;
        let file = SpaceFile::parse(&text, &self.file.display().to_string())?;
        let title = format!("tune {}", file.name);
        self.search.ready(title, file.search()?)
    }
}

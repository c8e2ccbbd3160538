//! The files of a report.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value, json};
use shoal_sim::plot::PlotError;
use thiserror::Error;

use super::Report;

/// A report was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The folder has something in it.
    #[error(
        "{0} is there already and not empty: name a folder that is not, or empty it, so that no earlier result is lost"
    )]
    NotEmpty(PathBuf),
    /// Something else has the folder's name.
    #[error("{0} is not a folder: name one that does not exist, or is empty")]
    NotAFolder(PathBuf),
    /// The folder or a file in it.
    #[error("{path} cannot be written: {source}; choose a folder whose parent exists and may be written to")]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A value has no form in the file's format.
    #[error("{path} cannot be made from this run: {problem}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What the format's library says.
        problem: String,
    },
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// Makes the folder where it is not there yet, before a run takes time.
///
/// # Errors
/// It has something in it, is no folder, or cannot be made.
pub fn check_folder(folder: &Path) -> Result<(), WriteError> {
    let failed = |source| WriteError::Write { path: folder.to_owned(), source };
    match fs::create_dir(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        Err(_) if !folder.is_dir() => Err(WriteError::NotAFolder(folder.to_owned())),
        Err(_) => match fs::read_dir(folder).map_err(failed)?.next() {
            None => Ok(()),
            Some(_) => Err(WriteError::NotEmpty(folder.to_owned())),
        },
    }
}

impl Report {
    /// One JSON object: the figures, and the systems that are compared.
    pub fn object(&self) -> Value {
        let mut object = json!(self.figures);
        if self.comparison.is_some() {
            object["systems"] = json!(self.systems());
        }
        object
    }

    /// Writes `result.json` (the figures and everything that they are computed from but the animation's shares),
    /// `nodes.csv`, `series.csv`, `scenario.toml`, the plots as SVG files, and `report.html`.
    ///
    /// # Errors
    /// The folder has something in it or cannot be written to; a plot cannot be drawn.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let plots = self.plots()?;
        check_folder(folder)?;
        let page = self.page(&plots);
        write(&folder.join("result.json"), &format!("{:#}\n", self.result()))?;
        write(&folder.join("scenario.toml"), &self.scenario.to_toml())?;
        for plot in &plots {
            write(&folder.join(format!("{}.svg", plot.name)), &plot.svg)?;
        }
        write_csv(&folder.join("nodes.csv"), &self.node_lines())?;
        write_csv(&folder.join("series.csv"), &self.series_lines())?;
        // Last: who sees the page finds all that it is about.
        write(&folder.join("report.html"), &page)
    }

    /// The figures, with what they are computed from.
    fn result(&self) -> Value {
        let mut result = self.object();
        let mut outcome = json!(self.outcome);
        for row in outcome["series"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            // A number for each node and row: the page has them, in a shorter form.
            row.remove("shares");
        }
        result["command"] = json!(self.context.command);
        result["scenario_toml"] = json!(self.scenario.to_toml());
        result["outcome"] = outcome;
        result
    }
}

fn write(path: &Path, text: &str) -> Result<(), WriteError> {
    fs::write(path, text).map_err(|source| WriteError::Write { path: path.to_owned(), source })
}

fn write_csv(path: &Path, lines: &[impl Serialize]) -> Result<(), WriteError> {
    let form = |problem: String| WriteError::Form { path: path.to_owned(), problem };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.serialize(line).map_err(|error| form(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| form(error.to_string()))?;
    fs::write(path, bytes).map_err(|source| WriteError::Write { path: path.to_owned(), source })
}

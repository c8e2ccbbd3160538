//! The files of a report.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value, json};
use shoal_sim::scenario::Scenario;
use thiserror::Error;

use super::{Experiment, PlotError, Report, RunFigures, summary::counts};
use crate::result::{NodeResult, RunResult};

/// A report was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The folder is there already.
    #[error("{0} exists; name a folder that does not, so that no earlier result is lost")]
    Exists(PathBuf),
    /// The folder or a file in it.
    #[error("{path} cannot be written: {source}; choose a folder whose parent exists and may be written to")]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A value has no form in the file's format.
    #[error("{path} cannot be made from these results: {problem}")]
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

impl Report {
    /// One JSON object: the context, and the scenario's keys beside it, or all scenarios under `scenarios` where there
    /// are several.
    pub fn object(&self) -> Value {
        let mut object = json!(self.context);
        let mut summaries: Vec<Value> = self.experiments.iter().map(|experiment| json!(experiment.summary())).collect();
        let single = if summaries.len() == 1 { summaries.pop() } else { None };
        if let Value::Object(keys) = &mut object {
            match single {
                Some(Value::Object(summary)) => keys.extend(summary),
                _ => {
                    keys.insert("scenarios".to_owned(), Value::Array(summaries));
                }
            }
        }
        object
    }

    /// Writes `results.json` (the object and all runs), `runs.csv`, `nodes.csv`, `results.md`, the plots as SVG files,
    /// and `index.html` into a new folder.
    ///
    /// # Errors
    /// The folder exists, or cannot be written; a plot cannot be drawn.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let page = self.page()?;
        let plots = self.plots()?;
        fs::create_dir(folder).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => WriteError::Exists(folder.to_owned()),
            _ => WriteError::Write { path: folder.to_owned(), source },
        })?;
        let mut object = self.object();
        object["runs"] = self.experiments.iter().map(runs_of).collect();
        write(&folder.join("results.json"), &format!("{object:#}\n"))?;
        write(&folder.join("results.md"), &self.markdown())?;
        write(&folder.join("index.html"), &page)?;
        for plot in &plots {
            write(&folder.join(format!("{}.svg", plot.name)), &plot.svg)?;
        }
        self.write_csv(&folder.join("runs.csv"), Experiment::run_rows)?;
        self.write_csv(&folder.join("nodes.csv"), Experiment::node_rows)
    }

    fn write_csv<'a, Row: Serialize + 'a>(
        &'a self,
        path: &Path,
        rows: impl Fn(&'a Experiment) -> Vec<Row>,
    ) -> Result<(), WriteError> {
        let form = |problem: String| WriteError::Form { path: path.to_owned(), problem };
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in self.experiments.iter().flat_map(rows) {
            writer.serialize(row).map_err(|error| form(error.to_string()))?;
        }
        let bytes = writer.into_inner().map_err(|error| form(error.to_string()))?;
        fs::write(path, bytes).map_err(|source| WriteError::Write { path: path.to_owned(), source })
    }
}

fn write(path: &Path, text: &str) -> Result<(), WriteError> {
    fs::write(path, text).map_err(|source| WriteError::Write { path: path.to_owned(), source })
}

/// The runs of a scenario as they are.
fn runs_of(experiment: &Experiment) -> Value {
    json!({
        "scenario": experiment.scenario.name,
        "nodes": experiment.scenario.nodes,
        "runs": experiment.runs,
    })
}

/// A line of `runs.csv`. The library cannot flatten, so that names stand here again.
#[derive(Serialize)]
struct RunRow<'a> {
    scenario: &'a str,
    scenario_nodes: u32,
    seed: u64,
    system: &'a str,
    repeat: u32,
    order: u32,
    counts: bool,
    invalid: &'a str,
    failed_nodes: usize,
    makespan_s: f64,
    bound_s: f64,
    ratio_to_bound: f64,
    upstream_copies: f64,
    upstream_blob_bytes: u64,
    upstream_blob_requests: u64,
    upstream_manifest_requests: u64,
    upstream_requests: u64,
    duplicate_ratio: Option<f64>,
    first_byte_p50_s: Option<f64>,
    first_byte_max_s: Option<f64>,
    cpu_s_per_gb: Option<f64>,
    rss_max_bytes: Option<u64>,
    cross_zone_copies: Option<f64>,
    stall_max_s: f64,
    upload_gini: Option<f64>,
    rate_jain: Option<f64>,
    fast_nodes_over_bound: Option<f64>,
    last_over_first: Option<f64>,
    machine_busy: f64,
    machine_busy_share: f64,
    machine_steal: f64,
}

/// A line of `nodes.csv`.
#[derive(Serialize)]
struct NodeRow<'a> {
    scenario: &'a str,
    scenario_nodes: u32,
    system: &'a str,
    repeat: u32,
    node: u32,
    zone: u32,
    outcome: crate::result::Outcome,
    started_s: f64,
    first_byte_s: Option<f64>,
    done_s: Option<f64>,
    bound_s: Option<f64>,
    stall_max_s: f64,
    bytes: u64,
    link_up_bytes: u64,
    link_down_bytes: u64,
    from_upstream_bytes: u64,
    from_peers_bytes: u64,
    duplicate_bytes: u64,
    cpu_s: f64,
    rss_max_bytes: u64,
    error: &'a str,
}

impl Experiment {
    fn run_rows(&self) -> Vec<RunRow<'_>> {
        let bounds = self.scenario.bound();
        let row = |run| run_row(&self.scenario, run, RunFigures::of(&self.scenario, &bounds, run));
        self.runs.iter().map(row).collect()
    }

    fn node_rows(&self) -> Vec<NodeRow<'_>> {
        let bounds = self.scenario.bound();
        let all = self.runs.iter().flat_map(|run| run.nodes.iter().map(move |node| (run, node)));
        all.map(|(run, node)| {
            let least_s = bounds.node_s.get(node.node as usize).copied();
            node_row(&self.scenario, run, node, least_s)
        })
        .collect()
    }
}

fn run_row<'a>(scenario: &'a Scenario, run: &'a RunResult, figures: RunFigures) -> RunRow<'a> {
    RunRow {
        scenario: &scenario.name,
        scenario_nodes: scenario.nodes,
        seed: scenario.seed,
        system: &run.system,
        repeat: run.repeat,
        order: run.order,
        counts: counts(run),
        invalid: run.invalid.as_deref().unwrap_or_default(),
        failed_nodes: super::figures::failed(run).count(),
        makespan_s: figures.makespan_s,
        bound_s: figures.bound_s,
        ratio_to_bound: figures.ratio_to_bound,
        upstream_copies: figures.upstream_copies,
        upstream_blob_bytes: run.upstream.blob_bytes,
        upstream_blob_requests: run.upstream.blob_requests,
        upstream_manifest_requests: run.upstream.manifest_requests,
        upstream_requests: run.upstream.requests,
        duplicate_ratio: figures.duplicate_ratio,
        first_byte_p50_s: figures.first_byte_p50_s,
        first_byte_max_s: figures.first_byte_max_s,
        cpu_s_per_gb: figures.cpu_s_per_gb,
        rss_max_bytes: figures.rss_max_bytes,
        cross_zone_copies: figures.cross_zone_copies,
        stall_max_s: figures.stall_max_s,
        upload_gini: figures.upload_gini,
        rate_jain: figures.rate_jain,
        fast_nodes_over_bound: figures.fast_nodes_over_bound,
        last_over_first: figures.last_over_first,
        machine_busy: run.machine.busy,
        machine_busy_share: run.machine.busy_share,
        machine_steal: run.machine.steal,
    }
}

fn node_row<'a>(scenario: &'a Scenario, run: &'a RunResult, node: &'a NodeResult, bound_s: Option<f64>) -> NodeRow<'a> {
    NodeRow {
        scenario: &scenario.name,
        scenario_nodes: scenario.nodes,
        system: &run.system,
        repeat: run.repeat,
        node: node.node,
        zone: node.zone,
        outcome: node.outcome,
        started_s: node.started_s,
        first_byte_s: node.first_byte_s,
        done_s: node.done_s,
        bound_s,
        stall_max_s: node.stall_max_s,
        bytes: node.bytes,
        link_up_bytes: node.link_up_bytes,
        link_down_bytes: node.link_down_bytes,
        from_upstream_bytes: node.from_upstream_bytes,
        from_peers_bytes: node.from_peers_bytes,
        duplicate_bytes: node.duplicate_bytes,
        cpu_s: node.cpu_s,
        rss_max_bytes: node.rss_max_bytes,
        error: node.error.as_deref().unwrap_or_default(),
    }
}

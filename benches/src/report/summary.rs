//! The runs of a system, put together: medians of the runs that count, with the least and the most beside them.

use serde::Serialize;
use shoal_sim::{
    scenario::{Bounds, Scenario},
    statistics::{Quantiles, Range, median},
};

use super::{
    RunFigures, SINGLE,
    figures::{done, failed},
};
use crate::result::RunResult;

/// A system in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SystemSummary {
    /// Its name.
    pub system: String,
    /// Runs that count.
    pub runs: usize,
    /// Runs that the machine disturbed.
    pub invalid_runs: usize,
    /// Runs in which a pull failed.
    pub failed_runs: usize,
    /// From the runs that count; its keys are absent where there is none.
    #[serde(flatten)]
    pub figures: Option<SystemFigures>,
}

/// Medians over the runs of a system that count; see [`RunFigures`] for what each is. What is none in all runs is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SystemFigures {
    /// In seconds.
    pub makespan_s: f64,
    /// Of the nodes' pulls from their own starts, all runs pooled, in seconds.
    pub node_s: Option<Quantiles>,
    /// In seconds.
    pub bound_s: f64,
    /// `bound_s / makespan_s`.
    pub ratio_to_bound: f64,
    /// Makespan of single-source pulls over this system's.
    pub speedup: f64,
    /// Where the makespan of single-source pulls comes from.
    pub speedup_basis: Basis,
    /// In copies of the content.
    pub upstream_copies: f64,
    /// All requests at the upstream.
    pub upstream_requests: f64,
    /// 0 to 1.
    pub duplicate_ratio: Option<f64>,
    /// Of the nodes, all runs pooled, in seconds.
    pub first_byte_s: Option<Quantiles>,
    /// Processor seconds for each 10^9 bytes delivered.
    pub cpu_s_per_gb: Option<f64>,
    /// The most of all runs.
    pub rss_max_bytes: Option<u64>,
    /// In copies of the content, the zone that most entered.
    pub cross_zone_copies: Option<f64>,
    /// The most of all runs, in seconds.
    pub stall_max_s: f64,
    /// 0 to 1.
    pub upload_gini: Option<f64>,
    /// 0 to 1.
    pub rate_jain: Option<f64>,
    /// Time over bound.
    pub fast_nodes_over_bound: Option<f64>,
    /// Time over time.
    pub last_over_first: Option<f64>,
    /// Least and most of the runs that count.
    pub ranges: Ranges,
}

/// Least and most of the runs that count, for figures of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of `SystemFigures`")]
pub struct Ranges {
    pub makespan_s: Range,
    pub ratio_to_bound: Range,
    pub upstream_copies: Range,
    pub upstream_requests: Range,
    pub duplicate_ratio: Option<Range>,
    pub cpu_s_per_gb: Option<Range>,
    pub cross_zone_copies: Option<Range>,
}

/// Where the makespan of single-source pulls comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// It was measured in the same scenario.
    Measured,
    /// It was not run: the least time that the links allow.
    Computed,
}

/// One summary for each system, in the order in which they first ran.
pub fn summary(scenario: &Scenario, runs: &[RunResult]) -> Vec<SystemSummary> {
    let bounds = scenario.bound();
    let measured = median(counted(runs, SINGLE).map(|run| run.makespan_s));
    systems(runs).into_iter().map(|system| summarise(scenario, &bounds, runs, system, measured)).collect()
}

/// Names of the systems, in the order in which they first ran.
pub(super) fn systems(runs: &[RunResult]) -> Vec<&str> {
    let mut in_order: Vec<&RunResult> = runs.iter().collect();
    in_order.sort_by_key(|run| run.order);
    let mut names: Vec<&str> = Vec::new();
    for run in in_order {
        if !names.contains(&run.system.as_str()) {
            names.push(&run.system);
        }
    }
    names
}

/// Runs of a system that count.
pub(super) fn counted<'a>(runs: &'a [RunResult], system: &'a str) -> impl Iterator<Item = &'a RunResult> {
    runs.iter().filter(move |run| run.system == system && counts(run))
}

/// Whether a run counts.
pub(super) fn counts(run: &RunResult) -> bool {
    run.invalid.is_none() && failed(run).next().is_none() && run.makespan_s > 0.0
}

fn summarise(
    scenario: &Scenario,
    bounds: &Bounds,
    runs: &[RunResult],
    system: &str,
    single_s: Option<f64>,
) -> SystemSummary {
    let of_system = || runs.iter().filter(|run| run.system == system);
    let counted: Vec<&RunResult> = counted(runs, system).collect();
    let figures: Vec<RunFigures> = counted.iter().map(|run| RunFigures::of(scenario, bounds, run)).collect();
    SystemSummary {
        system: system.to_owned(),
        runs: counted.len(),
        invalid_runs: of_system().filter(|run| run.invalid.is_some()).count(),
        failed_runs: of_system().filter(|run| run.invalid.is_none() && !counts(run)).count(),
        figures: SystemFigures::of(&counted, &figures, single_s, bounds.single_source_s),
    }
}

impl SystemFigures {
    fn of(counted: &[&RunResult], figures: &[RunFigures], single_s: Option<f64>, computed_s: f64) -> Option<Self> {
        let middle = |value: fn(&RunFigures) -> f64| median(figures.iter().map(value));
        let known = |value: fn(&RunFigures) -> Option<f64>| median(figures.iter().filter_map(value));
        let nodes = || counted.iter().flat_map(|run| done(run));
        let makespan_s = middle(|run| run.makespan_s)?;
        Some(Self {
            makespan_s,
            node_s: Quantiles::of(nodes().filter_map(|node| node.done_s)),
            bound_s: middle(|run| run.bound_s)?,
            ratio_to_bound: middle(|run| run.ratio_to_bound)?,
            speedup: single_s.unwrap_or(computed_s) / makespan_s,
            speedup_basis: if single_s.is_some() { Basis::Measured } else { Basis::Computed },
            upstream_copies: middle(|run| run.upstream_copies)?,
            upstream_requests: middle(|run| run.upstream_requests)?,
            duplicate_ratio: known(|run| run.duplicate_ratio),
            first_byte_s: Quantiles::of(nodes().filter_map(|node| node.first_byte_s)),
            cpu_s_per_gb: known(|run| run.cpu_s_per_gb),
            rss_max_bytes: figures.iter().filter_map(|run| run.rss_max_bytes).max(),
            cross_zone_copies: known(|run| run.cross_zone_copies),
            stall_max_s: figures.iter().map(|run| run.stall_max_s).fold(0.0, f64::max),
            upload_gini: known(|run| run.upload_gini),
            rate_jain: known(|run| run.rate_jain),
            fast_nodes_over_bound: known(|run| run.fast_nodes_over_bound),
            last_over_first: known(|run| run.last_over_first),
            ranges: Ranges::of(figures)?,
        })
    }
}

impl Ranges {
    fn of(figures: &[RunFigures]) -> Option<Self> {
        let range = |value: fn(&RunFigures) -> f64| Range::of(figures.iter().map(value));
        let known = |value: fn(&RunFigures) -> Option<f64>| Range::of(figures.iter().filter_map(value));
        Some(Self {
            makespan_s: range(|run| run.makespan_s)?,
            ratio_to_bound: range(|run| run.ratio_to_bound)?,
            upstream_copies: range(|run| run.upstream_copies)?,
            upstream_requests: range(|run| run.upstream_requests)?,
            duplicate_ratio: known(|run| run.duplicate_ratio),
            cpu_s_per_gb: known(|run| run.cpu_s_per_gb),
            cross_zone_copies: known(|run| run.cross_zone_copies),
        })
    }
}

//! The tables for people, and their form in Markdown.

use std::fmt::Write as _;

use shoal_sim::format::{bytes, rate};

use super::{Basis, Report, ScenarioSummary, SystemFigures, SystemSummary};

/// What is not known or does not apply.
const NONE: &str = "-";

/// Head of a column, and its cell for a system with figures.
pub(super) type Column = (&'static str, fn(&SystemFigures) -> String);

/// How fast a system is.
pub(super) const SPEED: &[Column] = &[
    ("last node done, s", |figures| spread(figures.makespan_s, figures.ranges.makespan_s, 2)),
    ("of the bound's speed", |figures| spread(figures.ratio_to_bound, figures.ranges.ratio_to_bound, 3)),
    ("speed-up", speedup),
    ("node p50, s", |figures| figures.node_s.map_or_else(none, |node| format!("{:.2}", node.p50))),
    ("node p95, s", |figures| figures.node_s.map_or_else(none, |node| format!("{:.2}", node.p95))),
    ("node p99, s", |figures| known(figures.node_s.and_then(|node| node.p99), 2)),
    ("first byte p50 / max, s", |figures| {
        figures.first_byte_s.map_or_else(none, |first| format!("{:.2} / {:.2}", first.p50, first.max))
    }),
    ("longest wait, s", |figures| format!("{:.2}", figures.stall_max_s)),
    ("fast nodes, time / bound", |figures| known(figures.fast_nodes_over_bound, 2)),
    ("last / first wave", |figures| known(figures.last_over_first, 2)),
];

/// What a system costs, and how it spreads the load.
pub(super) const COST: &[Column] = &[
    ("upstream copies", |figures| spread(figures.upstream_copies, figures.ranges.upstream_copies, 3)),
    ("upstream requests", |figures| format!("{:.0}", figures.upstream_requests)),
    ("cross-zone copies", |figures| known(figures.cross_zone_copies, 3)),
    ("duplicates", |figures| figures.duplicate_ratio.map_or_else(none, |ratio| format!("{:.2} %", ratio * 100.0))),
    ("CPU s/GB", |figures| known(figures.cpu_s_per_gb, 2)),
    ("memory, MiB", |figures| {
        figures.rss_max_bytes.map_or_else(none, |bytes| format!("{:.0}", bytes as f64 / 1_048_576.0))
    }),
    ("Gini of uploads", |figures| known(figures.upload_gini, 3)),
    ("Jain of rates", |figures| known(figures.rate_jain, 3)),
];

impl Report {
    /// A heading, a line, and two tables for each scenario: speed and cost. Columns in which no system has a value are
    /// left out.
    pub fn markdown(&self) -> String {
        let tables = self.experiments.iter().map(|experiment| markdown(&experiment.summary()));
        tables.collect::<Vec<_>>().join("\n")
    }
}

fn markdown(summary: &ScenarioSummary) -> String {
    let mut text = format!("### {}\n\n{}\n", title(summary), facts(summary));
    for columns in [SPEED, COST] {
        text.push('\n');
        let columns = in_use(columns, &summary.systems);
        let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
        let _ = writeln!(text, "| system | runs | {} |\n|{}", heads.join(" | "), "---|".repeat(columns.len() + 2));
        for system in &summary.systems {
            let cells: Vec<String> = columns.iter().map(|column| cell(column, system)).collect();
            let _ =
                writeln!(text, "| {} | {} | {} |", system.system.replace('|', "\\|"), runs(system), cells.join(" | "));
        }
    }
    text
}

/// The columns in which a system has a value.
pub(super) fn in_use(columns: &[Column], systems: &[SystemSummary]) -> Vec<Column> {
    let is_used = |column: &&Column| systems.iter().any(|system| cell(column, system) != NONE);
    columns.iter().filter(is_used).copied().collect()
}

/// What stands in a column for a system.
pub(super) fn cell((_, value): &Column, system: &SystemSummary) -> String {
    system.figures.as_ref().map_or_else(none, value)
}

/// Name and number of nodes.
pub(super) fn title(summary: &ScenarioSummary) -> String {
    let nodes = if summary.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", summary.nodes) };
    format!("{}, {nodes}", summary.scenario)
}

/// What the scenario is, and its bound, in one line.
pub(super) fn facts(summary: &ScenarioSummary) -> String {
    let blobs = match summary.blob_bytes.len() {
        1 => "one blob".to_owned(),
        blobs => format!("{blobs} blobs"),
    };
    let link = if summary.link_up_bytes_per_s == summary.link_down_bytes_per_s {
        rate(summary.link_up_bytes_per_s)
    } else {
        format!("{} up, {} down", rate(summary.link_up_bytes_per_s), rate(summary.link_down_bytes_per_s))
    };
    let latency = match summary.latency_s {
        latency if latency > 0.0 => format!(", {:.0} ms one way", latency * 1000.0),
        _ => String::new(),
    };
    format!(
        "{} {} in {blobs}; node links of {link}, upstream of {}{latency}; seed {}. No system can take less than \
         {:.2} s; with whole pieces it is {:.2} s, from a single source {:.2} s.",
        summary.about,
        bytes(summary.content_bytes),
        rate(summary.upstream_bytes_per_s),
        summary.seed,
        summary.bound_fluid_s,
        summary.bound_granular_s,
        summary.bound_single_source_s,
    )
}

/// Runs that count, and those that do not.
pub(super) fn runs(system: &SystemSummary) -> String {
    let mut text = system.runs.to_string();
    if system.invalid_runs > 0 {
        let _ = write!(text, ", {} invalid", system.invalid_runs);
    }
    if system.failed_runs > 0 {
        let _ = write!(text, ", {} failed", system.failed_runs);
    }
    text
}

fn none() -> String {
    NONE.to_owned()
}

fn known(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(none, |value| format!("{value:.decimals$}"))
}

fn spread(value: f64, range: super::Range, decimals: usize) -> String {
    format!("{value:.decimals$} ({:.decimals$} - {:.decimals$})", range.min, range.max)
}

fn speedup(figures: &SystemFigures) -> String {
    match figures.speedup_basis {
        Basis::Measured => format!("{:.2}", figures.speedup),
        Basis::Computed => format!("{:.2} (computed)", figures.speedup),
    }
}

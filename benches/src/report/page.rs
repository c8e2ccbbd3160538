//! One page with everything: no script, nothing loaded from elsewhere, legible on light and dark grounds.

use std::fmt::Write as _;

use shoal_sim::{
    format::bytes,
    page::{TAIL, escape, figure, head},
};

use super::{
    Experiment, Plot, PlotError, Report, ScenarioSummary,
    figures::failed,
    summary::counts,
    table::{self, Column, facts, title},
};
use crate::result::RunResult;

/// How the figures are meant, in the order of the columns.
const MEANINGS: &[(&str, &str)] = &[
    (
        "last node done",
        "from the first start to the end of the last pull; median (least - most) of the runs that count",
    ),
    (
        "of the bound's speed",
        "the least time that the links allow to any system, over the time taken; 1 is the optimum",
    ),
    ("speed-up", "time of single-source pulls over the system's; computed from the links where they were not run"),
    ("node p50, p95, p99", "of the nodes' pulls from their own starts, all runs pooled; p99 only with a hundred pulls"),
    ("fast nodes", "where some are slow: time of the others' own pulls over the bound of each; the median"),
    ("last / first wave", "where nodes pull in groups: the slowest pull of the last over that of the first"),
    ("upstream copies", "blob bytes that the upstream sent, over the bytes of the content"),
    ("duplicates", "bytes that nodes received twice, of all that they received"),
    ("first byte", "from the start of a node's pull to the first byte of a blob at its client"),
    ("CPU s/GB", "processor time of the system at the nodes for each 10^9 bytes delivered, without the clients"),
    ("memory", "most resident memory of a process at a node"),
    (
        "cross-zone copies",
        "payload that entered the zone which most entered, over the bytes of the content; 1 is the optimum",
    ),
    ("longest wait", "for the next byte at a client, after the first and before the last, of all nodes and runs"),
    (
        "Gini of uploads",
        "of the bytes that left each node's link; 0 where all gave the same, near 1 where one gave all",
    ),
    ("Jain of rates", "of the nodes' mean rates; 1 where all were equally fast, 1 / N where one got all"),
];

impl Report {
    /// The page.
    ///
    /// # Errors
    /// A plot cannot be drawn.
    pub fn page(&self) -> Result<String, PlotError> {
        let mut page = String::new();
        let names: Vec<&str> = self.experiments.iter().map(|experiment| experiment.scenario.name.as_str()).collect();
        let heading = match names.first() {
            Some(first) if names.iter().all(|name| name == first) => format!("Shoal laboratory: {first}"),
            _ => "Shoal laboratory".to_owned(),
        };
        page.push_str(&head(&heading));
        page.push_str(&self.origin());
        for plot in self.plots_over_nodes()? {
            page.push_str(&figure(&plot));
        }
        for experiment in &self.experiments {
            page.push_str(&section(experiment, &self.plots_of(experiment)?));
        }
        page.push_str(&self.left_out());
        page.push_str(&meanings());
        page.push_str(TAIL);
        Ok(page)
    }

    /// Where and how the runs were made.
    fn origin(&self) -> String {
        let context = &self.context;
        format!(
            "<p>{}. Shoal {} on {}, {} processors.</p>\n<pre>{}</pre>\n",
            escape(&context.date),
            escape(&context.version),
            escape(&context.kernel),
            context.processors,
            escape(&context.command),
        )
    }

    /// All runs that do not count, with the reason.
    fn left_out(&self) -> String {
        let all =
            self.experiments.iter().flat_map(|experiment| experiment.runs.iter().map(move |run| (experiment, run)));
        let left_out: Vec<_> = all.filter(|(_, run)| !counts(run)).collect();
        if left_out.is_empty() {
            return "<h2>Runs that do not count</h2>\n<p>None: every run is in the figures above.</p>\n".to_owned();
        }
        let mut text = "<h2>Runs that do not count</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>scenario</th>\
                        <th>system</th><th>repeat</th><th>last node done, s</th><th>why</th></tr></thead>\n<tbody>\n"
            .to_owned();
        for (experiment, run) in left_out {
            let _ = writeln!(
                text,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td><td class=\"text\">{}</td></tr>",
                escape(&title(&experiment.summary())),
                escape(&run.system),
                run.repeat,
                run.makespan_s,
                escape(&reason(run)),
            );
        }
        text.push_str("</tbody>\n</table></div>\n");
        text
    }
}

/// Why a run does not count.
fn reason(run: &RunResult) -> String {
    if let Some(invalid) = &run.invalid {
        return invalid.clone();
    }
    let error = |node: &crate::result::NodeResult| {
        format!("node {}: {}", node.node, node.error.as_deref().unwrap_or("its pull failed"))
    };
    let errors: Vec<String> = failed(run).map(error).collect();
    if errors.is_empty() { "it took no time".to_owned() } else { errors.join("; ") }
}

fn section(experiment: &Experiment, plots: &[Plot]) -> String {
    let summary = experiment.summary();
    let mut text = format!("<h2>{}</h2>\n<p>{}</p>\n", escape(&title(&summary)), escape(&facts(&summary)));
    if summary.blob_bytes.len() > 1 {
        let sizes: Vec<String> = summary.blob_bytes.iter().map(|size| bytes(*size)).collect();
        let _ = writeln!(text, "<p class=\"muted\">Layers: {}.</p>", sizes.join(", "));
    }
    for columns in [table::SPEED, table::COST] {
        text.push_str(&systems_table(&summary, &table::in_use(columns, &summary.systems)));
    }
    for plot in plots {
        text.push_str(&figure(plot));
    }
    text
}

fn systems_table(summary: &ScenarioSummary, columns: &[Column]) -> String {
    let mut text = "<div class=\"wide\"><table>\n<thead><tr><th>system</th><th>runs</th>".to_owned();
    for (head, _) in columns {
        let _ = write!(text, "<th>{}</th>", escape(head));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for system in &summary.systems {
        let (name, runs) = (escape(&system.system), escape(&table::runs(system)));
        let _ = write!(text, "<tr><th scope=\"row\">{name}</th><td>{runs}</td>");
        for column in columns {
            let _ = write!(text, "<td>{}</td>", escape(&table::cell(column, system)));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table></div>\n");
    text
}

fn meanings() -> String {
    let mut text = "<h2>What the figures are</h2>\n<dl>\n".to_owned();
    for (name, meaning) in MEANINGS {
        let _ = writeln!(text, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(meaning));
    }
    text.push_str("</dl>\n");
    text
}

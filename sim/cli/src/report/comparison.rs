//! The run beside what people use without a swarm.

use std::fmt::Write as _;

use serde::Serialize;
use shoal_sim::{
    baseline::{Baseline, BaselineOutcome},
    format::bytes,
    page::escape,
    plot::{Colour, Curve, PALETTE},
    statistics::percentile,
};

use super::Report;

/// What is compared: name, colour in plots, and how nodes pull.
const BASELINES: [(&str, Colour, Baseline); 2] =
    [("single", PALETTE[1], Baseline::SingleSource), ("pull-through", PALETTE[2], Baseline::PullThrough)];

/// Columns of the tables.
const HEADS: [&str; 6] = ["system", "last node done", "node p50", "node p99", "upstream sends", "upstream requests"];

/// One system's row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// `shoal`, `single` or `pull-through`.
    pub system: &'static str,
    /// Whether it was simulated; otherwise it is computed from the links alone, which is in its favour.
    pub is_simulated: bool,
    /// From the first start to the last end, in seconds.
    pub makespan_s: f64,
    /// Half of the pulls are not above it, in seconds; none where no pull ended well.
    pub p50_s: Option<f64>,
    /// 99 of 100 pulls are not above it, in seconds; none where no pull ended well.
    pub p99_s: Option<f64>,
    /// Bytes of blobs that the upstream sends.
    pub upstream_bytes: u64,
    /// Requests that it answers.
    pub upstream_requests: u64,
}

/// What else was computed of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    outcomes: Vec<(&'static str, Colour, BaselineOutcome)>,
}

impl Report {
    /// The same with what people use without a swarm beside it.
    #[must_use]
    pub fn compared(self) -> Self {
        let run = |(name, colour, baseline): (_, _, Baseline)| (name, colour, baseline.run(&self.scenario));
        let outcomes = BASELINES.map(run).to_vec();
        Self { comparison: Some(Comparison { outcomes }), ..self }
    }

    /// A row for each system, that of the run first; none where nothing is compared.
    pub fn systems(&self) -> Vec<Compared> {
        let Some(comparison) = &self.comparison else { return Vec::new() };
        let figures = &self.figures;
        let shoal = Compared {
            system: "shoal",
            is_simulated: true,
            makespan_s: figures.makespan_s,
            p50_s: figures.node_s.map(|node_s| node_s.p50),
            p99_s: figures.node_s.map(|node_s| node_s.p99),
            upstream_bytes: self.outcome.upstream.blob_bytes,
            upstream_requests: figures.upstream_blob_requests + figures.upstream_manifest_requests,
        };
        let others = comparison.outcomes.iter().map(|(system, _, outcome)| Compared {
            system,
            is_simulated: false,
            makespan_s: outcome.makespan_s,
            p50_s: percentile(outcome.node_s.iter().copied(), 50),
            p99_s: percentile(outcome.node_s.iter().copied(), 99),
            upstream_bytes: outcome.upstream_bytes,
            upstream_requests: outcome.upstream_requests,
        });
        std::iter::once(shoal).chain(others).collect()
    }

    /// Curves of the other systems for the plot of completion.
    pub(super) fn other_curves(&self) -> Vec<Curve> {
        let outcomes = self.comparison.iter().flat_map(|comparison| &comparison.outcomes);
        outcomes
            .map(|(name, colour, outcome)| Curve {
                name: (*name).to_owned(),
                colour: *colour,
                is_bound: false,
                times: outcome.node_s.clone(),
            })
            .collect()
    }

    /// The table for people; empty where nothing is compared.
    pub(super) fn systems_text(&self) -> String {
        let rows: Vec<[String; 6]> = self.systems().iter().map(Compared::cells).collect();
        if rows.is_empty() {
            return String::new();
        }
        let rows: Vec<[String; 6]> = [HEADS.map(str::to_owned)].into_iter().chain(rows).collect();
        let widths: Vec<usize> = (0..HEADS.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in rows {
            let (name, cells) = row.split_first().expect("it has columns");
            let _ = write!(text, "  {name:<width$}", width = widths[0]);
            for (cell, width) in cells.iter().zip(&widths[1..]) {
                let _ = write!(text, "  {cell:>width$}");
            }
            text.push('\n');
        }
        text.push_str(
            "\nshoal is simulated; the others are computed from the links alone, which is in their favour.\n\n",
        );
        text
    }

    /// The same for the page.
    pub(super) fn systems_html(&self) -> String {
        let systems = self.systems();
        if systems.is_empty() {
            return String::new();
        }
        let mut text =
            "<h2>Beside what people use without a swarm</h2>\n<div class=\"wide\"><table>\n<thead><tr>".to_owned();
        for head in HEADS {
            let _ = write!(text, "<th>{head}</th>");
        }
        text.push_str("</tr></thead>\n<tbody>\n");
        for system in systems {
            let cells = system.cells();
            let _ = write!(text, "<tr><th scope=\"row\">{}</th>", escape(&cells[0]));
            for cell in &cells[1..] {
                let _ = write!(text, "<td class=\"number\">{}</td>", escape(cell));
            }
            text.push_str("</tr>\n");
        }
        text.push_str(
            "</tbody>\n</table></div>\n<p class=\"muted\">shoal is simulated; the others are computed from the links alone, \
             which is in their favour.</p>\n",
        );
        text
    }
}

impl Compared {
    fn cells(&self) -> [String; 6] {
        let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2} s"));
        [
            self.system.to_owned(),
            seconds(Some(self.makespan_s)),
            seconds(self.p50_s),
            seconds(self.p99_s),
            bytes(self.upstream_bytes),
            self.upstream_requests.to_string(),
        ]
    }
}

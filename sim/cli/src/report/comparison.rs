//! The run beside what people use without a swarm, and beside models of other systems.

use std::fmt::Write as _;

use serde::Serialize;
use shoal_sim::{
    baseline::{Baseline, BaselineOutcome},
    format::bytes,
    models::Model,
    page::escape,
    plot::{Colour, Curve, PALETTE},
    scenario::Scenario,
    statistics::percentile,
};

use super::Report;

/// What is compared: name, how its figures come about, colour in plots, and how nodes pull.
const OTHERS: [(&str, Kind, Colour, Pulls); 5] = [
    ("single", Kind::Links, PALETTE[1], |scenario| Baseline::SingleSource.run(scenario)),
    ("pull-through", Kind::Links, PALETTE[2], |scenario| Baseline::PullThrough.run(scenario)),
    ("spegel", Kind::Model, PALETTE[3], |scenario| Model::Spegel.run(scenario)),
    ("kraken", Kind::Model, PALETTE[4], |scenario| Model::Kraken.run(scenario)),
    ("dragonfly", Kind::Model, PALETTE[5], |scenario| Model::Dragonfly.run(scenario)),
];

type Pulls = fn(&Scenario) -> BaselineOutcome;

/// Columns of the tables.
const HEADS: [&str; 6] = ["system", "last node done", "node p50", "node p99", "upstream sends", "upstream requests"];

/// Below the tables.
const NOTE: &str = "shoal is simulated with its own engine. single and pull-through are computed from the links alone. The \
                    models are of the published policies of other systems, over the same links, and none of their code \
                    runs; what is left out of either is in their favour.";

/// How the figures of a system come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its own engine ran in the simulator.
    Engine,
    /// They follow from the links alone.
    Links,
    /// A model of its policy ran over the same links.
    Model,
}

/// One system's row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// `shoal`, `single`, `pull-through`, or the name of the system that is modelled.
    pub system: &'static str,
    /// How its figures come about.
    pub kind: Kind,
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
    outcomes: Vec<Other>,
}

/// One of the others.
#[derive(Clone, Debug)]
struct Other {
    system: &'static str,
    kind: Kind,
    colour: Colour,
    outcome: BaselineOutcome,
}

impl Report {
    /// The same with what people use without a swarm beside it.
    #[must_use]
    pub fn compared(self) -> Self {
        let run = |(system, kind, colour, pulls): (_, _, _, Pulls)| {
            let outcome = pulls(&self.scenario);
            Other { system, kind, colour, outcome }
        };
        let outcomes = OTHERS.map(run).to_vec();
        Self { comparison: Some(Comparison { outcomes }), ..self }
    }

    /// A row for each system, that of the run first; none where nothing is compared.
    pub fn systems(&self) -> Vec<Compared> {
        let Some(comparison) = &self.comparison else { return Vec::new() };
        let figures = &self.figures;
        let shoal = Compared {
            system: "shoal",
            kind: Kind::Engine,
            makespan_s: figures.makespan_s,
            p50_s: figures.node_s.map(|node_s| node_s.p50),
            p99_s: figures.node_s.map(|node_s| node_s.p99),
            upstream_bytes: self.outcome.upstream.blob_bytes,
            upstream_requests: figures.upstream_blob_requests + figures.upstream_manifest_requests,
        };
        let others = comparison.outcomes.iter().map(|Other { system, kind, outcome, .. }| Compared {
            system,
            kind: *kind,
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
            .map(|other| Curve {
                name: labelled(other.system, other.kind),
                colour: other.colour,
                is_bound: false,
                times: other.outcome.node_s.clone(),
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
        let _ = write!(text, "\n{NOTE}\n\n");
        text
    }

    /// The same for the page.
    pub(super) fn systems_html(&self) -> String {
        let systems = self.systems();
        if systems.is_empty() {
            return String::new();
        }
        let mut text = "<h2>Beside what else people use</h2>\n<div class=\"wide\"><table>\n<thead><tr>".to_owned();
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
        let _ = writeln!(text, "</tbody>\n</table></div>\n<p class=\"muted\">{NOTE}</p>");
        text
    }
}

impl Compared {
    fn cells(&self) -> [String; 6] {
        let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2} s"));
        [
            labelled(self.system, self.kind),
            seconds(Some(self.makespan_s)),
            seconds(self.p50_s),
            seconds(self.p99_s),
            bytes(self.upstream_bytes),
            self.upstream_requests.to_string(),
        ]
    }
}

/// The name as people see it: a model is never taken for the system.
fn labelled(system: &str, kind: Kind) -> String {
    if kind == Kind::Model { format!("{system} (model)") } else { system.to_owned() }
}

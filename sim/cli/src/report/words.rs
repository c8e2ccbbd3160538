//! The run in plain sentences.

use std::time::Duration;

use shoal_sim::{
    format::{bytes, rate, trimmed},
    scenario::{Arrival, Content, Link, Scenario},
};

use super::Report;

/// Share of the bound's speed from which a run is called near it.
const NEAR: f64 = 0.9;
/// Number of pulls from which the hundredth part of them is spoken of.
const MANY: usize = 100;

impl Report {
    /// Name of the scenario and number of nodes.
    pub(super) fn title(&self) -> String {
        format!("{}, {}", self.scenario.name, counted(self.scenario.nodes as usize, "node"))
    }

    /// What was run, in one paragraph.
    pub(super) fn setting(&self) -> String {
        let scenario = &self.scenario;
        let upstream = &scenario.upstream;
        let ranges = if upstream.ranges { "" } else { " without ranges" };
        let mut parts = vec![
            format!("{} each", content(&scenario.content)),
            format!("node links of {}", link(scenario.link)),
            format!("an upstream of {}{ranges}", rate(upstream.rate)),
        ];
        if scenario.latency > Duration::ZERO {
            parts.push(format!("{} ms one way", trimmed(scenario.latency.as_secs_f64() * 1e3)));
        }
        if let Some(zones) = scenario.zones {
            parts.push(format!("{} with uplinks of {}", counted(zones.count as usize, "zone"), link(zones.uplink)));
        }
        if let Some(slow) = scenario.slow_nodes {
            let one = if slow.count == 1 { "the last node" } else { "the last nodes" };
            parts.push(format!("{} ({one}) with {}", slow.count, link(slow.link)));
        }
        parts.extend(arrival(scenario));
        format!("{} {}; seed {}.", scenario.about, parts.join(", "), self.outcome.seed)
    }

    /// What came of it, a sentence each.
    pub(super) fn summary(&self) -> Vec<String> {
        let mut sentences = vec![self.who_finished()];
        sentences.extend(self.how_fast());
        sentences.push(self.upstream_load());
        sentences.extend(self.crossings());
        sentences.extend(self.fairness());
        sentences.extend(self.what_went_wrong());
        sentences
    }

    fn who_finished(&self) -> String {
        let figures = &self.figures;
        let pulling = figures.done_nodes + figures.failed_nodes;
        let have = bytes(figures.content_bytes);
        let when = format!("{} s after the first began", trimmed(figures.makespan_s));
        if figures.failed_nodes > 0 {
            let failed = counted(figures.failed_nodes, "node");
            return format!("FAILED: {failed} of {pulling} did not get the {have}; the run ended {when}.");
        }
        let Some(node_s) = figures.node_s.filter(|_| pulling > 1) else {
            return format!("The node that pulled had the {have} {when}.");
        };
        let most = match node_s.count {
            MANY.. => format!(", 99 of 100 no more than {} s", trimmed(node_s.p99)),
            _ => String::new(),
        };
        let half = trimmed(node_s.p50);
        format!(
            "All {pulling} nodes that pulled had the {have} {when}; half of them took no more than {half} s from their own start{most}."
        )
    }

    fn how_fast(&self) -> Option<String> {
        let figures = &self.figures;
        let (ratio, speedup) = (figures.ratio_to_bound?, figures.speedup?);
        let near = if ratio >= NEAR { ", near the best that can be" } else { "" };
        Some(format!(
            "No system could take less than {} s over these links: this run has {} % of that speed{near}. If each node \
             took everything from the upstream it would be {} s, {} times as long.",
            trimmed(figures.bound_s),
            trimmed(ratio * 100.0),
            trimmed(figures.bound_single_source_s),
            trimmed(speedup)
        ))
    }

    fn upstream_load(&self) -> String {
        let figures = &self.figures;
        let requests = figures.upstream_blob_requests + figures.upstream_manifest_requests;
        format!(
            "The upstream sent {} times the bytes of the content and answered {}.",
            trimmed(figures.upstream_copies),
            counted(usize::try_from(requests).unwrap_or(usize::MAX), "request")
        )
    }

    fn crossings(&self) -> Option<String> {
        let (mean, most) = (self.figures.cross_zone_copies?, self.figures.cross_zone_copies_max?);
        Some(format!(
            "Over its uplink a zone took in {} copies of the content, the one with the most {}; one is the least for a \
             zone that begins with nothing.",
            trimmed(mean),
            trimmed(most)
        ))
    }

    fn fairness(&self) -> Option<String> {
        let jain = self.figures.jain?;
        let how = match jain {
            jain if jain >= 0.9 => "The nodes shared the work of sending evenly",
            jain if jain >= 0.6 => "The nodes shared the work of sending with some differences",
            _ => "A few nodes did most of the sending",
        };
        Some(format!(
            "{how} (Jain's index {}, 1 is even). {} of the bytes that arrived were there already, and messages between \
             nodes added {}.",
            trimmed(jain),
            percent(self.figures.duplicate_ratio),
            percent(self.figures.control_ratio.unwrap_or(0.0))
        ))
    }

    fn what_went_wrong(&self) -> Option<String> {
        let faults: Vec<String> = self
            .outcome
            .faults
            .iter()
            .map(|fault| {
                let whom = fault.node.map_or_else(String::new, |node| format!(" (node {node})"));
                format!("{}{whom} at {} s", fault.what, trimmed(fault.at_s))
            })
            .collect();
        (!faults.is_empty()).then(|| format!("Faults of the scenario: {}.", listed(&faults)))
    }
}

/// Longest list of faults that is written out.
const LISTED_MAX: usize = 8;

fn listed(all: &[String]) -> String {
    match all.len().checked_sub(LISTED_MAX) {
        Some(beyond) if beyond > 0 => format!("{}, and {beyond} more", all[..LISTED_MAX].join(", ")),
        _ => all.join(", "),
    }
}

/// A share as people read it; a little is not nothing.
fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.01 => "less than 0.01 %".to_owned(),
        percent => format!("{} %", trimmed(percent)),
    }
}

/// `1 node`, `2 nodes`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn content(content: &Content) -> String {
    match content {
        Content::Blob(size) => format!("{} in one blob", bytes(*size)),
        Content::Image(layers) => {
            format!("{} in an image of {}", bytes(content.bytes()), counted(layers.len(), "layer"))
        }
    }
}

fn link(link: Link) -> String {
    if link.up == link.down { rate(link.up) } else { format!("{} up and {} down", rate(link.up), rate(link.down)) }
}

fn arrival(scenario: &Scenario) -> Vec<String> {
    let mut parts = match scenario.arrival {
        Arrival::Together => Vec::new(),
        Arrival::Staggered { over } => vec![format!("starts spread over {} s", trimmed(over.as_secs_f64()))],
        Arrival::Rolling { share } => vec![format!("in groups of {} % of the nodes", trimmed(share * 100.0))],
    };
    let warm = scenario.warm_nodes() as usize;
    if warm > 0 {
        parts.push(format!("{} with the content already", counted(warm, "node")));
    }
    parts
}

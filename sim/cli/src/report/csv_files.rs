//! Lines of the CSV files. The library writes no nested structures, so that names stand here again.

use serde::Serialize;
use shoal_sim::run::{End, NodeOutcome, Row};

use super::Report;

/// A line of `nodes.csv`.
#[derive(Debug, Serialize)]
pub(super) struct NodeLine {
    node: u32,
    zone: u32,
    end: End,
    started_s: Option<f64>,
    first_byte_s: Option<f64>,
    done_s: Option<f64>,
    bound_s: Option<f64>,
    up_bytes_per_s: f64,
    down_bytes_per_s: f64,
    up_bytes: u64,
    down_bytes: u64,
    from_upstream_bytes: u64,
    from_other_zones_bytes: u64,
    duplicate_bytes: u64,
    corrupt_bytes: u64,
    requests: u64,
    busy: u64,
    served: u64,
    control_up_bytes: u64,
    control_down_bytes: u64,
}

/// A line of `series.csv`.
#[derive(Debug, Serialize)]
pub(super) struct SeriesLine {
    at_s: f64,
    delivered_bytes: u64,
    upstream_bytes: u64,
    rate_bytes_per_s: f64,
    upstream_bytes_per_s: f64,
    begun: u32,
    done: u32,
}

impl Report {
    /// One for each node, in order.
    pub(super) fn node_lines(&self) -> Vec<NodeLine> {
        let line = |node: &NodeOutcome| NodeLine {
            node: node.node,
            zone: node.zone,
            end: node.end,
            started_s: node.started_s,
            first_byte_s: node.first_byte_s,
            done_s: node.done_s,
            bound_s: self.bounds.node_s.get(node.node as usize).copied(),
            up_bytes_per_s: node.up_bytes_per_s,
            down_bytes_per_s: node.down_bytes_per_s,
            up_bytes: node.up_bytes,
            down_bytes: node.down_bytes,
            from_upstream_bytes: node.from_upstream_bytes,
            from_other_zones_bytes: node.from_other_zones_bytes,
            duplicate_bytes: node.duplicate_bytes,
            corrupt_bytes: node.corrupt_bytes,
            requests: node.requests,
            busy: node.busy,
            served: node.served,
            control_up_bytes: node.control_up_bytes,
            control_down_bytes: node.control_down_bytes,
        };
        self.outcome.nodes.iter().map(line).collect()
    }

    /// One for each row of the series.
    pub(super) fn series_lines(&self) -> Vec<SeriesLine> {
        let line = |row: &Row| SeriesLine {
            at_s: row.at_s,
            delivered_bytes: row.delivered_bytes,
            upstream_bytes: row.upstream_bytes,
            rate_bytes_per_s: row.rate_bytes_per_s,
            upstream_bytes_per_s: row.upstream_bytes_per_s,
            begun: row.begun,
            done: row.done,
        };
        self.outcome.series.iter().map(line).collect()
    }
}

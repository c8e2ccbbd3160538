//! What the page's animation shows: what each node has at each moment, in a form that is short enough for ten thousand
//! nodes.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use shoal_sim::run::{End, NodeOutcome, Row};

use super::Report;

/// Most values, one for each node and moment: a page of a few megabytes.
const VALUES_MAX: usize = 4_000_000;

/// Moments before and after one over which a rate is a mean.
const SPAN: usize = 2;

/// All that the script reads. Names are short words that it uses.
#[derive(Debug, Serialize)]
pub(super) struct Animation {
    /// Number of nodes.
    nodes: usize,
    /// Zone of each node, run by run: number of nodes in the first zone, in the second, ...; one run without zones.
    zones: Vec<usize>,
    /// Whether zones are named.
    zoned: bool,
    /// The bound, in seconds.
    bound: f64,
    /// Moments, in seconds.
    times: Vec<f64>,
    /// Bytes that have arrived, as a share of all that arrive in the end, 0 to 1.
    arrived: Vec<f64>,
    /// Pulls that are done.
    done: Vec<u32>,
    /// Pulls in all.
    pulls: usize,
    /// Copies that the upstream has sent.
    copies: Vec<f64>,
    /// Mbit/s that arrive at all nodes.
    rate: Vec<f64>,
    /// Mbit/s that leave the upstream.
    upstream: Vec<f64>,
    /// What each node has at each moment, moment by moment: 0 is nothing, 255 everything; in base64.
    shares: String,
    /// What becomes of each node: `d`one, `w`arm, `k`illed, `x` excused, `f`ailed.
    ends: String,
    /// When each node's pull starts; none where it does not.
    started: Vec<Option<f64>>,
    /// When each node's pull is done, from the first start; none where it is not.
    finished: Vec<Option<f64>>,
    /// Faults: when, what, whom.
    faults: Vec<(f64, String, Option<u32>)>,
}

impl Report {
    /// None where there is no moment to show.
    pub(super) fn animation(&self) -> Option<Animation> {
        let nodes = &self.outcome.nodes;
        let rows = moments(&self.outcome.series, nodes.len());
        let last = rows.last()?;
        let content_bytes = self.outcome.content_bytes.max(1) as f64;
        let column = |value: &dyn Fn(&Row) -> f64| rows.iter().map(|row| rounded(value(row))).collect::<Vec<f64>>();
        let shares: Vec<u8> = rows.iter().flat_map(|row| row.shares.iter().copied()).collect();
        Some(Animation {
            nodes: nodes.len(),
            zones: zones(nodes),
            zoned: self.scenario.zones.is_some(),
            bound: rounded(self.bounds.makespan_s()),
            times: column(&|row| row.at_s),
            arrived: column(&|row| row.delivered_bytes as f64 / last.delivered_bytes.max(1) as f64),
            done: rows.iter().map(|row| row.done).collect(),
            pulls: nodes.iter().filter(|node| matches!(node.end, End::Done | End::Failed)).count(),
            copies: column(&|row| row.upstream_bytes as f64 / content_bytes),
            rate: rates(&rows, |row| row.delivered_bytes),
            upstream: rates(&rows, |row| row.upstream_bytes),
            shares: BASE64_STANDARD.encode(shares),
            ends: nodes.iter().map(letter).collect(),
            started: nodes.iter().map(|node| node.started_s.map(rounded)).collect(),
            finished: nodes.iter().map(finished).collect(),
            faults: self.faults(),
        })
    }

    fn faults(&self) -> Vec<(f64, String, Option<u32>)> {
        let faults = self.outcome.faults.iter();
        faults.map(|fault| (rounded(fault.at_s), fault.what.clone(), fault.node)).collect()
    }
}

/// The rows that are shown: all, or evenly fewer where there would be too many values, the last always among them. A
/// row that does not say something of every node is none.
fn moments(series: &[Row], nodes: usize) -> Vec<&Row> {
    let whole: Vec<&Row> = series.iter().filter(|row| row.shares.len() == nodes).collect();
    let step = whole.len().div_ceil((VALUES_MAX / nodes.max(1)).max(2)).max(1);
    let mut shown: Vec<&Row> = whole.iter().rev().step_by(step).copied().collect();
    shown.reverse();
    shown
}

/// How a counter of bytes grows around each moment, in Mbit/s. Whole pieces arrive, so that between two moments it is
/// sometimes a piece too many.
fn rates(rows: &[&Row], counter: fn(&Row) -> u64) -> Vec<f64> {
    let rate = |position: usize| {
        let first = rows[position.saturating_sub(SPAN)];
        let last = rows[(position + SPAN).min(rows.len() - 1)];
        let bytes = counter(last).saturating_sub(counter(first)) as f64;
        if last.at_s > first.at_s { rounded(bytes / (last.at_s - first.at_s) / 125e3) } else { 0.0 }
    };
    (0..rows.len()).map(rate).collect()
}

/// Numbers of consecutive nodes that are in one zone.
fn zones(nodes: &[NodeOutcome]) -> Vec<usize> {
    nodes.chunk_by(|left, right| left.zone == right.zone).map(<[NodeOutcome]>::len).collect()
}

fn letter(node: &NodeOutcome) -> char {
    match node.end {
        End::Done => 'd',
        End::Warm => 'w',
        End::Killed => 'k',
        End::Excused => 'x',
        End::Failed => 'f',
    }
}

fn finished(node: &NodeOutcome) -> Option<f64> {
    Some(rounded(node.started_s? + node.done_s?))
}

/// Enough digits for a screen.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rows: u8, nodes: usize) -> Vec<Row> {
        (0..rows).map(|row| Row { at_s: f64::from(row), shares: vec![row; nodes], ..Row::default() }).collect()
    }

    #[test]
    fn more_nodes_have_fewer_moments_and_the_last_is_kept() {
        let few = series(200, 10);
        assert_eq!(moments(&few, 10).len(), 200);
        let many = series(10, VALUES_MAX / 4);
        let times: Vec<f64> = moments(&many, VALUES_MAX / 4).iter().map(|row| row.at_s).collect();
        assert_eq!(times, [0.0, 3.0, 6.0, 9.0]);
    }

    #[test]
    fn rows_without_shares_are_not_shown() {
        let mut rows = series(3, 2);
        rows[1].shares.clear();
        assert_eq!(moments(&rows, 2).len(), 2);
        assert!(moments(&[], 2).is_empty());
    }

    #[test]
    fn a_rate_is_a_mean_around_its_moment() {
        let rows: Vec<Row> = [0, 0, 1_000_000, 1_000_000, 2_000_000]
            .iter()
            .zip(0_u8..)
            .map(|(bytes, at)| Row { at_s: f64::from(at), delivered_bytes: *bytes, ..Row::default() })
            .collect();
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!(rates(&rows, |row| row.delivered_bytes), [4.0, 2.6667, 4.0, 5.3333, 4.0]);
        assert!(rates(&[], |row| row.delivered_bytes).is_empty());
    }

    #[test]
    fn zones_are_runs_of_nodes() {
        let node = |zone| NodeOutcome { zone, ..NodeOutcome::default() };
        assert_eq!(zones(&[0, 0, 0, 1, 1, 2].map(node)), [3, 2, 1]);
    }
}

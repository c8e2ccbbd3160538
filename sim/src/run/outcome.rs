//! What a simulated run leaves: plain values, in virtual seconds and bytes of payload, from which reports are made.

use serde::{Deserialize, Serialize};

/// One run of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed that decided everything that was drawn.
    pub seed: u64,
    /// From the start of the first pull to the end of the last, in seconds.
    pub makespan_s: f64,
    /// Bytes of the content that each node pulls: all layers of an image, its manifest not counted.
    pub content_bytes: u64,
    /// One for each node, in order.
    pub nodes: Vec<NodeOutcome>,
    /// What crossed each zone's uplink, in order; empty without zones.
    pub zones: Vec<ZoneOutcome>,
    /// What the upstream did.
    pub upstream: UpstreamOutcome,
    /// What was said beside the pieces.
    pub control: ControlOutcome,
    /// Faults that happened, in order of time. One whose share of bytes was never reached is missing.
    pub faults: Vec<FaultOutcome>,
    /// The run through time, from 0.0 to the makespan; at most a few hundred rows.
    pub series: Vec<Row>,
    /// Events that were worked off, those of the cluster's forming included.
    pub events: u64,
    /// BLAKE3 of everything that the nodes did and when, 64 hex digits. Equal scenarios, seeds and versions give equal
    /// hashes.
    pub event_hash: String,
}

impl Outcome {
    /// Seconds that each completed pull took from its own start, ascending. Warm, killed and excused nodes are not
    /// among them, nor are pulls that failed.
    pub fn completions_s(&self) -> Vec<f64> {
        let done = self.nodes.iter().filter(|node| node.end == End::Done);
        let mut times: Vec<f64> = done.filter_map(|node| node.done_s).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// Copies of the content that the upstream sent: 1.0 is the least when nobody has anything.
    pub fn upstream_copies(&self) -> f64 {
        share(self.upstream.blob_bytes, self.content_bytes)
    }

    /// Bytes that arrived where they were already, as a share of all that arrived.
    pub fn duplicate_ratio(&self) -> f64 {
        let duplicates = self.nodes.iter().map(|node| node.duplicate_bytes).sum();
        share(duplicates, self.nodes.iter().map(|node| node.down_bytes).sum())
    }

    /// Copies of the content that entered a zone over its uplink, the mean over all zones; 0.0 without zones. What came
    /// from the upstream, which is outside all zones, is among them.
    pub fn cross_zone_copies(&self) -> f64 {
        let entered = self.zones.iter().map(|zone| zone.in_bytes).sum();
        share(entered, self.content_bytes * self.zones.len() as u64)
    }

    /// Number of pulls that failed.
    pub fn failures(&self) -> usize {
        self.nodes.iter().filter(|node| node.end == End::Failed).count()
    }
}

/// `part` of `whole`; 0.0 of nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeOutcome {
    /// Number, from 0.
    pub node: u32,
    /// Zone, from 0; 0 without zones.
    pub zone: u32,
    /// Rate of its link away from it at the start, in bytes per second.
    pub up_bytes_per_s: f64,
    /// Rate of its link towards it at the start, in bytes per second.
    pub down_bytes_per_s: f64,
    /// What became of its pull.
    pub end: End,
    /// Start of its pull since the start of the run, in seconds; none for one that was warm, or killed before.
    pub started_s: Option<f64>,
    /// From its start to the first verified byte of a layer that a reader can have, in seconds.
    pub first_byte_s: Option<f64>,
    /// From its start to its end with all digests right, in seconds.
    pub done_s: Option<f64>,
    /// Bytes of pieces that it sent to peers.
    pub up_bytes: u64,
    /// Bytes of pieces that it received, from peers and from the upstream; duplicates and what was cut off are among
    /// them.
    pub down_bytes: u64,
    /// Of `down_bytes`, those from the upstream.
    pub from_upstream_bytes: u64,
    /// Of `down_bytes`, those from peers in other zones.
    pub from_other_zones_bytes: u64,
    /// Of `down_bytes`, those of pieces or parts of pieces that it had already, or got whole from somebody else.
    pub duplicate_bytes: u64,
    /// Of `down_bytes`, those of pieces that were damaged.
    pub corrupt_bytes: u64,
    /// Piece requests that it sent to peers.
    pub requests: u64,
    /// Of `requests`, those that were refused as busy.
    pub busy: u64,
    /// Pieces that it sent whole.
    pub served: u64,
    /// Bytes of control messages and gossip that it sent, without the headers of packets.
    pub control_up_bytes: u64,
    /// Bytes of control messages and gossip that it received.
    pub control_down_bytes: u64,
}

/// What became of a node's pull.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Everything arrived and every digest is right.
    #[default]
    Done,
    /// It had everything before the clock started.
    Warm,
    /// A fault of the scenario ended it.
    Killed,
    /// It damages what it serves, and did not finish, which does not count as a failure.
    Excused,
    /// It failed, or was not done when the run was given up.
    Failed,
}

/// What crossed a zone's uplink: pieces from peers and from the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneOutcome {
    /// Bytes that entered.
    pub in_bytes: u64,
    /// Bytes that left.
    pub out_bytes: u64,
}

/// What the upstream did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamOutcome {
    /// Bytes of blobs that it sent.
    pub blob_bytes: u64,
    /// Requests for blobs, a lease each.
    pub blob_requests: u64,
    /// Questions about names: manifests by tag, and blobs by their digest where no manifest names their size.
    pub manifest_requests: u64,
    /// Most connections that it sent on at once.
    pub connections_max: u32,
}

/// What was said beside the pieces, by all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ControlOutcome {
    /// Control messages on connections.
    pub messages: u64,
    /// Their bytes as encoded.
    pub message_bytes: u64,
    /// Gossip datagrams.
    pub datagrams: u64,
    /// Their bytes as encoded, seals not counted.
    pub datagram_bytes: u64,
}

/// A fault that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultOutcome {
    /// Since the start of the run, in seconds.
    pub at_s: f64,
    /// What, as in the scenario: `kill-node`, `kill-home`, `kill-upstream`, `slow-node`, `corrupt-node`.
    pub what: String,
    /// The node that it befell; none for the upstream.
    pub node: Option<u32>,
}

/// One point in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Since the start of the run, in seconds.
    pub at_s: f64,
    /// Bytes of verified pieces that all pulling nodes have received since the start of the run.
    pub delivered_bytes: u64,
    /// Bytes that readers have, in order from each blob's beginning, since the start of the run.
    pub read_bytes: u64,
    /// Bytes of blobs that the upstream has sent since the start of the run.
    pub upstream_bytes: u64,
    /// Bytes of verified pieces per second that all pulling nodes received since the row before.
    pub rate_bytes_per_s: f64,
    /// Bytes of blobs per second that the upstream sent since the row before.
    pub upstream_bytes_per_s: f64,
    /// Pulls that have begun.
    pub begun: u32,
    /// Pulls that are done.
    pub done: u32,
    /// What each node has of the content, in order of the nodes: 0 is nothing, 255 is everything; rounded down, so that
    /// only a node with all of it has 255. Of a killed node, what it had.
    pub shares: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        let node = |end, done_s, down_bytes, duplicate_bytes| NodeOutcome {
            end,
            done_s,
            down_bytes,
            duplicate_bytes,
            ..NodeOutcome::default()
        };
        Outcome {
            content_bytes: 1000,
            nodes: vec![
                node(End::Done, Some(3.0), 1100, 100),
                node(End::Warm, None, 0, 0),
                node(End::Failed, None, 900, 0),
                node(End::Done, Some(2.0), 1000, 0),
            ],
            zones: vec![ZoneOutcome { in_bytes: 3000, out_bytes: 1 }, ZoneOutcome { in_bytes: 1000, out_bytes: 2 }],
            upstream: UpstreamOutcome { blob_bytes: 1500, ..UpstreamOutcome::default() },
            ..Outcome::default()
        }
    }

    #[test]
    fn figures_follow_from_the_counters() {
        let outcome = outcome();
        assert_eq!(outcome.completions_s(), [2.0, 3.0]);
        assert_eq!(outcome.failures(), 1);
        let near = |value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-12, "{value} is not {wanted}");
        near(outcome.upstream_copies(), 1.5);
        near(outcome.duplicate_ratio(), 100.0 / 3000.0);
        near(outcome.cross_zone_copies(), 2.0);
        near(Outcome::default().cross_zone_copies(), 0.0);
    }
}

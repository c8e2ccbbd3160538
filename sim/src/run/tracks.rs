//! Where each node's pull is.

use super::{End, NodeOutcome, pull::Pull};
use crate::{scenario::Scenario, time::Nanos};

/// All nodes, in order.
#[derive(Clone, Debug)]
pub(super) struct Tracks {
    nodes: Vec<Track>,
    at_work: u32,
    begun: u32,
    done: u32,
    pulls: u32,
}

#[derive(Clone, Debug)]
struct Track {
    outcome: NodeOutcome,
    pull: Option<Pull>,
    started: Nanos,
    has_ended: bool,
    /// A fault keeps it from finishing, if it does not.
    is_excused: bool,
}

impl Tracks {
    /// Nodes as the scenario has them; nobody has begun.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let warm = scenario.warm_nodes();
        let track = |node| {
            let link = scenario.link_of(node);
            let outcome = NodeOutcome {
                node,
                zone: scenario.zone_of(node),
                up_bytes_per_s: link.up as f64,
                down_bytes_per_s: link.down as f64,
                end: if node < warm { End::Warm } else { End::Failed },
                ..NodeOutcome::default()
            };
            Track { outcome, pull: None, started: Nanos::ZERO, has_ended: node < warm, is_excused: false }
        };
        let nodes = (0..scenario.nodes).map(track).collect();
        Self { nodes, at_work: 0, begun: 0, done: 0, pulls: scenario.nodes - warm }
    }

    /// A node begins.
    pub(super) fn begin(&mut self, node: u32, now: Nanos, start: Nanos, pull: Pull) {
        let track = &mut self.nodes[node as usize];
        track.pull = Some(pull);
        track.started = now;
        track.outcome.started_s = Some(now.seconds_since(start));
        self.at_work += 1;
        self.begun += 1;
    }

    /// A node's pull, while it is under way.
    pub(super) fn pull(&mut self, node: u32) -> Option<&mut Pull> {
        self.nodes[node as usize].pull.as_mut()
    }

    /// A reader at a node has its first byte of a layer.
    pub(super) fn first_byte(&mut self, node: u32, now: Nanos) {
        let track = &mut self.nodes[node as usize];
        if track.pull.is_some() {
            track.outcome.first_byte_s.get_or_insert(now.seconds_since(track.started));
        }
    }

    /// A node has everything.
    pub(super) fn finish(&mut self, node: u32, now: Nanos) {
        let track = &mut self.nodes[node as usize];
        if track.pull.is_some() {
            track.outcome.done_s = Some(now.seconds_since(track.started));
            self.done += 1;
            self.end(node, End::Done);
        }
    }

    /// A node's pull failed.
    pub(super) fn fail(&mut self, node: u32) {
        let end = if self.nodes[node as usize].is_excused { End::Excused } else { End::Failed };
        self.end(node, end);
    }

    /// A node is killed. One that had ended stays as it was.
    pub(super) fn kill(&mut self, node: u32) {
        self.end(node, End::Killed);
    }

    fn end(&mut self, node: u32, end: End) {
        let track = &mut self.nodes[node as usize];
        if track.has_ended {
            return;
        }
        track.has_ended = true;
        track.outcome.end = end;
        if track.pull.take().is_some() {
            self.at_work -= 1;
        }
    }

    /// If this node does not finish, it is a fault's doing.
    pub(super) fn excuse(&mut self, node: u32) {
        self.nodes[node as usize].is_excused = true;
    }

    /// Nodes that have not ended, begun or not.
    pub(super) fn unfinished(&self) -> Vec<u32> {
        self.nodes.iter().filter(|track| !track.has_ended).map(|track| track.outcome.node).collect()
    }

    /// Pulls under way.
    pub(super) fn at_work(&self) -> u32 {
        self.at_work
    }

    /// Pulls that have begun.
    pub(super) fn begun(&self) -> u32 {
        self.begun
    }

    /// Pulls that are done.
    pub(super) fn done(&self) -> u32 {
        self.done
    }

    /// Pulls of the scenario.
    pub(super) fn pulls(&self) -> u32 {
        self.pulls
    }

    /// Whether a node had everything before the clock started.
    pub(super) fn is_warm(&self, node: u32) -> bool {
        self.nodes[node as usize].outcome.end == End::Warm
    }

    /// The end of the last pull that is done, since the start of the run, in seconds.
    pub(super) fn makespan_s(&self) -> f64 {
        let end = |outcome: &NodeOutcome| Some(outcome.started_s? + outcome.done_s?);
        self.nodes.iter().filter_map(|track| end(&track.outcome)).fold(0.0, f64::max)
    }

    /// What became of all, to be completed by counters.
    pub(super) fn into_outcomes(self) -> Vec<NodeOutcome> {
        self.nodes.into_iter().map(|track| track.outcome).collect()
    }
}

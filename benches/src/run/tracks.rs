//! Where each node's pull is, from the start of the clock to the end of the last.

use crate::{
    agent::protocol::Pulled,
    result::{NodeResult, Outcome},
};

/// All nodes, in order.
#[derive(Clone, Debug)]
pub(crate) struct Tracks {
    nodes: Vec<Track>,
    bytes_each: u64,
}

#[derive(Clone, Debug)]
struct Track {
    result: NodeResult,
    state: State,
    /// Something other than the system or the client ends its pull, if it fails.
    excused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Pulling,
    Ended,
}

impl Tracks {
    /// Nodes in these zones, of which the first `warm` have everything; each of the others will pull `bytes_each` bytes.
    pub(crate) fn new(zones: impl IntoIterator<Item = u32>, warm: u32, bytes_each: u64) -> Self {
        let track = |(node, zone): (u32, u32)| {
            let (outcome, state) =
                if node < warm { (Outcome::Warm, State::Ended) } else { (Outcome::Failed, State::Waiting) };
            Track { result: NodeResult { node, zone, outcome, ..NodeResult::default() }, state, excused: false }
        };
        Self { nodes: (0..).zip(zones).map(track).collect(), bytes_each }
    }

    /// A node begins to pull, `at_s` after the start of the clock.
    pub(crate) fn begin(&mut self, node: u32, at_s: f64) {
        let track = self.track(node);
        track.state = State::Pulling;
        track.result.started_s = at_s;
    }

    /// A node has received so many bytes.
    pub(crate) fn progress(&mut self, node: u32, bytes: u64) {
        let track = self.track(node);
        if track.state == State::Pulling {
            track.result.bytes = bytes;
        }
    }

    /// A node's pull has ended by itself. One that was killed meanwhile stays killed.
    pub(crate) fn end(&mut self, node: u32, pulled: &Pulled) {
        let track = self.track(node);
        if track.state != State::Pulling {
            return;
        }
        track.state = State::Ended;
        let result = &mut track.result;
        (result.bytes, result.first_byte_s, result.stall_max_s) =
            (pulled.bytes, pulled.first_byte_s, pulled.stall_max_s);
        result.error.clone_from(&pulled.error);
        if pulled.error.is_none() {
            result.done_s = Some(pulled.end_s);
            result.outcome = Outcome::Done;
        } else if track.excused {
            result.outcome = Outcome::Killed;
        }
    }

    /// A node that has not ended fails for this reason.
    pub(crate) fn fail(&mut self, node: u32, reason: String) {
        let track = self.track(node);
        if track.state != State::Ended {
            track.state = State::Ended;
            track.result.outcome = if track.excused { Outcome::Killed } else { Outcome::Failed };
            track.result.error = Some(reason);
        }
    }

    /// A fault ends a node. What it had pulled by then stays pulled.
    pub(crate) fn kill(&mut self, node: u32) {
        let track = self.track(node);
        if track.state != State::Ended {
            track.state = State::Ended;
            track.result.outcome = Outcome::Killed;
        }
    }

    /// If this node fails, it is a fault's doing.
    pub(crate) fn excuse(&mut self, node: u32) {
        self.track(node).excused = true;
    }

    /// Nodes that are pulling.
    pub(crate) fn at_work(&self) -> usize {
        self.nodes.iter().filter(|track| track.state == State::Pulling).count()
    }

    /// Nodes that have not ended.
    pub(crate) fn unfinished(&self) -> Vec<u32> {
        let unfinished = self.nodes.iter().filter(|track| track.state != State::Ended);
        unfinished.map(|track| track.result.node).collect()
    }

    /// Number of nodes that pull or pulled.
    pub(crate) fn pullers(&self) -> usize {
        self.nodes.iter().filter(|track| track.result.outcome != Outcome::Warm).count()
    }

    /// Bytes that clients have received together.
    pub(crate) fn delivered_bytes(&self) -> u64 {
        self.nodes.iter().map(|track| track.result.bytes).sum()
    }

    /// Share of all bytes that the pulling nodes have received together, 0 to 1.
    pub(crate) fn progress_share(&self) -> f64 {
        let all = self.bytes_each.saturating_mul(self.pullers() as u64);
        if all == 0 { 0.0 } else { (self.delivered_bytes() as f64 / all as f64).min(1.0) }
    }

    /// From the start of the first pull to the end of the last that succeeded, in seconds.
    pub(crate) fn makespan_s(&self) -> f64 {
        let ends = self.nodes.iter().filter_map(|track| Some(track.result.started_s + track.result.done_s?));
        ends.fold(0.0, f64::max)
    }

    /// The results so far, to be completed by measurements.
    pub(crate) fn results_mut(&mut self) -> impl Iterator<Item = &mut NodeResult> {
        self.nodes.iter_mut().map(|track| &mut track.result)
    }

    /// The results.
    pub(crate) fn into_results(self) -> Vec<NodeResult> {
        self.nodes.into_iter().map(|track| track.result).collect()
    }

    fn track(&mut self, node: u32) -> &mut Track {
        &mut self.nodes[node as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(bytes: u64, end_s: f64) -> Pulled {
        Pulled { bytes, first_byte_s: Some(0.5), end_s, stall_max_s: 0.1, error: None }
    }

    fn outcomes(tracks: &Tracks) -> Vec<Outcome> {
        tracks.clone().into_results().iter().map(|result| result.outcome).collect()
    }

    #[test]
    fn a_run_with_a_warm_node_a_killed_one_and_two_that_finish() {
        let mut tracks = Tracks::new([0, 0, 1, 1], 1, 100);
        assert_eq!((tracks.pullers(), tracks.at_work()), (3, 0));
        for node in 1..4 {
            tracks.begin(node, f64::from(node));
        }
        tracks.progress(1, 60);
        tracks.progress(2, 90);
        assert!((tracks.progress_share() - 0.5).abs() < 1e-9);
        tracks.kill(2);
        tracks.progress(2, 100);
        tracks.end(2, &pulled(100, 3.0));
        tracks.end(1, &pulled(100, 5.0));
        assert_eq!(tracks.unfinished(), [3]);
        tracks.end(3, &pulled(100, 4.0));
        assert_eq!(outcomes(&tracks), [Outcome::Warm, Outcome::Done, Outcome::Killed, Outcome::Done]);
        assert!((tracks.makespan_s() - 7.0).abs() < 1e-9, "node 3 began at 3 and took 4");
        assert_eq!(tracks.delivered_bytes(), 290);
    }

    #[test]
    fn a_node_that_had_finished_when_it_was_killed_has_finished() {
        let mut tracks = Tracks::new([0], 0, 10);
        tracks.begin(0, 0.0);
        tracks.end(0, &pulled(10, 1.0));
        tracks.kill(0);
        tracks.fail(0, "late".into());
        assert_eq!(outcomes(&tracks), [Outcome::Done]);
    }

    #[test]
    fn a_failure_counts_unless_a_fault_excuses_it() {
        let mut tracks = Tracks::new([0, 0, 0], 0, 10);
        let failed = Pulled { error: Some("reset".into()), ..pulled(4, 1.0) };
        tracks.excuse(1);
        for node in 0..2 {
            tracks.begin(node, 0.0);
            tracks.end(node, &failed);
        }
        tracks.fail(2, "never began".into());
        assert_eq!(outcomes(&tracks), [Outcome::Failed, Outcome::Killed, Outcome::Failed]);
        assert!(tracks.makespan_s().abs() < 1e-9);
        assert_eq!(tracks.into_results()[0].error.as_deref(), Some("reset"));
    }
}

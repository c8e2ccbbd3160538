//! What people use without a swarm, in the cluster of a scenario: fluid flows at max-min fair rates, without the cost of
//! latency, connections and messages, so that a comparison with a simulated run is in their favour.
//!
//! Faults are left out. An image is one flow of all its bytes.

use crate::{
    network::{FlowId, LinkId, Network},
    scenario::{Content, Scenario, Wave},
    time::Nanos,
};

/// How nodes pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Each takes everything from the upstream.
    SingleSource,
    /// Each takes everything from one cache outside all zones, with a link like a node's, which takes it from the upstream
    /// once and passes on what it has so far. Where nodes are warm, so is the cache.
    PullThrough,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineOutcome {
    /// From the first start to the last end, in seconds.
    pub makespan_s: f64,
    /// Of each pull from its own start, in seconds, ascending.
    pub node_s: Vec<f64>,
    /// Bytes of blobs that the upstream sent.
    pub upstream_bytes: u64,
    /// Requests that it answered: one for each blob, and one for the manifest.
    pub upstream_requests: u64,
}

impl Baseline {
    /// Runs the scenario's pulls in this way.
    pub fn run(self, scenario: &Scenario) -> BaselineOutcome {
        let mut cluster = Cluster::new(self, scenario);
        let mut begins = Nanos::ZERO;
        let mut node_s = Vec::new();
        for wave in scenario.waves() {
            begins = cluster.pull(&wave, begins, &mut node_s);
        }
        node_s.sort_by(f64::total_cmp);
        let takers = match self {
            Self::SingleSource => node_s.len() as u64,
            Self::PullThrough => u64::from(scenario.warm_nodes() == 0),
        };
        let blobs = match &scenario.content {
            Content::Blob(_) => 1,
            Content::Image(layers) => layers.len() as u64,
        };
        BaselineOutcome {
            makespan_s: begins.seconds(),
            node_s,
            upstream_bytes: takers * scenario.content.bytes(),
            upstream_requests: takers * (blobs + 1),
        }
    }
}

/// The links, and what flows over them.
struct Cluster<'a> {
    scenario: &'a Scenario,
    network: Network,
    /// Where everything comes from: the upstream or the cache.
    source: LinkId,
    zones: Vec<LinkId>,
    /// When the cache has everything, if nothing keeps it from taking; the start where there is none.
    filled: Nanos,
}

impl<'a> Cluster<'a> {
    fn new(baseline: Baseline, scenario: &'a Scenario) -> Self {
        let mut network = Network::new(0.0);
        let upstream = scenario.upstream.rate;
        let (source, filled) = match baseline {
            Baseline::SingleSource => (upstream, Nanos::ZERO),
            Baseline::PullThrough if scenario.warm_nodes() > 0 => (scenario.link.up, Nanos::ZERO),
            Baseline::PullThrough => {
                let rate = upstream.min(scenario.link.down) as f64;
                (scenario.link.up, Nanos::ZERO.after(scenario.content.bytes() as f64 / rate))
            }
        };
        let zones = scenario.zones.map_or_else(Vec::new, |zones| {
            (0..zones.count).map(|_| network.add_link(zones.uplink.down as f64)).collect()
        });
        Self { scenario, source: network.add_link(source as f64), network, zones, filled }
    }

    /// Lets a wave pull, adds its times to `node_s`, and says when the last of it is done.
    fn pull(&mut self, wave: &Wave, begins: Nanos, node_s: &mut Vec<f64>) -> Nanos {
        let mut waiting = wave.starts.iter().peekable();
        let mut under_way: Vec<(FlowId, Nanos)> = Vec::new();
        let mut ends = begins;
        loop {
            let next_start = waiting.peek().map(|start| begins + start.after);
            let next_end = self.network.next_completion();
            let Some(now) = [next_start, next_end].into_iter().flatten().min() else { return ends };
            while let Some(start) = waiting.next_if(|start| begins + start.after <= now) {
                under_way.push((self.begin(start.node, now), now));
            }
            // Completions change rates: those of one moment come together.
            let mut done = Vec::new();
            while let Some(flow) = self.network.pop_completed(now) {
                done.push(flow);
            }
            for flow in done {
                self.network.stop(now, flow);
                let position = under_way.iter().position(|(other, _)| *other == flow).expect("it was started");
                let (_, started) = under_way.swap_remove(position);
                let end = now.max(self.filled);
                node_s.push(end.seconds_since(started));
                ends = ends.max(end);
            }
        }
    }

    fn begin(&mut self, node: u32, now: Nanos) -> FlowId {
        let down = self.network.add_link(self.scenario.link_of(node).down as f64);
        let zone = self.zones.get(self.scenario.zone_of(node) as usize);
        let links: Vec<LinkId> = [self.source, down].into_iter().chain(zone.copied()).collect();
        self.network.start(now, &links, self.scenario.content.bytes() as f64, f64::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scenario::{Arrival, Link, Overrides, by_name};

    /// A blob of 100 MB at links of 10 MB/s: 10 s for one copy.
    fn scenario(name: &str, nodes: u32) -> Scenario {
        let overrides = Overrides {
            nodes: Some(nodes),
            size: Some(100_000_000),
            link: Some(Link { up: 10_000_000, down: 10_000_000 }),
            ..Overrides::default()
        };
        Scenario::parse_with(by_name(name).unwrap(), name, &overrides).unwrap()
    }

    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-3, "{left} is not {right}");
    }

    #[test]
    fn a_single_source_takes_as_long_as_there_are_nodes() {
        for nodes in [1, 2, 7, 300] {
            let scenario = scenario("cold-start", nodes);
            let outcome = Baseline::SingleSource.run(&scenario);
            close(outcome.makespan_s, 10.0 * f64::from(nodes));
            close(outcome.makespan_s, scenario.bound().single_source_s);
            assert_eq!(outcome.node_s.len(), nodes as usize);
            close(outcome.node_s[0], outcome.makespan_s);
            assert_eq!(outcome.upstream_bytes, 100_000_000 * u64::from(nodes));
            assert_eq!(outcome.upstream_requests, 2 * u64::from(nodes));
        }
    }

    #[test]
    fn pulls_that_overlap_share_and_those_that_do_not_are_alone() {
        let staggered = |over_s| {
            let arrival = Arrival::Staggered { over: Duration::from_secs(over_s) };
            Baseline::SingleSource.run(&Scenario { arrival, ..scenario("cold-start", 2) })
        };
        // 4 s alone, then both at half the rate: the first has 60 MB left, which take 12 s.
        let overlapping = staggered(4);
        close(overlapping.node_s[0], 16.0);
        close(overlapping.node_s[1], 16.0);
        close(overlapping.makespan_s, 20.0);
        let apart = staggered(15);
        close(apart.node_s[1], 10.0);
        close(apart.makespan_s, 25.0);
    }

    #[test]
    fn groups_wait_for_each_other() {
        let outcome = Baseline::SingleSource.run(&scenario("rolling", 10));
        // Five groups of two.
        close(outcome.makespan_s, 100.0);
        close(outcome.node_s[9], 20.0);
    }

    #[test]
    fn a_cache_takes_one_copy_and_is_no_faster_than_its_link() {
        let mut scenario = scenario("cold-start", 4);
        scenario.upstream.rate = 2_500_000;
        let outcome = Baseline::PullThrough.run(&scenario);
        // Four copies leave the cache in 40 s, as long as one copy takes to come.
        close(outcome.makespan_s, 40.0);
        assert_eq!((outcome.upstream_bytes, outcome.upstream_requests), (100_000_000, 2));
        scenario.upstream.rate = 1_000_000;
        close(Baseline::PullThrough.run(&scenario).makespan_s, 100.0);
        scenario.warm_share = 0.5;
        let warm = Baseline::PullThrough.run(&scenario);
        close(warm.makespan_s, 20.0);
        assert_eq!((warm.upstream_bytes, warm.node_s.len()), (0, 2));
    }

    #[test]
    fn scarce_uplinks_and_slow_nodes_count() {
        let mut zones = scenario("zones", 8);
        zones.upstream.rate = 1_000_000_000;
        zones.zones.as_mut().unwrap().uplink.down = 5_000_000;
        // Two copies enter each zone at 5 MB/s.
        close(Baseline::SingleSource.run(&zones).makespan_s, 40.0);
        let mut slow = scenario("stragglers", 4);
        slow.upstream.rate = 1_000_000_000;
        let outcome = Baseline::SingleSource.run(&slow);
        close(outcome.node_s[1], 10.0);
        close(outcome.node_s[2], 100.0);
    }
}

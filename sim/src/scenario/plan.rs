//! What follows from a scenario's values for each node.

use std::time::Duration;

use shoal_core::rng::Stream;

use super::{Arrival, FaultKind, Link, Scenario};

/// Pulls that begin without waiting for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// In order of time.
    pub starts: Vec<Start>,
}

/// One node's pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Number of the node, from 0.
    pub node: u32,
    /// After the start of its wave.
    pub after: Duration,
}

impl Scenario {
    /// Number of nodes that have the content before the clock starts: the nodes from 0 to below it.
    pub fn warm_nodes(&self) -> u32 {
        // 0.29 x 100 is a little below 29 in binary.
        let warm = (f64::from(self.nodes) * self.warm_share + 1e-6).floor();
        whole(warm).min(self.nodes.saturating_sub(1))
    }

    /// The link of a node, faults aside.
    pub fn link_of(&self, node: u32) -> Link {
        match self.slow_nodes {
            Some(slow) if node >= self.nodes.saturating_sub(slow.count) => slow.link,
            _ => self.link,
        }
    }

    /// The zone of a node; 0 without zones.
    pub fn zone_of(&self, node: u32) -> u32 {
        let zone = |count: u32| u64::from(node) * u64::from(count) / u64::from(self.nodes.max(1));
        self.zones.map_or(0, |zones| u32::try_from(zone(zones.count)).unwrap_or(u32::MAX))
    }

    /// Nodes that a fault kills by number. The home that a fault kills is known only when it runs.
    pub fn killed_nodes(&self) -> impl Iterator<Item = u32> {
        self.faults.iter().filter_map(|fault| match fault.what {
            FaultKind::KillNode { node } => Some(node),
            _ => None,
        })
    }

    /// When the nodes pull: all of a wave have to finish, or be killed, before the next wave starts. Warm nodes are in
    /// none.
    pub fn waves(&self) -> Vec<Wave> {
        let mut pulling: Vec<u32> = (self.warm_nodes()..self.nodes).collect();
        match self.arrival {
            Arrival::Together => vec![Wave::at_once(&pulling)],
            Arrival::Staggered { over } => {
                Stream::new(self.seed, "arrival").shuffle(&mut pulling);
                let gaps = u32::try_from(pulling.len()).unwrap_or(u32::MAX).saturating_sub(1).max(1);
                let after = |position: u32| over.mul_f64(f64::from(position) / f64::from(gaps));
                let starts =
                    pulling.iter().zip(0..).map(|(node, position)| Start { node: *node, after: after(position) });
                vec![Wave { starts: starts.collect() }]
            }
            Arrival::Rolling { share } => {
                let group = (pulling.len() as f64 * share - 1e-6).ceil().max(1.0);
                pulling.chunks(whole(group) as usize).map(Wave::at_once).collect()
            }
        }
    }
}

impl Wave {
    fn at_once(nodes: &[u32]) -> Self {
        Self { starts: nodes.iter().map(|node| Start { node: *node, after: Duration::ZERO }).collect() }
    }
}

/// A whole number, at least 0, as `u32`: the conversion saturates.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and saturates at the range's ends")]
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::cold_start;
    use super::*;

    #[test]
    fn warm_nodes_are_the_first_and_pull_nothing() {
        let scenario = Scenario { nodes: 100, warm_share: 0.29, ..cold_start() };
        assert_eq!(scenario.warm_nodes(), 29);
        let waves = scenario.waves();
        assert_eq!((waves.len(), waves[0].starts.len(), waves[0].starts[0].node), (1, 71, 29));
        assert_eq!(
            Scenario { nodes: 1, warm_share: 0.999, ..cold_start() }.warm_nodes(),
            0,
            "one node is left to pull"
        );
    }

    #[test]
    fn staggered_pulls_begin_evenly_in_an_order_of_the_seed() {
        let over = Duration::from_secs(7);
        let scenario = |seed| Scenario { arrival: Arrival::Staggered { over }, seed, ..cold_start() };
        let starts = scenario(1).waves().remove(0).starts;
        let after: Vec<u128> = starts.iter().map(|start| start.after.as_millis()).collect();
        assert_eq!(after, [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000]);
        let mut nodes: Vec<u32> = starts.iter().map(|start| start.node).collect();
        assert_eq!(scenario(1).waves()[0].starts, starts, "equal seeds, equal orders");
        assert_ne!(scenario(2).waves()[0].starts, starts);
        nodes.sort_unstable();
        assert_eq!(nodes, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn rolling_groups_are_the_share_rounded_up() {
        let sizes = |nodes, share| {
            let scenario = Scenario { nodes, arrival: Arrival::Rolling { share }, ..cold_start() };
            scenario.waves().iter().map(|wave| wave.starts.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(10, 0.2), [2; 5]);
        assert_eq!(sizes(10, 0.25), [3, 3, 3, 1]);
        assert_eq!(sizes(10, 0.001), [1; 10]);
        assert_eq!(sizes(3, 1.0), [3]);
    }

    #[test]
    fn zones_are_equal_and_in_order_and_the_last_nodes_are_slow() {
        let text = include_str!("../../scenarios/zones.toml");
        let zones = Scenario::parse(text, "zones.toml").unwrap();
        let of_nodes: Vec<u32> = (0..16).map(|node| zones.zone_of(node)).collect();
        assert_eq!(of_nodes, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
        let text = include_str!("../../scenarios/stragglers.toml");
        let stragglers = Scenario::parse(text, "stragglers.toml").unwrap();
        assert_eq!(stragglers.link_of(13), stragglers.link);
        assert_eq!(stragglers.link_of(14).up, stragglers.link.up / 10);
    }
}

//! What a network looks like: its hosts, their links and addresses.

use std::{fmt, net::Ipv4Addr, time::Duration};

use shoal_sim::scenario::{Link, Scenario};

/// Most nodes that a network has: each takes a namespace, a socket and, where there is latency, two devices.
pub const MAX_NODES: usize = 250;
/// Most zones that a network has.
pub const MAX_ZONES: usize = 250;
/// Longest one-way delay.
pub const MAX_LATENCY: Duration = Duration::from_secs(1);

/// Links count payload bytes per second, see [`Link`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPlan {
    /// In order, at most [`MAX_NODES`].
    pub nodes: Vec<NodePlan>,
    /// Link of the registry.
    pub upstream: Link,
    /// Link of a pull-through cache; none where there is no such host.
    pub cache: Option<Link>,
    /// Link of each zone to the others and to the upstream, at most [`MAX_ZONES`]; empty where all hosts are at one
    /// switch.
    pub zone_uplinks: Vec<Link>,
    /// One-way delay between any two hosts, at most [`MAX_LATENCY`].
    pub latency: Duration,
    /// What holds all links to their rates.
    pub shaper: Shaper,
}

/// What holds a link to its rate: a queue of the kernel's that lets through what its token bucket has tokens for.
///
/// Where the timers of a machine are dear, as those of virtual machines are, those of the shapers take a fifth of the
/// processors' time: `tbf` sets one for each packet that waits. See docs/laboratory.md.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shaper {
    /// sch_tbf: each packet waits for its own tokens.
    #[default]
    Tbf,
    /// sch_htb with its kernel-wide parameter `htb_hysteresis` on: packets pass until a burst of tokens is owed, then none
    /// until it is paid. A timer for each burst, and the same rate.
    Htb,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Its link.
    pub link: Link,
    /// Its zone, from 0; without meaning where all hosts are at one switch.
    pub zone: u32,
}

/// A namespace with a link and an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// The node with this number, from 0.
    Node(u32),
    /// Where the registry runs.
    Upstream,
    /// Where a pull-through cache runs.
    Cache,
}

impl Host {
    /// Its address, in 10.86.0.0/16.
    pub(super) fn address(self) -> Ipv4Addr {
        match self {
            Self::Upstream => Ipv4Addr::new(10, 86, 0, 1),
            Self::Cache => Ipv4Addr::new(10, 86, 0, 2),
            Self::Node(node) => Ipv4Addr::from_bits(Ipv4Addr::new(10, 86, 1, 1).to_bits().saturating_add(node)),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(formatter, "node{node}"),
            Self::Upstream => formatter.write_str("upstream"),
            Self::Cache => formatter.write_str("cache"),
        }
    }
}

impl NetworkPlan {
    /// The network of a scenario: slow nodes and zones as it says, a cache with the link of a node; with these shapers.
    pub fn of(scenario: &Scenario, shaper: Shaper) -> Self {
        let zone_count = scenario.zones.map_or(1, |zones| zones.count);
        let slow = scenario.slow_nodes;
        let first_slow = slow.map_or(scenario.nodes, |slow| scenario.nodes.saturating_sub(slow.count));
        let node = |number: u32| NodePlan {
            link: slow.filter(|_| number >= first_slow).map_or(scenario.link, |slow| slow.link),
            // Below the number of zones, so it fits.
            zone: u32::try_from(u64::from(number) * u64::from(zone_count) / u64::from(scenario.nodes)).unwrap_or(0),
        };
        Self {
            nodes: (0..scenario.nodes).map(node).collect(),
            upstream: Link { up: scenario.upstream.rate, down: scenario.upstream.rate },
            cache: Some(scenario.link),
            zone_uplinks: scenario.zones.map_or_else(Vec::new, |zones| vec![zones.uplink; zones.count as usize]),
            latency: scenario.latency,
            shaper,
        }
    }

    /// All hosts: the upstream, the cache where there is one, the nodes.
    pub(super) fn hosts(&self) -> impl Iterator<Item = Host> {
        let nodes = (0..).zip(&self.nodes).map(|(number, _)| Host::Node(number));
        [Host::Upstream].into_iter().chain(self.cache.map(|_| Host::Cache)).chain(nodes)
    }

    /// Link of a host, where there is such a host.
    pub(super) fn link(&self, host: Host) -> Option<Link> {
        match host {
            Host::Node(node) => self.nodes.get(node as usize).map(|node| node.link),
            Host::Upstream => Some(self.upstream),
            Host::Cache => self.cache,
        }
    }

    /// Zone of a host; none at the core switch.
    pub(super) fn zone(&self, host: Host) -> Option<u32> {
        match host {
            Host::Node(node) if !self.zone_uplinks.is_empty() => self.nodes.get(node as usize).map(|node| node.zone),
            Host::Node(_) | Host::Upstream | Host::Cache => None,
        }
    }

    /// What makes it impossible, if anything does.
    pub(crate) fn problem(&self) -> Option<String> {
        let zones = self.zone_uplinks.len();
        let links = || self.hosts().filter_map(|host| self.link(host)).chain(self.zone_uplinks.iter().copied());
        if self.nodes.len() > MAX_NODES {
            Some(format!("{} nodes; at most {MAX_NODES} are possible on one machine", self.nodes.len()))
        } else if zones > MAX_ZONES {
            Some(format!("{zones} zones; at most {MAX_ZONES} are possible on one machine"))
        } else if self.latency > MAX_LATENCY {
            Some(format!("a latency of {:?}; at most {MAX_LATENCY:?} is possible", self.latency))
        } else if let Some(node) = self.nodes.iter().find(|node| zones > 0 && node.zone as usize >= zones) {
            Some(format!("a node in zone {}; there are {zones} zones, from 0", node.zone))
        } else if links().any(|link| link.up == 0 || link.down == 0) {
            Some("a link of 0 bytes per second; at least 1 is needed each way".to_owned())
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_sim::scenario::{Arrival, Content, SlowNodes, Upstream, Zones};

    use super::*;

    const LINK: Link = Link { up: 1_000, down: 2_000 };

    fn scenario() -> Scenario {
        Scenario {
            name: "test".to_owned(),
            about: String::new(),
            nodes: 6,
            link: LINK,
            upstream: Upstream { rate: 5_000, ranges: true },
            zones: None,
            latency: Duration::ZERO,
            content: Content::Blob(1),
            arrival: Arrival::Together,
            warm_share: 0.0,
            slow_nodes: None,
            faults: Vec::new(),
            seed: 1,
        }
    }

    #[test]
    fn a_plain_scenario_has_one_switch() {
        let plan = NetworkPlan::of(&scenario(), Shaper::Tbf);
        assert_eq!(plan.nodes, [NodePlan { link: LINK, zone: 0 }; 6]);
        assert_eq!((plan.upstream, plan.cache), (Link { up: 5_000, down: 5_000 }, Some(LINK)));
        assert_eq!((plan.zone_uplinks.len(), plan.zone(Host::Node(0)), plan.problem()), (0, None, None));
        assert_eq!(plan.hosts().count(), 8);
    }

    #[test]
    fn zones_split_the_nodes_and_slow_nodes_are_the_last() {
        let uplink = Link { up: 7, down: 8 };
        let slow = Link { up: 1, down: 2 };
        let mut scenario = scenario();
        scenario.zones = Some(Zones { count: 4, uplink });
        scenario.slow_nodes = Some(SlowNodes { count: 2, link: slow });
        let plan = NetworkPlan::of(&scenario, Shaper::Tbf);
        let zones: Vec<u32> = plan.nodes.iter().map(|node| node.zone).collect();
        assert_eq!(zones, [0, 0, 1, 2, 2, 3]);
        assert_eq!(plan.zone_uplinks, [uplink; 4]);
        let slow_nodes: Vec<bool> = plan.nodes.iter().map(|node| node.link == slow).collect();
        assert_eq!(slow_nodes, [false, false, false, false, true, true]);
        assert_eq!((plan.zone(Host::Node(5)), plan.zone(Host::Upstream)), (Some(3), None));
        assert_eq!(plan.link(Host::Node(6)), None);
    }

    #[test]
    fn every_host_has_an_address_of_its_own() {
        let mut plan = NetworkPlan::of(&scenario(), Shaper::Tbf);
        plan.nodes = vec![plan.nodes[0]; MAX_NODES];
        let addresses: std::collections::BTreeSet<Ipv4Addr> = plan.hosts().map(Host::address).collect();
        assert_eq!(addresses.len(), MAX_NODES + 2);
        assert!(addresses.iter().all(|address| !matches!(address.octets()[3], 0 | 255)));
        assert_eq!(Host::Node(0).address(), Ipv4Addr::new(10, 86, 1, 1));
        assert!(plan.problem().is_none());
        plan.nodes.push(plan.nodes[0]);
        assert!(plan.problem().unwrap().contains("at most 250"));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let mut plan = NetworkPlan::of(&scenario(), Shaper::Tbf);
        plan.nodes[3].link.up = 0;
        assert!(plan.problem().unwrap().contains("0 bytes per second"));
        plan.nodes[3].link.up = 1;
        plan.zone_uplinks = vec![LINK; 2];
        plan.nodes[3].zone = 2;
        assert!(plan.problem().unwrap().contains("zone 2"));
        plan.nodes[3].zone = 1;
        plan.latency = Duration::from_secs(2);
        assert!(plan.problem().unwrap().contains("latency"));
    }
}

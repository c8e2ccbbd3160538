//! What a run is made with besides its scenario.

use std::time::Duration;

use shoal_core::config::CoreConfig;

use crate::{
    scenario::{Link, Scenario},
    world::setting::{CostSetting, LinkSetting, NodeSetting, PathSetting, Setting, UpstreamSetting},
};

/// How the cluster comes to be before the clock starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forming {
    /// All nodes know each other from the start.
    #[default]
    Known,
    /// They join through the first one. Takes long for thousands of nodes.
    Joins,
    /// It does not: each node is a cluster of one and takes everything from the upstream.
    Alone,
}

/// What a run is made with. The defaults are those of the laboratory's runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Parameters of each node's engine.
    pub core: CoreConfig,
    /// Paths. The scenario's latency is added to this one.
    pub paths: PathSetting,
    /// Processor and disk of each node.
    pub costs: CostSetting,
    /// How the cluster comes to be.
    pub forming: Forming,
    /// What the upstream sends on one connection at most, in bytes per second.
    pub upstream_connection_bytes_per_s: Option<f64>,
    /// Connections that the upstream sends on at once.
    pub upstream_connections_max: Option<u32>,
    /// Relative error of rates, 0.0 to 0.1.
    pub tolerance: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            core: CoreConfig::default(),
            paths: PathSetting::default(),
            costs: CostSetting::default(),
            forming: Forming::default(),
            upstream_connection_bytes_per_s: None,
            upstream_connections_max: None,
            tolerance: 0.01,
        }
    }
}

impl Options {
    /// The world of a scenario.
    pub(super) fn setting(&self, scenario: &Scenario) -> Setting {
        let link = |link: Link| LinkSetting { up: link.up as f64, down: link.down as f64 };
        let node = |node| NodeSetting { link: link(scenario.link_of(node)), zone: scenario.zone_of(node) };
        let zones = scenario.zones.map_or_else(Vec::new, |zones| vec![link(zones.uplink); zones.count as usize]);
        let latency: Duration = self.paths.latency + scenario.latency;
        Setting {
            nodes: (0..scenario.nodes).map(node).collect(),
            zones,
            upstream: UpstreamSetting {
                bytes_per_s: scenario.upstream.rate as f64,
                ranges: scenario.upstream.ranges,
                connection_bytes_per_s: self.upstream_connection_bytes_per_s,
                connections_max: self.upstream_connections_max,
                ..UpstreamSetting::default()
            },
            paths: PathSetting { latency, ..self.paths },
            costs: self.costs,
            core: self.core.clone(),
            tolerance: self.tolerance,
            seed: scenario.seed,
        }
    }
}

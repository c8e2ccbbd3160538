//! The least time that a scenario's links allow.

use shoal_core::bound::{Cluster, Peer, Role, ZoneLink};
use shoal_wire::geometry::{Geometry, PieceIndex};

use super::{Content, FaultKind, Link, Scenario, Wave};

/// Bounds of a scenario, in seconds. Faults only make nodes pull less, see [`Scenario::bound`].
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Until the last pull ends when each takes all bytes from the upstream.
    pub single_source_s: f64,
    /// Until the last pull ends: no system can be faster. Waves add up.
    pub fluid_s: f64,
    /// The same with the cost of passing on whole pieces.
    pub granular_s: f64,
    /// Whether `granular_s` is the exact optimum: all links equal, one wave, all at once.
    pub granular_is_exact: bool,
    /// The least time of each node's pull from its own start, in order; 0.0 for a warm node.
    pub node_s: Vec<f64>,
    /// The least time of the first, second, ... pull to end, each from its own start, over all waves; ascending.
    pub finishers_s: Vec<f64>,
}

impl Bounds {
    /// The bound to compare a measured makespan with: the granular form where it is exact, the fluid one otherwise.
    pub fn makespan_s(&self) -> f64 {
        if self.granular_is_exact { self.granular_s } else { self.fluid_s }
    }
}

impl Scenario {
    /// The bounds, from the scenario's links, zones, warm and slow nodes, and arrival.
    ///
    /// An image counts as its bytes in all; a piece at the end of its pipeline is the shortest that its blobs are cut
    /// into, which no order of pulls can beat. A node that a fault kills need not get everything, but may help; of the
    /// home, which is known only in a run, the same is assumed for a node with the slowest link. A link that a fault
    /// changes counts with the better of its rates. An upstream that ends counts as if it did not.
    pub fn bound(&self) -> Bounds {
        let waves = self.waves();
        let roles = self.roles();
        let mut bounds = Bounds {
            single_source_s: 0.0,
            fluid_s: 0.0,
            granular_s: 0.0,
            granular_is_exact: waves.len() == 1,
            node_s: vec![0.0; self.nodes as usize],
            finishers_s: Vec::new(),
        };
        let mut holding: Vec<u32> = (0..self.warm_nodes()).collect();
        for wave in &waves {
            let (nodes, cluster) = self.cluster(&holding, wave, &roles);
            for (node, time) in nodes.iter().zip(cluster.nodes_s()).skip(holding.len()) {
                bounds.node_s[*node as usize] = time;
            }
            if cluster.peers.iter().any(|peer| peer.role == Role::Pulls) {
                bounds.single_source_s += cluster.single_source_s();
                bounds.fluid_s += cluster.fluid_s();
                bounds.granular_s += cluster.granular_s(self.last_piece_bytes());
                bounds.finishers_s.extend(cluster.finishers_s());
                bounds.granular_is_exact &= cluster.has_equal_links();
            }
            holding.extend(wave.starts.iter().map(|start| start.node));
        }
        bounds.finishers_s.sort_by(f64::total_cmp);
        bounds
    }

    /// The nodes that take part in a wave, holders first, and what bounds them.
    fn cluster(&self, holding: &[u32], wave: &Wave, roles: &[Role]) -> (Vec<u32>, Cluster) {
        let peer = |node: u32, role, starts_s| {
            let link = self.best_link_of(node);
            Peer {
                up_bytes_per_s: link.up as f64,
                down_bytes_per_s: link.down as f64,
                zone: self.zone_of(node) as usize,
                role,
                starts_s,
            }
        };
        let holders = holding.iter().map(|node| peer(*node, Role::Holds, 0.0));
        let pulls =
            wave.starts.iter().map(|start| peer(start.node, roles[start.node as usize], start.after.as_secs_f64()));
        let cluster = Cluster {
            bytes: self.content.bytes() as f64,
            upstream_bytes_per_s: self.upstream.rate as f64,
            peers: holders.chain(pulls).collect(),
            zones: self.zone_links(),
        };
        let nodes = holding.iter().copied().chain(wave.starts.iter().map(|start| start.node)).collect();
        (nodes, cluster)
    }

    fn zone_links(&self) -> Vec<ZoneLink> {
        let link = |uplink: Link| ZoneLink { up_bytes_per_s: uplink.up as f64, down_bytes_per_s: uplink.down as f64 };
        self.zones.map_or_else(Vec::new, |zones| vec![link(zones.uplink); zones.count as usize])
    }

    /// The part of each node in its own wave.
    fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Pulls; self.nodes as usize];
        for node in self.killed_nodes() {
            roles[node as usize] = Role::Helps;
        }
        if self.faults.iter().any(|fault| fault.what == FaultKind::KillHome) {
            let pulling = (self.warm_nodes()..self.nodes).filter(|node| roles[*node as usize] == Role::Pulls);
            if let Some(slowest) = pulling.min_by_key(|node| self.best_link_of(*node).down) {
                roles[slowest as usize] = Role::Helps;
            }
        }
        roles
    }

    /// The better of a node's own link and those that faults give it.
    fn best_link_of(&self, node: u32) -> Link {
        let changed = self.faults.iter().filter_map(|fault| match fault.what {
            FaultKind::SlowNode { node: other, link } if other == node => Some(link),
            _ => None,
        });
        changed.fold(self.link_of(node), |best, link| Link { up: best.up.max(link.up), down: best.down.max(link.down) })
    }

    /// Length of the shortest piece of the content.
    fn last_piece_bytes(&self) -> f64 {
        let blobs = match &self.content {
            Content::Blob(bytes) => std::slice::from_ref(bytes),
            Content::Image(layers) => layers,
        };
        let last = |bytes: &u64| {
            let geometry = Geometry::of(*bytes).ok()?;
            Some(geometry.len(PieceIndex(geometry.pieces() - 1)))
        };
        blobs.iter().filter_map(last).min().unwrap_or(0) as f64
    }
}

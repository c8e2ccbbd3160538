//! Bounds for a cluster whose nodes differ: in their links, in what they hold already, in when they begin, in their zones.

use super::zones;

/// What bounds the distribution of a file from one upstream in a cluster. Rates are payload bytes per second and greater
/// than 0; at least one peer pulls.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Size of the file, in bytes.
    pub bytes: f64,
    /// What the upstream can send.
    pub upstream_bytes_per_s: f64,
    /// The nodes.
    pub peers: Vec<Peer>,
    /// What can leave and enter each zone, in order. Empty where one switch joins all; the upstream is outside all zones.
    pub zones: Vec<ZoneLink>,
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peer {
    /// What it can send.
    pub up_bytes_per_s: f64,
    /// What it can receive.
    pub down_bytes_per_s: f64,
    /// Index of its zone; without zones it does not matter.
    pub zone: usize,
    /// Its part.
    pub role: Role,
    /// When it begins, in seconds after the first; it sends nothing before.
    pub starts_s: f64,
}

/// What a node has and wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It wants the file and has nothing of it.
    Pulls,
    /// It has the whole file from the beginning.
    Holds,
    /// It may pass bytes on, but whether it gets the file does not count.
    Helps,
}

/// What can cross the edge of a zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneLink {
    /// Out of the zone.
    pub up_bytes_per_s: f64,
    /// Into the zone.
    pub down_bytes_per_s: f64,
}

impl Cluster {
    /// The fluid bound: no system finishes the last pull sooner after the first start, in seconds.
    ///
    /// Without zones and with one start for all it is `max(F / S, F / d_min, N F / (u_up + sum u))`, where `S` is what
    /// the upstream and the holders can send together (Kumar and Ross, "Peer-assisted file distribution: the minimum
    /// distribution time", 2006, who show that it is attained). With zones it is the optimum of a linear program, see
    /// [`zones::rate`]. Later starts add what each suffix of the pulls costs after its first start: a bound, though
    /// perhaps not attained.
    pub fn fluid_s(&self) -> f64 {
        let together = if self.zones.is_empty() { self.switched_s() } else { self.bytes / zones::rate(self) };
        self.late_starts_s(self.sending()).fold(together, f64::max)
    }

    /// The fluid bound and the pipeline's cost for pieces of `piece_bytes`, in seconds:
    /// `fluid + floor(log2 N) * piece / min(u, d)` with the fastest links of the nodes that pull.
    ///
    /// A piece must have arrived whole before it is passed on. Exact where all links, the upstream's included, are equal
    /// and the file is cut into equal pieces (Mundinger, Weber and Weiss, "Optimal scheduling of peer-to-peer file
    /// dissemination", 2008), see [`Self::has_equal_links`]; a reference otherwise.
    pub fn granular_s(&self, piece_bytes: f64) -> f64 {
        let fastest = self.pulling().map(|peer| peer.up_bytes_per_s.min(peer.down_bytes_per_s)).fold(0.0, f64::max);
        let generations = f64::from(u32::try_from(self.pulling().count().max(1)).unwrap_or(u32::MAX).ilog2());
        self.fluid_s() + if generations > 0.0 { generations * piece_bytes / fastest } else { 0.0 }
    }

    /// Whether the granular form is the exact optimum: all pull, all begin at once, and all links are equal.
    pub fn has_equal_links(&self) -> bool {
        let is_equal = |peer: &Peer| {
            peer.role == Role::Pulls
                && peer.starts_s <= 0.0
                && same(peer.up_bytes_per_s, self.upstream_bytes_per_s)
                && same(peer.down_bytes_per_s, self.upstream_bytes_per_s)
        };
        self.zones.is_empty() && self.peers.iter().all(is_equal)
    }

    /// The least time until the last pull ends when each takes all bytes from the upstream, in seconds.
    pub fn single_source_s(&self) -> f64 {
        let pulls = self.pulling().count() as f64;
        let upstream = pulls * self.bytes / self.upstream_bytes_per_s;
        let own = self.pulling().map(|peer| self.bytes / peer.down_bytes_per_s);
        let zones = self.zones.iter().enumerate().map(|(index, link)| {
            let pulls = self.pulling().filter(|peer| peer.zone == index).count() as f64;
            pulls * self.bytes / link.down_bytes_per_s
        });
        own.chain(zones).chain(self.late_starts_s(self.upstream_bytes_per_s)).fold(upstream, f64::max)
    }

    /// The least time of each peer's pull, from its own start, in seconds: what its own link, its zone's and the sources
    /// allow, whatever the others do. For a peer that does not pull, what it would be if it did.
    pub fn nodes_s(&self) -> Vec<f64> {
        let sources = self.sources();
        let mut holding = vec![0.0; self.zones.len()];
        for holder in self.peers.iter().filter(|peer| peer.role == Role::Holds) {
            if let Some(inside) = holding.get_mut(holder.zone) {
                *inside += up(holder);
            }
        }
        let node_s = |peer: &Peer| {
            let mut arriving = sources;
            if let (Some(link), Some(inside)) = (self.zones.get(peer.zone), holding.get(peer.zone)) {
                arriving = arriving.min(link.down_bytes_per_s.min(sources - inside) + inside);
            }
            // Before its start the file may have come near, but not to it.
            (self.bytes / peer.down_bytes_per_s).max(self.bytes / arriving - peer.starts_s)
        };
        self.peers.iter().map(node_s).collect()
    }

    /// The least time of the first, second, and further pull to end, each from its own start, in seconds; ascending.
    ///
    /// With one start for all: by the time `t` not more than `(u_up + sum u) t` bytes have been delivered.
    pub fn finishers_s(&self) -> Vec<f64> {
        let pulls = self.nodes_s().into_iter().zip(&self.peers).filter(|(_, peer)| peer.role == Role::Pulls);
        let mut times: Vec<f64> = pulls.map(|(time, _)| time).collect();
        times.sort_by(f64::total_cmp);
        if self.peers.iter().all(|peer| peer.starts_s <= 0.0) {
            let sending = self.sending();
            for (time, copies) in times.iter_mut().zip(1_u32..) {
                *time = time.max(f64::from(copies) * self.bytes / sending);
            }
        }
        times
    }

    /// The closed form for one switch and one start.
    fn switched_s(&self) -> f64 {
        let from_sources = self.bytes / self.sources();
        let own = self.pulling().map(|peer| self.bytes / peer.down_bytes_per_s);
        let all_copies = self.pulling().count() as f64 * self.bytes / self.sending();
        own.fold(from_sources.max(all_copies), f64::max)
    }

    /// For each pull that starts late: the end of its own transfer, and that of all copies which are wanted from then on
    /// at `sending` bytes per second.
    fn late_starts_s(&self, sending: f64) -> impl Iterator<Item = f64> {
        let mut late: Vec<&Peer> = self.pulling().filter(|peer| peer.starts_s > 0.0).collect();
        late.sort_by(|left, right| right.starts_s.total_cmp(&left.starts_s));
        late.into_iter().zip(1_u32..).map(move |(peer, copies)| {
            let own = self.bytes / peer.down_bytes_per_s;
            peer.starts_s + own.max(f64::from(copies) * self.bytes / sending)
        })
    }

    pub(super) fn pulling(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.role == Role::Pulls)
    }

    /// What the upstream and the holders can send.
    pub(super) fn sources(&self) -> f64 {
        let holders = self.peers.iter().filter(|peer| peer.role == Role::Holds);
        self.upstream_bytes_per_s + holders.map(up).sum::<f64>()
    }

    /// What all can send.
    fn sending(&self) -> f64 {
        self.upstream_bytes_per_s + self.peers.iter().map(up).sum::<f64>()
    }
}

pub(super) fn up(peer: &Peer) -> f64 {
    peer.up_bytes_per_s
}

/// Rates come from whole bytes, so that equal ones differ by nothing but rounding.
fn same(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
}

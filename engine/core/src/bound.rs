//! The least time in which any system can bring a file to `N` nodes: [`Distribution`] where all links are alike,
//! [`Cluster`] where nodes differ or zones lie between them.

mod cluster;
#[cfg(test)]
mod tests;
pub mod zones;

pub use cluster::{Cluster, Peer, Role, ZoneLink};

/// What bounds the distribution of one file from one upstream to nodes with equal links. Rates are payload bytes per
/// second and greater than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution {
    /// Size of the file, in bytes.
    pub bytes: f64,
    /// Number of nodes that want it, at least 1.
    pub nodes: u32,
    /// What the upstream can send.
    pub upstream_bytes_per_s: f64,
    /// What each node can send.
    pub upload_bytes_per_s: f64,
    /// What each node can receive.
    pub download_bytes_per_s: f64,
}

impl Distribution {
    /// The fluid bound in seconds: `max(F / u_up, F / d, N F / (u_up + N u))`.
    ///
    /// Every byte leaves the upstream once; each node takes all bytes through its own link; all copies together leave
    /// through all uplinks together (Kumar and Ross, "Peer-assisted file distribution: the minimum distribution time",
    /// 2006, who also show that it is attained when bytes are infinitely divisible).
    pub fn fluid_s(&self) -> f64 {
        let nodes = f64::from(self.nodes);
        let from_upstream = self.bytes / self.upstream_bytes_per_s;
        let into_a_node = self.bytes / self.download_bytes_per_s;
        let all_copies = nodes * self.bytes / (self.upstream_bytes_per_s + nodes * self.upload_bytes_per_s);
        from_upstream.max(into_a_node).max(all_copies)
    }

    /// The fluid bound for a file cut into `pieces`, in seconds: `fluid x (1 + floor(log2 N) / pieces)`.
    ///
    /// A piece must have arrived whole before it is passed on. The form is exact where all links, the upstream's
    /// included, are equal (Mundinger, Weber and Weiss, "Optimal scheduling of peer-to-peer file dissemination", 2008),
    /// and a reference otherwise. `pieces` of 0 counts as 1.
    pub fn granular_s(&self, pieces: u32) -> f64 {
        let generations = f64::from(self.nodes.max(1).ilog2());
        self.fluid_s() * (1.0 + generations / f64::from(pieces.max(1)))
    }

    /// The least time when every node takes all bytes from the upstream, in seconds: `max(N F / u_up, F / d)`.
    pub fn single_source_s(&self) -> f64 {
        let all_copies = f64::from(self.nodes) * self.bytes / self.upstream_bytes_per_s;
        all_copies.max(self.bytes / self.download_bytes_per_s)
    }
}

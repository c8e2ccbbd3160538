//! One blob that all nodes want at once, on links that are shared fairly.

use std::time::Duration;

use shoal_core::time::Time;
use shoal_wire::digest::Digest;

use crate::world::{Setting, World, network::Sharing};

pub(crate) const MIB: u64 = 1024 * 1024;
/// 50 Mbit/s.
pub(crate) const LINK: f64 = 6.25e6;

/// `nodes` with links of 50 Mbit/s, and an upstream with such a link.
pub(crate) fn setting(nodes: usize) -> Setting {
    Setting { nodes, link: LINK, upstream: LINK, zone_uplink: 2.0 * LINK, sharing: Sharing::Fair, ..Setting::default() }
}

/// All nodes want one blob at once.
pub(crate) struct Pull {
    pub(crate) world: World,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    start: Time,
}

impl Pull {
    pub(crate) fn start(setting: Setting, size: u64, seed: u64) -> Self {
        let mut world = World::new(setting, seed);
        world.form();
        let digest = world.blob(size);
        let start = world.now;
        (0..world.members.len()).for_each(|node| world.want(node, digest));
        Self { world, digest, size, start }
    }

    pub(crate) fn finish(setting: Setting, size: u64, seed: u64) -> Self {
        let mut pull = Self::start(setting, size, seed);
        pull.end(seed);
        pull
    }

    pub(crate) fn end(&mut self, seed: u64) {
        let digest = self.digest;
        let done = self.world.run_until(Duration::from_secs(3000), |world| world.finished(&digest) == world.up());
        assert!(done, "seed {seed}: {} of {} nodes finished", self.world.finished(&digest), self.world.up());
    }

    /// Seconds that each node that is up needed.
    pub(crate) fn seconds(&self) -> Vec<f64> {
        let up = self.world.members.iter().filter(|member| member.is_up);
        up.map(|member| member.finished[&self.digest].since(self.start).as_secs_f64()).collect()
    }

    pub(crate) fn makespan(&self) -> f64 {
        self.seconds().into_iter().fold(0.0, f64::max)
    }

    /// The time that one link needs for the blob: the fluid bound where upstream and nodes have equal links.
    pub(crate) fn link_s(&self) -> f64 {
        self.size as f64 / LINK
    }

    /// The bound where pieces travel whole.
    pub(crate) fn granular_s(&self) -> f64 {
        let pieces = f64::from(self.world.geometry(&self.digest).pieces());
        self.link_s() * (1.0 + f64::from(self.world.members.len().ilog2()) / pieces)
    }

    /// Seconds after which the last node had the first piece.
    pub(crate) fn first_byte(&self) -> f64 {
        let begun = self.world.members.iter().map(|member| member.begun[&self.digest]);
        begun.map(|at| at.since(self.start).as_secs_f64()).fold(0.0, f64::max)
    }

    /// Bytes that entered a zone over its uplink over those of the blob, the most of all zones.
    pub(crate) fn crossed(&self) -> f64 {
        let most = (0..self.world.setting.zones).map(|zone| self.world.entered(zone)).fold(0.0, f64::max);
        most / self.size as f64
    }

    pub(crate) fn copies(&self) -> f64 {
        self.world.upstream_bytes as f64 / self.size as f64
    }
}

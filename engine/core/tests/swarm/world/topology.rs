//! Where nodes are, and which links lie between them.

use super::{Setting, World};

/// Number of the upstream's link.
const UPSTREAM: usize = 0;

/// What each link carries a second: the upstream's, then up and down of each node, then up and down of each zone.
pub(super) fn rates(setting: &Setting) -> Vec<f64> {
    let slow_from = setting.nodes - setting.slow;
    let node = |index| if index >= slow_from { setting.link / setting.slow_by } else { setting.link };
    let mut rates = vec![setting.upstream];
    rates.extend((0..setting.nodes).flat_map(|index| [node(index); 2]));
    rates.extend(std::iter::repeat_n(setting.zone_uplink, 2 * setting.zones));
    rates
}

impl Setting {
    /// The zone of a node; every node is in zone 0 where there are none.
    pub(crate) fn zone_of(&self, node: usize) -> usize {
        node * self.zones.max(1) / self.nodes
    }

    pub(super) fn zone_name(&self, node: usize) -> String {
        if self.zones == 0 { String::new() } else { format!("zone-{}", self.zone_of(node)) }
    }

    pub(super) fn path(&self, from: usize, to: usize) -> Vec<usize> {
        let mut links = vec![1 + 2 * from, 2 + 2 * to];
        let (from, to) = (self.zone_of(from), self.zone_of(to));
        if from != to {
            links.extend([self.zone_link(from), self.zone_link(to) + 1]);
        }
        links
    }

    pub(super) fn path_from_upstream(&self, to: usize) -> Vec<usize> {
        let mut links = vec![UPSTREAM, 2 + 2 * to];
        if self.zones > 0 {
            links.push(self.zone_link(self.zone_of(to)) + 1);
        }
        links
    }

    fn zone_link(&self, zone: usize) -> usize {
        1 + 2 * self.nodes + 2 * zone
    }
}

impl World {
    /// Bytes that entered a zone over its uplink.
    pub(crate) fn entered(&self, zone: usize) -> f64 {
        self.network.carried[self.setting.zone_link(zone) + 1]
    }

    /// Nothing passes a zone's uplink any more, in either direction.
    pub(crate) fn cut_off(&mut self, zone: usize) {
        self.cut_off.insert(zone);
        let setting = self.setting.clone();
        self.stop_traffic(|from, to| {
            let zones = (setting.zone_of(from), setting.zone_of(to));
            zones.0 != zones.1 && (zones.0 == zone || zones.1 == zone)
        });
        let down = setting.zone_link(zone) + 1;
        self.network.set_rate(self.now, down, 0.0);
    }

    /// The zone's uplink works again.
    pub(crate) fn heal(&mut self, zone: usize) {
        self.cut_off.remove(&zone);
        let down = self.setting.zone_link(zone) + 1;
        self.network.set_rate(self.now, down, self.setting.zone_uplink);
    }

    pub(super) fn is_cut(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.setting.zone_of(one), self.setting.zone_of(other));
        one != other && (self.cut_off.contains(&one) || self.cut_off.contains(&other))
    }
}

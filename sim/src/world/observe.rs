//! What can be seen of a world from outside.

use shoal_core::{homes_of, node::Node};
use shoal_wire::ids::MemberId;

use super::{BlobId, Counters, MessageCounters, UpstreamCounters, World, transfers::whole};
use crate::time::Nanos;

impl World {
    /// The time.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Events worked off so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Hash of everything that the nodes did so far and when, as hex digits.
    pub fn event_hash(&self) -> String {
        self.trace.hash()
    }

    /// Bytes of content that nodes have stored.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered
    }

    /// Bytes of content that readers have.
    pub fn read_bytes(&self) -> u64 {
        self.read
    }

    /// What a node did.
    pub fn counters(&self, node: u32) -> Counters {
        self.members[node as usize].counters
    }

    /// What was said beside the pieces.
    pub fn messages(&self) -> MessageCounters {
        self.messages
    }

    /// What the upstream did.
    pub fn upstream_counters(&self) -> UpstreamCounters {
        self.upstream.counters
    }

    /// What was said until now does not count.
    pub fn begin_to_count(&mut self) {
        self.messages = MessageCounters::default();
        for member in &mut self.members {
            member.counters.control_up_bytes = 0;
            member.counters.control_down_bytes = 0;
        }
    }

    /// Bytes of pieces that left a node and that entered it, so far.
    pub fn carried_by(&mut self, node: u32) -> (u64, u64) {
        let links = self.members[node as usize].links;
        (whole(self.network.carried(self.now, links.up)), whole(self.network.carried(self.now, links.down)))
    }

    /// Bytes of pieces that left each zone and that entered it, so far.
    pub fn carried_by_zones(&mut self) -> Vec<(u64, u64)> {
        let zones = self.zones.clone();
        let carried = |world: &mut Self, link| whole(world.network.carried(world.now, link));
        zones.into_iter().map(|(up, down)| (carried(self, up), carried(self, down))).collect()
    }

    /// Bytes of blobs that left the upstream, so far.
    pub fn carried_by_upstream(&mut self) -> u64 {
        whole(self.network.carried(self.now, self.upstream.link))
    }

    /// A node's engine, to look at.
    pub fn engine(&self, node: u32) -> &Node {
        &self.members[node as usize].node
    }

    /// Whether a node has all of a blob, verified.
    pub fn has_verified(&self, node: u32, blob: BlobId) -> bool {
        self.members[node as usize].stored(blob).is_some_and(|stored| stored.is_verified)
    }

    /// Pieces of a blob that a node has.
    pub fn pieces_at(&self, node: u32, blob: BlobId) -> u32 {
        self.members[node as usize].stored(blob).map_or(0, |stored| stored.have.count())
    }

    /// Pieces that a node has asked peers for, pieces that it is asked for, and runs that it fetches, all at this moment.
    pub fn open_at(&self, node: u32) -> (usize, usize, usize) {
        let member = &self.members[node as usize];
        (member.transfers.len(), member.uploads.len(), member.fetches.len())
    }

    /// Whether a node's process is stopped.
    pub fn is_paused(&self, node: u32) -> bool {
        self.members[node as usize].paused.is_some()
    }

    /// The id of a node.
    pub fn id_of(&self, node: u32) -> MemberId {
        self.ids.id(node)
    }

    /// The first home of a blob among the nodes that live.
    pub fn home_of(&self, blob: BlobId) -> Option<u32> {
        let up = (0..self.nodes()).filter(|node| self.is_up(*node)).map(|node| self.ids.id(node));
        homes_of(&self.digest(blob), up).first().and_then(|home| self.ids.number(*home))
    }
}

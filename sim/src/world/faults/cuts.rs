//! Partitions: nothing gets from some nodes to others. Datagrams are lost. A connection needs both directions: what is
//! sent on it comes when the way is free again, unless the connection is lost before.

use crate::{
    network::FlowId,
    time::Nanos,
    world::{Event, World, transfers::whole},
};

impl World {
    /// Nothing gets from one node to another from now on.
    pub fn sever(&mut self, from: u32, to: u32) {
        if from == to {
            return;
        }
        self.troubles.cuts.entry((from, to)).or_insert(self.now);
        self.put_caps_into_effect(from, to);
        self.schedule.push(self.now + self.setting.paths.idle_timeout, Event::Silence);
    }

    /// The way from one node to another is free again.
    pub fn mend(&mut self, from: u32, to: u32) {
        let Some(since) = self.troubles.cuts.remove(&(from, to)) else { return };
        if self.is_severed(from, to) {
            return;
        }
        self.put_caps_into_effect(from, to);
        let between = |one: u32, other: u32| (one, other) == (from, to) || (one, other) == (to, from);
        let (due, rest) = std::mem::take(&mut self.troubles.withheld)
            .into_iter()
            .partition(|withheld| between(withheld.from, withheld.to));
        self.troubles.withheld = rest;
        // A sender tries again at growing intervals (RFC 9002, section 6.2.1), so some time goes by until it does.
        let waits = Nanos(self.members[from as usize].random.bits() % ((self.now - since).0 / 2 + 1));
        for withheld in due {
            self.schedule.push(self.now + waits, withheld.event);
        }
    }

    /// Whether datagrams from one node do not reach another.
    pub(in crate::world) fn is_cut(&self, from: u32, to: u32) -> bool {
        !self.troubles.cuts.is_empty() && self.troubles.cuts.contains_key(&(from, to))
    }

    /// Whether a connection of two nodes stands still.
    pub(in crate::world) fn is_severed(&self, one: u32, other: u32) -> bool {
        self.is_cut(one, other) || self.is_cut(other, one)
    }

    /// Whether a node answers when another wants a connection.
    pub(in crate::world) fn answers(&self, from: u32, to: u32) -> bool {
        self.members[to as usize].paused.is_none() && !self.is_severed(from, to)
    }

    /// What a connection may send in a second now.
    pub(in crate::world) fn cap_now(&mut self, pair: u32, direction: u8) -> f64 {
        let (from, to) = self.pairs[pair as usize].ends(direction);
        if self.is_severed(from, to) { 0.0 } else { self.direction(pair, direction).cap }
    }

    fn put_caps_into_effect(&mut self, one: u32, other: u32) {
        for (from, to) in [(one, other), (other, one)] {
            let (pair, direction) = self.pair(from, to);
            let flow: Option<FlowId> = self.direction(pair, direction).flow;
            let cap = self.cap_now(pair, direction);
            if let Some(flow) = flow {
                self.network.set_cap(self.now, flow, cap);
            }
        }
    }

    /// Bytes that are on their way from the upstream to a node now: counted there once their pieces are whole.
    pub fn unfinished_from_upstream(&mut self) -> u64 {
        let flows: Vec<FlowId> =
            self.members.iter().flat_map(|member| &member.fetches).filter_map(|fetch| fetch.flow).collect();
        flows.into_iter().map(|flow| whole(self.network.left(self.now, flow))).sum()
    }
}

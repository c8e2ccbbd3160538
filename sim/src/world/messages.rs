//! Control messages and gossip: latency, queues, bytes and losses. They take no rate from flows: they are about a
//! hundredth of the bytes, and are counted.

use std::net::SocketAddr;

use shoal_core::event::{Input, MemberEvent};
use shoal_wire::{
    control::{ControlMessage, Load},
    gossip::GossipPacket,
    ids::MemberId,
    piece_map::PieceRuns,
};

use super::{
    BlobId, Event, World,
    build::{FIRST_ADDRESS, address},
    faults::Withheld,
};

/// What was said by all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounters {
    /// Control messages on connections.
    pub messages: u64,
    /// Their bytes, frames included.
    pub message_bytes: u64,
    /// Gossip datagrams.
    pub datagrams: u64,
    /// Their bytes, seals not counted.
    pub datagram_bytes: u64,
}

impl World {
    pub(super) fn send_gossip(&mut self, node: u32, to: SocketAddr, packet: GossipPacket, bytes: u32) {
        let Some(target) = self.node_at(to) else { return };
        self.messages.datagrams += 1;
        self.messages.datagram_bytes += u64::from(bytes);
        self.members[node as usize].counters.control_up_bytes += u64::from(bytes);
        let loss = self.setting.paths.loss;
        if !self.is_up(target)
            || self.is_cut(node, target)
            || loss > 0.0 && self.members[node as usize].random.chance(loss)
        {
            return;
        }
        self.members[target as usize].counters.control_down_bytes += u64::from(bytes);
        let at = self.now + self.one_way(node, target, bytes);
        let input = Input::Gossip { from: address(node), packet };
        self.schedule.push(at, Event::input(target, input));
    }

    pub(super) fn send_control(&mut self, node: u32, to: MemberId, message: ControlMessage, bytes: u32) {
        let Some(target) = self.ids.number(to) else { return };
        self.messages.messages += 1;
        self.messages.message_bytes += u64::from(bytes);
        self.members[node as usize].counters.control_up_bytes += u64::from(bytes);
        let event = match message {
            ControlMessage::Have { digest, pieces, held, load } => {
                let Some(blob) = self.blob_of(&digest) else { return };
                Event::Have { node: target, from: node, blob, pieces, held, load }
            }
            ControlMessage::SlotFree { load } => Event::SlotFree { node: target, from: node, load },
            message => Event::input(target, Input::Control { from: self.ids.id(node), message }),
        };
        if self.carry(node, target, bytes, event) {
            self.members[target as usize].counters.control_down_bytes += u64::from(bytes);
        }
    }

    /// Sends something over the connection of two nodes; says whether it arrives, unless the connection is lost before.
    pub(super) fn carry(&mut self, from: u32, to: u32, bytes: u32, event: Event) -> bool {
        if self.is_severed(from, to) && self.is_connected(from, to) && !self.is_orphan(from, to) {
            self.troubles.withheld.push(Withheld { from, to, event });
            return true;
        }
        let Some(at) = self.arrival(from, to, bytes) else { return false };
        self.schedule.push(at, event);
        true
    }

    /// A neighbour's news arrive.
    pub(super) fn hear_of_pieces(
        &mut self,
        node: u32,
        from: u32,
        blob: BlobId,
        (pieces, held): (PieceRuns, u32),
        load: Load,
    ) {
        let message = ControlMessage::Have { digest: self.digest(blob), pieces, held, load };
        self.input(node, Input::Control { from: self.ids.id(from), message });
    }

    /// A peer has room.
    pub(super) fn hear_of_slot(&mut self, node: u32, from: u32, load: Load) {
        self.input(node, Input::Control { from: self.ids.id(from), message: ControlMessage::SlotFree { load } });
    }

    /// A node's view of another changes: it closes the connection to one that it takes for gone.
    pub(super) fn note_member(&mut self, node: u32, event: &MemberEvent) {
        match event {
            MemberEvent::Dead(id) | MemberEvent::Left(id) => {
                if let Some(peer) = self.ids.number(*id) {
                    self.schedule.push(self.now, Event::Lost { node, peer });
                }
            }
            MemberEvent::Up(record) if record.generation.0 > 1 => self.note_life(node, record),
            MemberEvent::Up(_) | MemberEvent::Suspected(_) | MemberEvent::Forgotten(_) => {}
        }
    }

    fn node_at(&self, address: SocketAddr) -> Option<u32> {
        let SocketAddr::V4(address) = address else { return None };
        let node = u32::from(*address.ip()).checked_sub(FIRST_ADDRESS)?;
        (node < self.nodes()).then_some(node)
    }
}

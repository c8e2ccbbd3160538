//! SWIM membership with Lifeguard's extensions, as a pure state machine.

use std::net::SocketAddr;

use shoal_wire::{
    gossip::{GossipPacket, ReliableMessage},
    ids::MemberId,
    member::MemberRecord,
};

use crate::{config::MembershipConfig, event::MemberEvent, time::Time};

/// What membership asks its owner to do.
#[derive(Debug)]
pub enum MembershipOutput {
    /// Send a datagram.
    Packet {
        /// Where to.
        to: SocketAddr,
        /// Its contents.
        packet: GossipPacket,
    },
    /// Send a message over the control stream.
    Reliable {
        /// To whom.
        to: MemberId,
        /// The message.
        message: ReliableMessage,
    },
    /// Tell whoever cares.
    Event(MemberEvent),
}

/// One node's view of the cluster.
///
/// Order of calls: any `handle_*` or command, then [`Membership::poll_output`] until it is empty, then wait until
/// [`Membership::next_timeout`].
#[derive(Debug)]
pub struct Membership {
    own: MemberRecord,
}

impl Membership {
    /// A cluster of one: `own` is this node's record. Equal seeds give equal runs.
    pub fn new(_config: MembershipConfig, own: MemberRecord, _seed: u64, _now: Time) -> Self {
        Self { own }
    }

    /// This node's record as it is now.
    pub fn own(&self) -> &MemberRecord {
        &self.own
    }

    /// A datagram arrived.
    pub fn handle_packet(&mut self, _now: Time, _from: SocketAddr, _packet: GossipPacket) {}

    /// A reliable message arrived from an authenticated member.
    pub fn handle_reliable(&mut self, _now: Time, _from: MemberId, _message: ReliableMessage) {}

    /// A member was not reached over its control stream.
    pub fn handle_unreachable(&mut self, _now: Time, _to: MemberId) {}

    /// The time of [`Membership::next_timeout`] has come.
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// Joins through these addresses, and keeps them for as long as the node is alone or a partition may need healing.
    pub fn set_seeds(&mut self, _now: Time, _seeds: Vec<SocketAddr>) {}

    /// Announces the departure.
    pub fn leave(&mut self, _now: Time) {}

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<MembershipOutput> {
        None
    }

    /// When [`Membership::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Time> {
        None
    }

    /// The record of a member that counts as alive (alive or suspected), this node included.
    pub fn alive(&self, id: MemberId) -> Option<&MemberRecord> {
        (id == self.own.id()).then_some(&self.own)
    }

    /// All members that count as alive, this node included, ordered by id.
    pub fn alive_members(&self) -> impl Iterator<Item = &MemberRecord> {
        std::iter::once(&self.own)
    }

    /// Number of members that count as alive, this node included; at least 1.
    pub fn alive_count(&self) -> usize {
        1
    }
}

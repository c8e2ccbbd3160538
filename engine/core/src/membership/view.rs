//! What others ask of this node's view.

use std::{net::SocketAddr, sync::Arc};

use shoal_wire::{ids::MemberId, member::MemberRecord};

use super::{Membership, MembershipStats, State};
use crate::roster::Roster;

impl Membership {
    /// The record of a member that counts as alive (alive or suspected), this node included. O(log members).
    pub fn alive(&self, id: MemberId) -> Option<Arc<MemberRecord>> {
        self.members.alive(id).map(|member| member.record())
    }

    /// All members that count as alive, this node included, ordered by id.
    pub fn alive_members(&self) -> impl Iterator<Item = Arc<MemberRecord>> {
        let alive = self.members.after(None).filter(|(_, member)| member.health.counts_as_alive());
        alive.map(|(_, member)| member.record())
    }

    /// Number of members that count as alive, this node included; at least 1.
    pub fn alive_count(&self) -> usize {
        self.members.alive_count()
    }

    /// The record of any member that is known, dead and departed ones included.
    pub fn record(&self, id: MemberId) -> Option<Arc<MemberRecord>> {
        self.members.get(id).map(|member| member.record())
    }

    /// How a member stands; absent where it is not known, or no longer.
    pub fn state(&self, id: MemberId) -> Option<State> {
        self.members.get(id).map(|member| State::from(member.health))
    }

    /// Who is met at an address: of several members that claim it, the one with the newest generation.
    pub fn member_at(&self, address: SocketAddr) -> Option<MemberId> {
        self.members.at(address)
    }

    /// Counters and gauges.
    pub fn stats(&self) -> MembershipStats {
        MembershipStats {
            alive: self.members.alive_count(),
            remembered: self.members.gone_count(),
            queued_updates: self.broadcasts.len(),
            updates_dropped: self.broadcasts.dropped(),
            local_health: self.awareness.score(),
            ..self.stats.clone()
        }
    }

    /// Who the members are. While outputs wait, the table may be ahead of the events among them.
    pub(crate) fn roster(&self) -> &Roster {
        self.members.roster()
    }

    /// Whether the `Up` that has just been polled is about a new generation of a member that counted as alive until
    /// then: the last one ended without anybody noticing. True once for each.
    pub(crate) fn take_reborn(&mut self, record: &MemberRecord) -> bool {
        self.members.take_reborn(record.id(), record.generation)
    }
}

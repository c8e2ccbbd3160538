//! Introductions: an exchange of records by sealed datagrams, after which each side has the other's key and mutual TLS
//! can be set up between them.

use std::{net::SocketAddr, sync::Arc};

use shoal_wire::{
    gossip::{GossipBody, GossipPacket, MemberUpdate},
    ids::MemberId,
    limits::GOSSIP_PLAIN_BYTES,
    member::MemberRecord,
};

use super::{
    Membership,
    gossip::{as_updates, verdict_on},
    member::Member,
    timer::Timer,
};
use crate::time::Time;

/// Members that an answer to an introduction names, so that a joiner does not depend on one seed.
const RECORDS_IN_REPLY: usize = 8;

impl Membership {
    /// Introduces this node to the seeds that are due.
    pub(super) fn contact_seeds(&mut self, now: Time) {
        let mut asked = Vec::new();
        for seed in self.seeds.due(now) {
            let is_member = self.members.at(seed.address).is_some_and(|id| id != self.own_id);
            if is_member {
                seed.rest(now + self.random.jittered(self.config.seed_interval));
            } else {
                let wait = seed.backoff();
                let sequence = self.prober.next_sequence();
                seed.ask(sequence, now + self.random.jittered(wait), (wait * 2).min(self.config.seed_retry_max));
                asked.push((seed.address, sequence));
            }
        }
        for (address, sequence) in asked {
            self.introduce(address, sequence);
        }
        match self.seeds.next_try() {
            Some(at) => self.timers.set(Timer::Seeds, at.max(now + super::TIMER_MIN)),
            None => self.timers.cancel(Timer::Seeds),
        }
    }

    /// Sends this node's record to an address.
    pub(super) fn introduce(&mut self, to: SocketAddr, sequence: u32) {
        let body = GossipBody::Join { sequence, record: Arc::clone(&self.own) };
        // News would be wasted on an address where nobody may be.
        self.send(to, GossipPacket { from: self.own_id, body, updates: Vec::new() });
    }

    /// A packet with this node's own id: its introduction to itself, or another node with the same key.
    pub(super) fn take_own_packet(&mut self, now: Time, body: &GossipBody) {
        if let GossipBody::Join { sequence, record } = body
            && !self.seeds.is_own(*sequence)
        {
            self.consider_own_record(now, record);
        }
    }

    /// Answers an introduction: with this node's record, what it believes of the joiner, and a few members.
    pub(super) fn answer_join(&mut self, to: SocketAddr, sequence: u32, joiner: &MemberRecord) {
        let record = Arc::clone(&self.own);
        let body = GossipBody::JoinReply { sequence, record };
        let mut packet = GossipPacket { from: self.own_id, body, updates: Vec::new() };
        let id = joiner.id();
        if let Some(known) = self.members.get(id) {
            packet.updates.extend(belief(id, &known, joiner));
        }
        let mut room = GOSSIP_PLAIN_BYTES.saturating_sub(packet.encoded_len());
        for other in self.members.pick(&mut self.random, RECORDS_IN_REPLY, |other, _| other != id) {
            let updates = self.members.get(other).map(|member| as_updates(other, &member)).unwrap_or_default();
            let length: usize = updates.iter().map(MemberUpdate::encoded_len).sum();
            if length <= room {
                room -= length;
                packet.updates.extend(updates);
            }
        }
        self.send(to, packet);
    }

    /// An introduction was answered.
    pub(super) fn take_join_reply(&mut self, now: Time, from: SocketAddr, sender: MemberId, sequence: u32) {
        let next_try = now + self.random.jittered(self.config.seed_interval);
        self.seeds.answered(sequence, from, next_try, self.config.seed_retry_min);
        if let Some(at) = self.seeds.next_try() {
            self.timers.set(Timer::Seeds, at.max(now + super::TIMER_MIN));
        }
        self.offer_snapshot_source(now, sender);
    }
}

/// What a joiner must know of what is believed of it: that it is suspected or gone, or that it once said a later word.
fn belief(id: MemberId, known: &Member<'_>, joiner: &MemberRecord) -> Option<MemberUpdate> {
    let verdict = verdict_on(id, known);
    let accused = as_updates(id, known).into_iter().nth(1);
    let later = (known.life() > joiner.life()).then(|| MemberUpdate::Alive { id, life: known.life() });
    verdict.or(accused).or(later)
}

//! Datagrams: what comes in, and rounds of gossip while there is news.
//!
//! News ride on every packet that has room. While news wait, each interval sends them to a few random members, and to
//! more of them while they do not fit into that many packets. Without news there is no gossip and no timer.
//!
//! Three exchanges keep table and world together where gossip alone would not: who hears of a member that it does not
//! know asks the teller for the record; who hears an accusation that has been refuted tells the teller; and who hears
//! from a member that it believes gone tells it so, so that it can refute.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use shoal_wire::{
    gossip::{GossipBody, GossipPacket, MemberUpdate, RECORDS_PER_REQUEST},
    ids::MemberId,
    limits::GOSSIP_PLAIN_BYTES,
};

use super::{
    Membership,
    broadcast::retransmit_limit,
    member::{Health, Member},
    timer::Timer,
    update::{Spread, Verdict},
};
use crate::time::Time;

/// News that are read from one packet; more than a datagram can hold.
const UPDATES_READ: usize = 250;

/// Ids whose records were asked for a moment ago.
const ASKED_MAX: usize = 1024;

/// A record that was asked for and did not come is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// When gossip was sent and records were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Gossip {
    last_round: Option<Time>,
    asked: BTreeMap<MemberId, Time>,
}

impl Membership {
    /// A packet of another member.
    pub(super) fn take_packet(&mut self, now: Time, from: SocketAddr, packet: GossipPacket) {
        let sender = packet.from;
        if let GossipBody::Join { record, .. } | GossipBody::JoinReply { record, .. } = &packet.body {
            if record.id() != sender {
                self.stats.malformed += 1;
                return;
            }
            self.apply_record(now, record, Spread::Gossip);
        }
        // An ack carries the refutation by itself.
        let will_ack = matches!(packet.body, GossipBody::Ping { .. });
        self.take_updates(now, from, sender, packet.updates, will_ack);
        if is_of_its_own_accord(&packet.body) {
            self.tell_if_gone(from, sender);
        }
        self.take_body(now, from, sender, packet.body);
    }

    fn take_updates(
        &mut self,
        now: Time,
        from: SocketAddr,
        sender: MemberId,
        updates: Vec<MemberUpdate>,
        will_ack: bool,
    ) {
        let (mut wanted, mut refuted) = (Vec::new(), Vec::new());
        for update in updates.into_iter().take(UPDATES_READ) {
            let named = update.named();
            match self.apply(now, update, Spread::Gossip) {
                Verdict::RecordWanted => wanted.extend(named),
                Verdict::Overruled => refuted.extend(named),
                Verdict::AccusesMe if !will_ack => refuted.push(self.own_id),
                Verdict::AccusesMe | Verdict::New | Verdict::Old => {}
            }
        }
        if self.members.get(sender).is_none() {
            wanted.push(sender);
        }
        self.ask_for_records(now, from, wanted);
        self.send_records(from, &refuted);
    }

    fn take_body(&mut self, now: Time, from: SocketAddr, sender: MemberId, body: GossipBody) {
        match body {
            GossipBody::Ping { sequence, target } if target == self.own_id => {
                self.send_body(from, GossipBody::Ack { sequence });
            }
            GossipBody::Ping { .. } => self.stats.pings_misdirected += 1,
            GossipBody::Ack { sequence } => self.take_ack(sender, sequence),
            GossipBody::PingRequest { sequence, target } => self.relay_ping(now, from, sequence, target),
            GossipBody::Nack { sequence } => self.take_nack(sender, sequence),
            GossipBody::Gossip | GossipBody::Tell => {}
            GossipBody::Join { sequence, record } => self.answer_join(from, sequence, &record),
            GossipBody::JoinReply { sequence, .. } => self.take_join_reply(now, from, sender, sequence),
            GossipBody::RecordRequest { ids } => self.send_records(from, &ids),
        }
    }

    /// Asks the teller of news for records of members that are not known here.
    fn ask_for_records(&mut self, now: Time, teller: SocketAddr, mut ids: Vec<MemberId>) {
        if ids.is_empty() {
            return;
        }
        if self.gossip.asked.len() >= ASKED_MAX {
            self.gossip.asked.retain(|_, &mut at| now < at + ASK_AGAIN);
        }
        let asked = &mut self.gossip.asked;
        ids.retain(|id| asked.get(id).is_none_or(|&at| now >= at + ASK_AGAIN));
        ids.truncate(RECORDS_PER_REQUEST.min(ASKED_MAX.saturating_sub(asked.len())));
        if !ids.is_empty() {
            asked.extend(ids.iter().map(|&id| (id, now)));
            self.send_body(teller, GossipBody::RecordRequest { ids });
        }
    }

    /// Answers a request for records, in as many packets as they need.
    fn send_records(&mut self, to: SocketAddr, ids: &[MemberId]) {
        let mut updates = Vec::new();
        let mut room = GossipPacket::room_beside(&GossipBody::Tell);
        for &id in ids.iter().take(RECORDS_PER_REQUEST) {
            let Some(member) = self.members.alive(id) else { continue };
            for update in as_updates(id, &member) {
                let length = update.encoded_len();
                if length > room {
                    self.tell(to, std::mem::take(&mut updates));
                    room = GossipPacket::room_beside(&GossipBody::Tell);
                }
                room -= length;
                updates.push(update);
            }
        }
        if !updates.is_empty() {
            self.tell(to, updates);
        }
    }

    /// Tells a sender that is believed gone, so that it can refute.
    fn tell_if_gone(&mut self, to: SocketAddr, sender: MemberId) {
        if let Some(update) = self.members.get(sender).and_then(|member| verdict_on(sender, &member)) {
            self.tell(to, vec![update]);
        }
    }

    /// Sends news to one member.
    pub(super) fn tell(&mut self, to: SocketAddr, updates: Vec<MemberUpdate>) {
        let packet = GossipPacket { from: self.own_id, body: GossipBody::Tell, updates };
        self.send(to, packet);
    }

    /// A packet with `first` and as much of the waiting news as fits.
    pub(super) fn packet(&mut self, body: GossipBody, first: Vec<MemberUpdate>) -> GossipPacket {
        let mut packet = GossipPacket { from: self.own_id, body, updates: first };
        let room = GOSSIP_PLAIN_BYTES.saturating_sub(packet.encoded_len());
        let limit = retransmit_limit(self.config.retransmit_mult, self.members.alive_count());
        let limit = limit.max(self.config.retransmit_min);
        self.broadcasts.fill(room, limit, &mut packet.updates);
        packet
    }

    /// Queues news for gossip.
    pub(super) fn spread(&mut self, now: Time, subject: MemberId, update: MemberUpdate) {
        if self.members.is_alone() {
            return;
        }
        self.broadcasts.push(subject, update);
        if self.timers.get(Timer::Gossip).is_none() {
            let rested = self.gossip.last_round.map_or(Time::ZERO, |last| last + self.config.gossip_interval);
            let soon = now + self.random.between(super::TIMER_MIN, self.config.gossip_interval / 4);
            self.timers.set(Timer::Gossip, rested.max(soon));
        }
    }

    /// One round of gossip.
    pub(super) fn send_gossip(&mut self, now: Time) {
        if self.broadcasts.is_empty() {
            return;
        }
        self.gossip.last_round = Some(now);
        self.set_timer(Timer::Gossip, now, self.config.gossip_interval);
        let needed = self.broadcasts.bytes().div_ceil(GossipPacket::room_beside(&GossipBody::Gossip));
        let packets = needed.min(self.config.gossip_packets_max).max(self.config.gossip_fanout);
        for target in self.members.pick(&mut self.random, packets, |_, _| true) {
            let packet = self.packet(GossipBody::Gossip, Vec::new());
            if packet.updates.is_empty() {
                break;
            }
            if let Some(member) = self.members.get(target) {
                let to = member.address();
                self.send(to, packet);
            }
        }
    }

    /// Says farewell to a round of members at once, and to more by gossip while there is time.
    pub(super) fn announce_departure(&mut self, now: Time) {
        let update = MemberUpdate::Left { id: self.own_id, life: self.own_life() };
        let targets = self.members.pick(&mut self.random, self.config.gossip_packets_max, |_, _| true);
        let addresses: Vec<_> =
            targets.iter().filter_map(|&id| self.members.get(id)).map(|member| member.address()).collect();
        for to in addresses {
            self.tell(to, vec![update.clone()]);
        }
        self.spread(now, self.own_id, update);
    }
}

/// Whether a packet was not asked for: only such ones are answered by the news that their sender is believed gone.
fn is_of_its_own_accord(body: &GossipBody) -> bool {
    matches!(
        body,
        GossipBody::Ping { .. } | GossipBody::PingRequest { .. } | GossipBody::Gossip | GossipBody::JoinReply { .. }
    )
}

/// What to tell a member that is believed gone.
pub(super) fn verdict_on(id: MemberId, member: &Member<'_>) -> Option<MemberUpdate> {
    let life = member.life();
    match member.health {
        Health::Alive | Health::Suspect(_) => None,
        Health::Dead { .. } => Some(MemberUpdate::Dead { id, life }),
        Health::Left { .. } => Some(MemberUpdate::Left { id, life }),
    }
}

/// A member that counts as alive, as news.
pub(super) fn as_updates(id: MemberId, member: &Member<'_>) -> Vec<MemberUpdate> {
    let mut updates = vec![MemberUpdate::Record(member.record())];
    if let Health::Suspect(suspicion) = member.health {
        updates.push(MemberUpdate::Suspect { id, life: member.life(), accuser: suspicion.accuser() });
    }
    updates
}

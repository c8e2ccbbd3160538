//! Failure detection: a direct ping, then pings by helpers and a probe over the control stream, then suspicion.
//!
//! One probe runs at a time (SWIM section 3.1). Its ping tells a suspect that it is suspected (Lifeguard's buddy
//! system), so that it can refute in its ack. Helpers that have no ack either say so by a nack: missing nacks mean that
//! it is this node that does not hear. When only the control stream is answered, datagrams are being lost, and nobody
//! is suspected.

use std::collections::VecDeque;

use shoal_wire::{
    gossip::{GossipBody, MemberUpdate, ReliableMessage},
    ids::MemberId,
    member::Life,
};

use super::{Membership, member::Health, timer::Timer, update::Spread};
use crate::{rng::Stream, time::Time};

/// Members that wait to be probed before their turn.
const URGENT_MAX: usize = 64;

/// The probes that this node makes for itself.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    sequence: u32,
    current: Option<Probe>,
    urgent: VecDeque<MemberId>,
}

/// The probe that runs.
#[derive(Clone, Debug)]
struct Probe {
    target: MemberId,
    /// Its word when the probe began: one that it said later is an answer as well.
    life: Life,
    sequence: u32,
    answer: Answer,
    helpers: Vec<MemberId>,
    nacks: Vec<MemberId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None,
    /// Over the control stream only.
    Reliable,
    Packet,
}

impl Prober {
    /// No probe runs. Sequence numbers begin anywhere, so that an earlier life's acks do not fit.
    pub(super) fn new(random: &mut Stream) -> Self {
        #[allow(clippy::cast_possible_truncation)] // Any 32 bits will do.
        let sequence = random.bits() as u32;
        Self { sequence, current: None, urgent: VecDeque::new() }
    }

    /// The next number for a ping, a request or an introduction.
    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Lets a member be probed before its turn.
    pub(super) fn hurry(&mut self, id: MemberId) {
        if self.urgent.len() < URGENT_MAX && !self.urgent.contains(&id) {
            self.urgent.push_back(id);
        }
    }

    fn running(&mut self, sequence: u32) -> Option<&mut Probe> {
        self.current.as_mut().filter(|probe| probe.sequence == sequence)
    }
}

impl Membership {
    /// Judges the probe that runs, and begins the next.
    pub(super) fn next_probe(&mut self, now: Time) {
        if let Some(probe) = self.prober.current.take() {
            self.judge(now, &probe);
        }
        self.timers.cancel(Timer::Indirect);
        let interval = self.awareness.scale(self.config.probe_interval);
        self.set_timer(Timer::Probe, now, interval);
        if let Some(target) = self.next_target() {
            self.begin_probe(now, target);
        }
    }

    fn next_target(&mut self) -> Option<MemberId> {
        while let Some(id) = self.prober.urgent.pop_front() {
            if self.members.alive(id).is_some() {
                return Some(id);
            }
        }
        self.members.next_to_probe(&mut self.random)
    }

    fn begin_probe(&mut self, now: Time, target: MemberId) {
        let Some(life) = self.members.get(target).map(|member| member.life()) else { return };
        self.stats.probes += 1;
        let sequence = self.prober.next_sequence();
        self.prober.current =
            Some(Probe { target, life, sequence, answer: Answer::None, helpers: Vec::new(), nacks: Vec::new() });
        let timeout = self.awareness.scale(self.config.probe_timeout);
        self.set_timer(Timer::Indirect, now, timeout);
        self.send_ping(target, sequence);
    }

    /// Pings a member, and tells it where it is suspected.
    pub(super) fn send_ping(&mut self, target: MemberId, sequence: u32) {
        let Some(member) = self.members.alive(target) else { return };
        let to = member.address();
        let first = self.accusation(target).into_iter().collect();
        let packet = self.packet(GossipBody::Ping { sequence, target }, first);
        self.send(to, packet);
    }

    fn accusation(&self, target: MemberId) -> Option<MemberUpdate> {
        let member = self.members.get(target)?;
        match member.health {
            Health::Suspect(suspicion) => {
                Some(MemberUpdate::Suspect { id: target, life: member.life(), accuser: suspicion.accuser() })
            }
            _ => None,
        }
    }

    /// The direct ping was not answered in time.
    pub(super) fn probe_indirectly(&mut self, _now: Time) {
        let Some(Probe { target, sequence, answer: Answer::None, .. }) = self.prober.current else { return };
        let healthy = |id: MemberId, health: &Health| id != target && matches!(health, Health::Alive);
        let helpers =
            self.members.pick(&mut self.random, self.config.indirect_probes, |id, member| healthy(id, member.health));
        for &helper in &helpers {
            if let Some(member) = self.members.get(helper) {
                let to = member.address();
                self.send_body(to, GossipBody::PingRequest { sequence, target });
            }
        }
        if let Some(probe) = self.prober.running(sequence) {
            probe.helpers = helpers;
        }
        let suspected = self.accusation(target).and_then(|_| self.members.get(target)).map(|member| member.life());
        if self.members.alive(target).is_some() {
            self.send_reliable(target, ReliableMessage::Probe { sequence, suspected });
        }
    }

    /// An ack arrived: from the target, from a helper, or for a ping that this node relayed.
    pub(super) fn take_ack(&mut self, from: MemberId, sequence: u32) {
        if self.forward_ack(from, sequence) {
            return;
        }
        let Some(probe) = self.prober.running(sequence) else { return };
        let expected = from == probe.target || probe.helpers.contains(&from);
        if expected && probe.answer != Answer::Packet {
            probe.answer = Answer::Packet;
            self.awareness.apply(-1);
            self.timers.cancel(Timer::Indirect);
        }
    }

    /// A helper has no ack so far.
    pub(super) fn take_nack(&mut self, from: MemberId, sequence: u32) {
        if let Some(probe) = self.prober.running(sequence)
            && probe.helpers.contains(&from)
            && !probe.nacks.contains(&from)
        {
            probe.nacks.push(from);
        }
    }

    /// Answers a probe over the control stream; refutes where it says that this node is suspected.
    pub(super) fn answer_probe(&mut self, now: Time, from: MemberId, sequence: u32, suspected: Option<Life>) {
        if let Some(life) = suspected {
            self.defend(now, life);
        }
        let life = self.own_life();
        self.send_reliable(from, ReliableMessage::ProbeAck { sequence, life });
    }

    /// The control stream was answered.
    pub(super) fn take_probe_ack(&mut self, now: Time, from: MemberId, sequence: u32, life: Life) {
        if let Some(probe) = self.prober.running(sequence)
            && probe.target == from
            && probe.answer == Answer::None
        {
            probe.answer = Answer::Reliable;
        }
        self.apply(now, MemberUpdate::Alive { id: from, life }, Spread::Gossip);
    }

    fn judge(&mut self, now: Time, probe: &Probe) {
        if probe.answer == Answer::Packet {
            return;
        }
        let missing = probe.helpers.len().saturating_sub(probe.nacks.len());
        let delta = if probe.helpers.is_empty() { 1 } else { i32::try_from(missing).unwrap_or(i32::MAX) };
        self.awareness.apply(delta);
        if probe.answer == Answer::Reliable {
            self.stats.probes_answered_reliably_only += 1;
            return;
        }
        self.stats.probes_failed += 1;
        if self.members.alive(probe.target).is_some_and(|member| member.life() == probe.life) {
            self.stats.accusations += 1;
            self.apply_suspect(now, probe.target, probe.life, self.own_id.into(), Spread::Gossip);
        }
    }
}

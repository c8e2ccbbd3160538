//! One machine whose neighbours the test plays, and short names for what they say.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::network::{address, record};
use shoal_core::{
    config::MembershipConfig,
    event::MemberEvent,
    membership::{Membership, MembershipOutput, State},
    time::Time,
};
use shoal_wire::{
    gossip::{GossipBody, GossipPacket, MemberState, MemberUpdate, ReliableMessage, Standing},
    ids::{Generation, Incarnation, MemberId},
    member::{Life, MemberRecord},
};

/// One machine (member 0) whose neighbours the test plays.
pub(crate) struct Subject {
    pub(crate) membership: Membership,
    pub(crate) now: Time,
}

/// What the machine did in answer to one input.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) packets: Vec<(SocketAddr, GossipPacket)>,
    pub(crate) reliable: Vec<(MemberId, ReliableMessage)>,
    pub(crate) events: Vec<MemberEvent>,
}

impl Done {
    pub(crate) fn extend(&mut self, other: Self) {
        self.packets.extend(other.packets);
        self.reliable.extend(other.reliable);
        self.events.extend(other.events);
    }
}

impl Subject {
    pub(crate) fn new() -> Self {
        Self::with(MembershipConfig::default())
    }

    pub(crate) fn with(config: MembershipConfig) -> Self {
        let now = Time::from_micros(1_000_000);
        Self { membership: Membership::new(config, record(0, GENERATION), 1, now), now }
    }

    /// A machine that knows members 1 to `others`.
    pub(crate) fn knowing(others: u16) -> Self {
        let mut subject = Self::new();
        for number in 1..=others {
            subject.hear(1, MemberUpdate::Record(Arc::new(record(number, GENERATION))));
        }
        subject
    }

    pub(crate) fn done(&mut self) -> Done {
        let mut done = Done::default();
        while let Some(output) = self.membership.poll_output() {
            match output {
                MembershipOutput::Packet { to, packet } => done.packets.push((to, packet)),
                MembershipOutput::Reliable { to, message } => done.reliable.push((to, message)),
                MembershipOutput::Event(event) => done.events.push(event),
            }
        }
        done
    }

    /// Member `teller` sends a datagram.
    pub(crate) fn receive(&mut self, teller: u16, body: GossipBody, updates: Vec<MemberUpdate>) -> Done {
        let packet = GossipPacket { from: id(teller), body, updates };
        self.membership.handle_packet(self.now, address(teller), packet);
        self.done()
    }

    pub(crate) fn hear(&mut self, teller: u16, update: MemberUpdate) -> Done {
        self.receive(teller, GossipBody::Gossip, vec![update])
    }

    pub(crate) fn receive_reliable(&mut self, from: u16, message: ReliableMessage) -> Done {
        self.membership.handle_reliable(self.now, id(from), message);
        self.done()
    }

    /// Runs all timers of the next `duration`, each at its time.
    pub(crate) fn run(&mut self, duration: Duration) -> Done {
        let end = self.now + duration;
        let mut all = Done::default();
        while let Some(at) = self.membership.next_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.membership.handle_timeout(self.now);
            all.extend(self.done());
        }
        self.now = end;
        all
    }

    /// Runs for a while in which all pings are answered.
    pub(crate) fn run_answered(&mut self, duration: Duration) -> Done {
        let end = self.now + duration;
        let mut all = Done::default();
        while let Some(at) = self.membership.next_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.membership.handle_timeout(self.now);
            let done = self.done();
            for (to, GossipPacket { body, .. }) in &done.packets {
                if let GossipBody::Ping { sequence, target } = *body {
                    self.membership.handle_packet(self.now, *to, packet(target, GossipBody::Ack { sequence }));
                }
            }
            all.extend(done);
        }
        self.now = end;
        all
    }

    /// Runs to the next ping, and returns its number and target.
    pub(crate) fn next_ping(&mut self) -> (u32, MemberId) {
        for _ in 0..10_000 {
            let at = self.membership.next_timeout().unwrap();
            self.now = self.now.max(at);
            self.membership.handle_timeout(self.now);
            for (_, packet) in self.done().packets {
                if let GossipBody::Ping { sequence, target } = packet.body {
                    return (sequence, target);
                }
            }
        }
        panic!("no ping");
    }

    /// Runs to the next ping of this member; all others answer theirs.
    pub(crate) fn next_ping_of(&mut self, number: u16) -> u32 {
        loop {
            let (sequence, target) = self.next_ping();
            if target == id(number) {
                return sequence;
            }
            self.membership.handle_packet(self.now, address(1), packet(target, GossipBody::Ack { sequence }));
            self.done();
        }
    }

    pub(crate) fn state(&self, number: u16) -> Option<State> {
        self.membership.state(id(number))
    }

    pub(crate) fn health(&self) -> u32 {
        self.membership.stats().local_health
    }
}

pub(crate) const GENERATION: u64 = 10;

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn packet(from: MemberId, body: GossipBody) -> GossipPacket {
    GossipPacket { from, body, updates: vec![] }
}

pub(crate) fn id(number: u16) -> MemberId {
    record(number, 1).id()
}

pub(crate) fn life(generation: u64, incarnation: u32) -> Life {
    Life { generation: Generation(generation), incarnation: Incarnation(incarnation) }
}

pub(crate) fn record_at(number: u16, life: Life) -> Arc<MemberRecord> {
    Arc::new(MemberRecord { incarnation: life.incarnation, ..record(number, life.generation.0) })
}

pub(crate) fn suspect(number: u16, life: Life, accuser: u16) -> MemberUpdate {
    MemberUpdate::Suspect { id: id(number), life, accuser: id(accuser).into() }
}

pub(crate) fn dead(number: u16, life: Life) -> MemberUpdate {
    MemberUpdate::Dead { id: id(number), life }
}

pub(crate) fn left(number: u16, life: Life) -> MemberUpdate {
    MemberUpdate::Left { id: id(number), life }
}

pub(crate) fn alive(number: u16, life: Life) -> MemberUpdate {
    MemberUpdate::Alive { id: id(number), life }
}

pub(crate) fn state(record: Arc<MemberRecord>, standing: Standing) -> MemberState {
    MemberState { record, standing }
}

pub(crate) fn told(done: &Done, to: SocketAddr) -> Vec<MemberUpdate> {
    let tells = done.packets.iter().filter(|(at, packet)| *at == to && packet.body == GossipBody::Tell);
    tells.flat_map(|(_, packet)| packet.updates.clone()).collect()
}

pub(crate) fn records_wanted(done: &Done) -> Vec<MemberId> {
    let bodies = done.packets.iter().map(|(_, packet)| &packet.body);
    bodies
        .filter_map(|body| if let GossipBody::RecordRequest { ids } = body { Some(ids.clone()) } else { None })
        .flatten()
        .collect()
}

/// A word within the generation that all members of these tests begin with.
pub(crate) fn life_of(incarnation: u32) -> Life {
    life(GENERATION, incarnation)
}

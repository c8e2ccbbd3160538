//! Membership and homes among 10,000 members.

use std::{hint::black_box, net::SocketAddr, time::Duration};

use shoal_core::{
    config::CoreConfig,
    event::{Input, Output},
    homes_of,
    node::Node,
    time::Time,
};
use shoal_wire::{
    digest::Digest,
    gossip::{GossipBody, GossipPacket, MemberUpdate},
    ids::MemberId,
};

use super::{Case, Iteration, world};

/// Members of the cluster.
const MEMBERS: u32 = 10_000;
/// Virtual time that one iteration of ticks covers: one probe and five rounds of gossip.
const SECOND: Duration = Duration::from_secs(1);
/// Virtual time in which the news of the start have been told.
const WARM_UP: Duration = Duration::from_secs(60);

pub(super) const HOMES: Case = Case {
    name: "membership/homes",
    about: "the three homes of a digest among 10,000 members",
    iterations: 50,
    prepare: homes,
};

pub(super) const TICK: Case = Case {
    name: "membership/tick",
    about: "one second of a node among 10,000 members that all answer: a probe and rounds of gossip",
    iterations: 20,
    prepare: tick,
};

pub(super) const CRASH: Case = Case {
    name: "membership/crash_news",
    about: "news of one of 10,000 members that died, and came back, arrive at a node",
    iterations: 50,
    prepare: crash,
};

fn homes() -> Iteration {
    let members = world::ids(MEMBERS);
    let mut number = 0_u8;
    Box::new(move || {
        number = number.wrapping_add(1);
        let digest = Digest::Sha256([number; 32]);
        let homes = homes_of(black_box(&digest), black_box(&members).iter().copied());
        homes.iter().map(|home| u64::from(home.0[0])).sum()
    })
}

fn tick() -> Iteration {
    let mut cluster = Cluster::new();
    Box::new(move || cluster.pass(SECOND))
}

fn crash() -> Iteration {
    let mut cluster = Cluster::new();
    let mut number = 2;
    Box::new(move || {
        number += 1;
        cluster.pass(Duration::from_millis(1));
        cluster.crash(number)
    })
}

/// A node, and all others as they look from it.
struct Cluster {
    node: Node,
    now: Time,
}

impl Cluster {
    fn new() -> Self {
        let node = world::node_among(CoreConfig::default(), MEMBERS);
        let mut cluster = Self { node, now: Time::ZERO };
        cluster.pass(WARM_UP);
        assert_eq!(cluster.node.membership().alive_count(), MEMBERS as usize, "nobody died of the warm-up");
        cluster
    }

    /// Lets time pass; every ping is answered at once. Says how many packets were sent.
    fn pass(&mut self, time: Duration) -> u64 {
        let end = self.now + time;
        let mut packets = 0;
        while let Some(due) = self.node.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.node.handle(self.now, Input::Timeout);
            while let Some(output) = self.node.poll_output() {
                let Output::Gossip { to, packet } = output else { continue };
                packets += 1;
                self.answer(to, &packet);
            }
        }
        self.now = end;
        packets
    }

    fn answer(&mut self, from: SocketAddr, packet: &GossipPacket) {
        if let GossipBody::Ping { sequence, target } = packet.body {
            self.tell(from, target, GossipBody::Ack { sequence }, Vec::new());
        }
    }

    fn tell(&mut self, from: SocketAddr, sender: MemberId, body: GossipBody, updates: Vec<MemberUpdate>) {
        let packet = GossipPacket { from: sender, body, updates };
        self.node.handle(self.now, Input::Gossip { from, packet });
    }

    fn crash(&mut self, number: u32) -> u64 {
        let teller = world::record(1);
        let mut record = world::record(number);
        let dead = MemberUpdate::Dead { id: record.id(), life: record.life() };
        record.generation.0 += 1;
        for news in [dead, MemberUpdate::Record(record.into())] {
            self.tell(teller.address, teller.id(), GossipBody::Gossip, vec![news]);
        }
        world::drain(&mut self.node)
    }
}

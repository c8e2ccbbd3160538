//! Encoding and decoding of messages.

use std::hint::black_box;

use shoal_core::rng::Stream;
use shoal_wire::{
    codec::Message,
    control::{ControlMessage, Load},
    gossip::{GossipBody, GossipPacket, MemberUpdate},
    ids::Incarnation,
    member::Life,
};

use super::{Case, Iteration, world};

pub(super) const CONTROL: Case = Case {
    name: "codec/have_map",
    about: "encode and decode a greeting with a have-map of 20,000 pieces, half of them present",
    iterations: 200,
    prepare: control,
};

pub(super) const GOSSIP: Case = Case {
    name: "codec/gossip",
    about: "encode and decode a gossip packet with 30 updates",
    iterations: 1000,
    prepare: gossip,
};

fn control() -> Iteration {
    let have = world::half_of(world::PIECES, &mut Stream::new(1, "codec"));
    let digest = world::DIGEST;
    let message = ControlMessage::Hello {
        digest,
        size: world::blob_bytes(),
        have,
        wants: true,
        reply: false,
        load: Load::default(),
    };
    Box::new(move || round_trip(&message))
}

fn gossip() -> Iteration {
    let updates = (0..30).map(|number| {
        let record = world::record(number);
        let life = Life { generation: record.generation, incarnation: Incarnation(number) };
        MemberUpdate::Alive { id: record.id(), life }
    });
    let packet = GossipPacket {
        from: world::record(100).id(),
        body: GossipBody::Ping { sequence: 7, target: world::record(101).id() },
        updates: updates.collect(),
    };
    Box::new(move || round_trip(&packet))
}

fn round_trip<M: Message>(message: &M) -> u64 {
    let bytes = black_box(message).encode().expect("the message is within its limits");
    black_box(M::decode(black_box(&bytes)).expect("what was encoded decodes"));
    bytes.len() as u64
}

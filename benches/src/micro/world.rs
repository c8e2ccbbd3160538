//! Members, maps and nodes to work on.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use shoal_core::{
    config::CoreConfig,
    event::{Input, Output},
    node::Node,
    rng::Stream,
    time::Time,
};
use shoal_wire::{
    control::ControlMessage,
    digest::Digest,
    geometry::PieceIndex,
    gossip::{MemberState, ReliableMessage, Standing},
    ids::{Generation, Incarnation, MemberId, PublicKey},
    limits::{MEMBERS_PER_MESSAGE, PIECE_BYTES_MAX},
    member::MemberRecord,
    piece_map::PieceMap,
};

/// The blob that everything is about.
pub(super) const DIGEST: Digest = Digest::Sha256([0x5a; 32]);
/// Its pieces.
pub(super) const PIECES: u32 = 20_000;

/// Size of a blob of [`PIECES`] pieces.
pub(super) fn blob_bytes() -> u64 {
    u64::from(PIECES) * PIECE_BYTES_MAX
}

/// The record of member `number`.
pub(super) fn record(number: u32) -> MemberRecord {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    MemberRecord {
        public_key: PublicKey(key),
        generation: Generation(1),
        incarnation: Incarnation(0),
        address: SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 5001)),
        zone: String::new(),
        version: 1,
        upload_bytes_per_s: 0,
    }
}

/// A map of `pieces` pieces, each present with probability one half.
pub(super) fn half_of(pieces: u32, random: &mut Stream) -> PieceMap {
    let mut map = PieceMap::empty(pieces);
    for piece in 0..pieces {
        if random.chance(0.5) {
            map.insert(PieceIndex(piece));
        }
    }
    map
}

/// Member 0 with `members` members in all, and what it said while it learnt of them drained.
pub(super) fn node_among(config: CoreConfig, members: u32) -> Node {
    let mut node = Node::new(config, record(0), 7, Time::ZERO);
    let teller = record(1).id();
    let others: Vec<_> = (1..members)
        .map(|number| MemberState { record: Arc::new(record(number)), standing: Standing::Alive })
        .collect();
    for page in others.chunks(MEMBERS_PER_MESSAGE) {
        let message = ControlMessage::Membership(ReliableMessage::SyncNews { members: page.to_vec() });
        node.handle(Time::ZERO, Input::Control { from: teller, message });
        drain(&mut node);
    }
    assert_eq!(node.membership().alive_count(), members as usize, "all members are known");
    node
}

/// Takes all outputs; says how many there were.
pub(super) fn drain(node: &mut Node) -> u64 {
    std::iter::from_fn(|| node.poll_output()).count() as u64
}

/// Takes all outputs.
pub(super) fn outputs(node: &mut Node) -> Vec<Output> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

/// The ids of members 0 to `count` - 1.
pub(super) fn ids(count: u32) -> Vec<MemberId> {
    (0..count).map(|number| record(number).id()).collect()
}

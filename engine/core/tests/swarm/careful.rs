//! A node whose blob turned out wrong as a whole, with a peer that may have the wrong piece as well.

use shoal_core::{
    config::CoreConfig,
    event::{Input, Output},
    node::Node,
    time::Time,
};
use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    ids::{Generation, Incarnation, MemberId, PublicKey},
    member::MemberRecord,
    piece_map::PieceMap,
    version::PROTOCOL_VERSION,
};

const DIGEST: Digest = Digest::Sha256([2; 32]);
const SIZE: u64 = 1024 * 1024;
const PEER: MemberId = MemberId([9; 16]);

/// A node that knows of nobody else, and is not held back at the beginning of a pull.
pub(crate) fn node() -> Node {
    let mut config = CoreConfig::default();
    config.swarm.requests_young = 64;
    node_with(config)
}

/// A node that knows of nobody else.
pub(crate) fn node_with(config: CoreConfig) -> Node {
    let own = MemberRecord {
        public_key: PublicKey([1; 32]),
        generation: Generation(1),
        incarnation: Incarnation(0),
        address: ([10, 0, 0, 1], 5001).into(),
        zone: String::new(),
        version: u16::from(PROTOCOL_VERSION),
        upload_bytes_per_s: 0,
    };
    Node::new(config, own, 7, Time::ZERO)
}

/// Pieces that the node asks the peer for once it has this input.
fn asked(node: &mut Node, input: Input) -> usize {
    node.handle(Time::ZERO, input);
    let outputs = std::iter::from_fn(|| node.poll_output());
    outputs.filter(|output| matches!(output, Output::RequestPiece { from, .. } if *from == PEER)).count()
}

fn want() -> Input {
    Input::Want { digest: DIGEST, size: SIZE, have: PieceMap::empty(4), can_lease: false }
}

fn hello(have: PieceMap) -> Input {
    let (wants, load) = (!have.is_full(), Load::default());
    Input::Control {
        from: PEER,
        message: ControlMessage::Hello { digest: DIGEST, size: SIZE, have, wants, reply: true, load },
    }
}

fn half() -> PieceMap {
    let mut have = PieceMap::empty(4);
    have.insert_range(0..2);
    have
}

#[test]
fn pieces_are_taken_again_only_from_who_has_all_of_them() {
    let mut node = node();
    asked(&mut node, want());
    assert_eq!(asked(&mut node, hello(half())), 2);
    asked(&mut node, Input::Corrupt { digest: DIGEST });
    assert_eq!(asked(&mut node, hello(half())), 0, "it may have the wrong piece, too");
    asked(&mut node, Input::Unwant { digest: DIGEST });
    asked(&mut node, want());
    assert_eq!(asked(&mut node, hello(half())), 0, "the next reader's blob is no other");
    assert!(asked(&mut node, hello(PieceMap::full(4))) > 0);
}

#[test]
fn a_whole_that_is_right_ends_the_care() {
    let mut node = node();
    asked(&mut node, want());
    asked(&mut node, Input::Corrupt { digest: DIGEST });
    asked(&mut node, Input::Verified { digest: DIGEST });
    asked(&mut node, Input::Dropped { digest: DIGEST });
    asked(&mut node, want());
    assert_eq!(asked(&mut node, hello(half())), 2);
}

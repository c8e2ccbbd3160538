//! Asking a peer for the next piece before the last has come.

use std::time::Duration;

use shoal_core::{
    config::SwarmConfig,
    event::{Input, Output, TransferFailure, TransferId},
    node::Node,
    time::Time,
};
use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    geometry::Geometry,
    ids::MemberId,
    piece_map::PieceMap,
};

use crate::{careful::node, pull::MIB};

const DIGEST: Digest = Digest::Sha256([2; 32]);
const SIZE: u64 = 256 * MIB;
const PEERS: u8 = 16;

/// Handles an input and says which pieces are asked for of whom.
fn asked(node: &mut Node, now: Time, input: Input) -> Vec<(TransferId, MemberId)> {
    node.handle(now, input);
    std::iter::from_fn(|| node.poll_output())
        .filter_map(|output| match output {
            Output::RequestPiece { transfer, from, .. } => Some((transfer, from)),
            _ => None,
        })
        .collect()
}

fn hello(peer: u8, pieces: std::ops::Range<u32>) -> Input {
    let mut have = PieceMap::empty(Geometry::of(SIZE).expect("the size is allowed").pieces());
    have.insert_range(pieces);
    let load = Load::default();
    let message = ControlMessage::Hello { digest: DIGEST, size: SIZE, have, wants: true, reply: true, load };
    Input::Control { from: MemberId([peer; 16]), message }
}

/// A node asks its peers, which then have so many pieces each; after a second the first piece is here. Whom else it asked at
/// the start, and whom it asks then.
fn asked_with(pieces: u32) -> (Vec<MemberId>, Vec<MemberId>) {
    let (_, first, then) = pulling(pieces);
    let peers_of = |asked: &[(TransferId, MemberId)]| asked.iter().map(|(_, from)| *from).collect();
    (peers_of(&first), peers_of(&then))
}

type Requests = Vec<(TransferId, MemberId)>;

/// The same, with the node and the requests themselves.
fn pulling(pieces: u32) -> (Node, Requests, Requests) {
    let mut node = node();
    let have = PieceMap::empty(Geometry::of(SIZE).expect("the size is allowed").pieces());
    asked(&mut node, Time::ZERO, Input::Want { digest: DIGEST, size: SIZE, have, can_lease: false });
    // A piece of its own each, so that each is asked for one.
    let one_each = (0..PEERS).map(|peer| hello(peer, u32::from(peer)..u32::from(peer) + 1));
    let all_alike = (0..PEERS).map(|peer| hello(peer, 0..pieces));
    let first: Vec<_> = one_each.chain(all_alike).flat_map(|hello| asked(&mut node, Time::ZERO, hello)).collect();
    let (transfer, injector) = first[0];
    let now = Time::ZERO + Duration::from_secs(1);
    let then = asked(&mut node, now, Input::PieceStored { transfer, injector });
    (node, first[1..].to_vec(), then)
}

#[test]
fn each_peer_that_has_nearly_sent_its_piece_is_asked_for_one_more() {
    let (first, then) = asked_with(200);
    assert_eq!(first.len() + 1, SwarmConfig::default().requests_plenty);
    for peer in &first {
        assert_eq!(then.iter().filter(|asked| *asked == peer).count(), 1, "{peer} among {then:?}");
    }
}

#[test]
fn nothing_is_asked_for_early_while_the_swarm_waits_for_the_upstream() {
    let (first, then) = asked_with(SwarmConfig::default().follow_pieces + 8);
    assert!(!then.is_empty());
    assert!(first.iter().all(|peer| !then.contains(peer)), "{first:?} and {then:?}");
}

#[test]
fn a_peer_that_lets_nothing_follow_is_left_alone_for_a_while() {
    let (mut node, first, then) = pulling(200);
    let is_sending = |peer: &MemberId| first.iter().any(|(_, from)| from == peer);
    let (transfer, peer) = *then.iter().find(|(_, from)| is_sending(from)).expect("one of them is asked for more");
    let failure = TransferFailure::Busy(Load { active: 8, queued: 1 });
    let now = Time::ZERO + Duration::from_secs(1);
    let again = asked(&mut node, now, Input::PieceFailed { transfer, failure });
    assert!(again.iter().all(|(_, from)| *from != peer), "{peer} is asked again at once: {again:?}");
}

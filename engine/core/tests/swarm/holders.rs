//! What a node asks of peers while it fetches from the upstream over the same link.

use std::time::Duration;

use shoal_core::{
    config::SwarmConfig,
    event::{Input, Output},
    time::Time,
};
use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::{LeaseId, MemberId},
    piece_map::PieceMap,
};

use crate::{
    careful::node,
    pull::{MIB, Pull, setting},
};

const DIGEST: Digest = Digest::Sha256([2; 32]);
const SIZE: u64 = 256 * MIB;
const PEERS: u8 = 8;

/// Pieces that a node asks for which fetches the last piece from the upstream if it has a `lease`, and whose peers have
/// so many pieces each, the same ones.
fn asked(lease: bool, pieces: u32) -> usize {
    let mut node = node();
    let all = Geometry::of(SIZE).expect("the size is allowed").pieces();
    let mut handle = |input| {
        node.handle(Time::ZERO, input);
        let outputs = std::iter::from_fn(|| node.poll_output());
        outputs.filter(|output| matches!(output, Output::RequestPiece { .. })).count()
    };
    handle(Input::Want { digest: DIGEST, size: SIZE, have: PieceMap::empty(all), can_lease: true });
    if lease {
        let message = ControlMessage::Lease { digest: DIGEST, lease: LeaseId(1), first: PieceIndex(all - 1), count: 1 };
        handle(Input::Control { from: MemberId([100; 16]), message });
    }
    let hello = |peer| {
        let mut have = PieceMap::empty(all);
        have.insert_range(0..pieces);
        let load = Load::default();
        let message = ControlMessage::Hello { digest: DIGEST, size: SIZE, have, wants: true, reply: true, load };
        Input::Control { from: MemberId([peer; 16]), message }
    };
    (0..PEERS).map(|peer| handle(hello(10 + peer))).sum()
}

#[test]
fn a_lease_takes_the_place_of_requests_and_of_more_where_peers_have_little() {
    let config = SwarmConfig::default();
    assert_eq!(asked(false, 200), config.requests_plenty);
    assert_eq!(asked(true, 200), config.requests_max - 1, "there is plenty to be had from peers");
    let few = config.plenty_pieces + 1;
    assert_eq!(asked(true, few), config.requests_max - config.lease_requests, "the swarm waits for the upstream");
    assert_eq!(asked(false, few), config.requests_max);
}

#[test]
fn the_upstream_is_kept_busy_while_the_swarm_waits_for_it() {
    for nodes in [4, 8, 16] {
        for seed in 0..8 {
            let mut pull = Pull::start(setting(nodes), 256 * MIB, seed);
            let (start, size) = (pull.world.now, pull.size);
            assert!(
                pull.world.run_until(Duration::from_secs(300), |world| world.upstream_bytes >= size),
                "seed {seed}"
            );
            let ratio = pull.world.now.since(start).as_secs_f64() / pull.link_s();
            println!("seed {seed}, {nodes} nodes: the upstream took {ratio:.3} x what its link needs");
            assert!(ratio <= 1.05, "seed {seed}, {nodes} nodes: the upstream took {ratio:.3} x what its link needs");
        }
    }
}

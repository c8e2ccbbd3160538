//! How many pieces a node asks for at the beginning of a pull, and on a slow link.

use std::time::Duration;

use shoal_core::{
    config::{CoreConfig, SwarmConfig},
    event::{Input, Output, TransferId},
    node::Node,
    time::Time,
};
use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::MemberId,
    piece_map::{PieceMap, PieceRuns},
};

use crate::{careful::node_with, pull::MIB};

const DIGEST: Digest = Digest::Sha256([2; 32]);
const SIZE: u64 = 256 * MIB;
const PEERS: u8 = 16;

/// Short, so that no request of these tests takes so long that it is repeated.
const SLOW_TIME: Duration = Duration::from_millis(600);

/// A node that pulls, and its requests.
struct Puller {
    node: Node,
    open: Vec<(TransferId, PieceIndex, MemberId)>,
    now: Time,
}

impl Puller {
    /// Its peers had `before` pieces when it heard of them, and soon after they have `pieces`, and want no more.
    fn of(before: u32, pieces: std::ops::Range<u32>) -> Self {
        let mut config = CoreConfig::default();
        (config.swarm.follow_pieces, config.swarm.requests_slow_time) = (u32::MAX, SLOW_TIME);
        let mut puller = Self { node: node_with(config), open: Vec::new(), now: Time::ZERO };
        puller.handle(Input::Want { digest: DIGEST, size: SIZE, have: PieceMap::empty(all()), can_lease: false });
        (0..PEERS).for_each(|peer| puller.hear(peer, 1..1 + before, true));
        (0..PEERS).for_each(|peer| puller.hear(peer, pieces.clone(), false));
        puller
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::RequestPiece { transfer, from, piece, .. } => self.open.push((transfer, piece, from)),
                Output::CancelTransfer { transfer } => self.open.retain(|(open, ..)| *open != transfer),
                _ => {}
            }
        }
    }

    fn hear(&mut self, peer: u8, pieces: std::ops::Range<u32>, wants: bool) {
        let mut have = PieceMap::empty(all());
        have.insert_range(pieces);
        let load = Load::default();
        let message = ControlMessage::Hello { digest: DIGEST, size: SIZE, have, wants, reply: true, load };
        self.handle(Input::Control { from: MemberId([peer; 16]), message });
    }

    /// The oldest request is answered after so long.
    fn get_after(&mut self, wait: Duration) {
        let (transfer, _, injector) = self.open.remove(0);
        self.now = self.now + wait;
        self.handle(Input::PieceStored { transfer, injector });
    }
}

fn all() -> u32 {
    Geometry::of(SIZE).expect("the size is allowed").pieces()
}

#[test]
fn a_pull_begins_with_few_requests_and_has_one_more_with_each_piece() {
    let config = SwarmConfig::default();
    let mut puller = Puller::of(0, 1..200);
    assert_eq!(puller.open.len(), config.requests_young);
    for more in 1..4 {
        puller.get_after(Duration::from_millis(50));
        assert_eq!(puller.open.len(), config.requests_young + more);
    }
    (0..20).for_each(|_| puller.get_after(Duration::from_millis(50)));
    assert!(puller.open.len() >= config.requests_plenty, "{}", puller.open.len());
}

#[test]
fn the_first_piece_is_asked_for_though_others_are_on_their_way() {
    let mut puller = Puller::of(0, 1..200);
    let before = puller.open.len();
    puller.hear(3, 0..200, false);
    assert!(puller.open.len() == before + 1 && puller.open[before].1 == PieceIndex(0), "{:?}", puller.open);
}

#[test]
fn who_comes_late_is_not_held_back() {
    let puller = Puller::of(100, 0..200);
    assert_eq!(puller.open.len(), SwarmConfig::default().requests_plenty);
}

#[test]
fn a_node_that_is_far_slower_than_another_asks_for_what_comes_soon() {
    let config = SwarmConfig::default();
    let requests_of = |others: u32| {
        let mut puller = Puller::of(0, 1..200);
        let every = Duration::from_millis(150);
        puller.hear(PEERS, 0..0, true);
        for piece in 0..40 {
            let pieces = PieceRuns::from_ascending([PieceIndex(all() - 1 - piece)]);
            let load = Load::default();
            let message = ControlMessage::Have { digest: DIGEST, pieces, held: piece * others, load };
            puller.handle(Input::Control { from: MemberId([PEERS; 16]), message });
            puller.get_after(every);
        }
        puller.open.len()
    };
    assert_eq!(requests_of(8), 4, "what comes in 600 ms: another gets eight times as much");
    assert!(requests_of(1) >= config.requests_plenty, "others are no faster");
}

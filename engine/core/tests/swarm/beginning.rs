//! How many pieces a node asks for at the beginning of a pull, and on a slow link.

use std::{ops::Range, time::Duration};

use shoal_core::{
    config::{CoreConfig, SwarmConfig},
    event::Input,
};
use shoal_wire::{
    control::{ControlMessage, Load},
    geometry::PieceIndex,
    ids::MemberId,
    piece_map::PieceRuns,
};

use crate::puller::{DIGEST, Puller, all};

const PEERS: u8 = 16;

/// Short, so that no request of these tests takes so long that it is repeated.
const SLOW_TIME: Duration = Duration::from_millis(600);

/// A node whose peers had `before` pieces when it heard of them, and soon after have `pieces`, and want no more.
fn puller_of(before: u32, pieces: Range<u32>) -> Puller {
    let mut config = CoreConfig::default();
    (config.swarm.follow_pieces, config.swarm.requests_slow_time) = (u32::MAX, SLOW_TIME);
    let mut puller = Puller::new(config);
    (0..PEERS).for_each(|peer| puller.hear(peer, 1..1 + before, true));
    (0..PEERS).for_each(|peer| puller.hear(peer, pieces.clone(), false));
    puller
}

#[test]
fn a_pull_begins_with_few_requests_and_has_one_more_with_each_piece() {
    let config = SwarmConfig::default();
    let mut puller = puller_of(0, 1..200);
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
    let mut puller = puller_of(0, 1..200);
    let before = puller.open.len();
    puller.hear(3, 0..200, false);
    assert!(puller.open.len() == before + 1 && puller.open[before].1 == PieceIndex(0), "{:?}", puller.open);
}

#[test]
fn who_comes_late_is_not_held_back() {
    let puller = puller_of(100, 0..200);
    assert_eq!(puller.open.len(), SwarmConfig::default().requests_plenty);
}

#[test]
fn a_node_that_is_far_slower_than_another_asks_for_what_comes_soon() {
    let config = SwarmConfig::default();
    let requests_of = |others: u32| {
        let mut puller = puller_of(0, 1..200);
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

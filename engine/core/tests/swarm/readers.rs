//! How far ahead of its readers a node asks for pieces.

use std::time::Duration;

use shoal_core::{
    config::{CoreConfig, SwarmConfig},
    event::{Input, TransferFailure},
};
use shoal_wire::geometry::{Geometry, PieceIndex};

use crate::puller::{DIGEST, Puller, SIZE, all};

const HOLDER: u8 = 1;
const OTHER: u8 = 2;
const PIECE_TIME: Duration = Duration::from_millis(5);

/// A node whose readers are at the first piece, and that has heard of a holder of everything.
fn puller_with(config: CoreConfig) -> Puller {
    let mut puller = Puller::new(config);
    readers_at(&mut puller, Some(0));
    puller.hear(HOLDER, 0..all(), false);
    puller
}

/// The same, when all that it asked for has come.
fn waiting_puller() -> Puller {
    let mut puller = puller_with(CoreConfig::default());
    get_all(&mut puller);
    puller
}

fn readers_at(puller: &mut Puller, piece: Option<u32>) {
    puller.handle(Input::ReadersAt { digest: DIGEST, piece: piece.map(PieceIndex) });
}

/// Every request is answered, one after the other, until none is open.
fn get_all(puller: &mut Puller) {
    while !puller.open.is_empty() {
        puller.get_after(PIECE_TIME);
    }
}

/// The pieces that were asked for, ascending.
fn asked(puller: &Puller) -> Vec<u32> {
    let mut asked: Vec<u32> = puller.asked.iter().map(|piece| piece.0).collect();
    asked.sort_unstable();
    asked
}

/// Whether all pieces were asked for, each once, by the time that the readers have gone through them.
fn reads_through(puller: &mut Puller) -> bool {
    for at in 0..all() {
        readers_at(puller, Some(at));
        get_all(puller);
    }
    asked(puller) == (0..all()).collect::<Vec<_>>()
}

/// Pieces that are asked for ahead of the readers.
fn ahead() -> u32 {
    let pieces = SwarmConfig::default().reader_ahead_bytes / Geometry::of(SIZE).expect("allowed").piece_bytes();
    u32::try_from(pieces).expect("a few")
}

#[test]
fn pieces_come_no_further_ahead_of_the_readers_than_memory_reaches() {
    let mut puller = waiting_puller();
    assert_eq!(asked(&puller), (0..ahead()).collect::<Vec<_>>());
    for at in [1, 7, 64, 65] {
        readers_at(&mut puller, Some(at));
        get_all(&mut puller);
        assert_eq!(asked(&puller), (0..ahead() + at).collect::<Vec<_>>(), "each once");
    }
}

#[test]
fn readers_that_come_to_the_end_have_everything() {
    assert!(reads_through(&mut waiting_puller()));
}

#[test]
fn however_large_pieces_are_two_come_while_one_is_read() {
    let mut config = CoreConfig::default();
    config.swarm.reader_ahead_bytes = 1;
    let mut puller = puller_with(config);
    get_all(&mut puller);
    assert_eq!(asked(&puller), [0, 1, 2]);
    assert!(reads_through(&mut puller));
}

#[test]
fn what_others_want_is_fetched_whatever_the_readers_do() {
    let mut puller = waiting_puller();
    puller.hear(OTHER, 0..0, true);
    get_all(&mut puller);
    assert_eq!(asked(&puller), (0..all()).collect::<Vec<_>>());
}

#[test]
fn without_readers_that_go_through_it_all_is_fetched_at_once() {
    let mut puller = waiting_puller();
    readers_at(&mut puller, None);
    get_all(&mut puller);
    assert_eq!(asked(&puller), (0..all()).collect::<Vec<_>>());
}

#[test]
fn what_a_reader_waits_for_comes_though_it_is_far_ahead_of_others() {
    let mut puller = waiting_puller();
    puller.handle(Input::Demand { digest: DIGEST, pieces: vec![PieceIndex(200)] });
    assert_eq!(puller.open.iter().map(|open| open.1).collect::<Vec<_>>(), [PieceIndex(200)]);
}

#[test]
fn a_piece_that_failed_while_the_readers_wait_is_asked_for_again() {
    let mut puller = puller_with(CoreConfig::default());
    while puller.asked.len() < ahead() as usize {
        puller.get_after(PIECE_TIME);
    }
    let (transfer, piece, _) = puller.open.remove(0);
    puller.handle(Input::PieceFailed { transfer, failure: TransferFailure::Store });
    get_all(&mut puller);
    assert_eq!(puller.asked.iter().filter(|&&asked| asked == piece).count(), 2);
    assert_eq!(asked(&puller).last(), Some(&(ahead() - 1)));
}

//! How far ahead of its readers a node asks for pieces.

use std::time::Duration;

use shoal_core::{
    config::{CoreConfig, SwarmConfig},
    event::{Input, Output, TransferFailure, TransferId},
    node::Node,
    time::Time,
};
use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::MemberId,
    piece_map::PieceMap,
};

use crate::{careful::node_with, pull::MIB};

const DIGEST: Digest = Digest::Sha256([2; 32]);
const SIZE: u64 = 256 * MIB;
const HOLDER: u8 = 1;
const OTHER: u8 = 2;

/// A node that pulls from one holder that has everything, and its requests.
struct Puller {
    node: Node,
    open: Vec<(TransferId, PieceIndex, MemberId)>,
    asked: Vec<PieceIndex>,
    now: Time,
}

impl Puller {
    fn new() -> Self {
        let node = node_with(CoreConfig::default());
        let mut puller = Self { node, open: Vec::new(), asked: Vec::new(), now: Time::ZERO };
        puller.handle(Input::Want { digest: DIGEST, size: SIZE, have: PieceMap::empty(all()), can_lease: false });
        puller
    }

    /// One whose readers are at `piece`.
    fn with_readers_at(piece: u32) -> Self {
        let mut puller = Self::new();
        puller.readers_at(Some(piece));
        puller.hear(HOLDER, PieceMap::full(all()), false);
        puller
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::RequestPiece { transfer, from, piece, .. } => {
                    self.open.push((transfer, piece, from));
                    self.asked.push(piece);
                }
                Output::CancelTransfer { transfer } => self.open.retain(|(open, ..)| *open != transfer),
                _ => {}
            }
        }
    }

    fn hear(&mut self, peer: u8, have: PieceMap, wants: bool) {
        let load = Load::default();
        let message = ControlMessage::Hello { digest: DIGEST, size: SIZE, have, wants, reply: true, load };
        self.handle(Input::Control { from: MemberId([peer; 16]), message });
    }

    fn readers_at(&mut self, piece: Option<u32>) {
        self.handle(Input::ReadersAt { digest: DIGEST, piece: piece.map(PieceIndex) });
    }

    /// Every request is answered, one after the other, until none is open.
    fn get_all(&mut self) {
        while !self.open.is_empty() {
            let (transfer, _, injector) = self.open.remove(0);
            self.now = self.now + Duration::from_millis(5);
            self.handle(Input::PieceStored { transfer, injector });
        }
    }

    /// The pieces that were asked for, ascending.
    fn asked(&self) -> Vec<u32> {
        let mut asked: Vec<u32> = self.asked.iter().map(|piece| piece.0).collect();
        asked.sort_unstable();
        asked
    }
}

fn all() -> u32 {
    Geometry::of(SIZE).expect("the size is allowed").pieces()
}

/// Pieces that are asked for ahead of the readers.
fn ahead() -> u32 {
    let pieces = SwarmConfig::default().reader_ahead_bytes / Geometry::of(SIZE).expect("allowed").piece_bytes();
    u32::try_from(pieces).expect("a few")
}

#[test]
fn pieces_come_no_further_ahead_of_the_readers_than_memory_reaches() {
    let mut puller = Puller::with_readers_at(0);
    puller.get_all();
    assert_eq!(puller.asked(), (0..ahead()).collect::<Vec<_>>());
    for at in [1, 7, 64, 65] {
        puller.readers_at(Some(at));
        puller.get_all();
        assert_eq!(puller.asked(), (0..ahead() + at).collect::<Vec<_>>(), "each once");
    }
}

#[test]
fn readers_that_come_to_the_end_have_everything() {
    let mut puller = Puller::with_readers_at(0);
    for at in 0..all() {
        puller.readers_at(Some(at));
        puller.get_all();
    }
    assert_eq!(puller.asked(), (0..all()).collect::<Vec<_>>(), "each once");
}

#[test]
fn what_others_want_is_fetched_whatever_the_readers_do() {
    let mut puller = Puller::with_readers_at(0);
    puller.get_all();
    puller.hear(OTHER, PieceMap::empty(all()), true);
    puller.get_all();
    assert_eq!(puller.asked(), (0..all()).collect::<Vec<_>>());
}

#[test]
fn without_readers_that_go_through_it_all_is_fetched_at_once() {
    let mut puller = Puller::with_readers_at(0);
    puller.get_all();
    puller.readers_at(None);
    puller.get_all();
    assert_eq!(puller.asked(), (0..all()).collect::<Vec<_>>());
}

#[test]
fn what_a_reader_waits_for_comes_though_it_is_far_ahead_of_others() {
    let mut puller = Puller::with_readers_at(0);
    puller.get_all();
    puller.handle(Input::Demand { digest: DIGEST, pieces: vec![PieceIndex(200)] });
    assert_eq!(puller.open.iter().map(|open| open.1).collect::<Vec<_>>(), [PieceIndex(200)]);
}

#[test]
fn a_piece_that_failed_while_the_readers_wait_is_asked_for_again() {
    let mut puller = Puller::with_readers_at(0);
    while puller.asked.len() < ahead() as usize {
        let (transfer, _, injector) = puller.open.remove(0);
        puller.now = puller.now + Duration::from_millis(5);
        puller.handle(Input::PieceStored { transfer, injector });
    }
    let (transfer, piece, _) = puller.open.remove(0);
    puller.handle(Input::PieceFailed { transfer, failure: TransferFailure::Store });
    puller.get_all();
    assert_eq!(puller.asked.iter().filter(|&&asked| asked == piece).count(), 2);
    assert_eq!(puller.asked().last(), Some(&(ahead() - 1)));
}

#[test]
fn a_piece_is_fetched_however_large_pieces_are() {
    let mut config = CoreConfig::default();
    config.swarm.reader_ahead_bytes = 1;
    let mut puller = Puller { node: node_with(config), open: Vec::new(), asked: Vec::new(), now: Time::ZERO };
    puller.handle(Input::Want { digest: DIGEST, size: SIZE, have: PieceMap::empty(all()), can_lease: false });
    puller.hear(HOLDER, PieceMap::full(all()), false);
    puller.readers_at(Some(0));
    puller.get_all();
    for at in 0..all() {
        puller.readers_at(Some(at));
        puller.get_all();
    }
    assert_eq!(puller.asked(), (0..all()).collect::<Vec<_>>());
}

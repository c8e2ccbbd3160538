//! A node that pulls one blob, whose peers and store the test plays.

use std::{ops::Range, time::Duration};

use shoal_core::{
    config::CoreConfig,
    event::{Input, Output, TransferId},
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

pub(crate) const DIGEST: Digest = Digest::Sha256([2; 32]);
pub(crate) const SIZE: u64 = 256 * MIB;

/// A node that pulls, and its requests.
pub(crate) struct Puller {
    node: Node,
    /// Those without an answer, the oldest first.
    pub(crate) open: Vec<(TransferId, PieceIndex, MemberId)>,
    /// The pieces of all requests, in their order.
    pub(crate) asked: Vec<PieceIndex>,
    now: Time,
}

impl Puller {
    /// One that knows no peer yet and has no upstream.
    pub(crate) fn new(config: CoreConfig) -> Self {
        let mut puller = Self { node: node_with(config), open: Vec::new(), asked: Vec::new(), now: Time::ZERO };
        puller.handle(Input::Want { digest: DIGEST, size: SIZE, have: PieceMap::empty(all()), can_lease: false });
        puller
    }

    pub(crate) fn handle(&mut self, input: Input) {
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

    /// A peer says which pieces it has, and whether it wants the others.
    pub(crate) fn hear(&mut self, peer: u8, pieces: Range<u32>, wants: bool) {
        let mut have = PieceMap::empty(all());
        have.insert_range(pieces);
        let load = Load::default();
        let message = ControlMessage::Hello { digest: DIGEST, size: SIZE, have, wants, reply: true, load };
        self.handle(Input::Control { from: MemberId([peer; 16]), message });
    }

    /// The oldest request is answered after so long.
    pub(crate) fn get_after(&mut self, wait: Duration) {
        let (transfer, _, injector) = self.open.remove(0);
        self.now = self.now + wait;
        self.handle(Input::PieceStored { transfer, injector });
    }
}

/// Pieces of the blob.
pub(crate) fn all() -> u32 {
    Geometry::of(SIZE).expect("the size is allowed").pieces()
}

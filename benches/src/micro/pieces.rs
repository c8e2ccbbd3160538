//! Pieces: verification, choice, have-maps.

use std::{collections::VecDeque, hint::black_box, time::Duration};

use shoal_core::{
    config::{CoreConfig, SwarmConfig},
    event::{Input, Output, TransferId},
    node::Node,
    rng::Stream,
    time::Time,
};
use shoal_hash::{Sha256, hash_piece};
use shoal_wire::{
    control::{ControlMessage, Load},
    geometry::PieceIndex,
    ids::MemberId,
    piece_map::{PieceMap, PieceRuns},
};

use super::{Case, Iteration, world};

/// Bytes of the parts that a piece is gathered in.
const PART_BYTES: usize = 256 * 1024;
/// Neighbours of the node that chooses.
const NEIGHBOURS: u32 = 50;

pub(super) const VERIFICATION: Case =
    Case { name: "pieces/verification", about: "BLAKE3 of a piece of 2 MiB", iterations: 10, prepare: verification };

pub(super) const DIGEST: Case = Case {
    name: "pieces/digest",
    about: "SHA-256 of a piece of 2 MiB in parts of 256 KiB",
    iterations: 3,
    prepare: digest,
};

pub(super) const BOTH_HASHES: Case = Case {
    name: "pieces/both_hashes",
    about: "both of the same, in one pass where the processor can",
    iterations: 3,
    prepare: both_hashes,
};

pub(super) const CHOICE_IN_WINDOW: Case = Case {
    name: "pieces/choice_in_window",
    about: "a piece arrived: choose the next of 20,000 among 50 neighbours that have half of them each",
    iterations: 300,
    prepare: choice_in_window,
};

pub(super) const CHOICE_BEYOND_WINDOW: Case = Case {
    name: "pieces/choice_beyond_window",
    about: "the same where no neighbour has anything in the window, so that all 20,000 are looked at",
    iterations: 300,
    prepare: choice_beyond_window,
};

pub(super) const HAVE_MERGE: Case = Case {
    name: "pieces/have_merge",
    about: "merge two have-maps of 20,000 pieces and count what the other side misses",
    iterations: 500,
    prepare: have_merge,
};

pub(super) const HAVE_DELTA: Case = Case {
    name: "pieces/have_delta",
    about: "a neighbour's delta of 8 runs arrives at a node with 50 neighbours",
    iterations: 300,
    prepare: have_delta,
};

/// A piece of 2 MiB.
fn piece() -> Vec<u8> {
    let mut random = Stream::new(2, "piece");
    (0..(2 << 20) / 8).flat_map(|_| random.bits().to_le_bytes()).collect()
}

fn verification() -> Iteration {
    let piece = piece();
    Box::new(move || u64::from(blake3::hash(black_box(&piece)).as_bytes()[0]))
}

fn digest() -> Iteration {
    let piece = piece();
    Box::new(move || {
        let mut sha256 = Sha256::new();
        black_box(&piece).chunks(PART_BYTES).for_each(|part| sha256.update(part));
        u64::from(sha256.finalize()[0])
    })
}

fn both_hashes() -> Iteration {
    let piece = piece();
    Box::new(move || {
        let parts: Vec<_> = black_box(&piece).chunks(PART_BYTES).collect();
        let mut sha256 = Sha256::new();
        let hash = hash_piece(&parts, &mut sha256);
        u64::from(hash.as_bytes()[0]) + u64::from(sha256.finalize()[0])
    })
}

fn choice_in_window() -> Iteration {
    let mut chooser = Chooser::new(0);
    Box::new(move || chooser.step())
}

fn choice_beyond_window() -> Iteration {
    let mut chooser = Chooser::new(world::PIECES / 2);
    Box::new(move || chooser.step())
}

fn have_merge() -> Iteration {
    let mut random = Stream::new(3, "maps");
    let (own, other) = (world::half_of(world::PIECES, &mut random), world::half_of(world::PIECES, &mut random));
    Box::new(move || {
        let mut merged = black_box(&own).clone();
        merged.union(black_box(&other));
        u64::from(merged.count()) + u64::from(merged.difference_count(&own))
    })
}

fn have_delta() -> Iteration {
    let mut chooser = Chooser::new(0);
    let mut random = Stream::new(4, "delta");
    Box::new(move || {
        let from = chooser.neighbours[random.below(chooser.neighbours.len())];
        let first = u32::try_from(random.below(1000)).expect("below 1000");
        let pieces = (0..8).map(|run| PieceIndex(first + run * 2000));
        chooser.have(from, PieceRuns::from_ascending(pieces))
    })
}

/// A node in the middle of a pull.
struct Chooser {
    node: Node,
    now: Time,
    neighbours: Vec<MemberId>,
    in_flight: VecDeque<TransferId>,
}

impl Chooser {
    /// A node that has nothing, whose neighbours have half of the pieces from `first` on.
    fn new(first: u32) -> Self {
        let neighbours = NEIGHBOURS as usize;
        let swarm = SwarmConfig { neighbours, neighbours_max: neighbours, ..SwarmConfig::default() };
        let mut node = world::node_among(CoreConfig { swarm, ..CoreConfig::default() }, NEIGHBOURS + 1);
        let size = world::blob_bytes();
        let have = PieceMap::empty(world::PIECES);
        node.handle(Time::ZERO, Input::Want { digest: world::DIGEST, size, have, can_lease: false });
        let mut chooser =
            Self { node, now: Time::ZERO, neighbours: world::ids(NEIGHBOURS + 1), in_flight: VecDeque::new() };
        chooser.neighbours.remove(0);
        let mut random = Stream::new(5, "maps of neighbours");
        for from in chooser.neighbours.clone() {
            let mut have = world::half_of(world::PIECES, &mut random);
            for piece in 0..first {
                have.remove(PieceIndex(piece));
            }
            let hello = ControlMessage::Hello {
                digest: world::DIGEST,
                size,
                have,
                wants: true,
                reply: true,
                load: Load::default(),
            };
            chooser.node.handle(chooser.now, Input::Control { from, message: hello });
            chooser.take();
        }
        assert!(!chooser.in_flight.is_empty(), "the node asks for pieces");
        chooser
    }

    /// The oldest request is fulfilled, and the next one made.
    fn step(&mut self) -> u64 {
        self.now = self.now + Duration::from_micros(100);
        let transfer = self.in_flight.pop_front().expect("a request follows each piece, until all have come");
        let injector = self.neighbours[0];
        self.node.handle(self.now, Input::PieceStored { transfer, injector });
        self.take()
    }

    /// A neighbour says that it got pieces.
    fn have(&mut self, from: MemberId, pieces: PieceRuns) -> u64 {
        let message = ControlMessage::Have { digest: world::DIGEST, pieces, held: 1, load: Load::default() };
        self.node.handle(self.now, Input::Control { from, message });
        self.take()
    }

    /// Notes the requests that the node makes.
    fn take(&mut self) -> u64 {
        let mut sum = 0;
        for output in world::outputs(&mut self.node) {
            if let Output::RequestPiece { transfer, piece, .. } = output {
                self.in_flight.push_back(transfer);
                sum += u64::from(piece.0);
            }
        }
        sum
    }
}

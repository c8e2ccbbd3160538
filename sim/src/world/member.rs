//! One node with its links, its store and its counters.

use shoal_core::{
    event::{FetchFailure, HeldLease, TransferId, UploadId},
    node::Node,
    rng::Stream,
};
use shoal_wire::{control::UpstreamFailure, geometry::PieceIndex, piece_map::PieceMap};

use super::{
    Event,
    event::{BlobId, Bytes, Part},
    setting::LinkSetting,
};
use crate::{
    network::{FlowId, LinkId},
    time::Nanos,
};

/// Transfers' numbers have so many bits; a node's life is above them.
const LIFE_BITS: u32 = 40;

/// A node of the world.
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) is_up: bool,
    /// Whether it damages what it serves, because its disk turns bits.
    pub(super) is_corrupt: bool,
    /// Whether it takes every request and sends nothing.
    pub(super) is_mute: bool,
    /// Whether nothing can be written to its disk.
    pub(super) is_disk_full: bool,
    /// Since when its process is stopped, and what waits for it.
    pub(super) paused: Option<Nanos>,
    pub(super) held_back: Vec<Event>,
    /// How often it has started again.
    pub(super) life: u32,
    /// What the upstream answers it with in place of anything else.
    pub(super) denied: Option<UpstreamFailure>,
    /// Rates of its links while it is not stopped.
    pub(super) link: LinkSetting,
    /// Of such a node: pieces in the order in which they were stored, and the bytes that were stored with each and before.
    pub(super) written: Vec<(Part, u64)>,
    pub(super) zone: u32,
    pub(super) links: NodeLinks,
    pub(super) random: Stream,
    /// When it wants to be woken.
    pub(super) wake_at: Nanos,
    /// The earliest planned wake-up that counts; others are stale.
    pub(super) wake_planned: Nanos,
    /// Whether a look at its transfers is planned.
    pub(super) is_watched: bool,
    /// Whether it has asked the upstream before.
    pub(super) knows_upstream: bool,
    /// Peers that it has had something to do with, ascending, and the number of each pair.
    pub(super) pairs: Vec<(u32, u32)>,
    /// Pieces that it has asked for; a few.
    pub(super) transfers: Vec<Transfer>,
    /// Pieces that it is asked for; a few.
    pub(super) uploads: Vec<Upload>,
    pub(super) fetches: Vec<Fetch>,
    pub(super) stored: Vec<Stored>,
    pub(super) counters: Counters,
}

/// Links of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeLinks {
    pub(super) up: LinkId,
    pub(super) down: LinkId,
    pub(super) cpu: Option<LinkId>,
    pub(super) disk: Option<LinkId>,
}

/// A piece that a node has asked a peer for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) id: TransferId,
    pub(super) uploader: u32,
}

/// A piece that a node is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    pub(super) transfer: TransferId,
    pub(super) requester: u32,
    pub(super) part: Part,
}

/// A run that a node fetches from the upstream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    pub(super) lease: HeldLease,
    pub(super) blob: BlobId,
    /// The piece that is on its way, or will be.
    pub(super) next: u32,
    /// Pieces before this one are stored.
    pub(super) stored: u32,
    /// First piece that is not part of it.
    pub(super) end: u32,
    pub(super) flow: Option<FlowId>,
    pub(super) cap: f64,
    /// How it ended, where no further piece comes.
    pub(super) result: Option<Result<(), FetchFailure>>,
    /// When its last piece was on its way, or it was asked for.
    pub(super) moved_at: Nanos,
    /// When its last piece is stored; no further one is sooner.
    pub(super) stored_at: Nanos,
}

/// What a node has of a blob.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) blob: BlobId,
    pub(super) have: PieceMap,
    /// Pieces before this one are there.
    pub(super) prefix: u32,
    /// When the digest has run along the prefix.
    pub(super) digested_at: Nanos,
    pub(super) is_verified: bool,
    /// Pieces whose bytes are not the blob's, though their vouchers are good.
    pub(super) wrong: Vec<PieceIndex>,
    /// Whether the engine knows that readers want it.
    pub(super) is_wanted: bool,
    /// Pieces in a row that could not be written.
    pub(super) write_failures: u32,
}

impl Stored {
    /// Nothing, or everything.
    pub(super) fn new(blob: BlobId, have: PieceMap, now: Nanos) -> Self {
        let (is_verified, prefix) = (have.is_full(), if have.is_full() { have.pieces() } else { 0 });
        Self {
            blob,
            have,
            prefix,
            digested_at: now,
            is_verified,
            wrong: Vec::new(),
            is_wanted: false,
            write_failures: 0,
        }
    }
}

/// What a node did. Bytes are those of pieces where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of content that are stored.
    pub stored_bytes: u64,
    /// Bytes of content that a reader has: those along the prefix, the last piece once the digest holds.
    pub read_bytes: u64,
    /// Bytes that came from the upstream.
    pub from_upstream_bytes: u64,
    /// Bytes that came from peers in other zones.
    pub from_other_zones_bytes: u64,
    /// Bytes that were there already, or that nobody waited for any more.
    pub duplicate_bytes: u64,
    /// Bytes of damaged pieces.
    pub corrupt_bytes: u64,
    /// Piece requests sent.
    pub requests: u64,
    /// Of these, refused as busy.
    pub busy: u64,
    /// Pieces sent whole.
    pub served: u64,
    /// Bytes of control messages and gossip sent.
    pub control_up_bytes: u64,
    /// Bytes of control messages and gossip received.
    pub control_down_bytes: u64,
}

impl Member {
    /// What it has of a blob.
    pub(super) fn stored(&self, blob: BlobId) -> Option<&Stored> {
        self.stored.iter().find(|stored| stored.blob == blob)
    }

    pub(super) fn stored_mut(&mut self, blob: BlobId) -> Option<&mut Stored> {
        self.stored.iter_mut().find(|stored| stored.blob == blob)
    }

    pub(super) fn has(&self, part: Part) -> bool {
        self.stored(part.blob).is_some_and(|stored| stored.have.has(part.piece))
    }

    pub(super) fn fetch_mut(&mut self, lease: HeldLease) -> Option<&mut Fetch> {
        self.fetches.iter_mut().find(|fetch| fetch.lease == lease)
    }

    /// A transfer's number as no other life of this node has it.
    pub(super) fn in_this_life(&self, transfer: TransferId) -> TransferId {
        TransferId(transfer.0 | u64::from(self.life) << LIFE_BITS)
    }

    /// What its engine calls a transfer; `None` where that is one of an earlier life.
    pub(super) fn own_number(&self, transfer: TransferId) -> Option<TransferId> {
        (transfer.0 >> LIFE_BITS == u64::from(self.life)).then_some(TransferId(transfer.0 & ((1 << LIFE_BITS) - 1)))
    }

    /// What a piece that it sends now is like.
    pub(super) fn bytes_sent(&self, part: Part, memory_bytes: u64) -> Bytes {
        let is_wrong = |stored: &Stored| stored.wrong.contains(&part.piece);
        if self.damages(part, memory_bytes) {
            Bytes::Damaged
        } else if self.stored(part.blob).is_some_and(is_wrong) {
            Bytes::Wrong
        } else {
            Bytes::Right
        }
    }

    /// Whether a piece that it serves now is damaged: read from a disk that turns bits, and not from memory.
    pub(super) fn damages(&self, part: Part, memory_bytes: u64) -> bool {
        if !self.is_corrupt {
            return false;
        }
        let is_complete = self.stored(part.blob).is_some_and(|stored| stored.is_verified);
        let total = self.written.last().map_or(0, |(_, total)| *total);
        let written = self.written.iter().find(|(written, _)| *written == part);
        is_complete || written.is_none_or(|(_, until_then)| total - until_then >= memory_bytes)
    }

    /// Notes what its disk turns bits of.
    pub(super) fn write(&mut self, part: Part, bytes: u64) {
        let before = self.written.last().map_or(0, |(_, total)| *total);
        self.written.push((part, before + bytes));
    }

    /// Takes a transfer off the books; `None` where it is given up already.
    pub(super) fn close(&mut self, transfer: TransferId) -> Option<Transfer> {
        let place = self.transfers.iter().position(|open| open.id == transfer)?;
        Some(self.transfers.swap_remove(place))
    }
}

impl Fetch {
    /// The piece that is on its way.
    pub(super) fn part(&self) -> Part {
        Part { blob: self.blob, piece: PieceIndex(self.next) }
    }
}

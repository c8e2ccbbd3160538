//! What happens in the world, and what whoever runs it hears of.

use shoal_core::event::{HeldLease, Input, TransferFailure, TransferId};
use shoal_wire::{
    control::{Load, NameOutcome, UpstreamFailure},
    geometry::PieceIndex,
    ids::QueryId,
    piece_map::PieceRuns,
    transfer::Urgency,
};

/// Number of a blob in a world, in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub u32);

/// A piece of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) blob: BlobId,
    pub(super) piece: PieceIndex,
}

/// One thing that happens, planned for a time. Small, because tens of thousands are planned at any time.
#[derive(Debug)]
pub(super) enum Event {
    /// A node's timer fires.
    Wake { node: u32 },
    /// Something reaches a node.
    Input { node: u32, input: Box<Input> },
    /// A neighbour's news of pieces: most of all events, so it takes little room.
    Have { node: u32, from: u32, blob: BlobId, pieces: PieceRuns, held: u32, load: Load },
    /// A peer's word that it has room.
    SlotFree { node: u32, from: u32, load: Load },
    /// A piece request reaches its uploader.
    Asked { uploader: u32, requester: u32, transfer: TransferId, part: Part, urgency: Urgency, held: u32 },
    /// The uploader learns that a request is given up.
    GivenUp { uploader: u32, requester: u32, transfer: TransferId },
    /// A refusal reaches the node that asked.
    Refused { node: u32, transfer: TransferId, failure: TransferFailure },
    /// A piece from a peer is gathered, verified and written.
    Received { requester: u32, uploader: u32, transfer: TransferId, part: Part, bytes: Bytes },
    /// Transfers under way to a node are looked at.
    Progress { node: u32 },
    /// A connection's window has grown.
    Widened { pair: u32, direction: u8 },
    /// Two nodes lose their connection; the first notices.
    Lost { node: u32, peer: u32 },
    /// The upstream begins to answer a fetch.
    FetchOpens { node: u32, lease: HeldLease },
    /// The window of a fetch has grown.
    FetchWidened { node: u32, lease: HeldLease },
    /// A piece from the upstream is verified and written.
    Fetched { node: u32, lease: HeldLease, part: Part },
    /// The digest of a whole blob is computed.
    Digested { node: u32, blob: BlobId },
    /// Two nodes lose a connection to a life of the second that is over, unless the first has noticed before.
    Orphaned { node: u32, peer: u32, life: u32 },
    /// Connections may have been silent for the idle timeout.
    Silence,
    /// A node's process ends after it announced its departure.
    Stopped { node: u32, life: u32 },
    /// Fetches may have waited too long for an upstream that stalls.
    Stalled,
    /// What the runner asked to be told.
    Alarm { token: u64 },
}

/// What is right or wrong with the bytes of a piece on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// They are the blob's.
    Right,
    /// They do not match their voucher, so that whoever receives them notices.
    Damaged,
    /// They match their voucher and are not the blob's: the upstream sent others.
    Wrong,
}

impl Event {
    /// The node whose process takes part in it; `None` where none does, or where a stopped process looks for itself.
    pub(super) fn process(&self) -> Option<u32> {
        match *self {
            Self::Input { node, .. }
            | Self::Have { node, .. }
            | Self::SlotFree { node, .. }
            | Self::Refused { node, .. }
            | Self::Progress { node }
            | Self::FetchOpens { node, .. }
            | Self::Fetched { node, .. }
            | Self::Digested { node, .. }
            | Self::Stopped { node, .. } => Some(node),
            Self::Asked { uploader, .. } | Self::GivenUp { uploader, .. } => Some(uploader),
            Self::Received { requester, .. } => Some(requester),
            Self::Wake { .. }
            | Self::Widened { .. }
            | Self::Lost { .. }
            | Self::Orphaned { .. }
            | Self::FetchWidened { .. }
            | Self::Silence
            | Self::Stalled
            | Self::Alarm { .. } => None,
        }
    }

    /// Something reaches a node.
    pub(super) fn input(node: u32, input: Input) -> Self {
        Self::Input { node, input: Box::new(input) }
    }
}

/// What whoever runs the world hears of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The first byte of a blob can be read at a node.
    Begun {
        /// Where.
        node: u32,
        /// Of which blob.
        blob: BlobId,
    },
    /// A node has all of a blob, with the right digest.
    Finished {
        /// Where.
        node: u32,
        /// Which blob.
        blob: BlobId,
    },
    /// A node cannot get a blob.
    Failed {
        /// Where.
        node: u32,
        /// Which blob.
        blob: BlobId,
        /// Why.
        failure: UpstreamFailure,
    },
    /// The bytes of a blob at a node are not those of its digest: they are discarded, and its readers ended.
    Corrupt {
        /// Where.
        node: u32,
        /// Which blob.
        blob: BlobId,
    },
    /// A node's disk failed: the blob's readers ended.
    Broken {
        /// Where.
        node: u32,
        /// Which blob.
        blob: BlobId,
    },
    /// A node's process ended after it announced its departure.
    Stopped {
        /// Where.
        node: u32,
    },
    /// A name that was asked for at a node is answered.
    Answered {
        /// Where.
        node: u32,
        /// Which question.
        query: QueryId,
        /// The answer.
        outcome: NameOutcome,
    },
    /// A time has come.
    Alarm {
        /// What was passed with it.
        token: u64,
    },
}

//! What goes into a [`crate::node::Node`] and what comes out of it.

use std::{net::SocketAddr, sync::Arc};

use shoal_wire::{
    control::{ControlMessage, Load, NameOutcome, UpstreamFailure},
    digest::Digest,
    geometry::PieceIndex,
    gossip::GossipPacket,
    ids::{LeaseId, MemberId, QueryId},
    member::MemberRecord,
    name::Name,
    piece_map::PieceMap,
    transfer::Urgency,
};

/// Number of a piece transfer that this node asked for, unique in this node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// Number of a piece request that a peer sent to this node, chosen by the driver, unique in this node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub u64);

/// Number of a question to an upstream about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// A lease as its holder knows it: lease numbers are unique only at the home that gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldLease {
    /// The home that gave it.
    pub home: MemberId,
    /// Its number there.
    pub lease: LeaseId,
}

/// Everything that can happen to a node.
#[derive(Debug)]
pub enum Input {
    /// The time of [`crate::node::Node::next_timeout`] has come. Early or extra ones do no harm.
    Timeout,

    /// A gossip datagram arrived, opened and decoded.
    Gossip {
        /// Address that it came from.
        from: SocketAddr,
        /// Its contents.
        packet: GossipPacket,
    },
    /// A control message arrived on an authenticated connection.
    Control {
        /// Who sent it.
        from: MemberId,
        /// The message.
        message: ControlMessage,
    },
    /// A connection could not be made or was lost; control messages sent to this member may not have arrived.
    ControlLost {
        /// The member that was not reached.
        to: MemberId,
    },

    /// Join the cluster through any of these addresses. Repeated whenever the driver has resolved them anew.
    Seeds(Vec<SocketAddr>),
    /// Announce the departure. The driver goes on draining outputs for a moment.
    Leave,

    /// A local reader asks what a name stands for. Answered by [`Output::Answer`].
    Resolve {
        /// Chosen by the driver; unique among open questions.
        query: QueryId,
        /// The name.
        name: Name,
    },
    /// What the upstream said to an [`Output::AskUpstream`].
    UpstreamSaid {
        /// Of the question.
        lookup: LookupId,
        /// The answer.
        outcome: NameOutcome,
    },

    /// A local reader wants this blob. The driver has opened its store for it.
    Want {
        /// Of the blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// Pieces in the store, verified.
        have: PieceMap,
        /// Whether the driver can fetch it from an upstream.
        can_lease: bool,
    },
    /// No local reader wants this blob any more, and it is not complete.
    Unwant {
        /// Of the blob.
        digest: Digest,
    },
    /// The store holds this blob, complete and verified, from an earlier life.
    Hold {
        /// Of the blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// The store dropped this blob.
    Dropped {
        /// Of the blob.
        digest: Digest,
    },
    /// A reader waits for these pieces before all others; replaces what was demanded before. Ascending.
    Demand {
        /// Of the blob.
        digest: Digest,
        /// The pieces, at most a few.
        pieces: Vec<PieceIndex>,
    },
    /// How far the readers of a wanted blob are, where each of them reads all of it from its start; replaces what was said
    /// before. Where nobody else wants the blob, pieces far ahead of them are not asked for yet.
    ReadersAt {
        /// Of the blob.
        digest: Digest,
        /// The piece at which the first of them is; `None` where some read otherwise or have not begun.
        piece: Option<PieceIndex>,
    },

    /// A piece arrived from a peer, is verified against its voucher, and is in the store.
    PieceStored {
        /// Of the request.
        transfer: TransferId,
        /// Who vouched for it.
        injector: MemberId,
    },
    /// Some of a piece's bytes arrived. Reported at most a few times a second for each transfer.
    PieceProgress {
        /// Of the request.
        transfer: TransferId,
    },
    /// A piece did not arrive.
    PieceFailed {
        /// Of the request.
        transfer: TransferId,
        /// Why.
        failure: TransferFailure,
    },

    /// A peer asks for a piece. Answered by [`Output::Serve`] or [`Output::Refuse`], at once or when a slot frees.
    PieceRequested {
        /// Chosen by the driver.
        upload: UploadId,
        /// Who asks.
        from: MemberId,
        /// Of the blob.
        digest: Digest,
        /// Which piece.
        piece: PieceIndex,
        /// How soon it is needed.
        urgency: Urgency,
        /// Pieces of the blob that it has.
        held: u32,
    },
    /// An upload that was served, or waits, has ended: sent, cancelled by the peer, or failed.
    UploadEnded {
        /// Of the request.
        upload: UploadId,
    },

    /// A piece of a lease came from the upstream and is in the store.
    LeasePiece {
        /// Of the lease.
        lease: HeldLease,
        /// Of the blob.
        digest: Digest,
        /// Which piece. Pieces of a lease ascend.
        piece: PieceIndex,
    },
    /// A lease's fetch ended: all its pieces came, it was cut, or the upstream failed.
    LeaseEnded {
        /// Of the lease.
        lease: HeldLease,
        /// Of the blob.
        digest: Digest,
        /// How it ended.
        result: Result<(), FetchFailure>,
    },

    /// The whole blob has the digest that it should have.
    Verified {
        /// Of the blob.
        digest: Digest,
    },
    /// The whole blob does not have its digest. The driver has discarded all of its pieces.
    Corrupt {
        /// Of the blob.
        digest: Digest,
    },
}

/// Why a fetch from an upstream ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// The upstream failed.
    Upstream(UpstreamFailure),
    /// The upstream ignores ranges. The driver holds the open body at byte 0 for a moment; an
    /// [`Output::FetchUpstream`] that starts at piece 0 takes it over.
    NoRanges,
}

/// Why a piece did not arrive from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferFailure {
    /// The peer's slots are taken.
    Busy(Load),
    /// The peer does not have the piece.
    NotHeld,
    /// No connection, or it broke.
    Unreachable,
    /// The bytes do not match the voucher, or the voucher is not good: the peer's fault.
    Corrupt,
    /// This node's store failed: nobody's fault but ours.
    Store,
}

/// Everything that a node asks its driver to do.
#[derive(Debug)]
pub enum Output {
    /// Send a gossip datagram.
    Gossip {
        /// Where to.
        to: SocketAddr,
        /// Its contents.
        packet: GossipPacket,
    },
    /// Send a control message: in order for each member, reliably while the connection lasts.
    Control {
        /// To whom.
        to: MemberId,
        /// The message.
        message: ControlMessage,
    },

    /// Answers [`Input::Resolve`].
    Answer {
        /// Of the question.
        query: QueryId,
        /// The answer.
        outcome: NameOutcome,
    },
    /// Ask an upstream what a name stands for. Answered by [`Input::UpstreamSaid`].
    AskUpstream {
        /// Returned in the answer.
        lookup: LookupId,
        /// The name.
        name: Name,
    },

    /// Ask a peer for a piece. Ends with [`Input::PieceStored`] or [`Input::PieceFailed`].
    RequestPiece {
        /// Returned with the result.
        transfer: TransferId,
        /// Whom to ask.
        from: MemberId,
        /// Of the blob.
        digest: Digest,
        /// Which piece.
        piece: PieceIndex,
        /// How soon it is needed.
        urgency: Urgency,
        /// Pieces of the blob that this node has.
        held: u32,
    },
    /// Give up a transfer: its stream is reset, and no result is expected.
    CancelTransfer {
        /// Of the request.
        transfer: TransferId,
    },

    /// Send the piece that was asked for. Ends with [`Input::UploadEnded`].
    Serve {
        /// Of the request.
        upload: UploadId,
    },
    /// Refuse the piece that was asked for; the upload is over.
    Refuse {
        /// Of the request.
        upload: UploadId,
        /// Why: busy with this load, or not held.
        refusal: Refusal,
    },

    /// Fetch pieces from the upstream, in ascending order, and share each as soon as it is stored.
    FetchUpstream {
        /// Of the lease.
        lease: HeldLease,
        /// Of the blob.
        digest: Digest,
        /// First piece.
        first: PieceIndex,
        /// Number of pieces, at least 1.
        count: u32,
    },
    /// Fetch nothing at or past `end` for this lease; at or before its position the fetch is aborted.
    CutFetch {
        /// Of the lease.
        lease: HeldLease,
        /// First piece that is no longer part of it.
        end: PieceIndex,
    },

    /// Nobody in the cluster can get the blob: its readers fail. The blob is no longer wanted.
    BlobFailed {
        /// Of the blob.
        digest: Digest,
        /// Why nobody can get it.
        failure: UpstreamFailure,
    },

    /// Membership changed.
    Member(MemberEvent),
}

/// Why a piece is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All slots and the queue are taken.
    Busy(Load),
    /// This node does not have the piece.
    NotHeld,
}

/// A change of membership that the driver must know: whose keys are good, and whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// A member is known and alive, for the first time, again, or with a new record.
    Up(Arc<MemberRecord>),
    /// A member is suspected. It still counts as alive.
    Suspected(MemberId),
    /// A member is dead. Its key stays known, because pieces that it vouched for are still about.
    Dead(MemberId),
    /// A member announced its departure.
    Left(MemberId),
    /// A dead or departed member is forgotten, and its key with it.
    Forgotten(MemberId),
}

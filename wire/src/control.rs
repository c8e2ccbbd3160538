//! Control messages: what members tell each other over the reliable control stream of their QUIC connection.
//!
//! They are small. Piece bytes never travel in them; see [`crate::transfer`].

use serde::{Deserialize, Serialize};

use crate::{
    bounded::{List, Pieces},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    gossip::ReliableMessage,
    ids::{LeaseId, MemberId, QueryId},
    limits::{GATEWAYS_PER_ZONE, LEASES_PER_ANNOUNCEMENT, PEERS_PER_ANSWER, PIECES_MAX},
    name::{Descriptor, Name},
    piece_map::{PieceMap, PieceRuns},
};

/// One control message. Groups: names and leases between nodes and homes, have-maps between neighbours, membership.
///
/// What is large and rare lies in boxes: nearly all messages are news of pieces, and are moved several times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlMessage {
    /// Membership's reliable part: snapshots for joiners, state exchange, the fallback probe.
    Membership(ReliableMessage),

    /// To a home of `name`: what does it stand for?
    Resolve {
        /// Returned in the answer.
        query: QueryId,
        /// What is asked for.
        name: Box<Name>,
    },
    /// A home's answer to [`ControlMessage::Resolve`].
    Resolution {
        /// Of the question.
        query: QueryId,
        /// What the home knows.
        answer: Box<NameAnswer>,
    },
    /// To all homes of `name`: what an upstream said about it.
    Publish {
        /// What was asked.
        name: Box<Name>,
        /// What the upstream said.
        outcome: Box<NameOutcome>,
    },

    /// To a home: the sender wants or holds the blob. Repeated at the interval that the home asks for, and at once on
    /// completion. It carries all that a home needs, so that any home can take over from nothing.
    Announce(Box<Announcement>),
    /// A home's answer to [`ControlMessage::Announce`].
    Peers {
        /// Of the blob.
        digest: Digest,
        /// Members to exchange pieces with; at most [`PEERS_PER_ANSWER`].
        #[serde(with = "List::<PEERS_PER_ANSWER>")]
        peers: Vec<MemberId>,
        /// Those who bring pieces into the receiver's zone, in the order of the turns that they take; at most
        /// [`GATEWAYS_PER_ZONE`]. Everybody else there asks inside the zone. Empty where anybody may ask anywhere.
        #[serde(with = "List::<GATEWAYS_PER_ZONE>")]
        gateways: Vec<MemberId>,
        /// Whether the answerer leases upstream runs for this blob. Followers only keep announcements.
        coordinates: bool,
        /// Milliseconds until the next announcement is expected.
        refresh_ms: u32,
    },
    /// To the homes: the sender neither wants nor holds the blob any more.
    Withdraw {
        /// Of the blob.
        digest: Digest,
    },
    /// From the coordinating home: fetch these pieces from the upstream, in ascending order.
    Lease {
        /// Of the blob.
        digest: Digest,
        /// Number of the lease.
        lease: LeaseId,
        /// First piece.
        first: PieceIndex,
        /// Number of pieces, at least 1; the run ends at or before [`PIECES_MAX`].
        #[serde(with = "Pieces::<1>")]
        count: u32,
    },
    /// From the lease holder: everything before `next` is fetched, verified and shared.
    LeaseProgress {
        /// Of the blob.
        digest: Digest,
        /// Of the lease.
        lease: LeaseId,
        /// First piece that is not done yet.
        next: PieceIndex,
    },
    /// From the lease holder: the lease ended, done or not.
    LeaseReturned {
        /// Of the blob.
        digest: Digest,
        /// Of the lease.
        lease: LeaseId,
        /// First piece that was not done.
        next: PieceIndex,
        /// Why it ended.
        end: LeaseEnd,
    },
    /// From the coordinating home: fetch nothing at or past `end` for this lease.
    LeaseCut {
        /// Of the blob.
        digest: Digest,
        /// Of the lease.
        lease: LeaseId,
        /// First piece that is no longer part of it.
        end: PieceIndex,
    },
    /// From the coordinating home: nobody can get the blob, and why.
    SwarmFailed {
        /// Of the blob.
        digest: Digest,
        /// Why.
        failure: UpstreamFailure,
    },

    /// To a neighbour in a blob's swarm: the sender's have-map. Answered with the same unless `reply` is set.
    Hello {
        /// Of the blob.
        digest: Digest,
        /// Size of the blob in bytes.
        size: u64,
        /// What the sender has: a map of as many pieces as a blob of `size` bytes has.
        have: PieceMap,
        /// Whether the sender still wants pieces.
        wants: bool,
        /// Whether this answers a [`ControlMessage::Hello`].
        reply: bool,
        /// The sender's load.
        load: Load,
    },
    /// To a neighbour: pieces that the sender got. One that has them all is told now and then only.
    Have {
        /// Of the blob.
        digest: Digest,
        /// The new pieces.
        pieces: PieceRuns,
        /// Pieces that the sender has in all, at most [`PIECES_MAX`]: more than its neighbours have heard of.
        #[serde(with = "Pieces::<0>")]
        held: u32,
        /// The sender's load.
        load: Load,
    },
    /// To a member that was refused with BUSY: there is room again.
    SlotFree {
        /// The sender's load.
        load: Load,
    },
    /// To a neighbour: the sender left this blob's swarm and serves it no more.
    Part {
        /// Of the blob.
        digest: Digest,
    },
}

impl ControlMessage {
    /// What must hold between the fields of a message, so that a receiver can rely on it.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Lease { first, count, .. } if first.0.saturating_add(*count) > PIECES_MAX => {
                Err("a lease past the largest blob")
            }
            Self::Hello { size, have, .. } => check_map(*size, have),
            Self::Announce(announcement) => {
                check_map(announcement.size, &announcement.have)?;
                let backwards = announcement.leases.iter().any(|span| span.next > span.end);
                if backwards { Err("a lease that ends before its next piece") } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

fn check_map(size: u64, have: &PieceMap) -> Result<(), &'static str> {
    let geometry = Geometry::of(size).map_err(|_| "a blob larger than the protocol can describe")?;
    if geometry.pieces() == have.pieces() { Ok(()) } else { Err("a piece map of a blob of another size") }
}

/// What a node tells a home about a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Pieces that the sender has, verified: a map of as many pieces as a blob of `size` bytes has.
    pub have: PieceMap,
    /// Whether the sender wants the rest.
    pub wants: bool,
    /// Whether the sender can fetch from an upstream.
    pub can_lease: bool,
    /// Whether the sender asks the receiver to coordinate because a better home did not answer.
    pub takeover: bool,
    /// Leases that the sender is working on, whichever home gave them; at most [`LEASES_PER_ANNOUNCEMENT`].
    #[serde(with = "List::<LEASES_PER_ANNOUNCEMENT>")]
    pub leases: Vec<LeaseSpan>,
    /// Peers that did not answer the sender lately; at most [`PEERS_PER_ANSWER`]. Until they announce themselves
    /// again, the home does not count on what they have.
    #[serde(with = "List::<PEERS_PER_ANSWER>")]
    pub unreachable: Vec<MemberId>,
}

/// The rest of a lease, as its holder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSpan {
    /// Number of the lease at the home that gave it.
    pub lease: LeaseId,
    /// First piece that is not done.
    pub next: PieceIndex,
    /// First piece past the lease, not before `next`.
    pub end: PieceIndex,
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseEnd {
    /// All pieces were fetched, or the lease was cut where it stood.
    Done,
    /// The upstream failed.
    Failed(UpstreamFailure),
    /// The upstream ignores ranges and sends the whole blob: the holder keeps reading if it is leased everything.
    NoRanges,
    /// The holder no longer wants the blob.
    Abandoned,
}

/// Why an upstream does not deliver, with the consequence of each for the swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UpstreamFailure {
    /// 404: final for the whole cluster, for a short time.
    NotFound,
    /// 401 or 403: this node may not; another may.
    Denied,
    /// 429 or 503 with `Retry-After`: everybody waits.
    RateLimited {
        /// Seconds to wait.
        retry_after_s: u16,
    },
    /// 5xx, no connection, or a broken body: tried again later.
    Unavailable,
    /// The content does not have the digest that was asked for.
    WrongContent,
    /// No upstream is configured for the name.
    NoUpstream,
}

/// What a home answers about a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameAnswer {
    /// Known.
    Outcome(NameOutcome),
    /// Not known, or no longer fresh: the asker asks an upstream and publishes what it says.
    AskUpstream,
    /// Somebody else is asking an upstream; the answer follows.
    Pending,
}

/// What is known about a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameOutcome {
    /// It stands for this content.
    Found(Descriptor),
    /// It could not be found out.
    Failed(UpstreamFailure),
}

/// How busy a node's upload side is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Load {
    /// Pieces being sent.
    pub active: u8,
    /// Pieces waiting for a slot.
    pub queued: u8,
}

//! One piece on one QUIC stream: a request header one way; a reply header and the raw bytes the other way.

use serde::{Deserialize, Serialize};

use crate::{
    bounded::{Bytes, Pieces},
    control::Load,
    digest::Digest,
    geometry::PieceIndex,
    ids::{MemberId, PieceHash},
    limits::SIGNATURE_BYTES,
};

/// Asks for one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceRequest {
    /// Of the blob.
    pub digest: Digest,
    /// Which piece.
    pub piece: PieceIndex,
    /// How soon it is needed.
    pub urgency: Urgency,
    /// Pieces of the blob that the asker has, at most [`crate::limits::PIECES_MAX`]: those that have fewest go first.
    #[serde(with = "Pieces::<0>")]
    pub held: u32,
}

/// How soon a piece is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Urgency {
    /// Part of a whole blob.
    Bulk,
    /// A reader waits for just this piece.
    OnDemand,
}

/// Leads the answer to a [`PieceRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PieceReply {
    /// The piece's bytes follow, as many as the blob's geometry says, and then the end of the stream.
    Sending(Voucher),
    /// All upload slots and the queue are taken; [`crate::control::ControlMessage::SlotFree`] says when to ask again.
    Busy(Load),
    /// The sender does not have the piece.
    NotHeld,
}

/// The word of the node that brought a piece into the cluster, or that has since verified the whole blob: this piece
/// has this hash. Receivers check the bytes against it, so that whoever passes a piece on cannot change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// Who vouches.
    pub injector: MemberId,
    /// BLAKE3 hash of the piece's bytes.
    pub hash: PieceHash,
    /// Ed25519 signature of [`Voucher::signed_bytes`] by the injector; exactly [`SIGNATURE_BYTES`] bytes.
    #[serde(with = "Bytes::<SIGNATURE_BYTES>")]
    pub signature: Vec<u8>,
}

impl Voucher {
    /// The bytes that the signature covers. They bind the hash to one piece of one blob.
    pub fn signed_bytes(digest: &Digest, piece: PieceIndex, hash: &PieceHash) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(b"shoal piece voucher v1\0");
        bytes.extend_from_slice(digest.algorithm().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(digest.bytes());
        bytes.extend_from_slice(&piece.0.to_be_bytes());
        bytes.extend_from_slice(&hash.0);
        bytes
    }
}

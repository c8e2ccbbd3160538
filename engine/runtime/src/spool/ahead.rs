//! Pieces that come in order: their own hash and their blob's digest in one pass, once they are whole.
//!
//! Whether a piece is what it should be is known only once it is hashed, and the digest runs along pieces that are
//! stored. So the digest after a piece waits here until a piece with the same hash is stored; another leaves no trace
//! in the digest. Where a piece does not come in its turn the digest reads it later, as it does where one pass is not
//! possible.

use std::{collections::VecDeque, sync::Arc};

use shoal_hash::{Sha256, hash_piece, is_one_pass};
use shoal_wire::{digest::Digest, geometry::PieceIndex, ids::PieceHash};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    blob::{Blob, Phase, State},
    prefix::{Hasher, Prefix},
};
use crate::memory::PieceBytes;

/// Bytes from the first that the digest lacks on, of pieces that are hashed once they are whole: as many as come at
/// once for a reader (`reader_ahead_bytes`), and half as many again.
const AHEAD_BYTES: u64 = 48 * 1024 * 1024;

/// Bytes of the smallest pieces that are hashed once they are whole. Of smaller ones more than a few come at once,
/// and few of them in their turn (measured: docs/benchmarks.md).
const IN_ORDER_BYTES: u64 = 8 * 1024 * 1024;

/// SHA-256 after each of some pieces in a row, of which none has gone into the digest; none lies further ahead than
/// [`AHEAD_BYTES`].
#[derive(Default)]
pub(super) struct Ahead {
    after: VecDeque<After>,
    /// Another one after the blob began again, or what was hashed ahead was given up: what somebody still computes
    /// from that is not kept.
    generation: Arc<()>,
}

/// SHA-256 of a blob up to the end of `piece`, if that has this hash, and those before it had theirs.
struct After {
    piece: PieceIndex,
    hash: PieceHash,
    sha256: Sha256,
}

impl Prefix {
    /// SHA-256 of all before `piece`, where it is known.
    fn before(&self, piece: PieceIndex) -> Option<Sha256> {
        if piece.0 == self.next {
            return match &self.hasher {
                Some(Hasher::Sha256(sha256)) => Some(sha256.clone()),
                _ => None,
            };
        }
        let before = self.ahead.after.iter().find(|after| after.piece.0 + 1 == piece.0);
        before.map(|after| after.sha256.clone())
    }

    /// Keeps what was computed from [`Prefix::before`] in `generation`, unless the digest has moved on meanwhile.
    fn keep(&mut self, after: After, generation: &Arc<()>) {
        if !Arc::ptr_eq(&self.ahead.generation, generation) {
            return;
        }
        let kept = &mut self.ahead.after;
        if kept.iter().any(|other| (other.piece, other.hash) == (after.piece, after.hash)) {
            return;
        }
        kept.retain(|other| other.piece.0 < after.piece.0);
        let first = kept.front().map_or(after.piece.0, |first| first.piece.0);
        let follows = kept.back().is_none_or(|last| last.piece.0 + 1 == after.piece.0);
        if first == self.next && follows {
            kept.push_back(after);
        } else {
            // The digest has read the first of them itself, and nobody has compared their hashes.
            self.ahead = Ahead::default();
        }
    }
}

impl State {
    /// Goes on by a piece that is announced and was hashed ahead, and returns SHA-256 after it.
    pub(super) fn hashed_ahead(&mut self) -> Option<Sha256> {
        let next = PieceIndex(self.prefix.next);
        if !self.announced.has(next) {
            return None;
        }
        let after = self.prefix.ahead.after.pop_front()?;
        if after.piece != next || self.voucher_hash(next) != Some(after.hash) {
            self.prefix.ahead = Ahead::default();
            return None;
        }
        self.prefix.next += 1;
        Some(after.sha256)
    }
}

impl Blob {
    /// Whether `piece` is best hashed once it is whole, with [`Blob::hash_whole`]: the digest is about to need it,
    /// and no peer waits for it.
    pub(crate) fn hashes_whole(&self, piece: PieceIndex) -> bool {
        let can = is_one_pass() && matches!(self.digest(), Digest::Sha256(_));
        if !can || self.is_asked() || self.geometry().piece_bytes() < IN_ORDER_BYTES {
            return false;
        }
        let state = self.state();
        state.phase == Phase::Filling && self.is_near(piece, &state.prefix)
    }

    fn is_near(&self, piece: PieceIndex, prefix: &Prefix) -> bool {
        let near = AHEAD_BYTES / self.geometry().piece_bytes();
        (prefix.next..).contains(&piece.0) && u64::from(piece.0 - prefix.next) < near
    }

    /// The turn to hash whole pieces, one at a time, so that each finds the digest after the one before. Cancel-safe.
    pub(crate) async fn turn_to_hash(&self) -> OwnedSemaphorePermit {
        self.hashing.clone().acquire_owned().await.expect("it is never closed")
    }

    /// The hash of a whole piece; and, where the digest before it is known, the digest after it, in the same pass.
    /// Blocking.
    pub(crate) fn hash_whole(&self, piece: PieceIndex, bytes: &PieceBytes) -> PieceHash {
        let (before, generation) = {
            let state = self.state();
            let before = if self.is_near(piece, &state.prefix) { state.prefix.before(piece) } else { None };
            (before, state.prefix.ahead.generation.clone())
        };
        let Some(mut sha256) = before else {
            let mut hasher = blake3::Hasher::new();
            for chunk in bytes.chunks() {
                hasher.update(chunk);
            }
            return PieceHash(*hasher.finalize().as_bytes());
        };
        let hash = PieceHash(*hash_piece(bytes.chunks(), &mut sha256).as_bytes());
        self.state().prefix.keep(After { piece, hash, sha256 }, &generation);
        hash
    }
}

#[cfg(test)]
mod tests;

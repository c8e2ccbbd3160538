//! Pieces that come in order: their own hash and their blob's digest in one pass, once they are whole.
//!
//! Whether a piece is what it should be is known only once it is hashed, and the digest runs along pieces that are stored. So
//! the digest after a piece waits here until a piece with the same hash is stored; another leaves no trace in the digest.
//! Where a piece does not come in its turn the digest reads it later, as it does where one pass is not possible.

use std::{collections::VecDeque, sync::Arc};

use shoal_hash::{Sha256, hash_piece, is_one_pass};
use shoal_wire::{digest::Digest, geometry::PieceIndex, ids::PieceHash};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    blob::{Blob, Phase, State},
    prefix::{Hasher, Prefix},
};
use crate::memory::PieceBytes;

/// Pieces from the first that the digest lacks on that are hashed once they are whole: as many as come at once for a reader
/// (`reader_ahead_bytes`), and one more.
const AHEAD_MAX: u32 = 4;

/// Bytes from which on one pass is worth a job of its own.
const ONE_PASS_BYTES: u64 = 128 * 1024;

/// SHA-256 after each of some pieces in a row, of which none has gone into the digest; at most [`AHEAD_MAX`].
#[derive(Default)]
pub(super) struct Ahead {
    after: VecDeque<After>,
    /// Another after the blob began again.
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

    fn is_near(&self, piece: PieceIndex) -> bool {
        (self.next..self.next.saturating_add(AHEAD_MAX)).contains(&piece.0)
    }

    /// Keeps what was computed from [`Prefix::before`], unless the digest has moved on or begun again meanwhile.
    fn keep(&mut self, after: After, generation: &Arc<()>) {
        if !Arc::ptr_eq(&self.ahead.generation, generation) || !self.is_near(after.piece) {
            return;
        }
        let kept = &mut self.ahead.after;
        kept.retain(|other| other.piece.0 < after.piece.0);
        let follows = kept.back().map_or(self.next, |last| last.piece.0 + 1) == after.piece.0;
        if follows {
            kept.push_back(after);
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
            self.prefix.ahead.after.clear();
            return None;
        }
        self.prefix.next += 1;
        Some(after.sha256)
    }
}

impl Blob {
    /// Whether `piece` is best hashed once it is whole, with [`Blob::hash_whole`]: the digest is about to need it, and no peer
    /// waits for it.
    pub(crate) fn hashes_whole(&self, piece: PieceIndex) -> bool {
        let can = is_one_pass() && matches!(self.digest(), Digest::Sha256(_));
        if !can || self.is_asked() || self.geometry().len(piece) < ONE_PASS_BYTES {
            return false;
        }
        let state = self.state();
        state.phase == Phase::Filling && state.prefix.is_near(piece)
    }

    /// The turn to hash whole pieces, one at a time, so that each finds the digest after the one before. Cancel-safe.
    pub(crate) async fn turn_to_hash(&self) -> OwnedSemaphorePermit {
        self.hashing.clone().acquire_owned().await.expect("it is never closed")
    }

    /// The hash of a whole piece; and, where the digest before it is known, the digest after it, in the same pass. Blocking.
    pub(crate) fn hash_whole(&self, piece: PieceIndex, bytes: &PieceBytes) -> PieceHash {
        let (before, generation) = {
            let state = self.state();
            (state.prefix.before(piece), state.prefix.ahead.generation.clone())
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
        self.metrics.pieces_hashed_with_digest.increment();
        hash
    }
}

#[cfg(test)]
mod tests;

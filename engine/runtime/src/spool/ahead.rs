//! Pieces that come in order: their own hash and their blob's digest in one pass, once they are whole.
//!
//! Whether a piece is what it should be is known only once it is hashed, and the digest runs along pieces that are
//! stored. So the digest after a piece waits here until a piece with the same hash is stored; another leaves no trace
//! in the digest. A piece that does not come in its turn is hashed alone. The digest reads it later, as it does where one
//! pass is not possible, or from memory as soon as a piece after it needs the digest before its own.

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
    /// Whether both hashes were computed at once.
    in_one_pass: bool,
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

    /// The first piece that SHA-256 has not come past, and SHA-256 of all before it. `None` while a job has the hasher and
    /// nothing is hashed ahead.
    fn furthest(&self) -> Option<(PieceIndex, Sha256)> {
        if let Some(last) = self.ahead.after.back() {
            return Some((PieceIndex(last.piece.0 + 1), last.sha256.clone()));
        }
        match &self.hasher {
            Some(Hasher::Sha256(sha256)) => Some((PieceIndex(self.next), sha256.clone())),
            _ => None,
        }
    }

    /// Keeps what was computed from [`Prefix::before`] or [`Prefix::furthest`] in `generation`, unless that is over.
    fn keep(&mut self, after: After, generation: &Arc<()>) {
        if !Arc::ptr_eq(&self.ahead.generation, generation) {
            return;
        }
        let kept = &mut self.ahead.after;
        if kept.iter().any(|other| (other.piece, other.hash) == (after.piece, after.hash)) {
            return;
        }
        if kept.back().is_some_and(|last| last.piece.0 >= after.piece.0) {
            kept.retain(|other| other.piece.0 < after.piece.0);
            self.ahead.generation = Arc::default();
        }
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
    /// Goes on by a piece that is announced and was hashed ahead. Returns SHA-256 after it, and whether that was computed
    /// in one pass with the piece's own hash.
    pub(super) fn hashed_ahead(&mut self) -> Option<(Sha256, bool)> {
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
        Some((after.sha256, after.in_one_pass))
    }
}

impl Blob {
    /// Whether this blob's pieces and its digest are hashed in turn: both in one pass, where pieces are large and no peer
    /// waits for them.
    pub(crate) fn hashes_in_turn(&self) -> bool {
        let can = is_one_pass() && matches!(self.digest(), Digest::Sha256(_));
        can && !self.is_asked() && self.geometry().piece_bytes() >= IN_ORDER_BYTES
    }

    /// Whether `piece` is best hashed once it is whole, with [`Blob::hash_whole`]: the digest is about to need it.
    pub(crate) fn hashes_whole(&self, piece: PieceIndex) -> bool {
        if !self.hashes_in_turn() {
            return false;
        }
        let state = self.state();
        state.phase == Phase::Filling && self.is_near(piece, &state.prefix)
    }

    fn is_near(&self, piece: PieceIndex, prefix: &Prefix) -> bool {
        (prefix.next..).contains(&piece.0) && u64::from(piece.0 - prefix.next) < self.pieces_ahead()
    }

    fn pieces_ahead(&self) -> u64 {
        AHEAD_BYTES / self.geometry().piece_bytes()
    }

    /// The turn to hash a whole piece or, while the blob [hashes in turn](Blob::hashes_in_turn), to run the digest; one at a
    /// time, so that each piece finds the digest after the one before. Cancel-safe.
    pub(crate) async fn turn_to_hash(&self) -> OwnedSemaphorePermit {
        self.hashing.clone().acquire_owned().await.expect("it is never closed")
    }

    /// The hash of a whole piece; and, where the digest before it is known or can be had from memory, the digest after it,
    /// in the same pass. Blocking.
    pub(crate) fn hash_whole(&self, piece: PieceIndex, bytes: &PieceBytes) -> PieceHash {
        let (before, generation) = self.sha256_before(piece);
        let Some(mut sha256) = before else {
            let mut hasher = blake3::Hasher::new();
            for chunk in bytes.chunks() {
                hasher.update(chunk);
            }
            return PieceHash(*hasher.finalize().as_bytes());
        };
        let hash = PieceHash(*hash_piece(bytes.chunks(), &mut sha256).as_bytes());
        self.state().prefix.keep(After { piece, hash, sha256, in_one_pass: true }, &generation);
        hash
    }

    /// SHA-256 of all before `piece`, where that is known but for pieces that are stored and still in memory, and the
    /// generation that it is of. Reads those: a piece that came out of turn costs only itself a second pass.
    fn sha256_before(&self, piece: PieceIndex) -> (Option<Sha256>, Arc<()>) {
        for _ in 0..self.pieces_ahead() {
            let (unread, mut sha256, hash, generation) = {
                let state = self.state();
                let (prefix, generation) = (&state.prefix, state.prefix.ahead.generation.clone());
                if !self.is_near(piece, prefix) {
                    return (None, generation);
                }
                if let Some(before) = prefix.before(piece) {
                    return (Some(before), generation);
                }
                let Some((unread, sha256)) = prefix.furthest() else { return (None, generation) };
                let Some(hash) = state.voucher_hash(unread).filter(|_| unread < piece) else {
                    return (None, generation);
                };
                (unread, sha256, hash, generation)
            };
            let Some(bytes) = self.memory.recent(self.digest(), unread) else { return (None, generation) };
            bytes.chunks().iter().for_each(|chunk| sha256.update(chunk));
            self.state().prefix.keep(After { piece: unread, hash, sha256, in_one_pass: false }, &generation);
        }
        (None, self.state().prefix.ahead.generation.clone())
    }
}

#[cfg(test)]
mod tests;

//! How a blob is cut into pieces. Every node computes the same cut from the size alone.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    bounded::Pieces,
    limits::{PIECE_BYTES_MAX, PIECE_BYTES_MIN, PIECES_MAX},
};

/// Position of a piece in its blob, from 0.
///
/// Received from a peer it is only a number of at most [`PIECES_MAX`], which marks the end of the largest blob;
/// [`Geometry::contains`] says whether the blob has such a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PieceIndex(#[serde(with = "Pieces::<0>")] pub u32);

/// The cut of a blob into pieces: the next power of two of size / 512, between 256 KiB and 16 MiB.
///
/// About 512 pieces keep the pipeline's cost, `floor(log2 N) / pieces`, under 2 % for thousands of nodes; the bounds
/// keep a piece worth a request and short on a slow link. The last piece is the shorter one.
///
/// ```
/// use shoal_wire::geometry::{Geometry, PieceIndex};
///
/// let geometry = Geometry::of(1 << 30)?;
/// assert_eq!((geometry.pieces(), geometry.piece_bytes()), (512, 2 << 20));
/// assert_eq!(geometry.range(PieceIndex(1)), 2 << 20..4 << 20);
/// # Ok::<(), shoal_wire::geometry::TooLarge>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    size: u64,
    piece_bytes: u64,
    pieces: u32,
}

/// The blob is larger than the protocol can describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a blob of {0} bytes is too large: the most is {max} bytes", max = u64::from(PIECES_MAX) * PIECE_BYTES_MAX)]
pub struct TooLarge(pub u64);

impl Geometry {
    /// The cut of a blob of `size` bytes, at most [`PIECES_MAX`] * [`PIECE_BYTES_MAX`]. An empty blob has one empty piece, so that every blob has a last piece.
    pub fn of(size: u64) -> Result<Self, TooLarge> {
        if size > u64::from(PIECES_MAX) * PIECE_BYTES_MAX {
            return Err(TooLarge(size));
        }
        let piece_bytes = (size / 512).next_power_of_two().clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
        let pieces = u32::try_from(size.div_ceil(piece_bytes).max(1)).map_err(|_| TooLarge(size))?;
        Ok(Self { size, piece_bytes, pieces })
    }

    /// Size of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size of each piece but the last, in bytes.
    pub fn piece_bytes(&self) -> u64 {
        self.piece_bytes
    }

    /// Number of pieces, at least 1.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Whether the blob has a piece of this index.
    pub fn contains(&self, piece: PieceIndex) -> bool {
        piece.0 < self.pieces
    }

    /// Bytes of the blob that `piece` covers; empty past the end.
    pub fn range(&self, piece: PieceIndex) -> Range<u64> {
        let start = (u64::from(piece.0) * self.piece_bytes).min(self.size);
        start..(start + self.piece_bytes).min(self.size)
    }

    /// Length of `piece` in bytes.
    pub fn len(&self, piece: PieceIndex) -> u64 {
        let range = self.range(piece);
        range.end - range.start
    }

    /// Whether the blob is empty.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// The piece that holds the byte at `offset`; the last piece for an offset past the end.
    pub fn piece_at(&self, offset: u64) -> PieceIndex {
        let index = u32::try_from(offset / self.piece_bytes).unwrap_or(u32::MAX);
        PieceIndex(index.min(self.pieces - 1))
    }
}

//! Small sets of pieces as runs, the form in which changes travel.

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use smallvec::SmallVec;

use crate::{
    bounded::List,
    geometry::PieceIndex,
    limits::{PIECE_RUNS_MAX, PIECES_MAX},
};

/// Ascending, disjoint runs of pieces.
///
/// At most [`PIECE_RUNS_MAX`] runs fit a message; a larger set does not encode and goes as a
/// [`crate::piece_map::PieceMap`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PieceRuns {
    /// Alternately how many pieces are skipped and how many follow. Even in number; only the first may be 0; the sum is
    /// at most [`PIECES_MAX`].
    lengths: Lengths,
}

/// One or two runs, as nearly all changes have, need no memory of their own.
type Lengths = SmallVec<[u32; 4]>;

impl PieceRuns {
    /// The runs of `pieces`, which ascend and lie below [`PIECES_MAX`].
    ///
    /// # Panics
    /// Where they do not.
    pub fn from_ascending(pieces: impl IntoIterator<Item = PieceIndex>) -> Self {
        let mut lengths = Lengths::new();
        let mut end = 0;
        for PieceIndex(piece) in pieces {
            assert!(piece >= end && piece < PIECES_MAX, "pieces ascend and belong to a blob");
            match lengths.last_mut() {
                Some(run) if piece == end => *run += 1,
                _ => lengths.extend([piece - end, 1]),
            }
            end = piece + 1;
        }
        Self { lengths }
    }

    /// The runs as ranges of piece indexes, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut end = 0;
        self.lengths.chunks_exact(2).map(move |pair| {
            let start = end + pair[0];
            end = start + pair[1];
            start..end
        })
    }

    /// The pieces, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.ranges().flatten().map(PieceIndex)
    }

    /// Number of pieces.
    pub fn count(&self) -> u32 {
        self.lengths.chunks_exact(2).map(|pair| pair[1]).sum()
    }

    /// First index past the last run.
    pub fn end(&self) -> u32 {
        self.lengths.iter().sum()
    }

    /// Whether there is no piece in it.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

const LENGTHS_MAX: usize = 2 * PIECE_RUNS_MAX;

impl Serialize for PieceRuns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        List::<LENGTHS_MAX>::serialize(&self.lengths, serializer)
    }
}

impl<'de> Deserialize<'de> for PieceRuns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lengths: Vec<u32> = List::<LENGTHS_MAX>::deserialize(deserializer)?;
        let end = lengths.iter().try_fold(0u32, |sum, &length| sum.checked_add(length));
        let empty_run = lengths.iter().skip(1).any(|&length| length == 0);
        if !lengths.len().is_multiple_of(2) || empty_run || end.is_none_or(|end| end > PIECES_MAX) {
            return Err(D::Error::custom("piece runs that are empty, odd in number or past the largest blob"));
        }
        Ok(Self { lengths: lengths.into() })
    }
}

//! Which pieces of a blob somebody has, in memory as bits and on the wire as runs.

use std::ops::Range;

use bitvec::prelude::{BitVec, Lsb0};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{geometry::PieceIndex, limits::PIECES_MAX};

/// Set of pieces of one blob, a bit each. Set algebra goes over whole words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceMap {
    bits: BitVec<u64, Lsb0>,
    /// Number of set bits, kept so that progress is read in constant time.
    ones: u32,
}

impl PieceMap {
    /// A map of `pieces` pieces, none present. Asks for no more than [`PIECES_MAX`].
    pub fn empty(pieces: u32) -> Self {
        assert!(pieces <= PIECES_MAX, "a geometry bounds the number of pieces");
        Self { bits: BitVec::repeat(false, pieces as usize), ones: 0 }
    }

    /// A map of `pieces` pieces, all present.
    pub fn full(pieces: u32) -> Self {
        assert!(pieces <= PIECES_MAX, "a geometry bounds the number of pieces");
        Self { bits: BitVec::repeat(true, pieces as usize), ones: pieces }
    }

    /// Number of pieces that the blob has.
    pub fn pieces(&self) -> u32 {
        u32::try_from(self.bits.len()).expect("at most PIECES_MAX")
    }

    /// Number of pieces present.
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether all pieces are present.
    pub fn is_full(&self) -> bool {
        self.ones == self.pieces()
    }

    /// Whether no piece is present.
    pub fn is_empty(&self) -> bool {
        self.ones == 0
    }

    /// Whether `piece` is present; false past the end.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.bits.get(piece.0 as usize).is_some_and(|bit| *bit)
    }

    /// Adds `piece`; says whether it was absent. A piece past the end is ignored.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let Some(mut bit) = self.bits.get_mut(piece.0 as usize) else { return false };
        let added = !bit.replace(true);
        drop(bit);
        self.ones += u32::from(added);
        added
    }

    /// Removes `piece`; says whether it was present.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let Some(mut bit) = self.bits.get_mut(piece.0 as usize) else { return false };
        let removed = bit.replace(false);
        drop(bit);
        self.ones -= u32::from(removed);
        removed
    }

    /// Adds every piece of `other`. Both are maps of the same blob.
    pub fn union(&mut self, other: &Self) {
        debug_assert_eq!(self.pieces(), other.pieces(), "maps of one blob");
        for (mine, theirs) in self.bits.as_raw_mut_slice().iter_mut().zip(other.bits.as_raw_slice()) {
            *mine |= theirs;
        }
        self.ones = self.words().iter().map(|word| word.count_ones()).sum();
    }

    /// First piece at or after `from` that is absent.
    pub fn first_missing(&self, from: PieceIndex) -> Option<PieceIndex> {
        let tail = self.bits.get(from.0 as usize..)?;
        let offset = tail.first_zero()?;
        Some(PieceIndex(from.0 + u32::try_from(offset).expect("at most PIECES_MAX")))
    }

    /// The words behind the bits, piece `i` at bit `i % 64` of word `i / 64`; bits past the last piece are zero.
    pub fn words(&self) -> &[u64] {
        self.bits.as_raw_slice()
    }

    /// The pieces present, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.words().iter().zip(0u32..).flat_map(|(&word, index)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    PieceIndex(index * 64 + bit)
                })
            })
        })
    }

    /// The present pieces as runs.
    pub fn runs(&self) -> PieceRuns {
        PieceRuns::from_ascending(self.iter())
    }
}

/// Wire form of a map: runs or raw words, whichever is smaller.
#[derive(Serialize, Deserialize)]
enum Encoded {
    Runs { pieces: u32, runs: PieceRuns },
    Words { pieces: u32, words: Vec<u64> },
}

impl Serialize for PieceMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = self.runs();
        let encoded = if runs.0.len() <= self.words().len() * 4 {
            Encoded::Runs { pieces: self.pieces(), runs }
        } else {
            Encoded::Words { pieces: self.pieces(), words: self.words().to_vec() }
        };
        encoded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PieceMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Encoded::deserialize(deserializer)? {
            Encoded::Runs { pieces, runs } => Self::from_runs(pieces, &runs),
            Encoded::Words { pieces, words } => Self::from_words(pieces, words),
        }
        .ok_or_else(|| D::Error::custom("a piece map whose pieces do not fit its size"))
    }
}

impl PieceMap {
    fn from_runs(pieces: u32, runs: &PieceRuns) -> Option<Self> {
        if pieces > PIECES_MAX || runs.end() > pieces {
            return None;
        }
        let mut map = Self::empty(pieces);
        for run in runs.ranges() {
            map.bits[run.start as usize..run.end as usize].fill(true);
        }
        map.ones = runs.count();
        Some(map)
    }

    fn from_words(pieces: u32, words: Vec<u64>) -> Option<Self> {
        if pieces > PIECES_MAX || words.len() != (pieces as usize).div_ceil(64) {
            return None;
        }
        let tail = pieces % 64;
        if tail != 0 && words.last().is_some_and(|last| last >> tail != 0) {
            return None;
        }
        let ones = words.iter().map(|word| word.count_ones()).sum();
        let mut bits = BitVec::from_vec(words);
        bits.truncate(pieces as usize);
        Some(Self { bits, ones })
    }
}

/// Ascending, disjoint runs of pieces: alternately how many are skipped and how many follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PieceRuns(Vec<u32>);

impl PieceRuns {
    /// The runs of `pieces`, which ascend.
    pub fn from_ascending(pieces: impl IntoIterator<Item = PieceIndex>) -> Self {
        let mut runs = Vec::new();
        let mut end = 0;
        for PieceIndex(piece) in pieces {
            debug_assert!(piece >= end, "pieces ascend");
            if piece == end && !runs.is_empty() {
                *runs.last_mut().expect("not empty") += 1;
            } else {
                runs.extend([piece - end, 1]);
            }
            end = piece + 1;
        }
        Self(runs)
    }

    /// The runs as ranges of piece indexes, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut end = 0;
        self.0.chunks_exact(2).map(move |pair| {
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
        self.0.chunks_exact(2).map(|pair| pair[1]).sum()
    }

    /// First index past the last run.
    pub fn end(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Whether there is no piece in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for PieceRuns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let runs = Vec::<u32>::deserialize(deserializer)?;
        let end = runs.iter().try_fold(0u32, |sum, &run| sum.checked_add(run));
        let empty_run = runs.iter().skip(1).any(|&run| run == 0);
        if runs.len() % 2 != 0 || empty_run || end.is_none_or(|end| end > PIECES_MAX) {
            return Err(D::Error::custom("piece runs that are empty, odd in number or past the largest blob"));
        }
        Ok(Self(runs))
    }
}

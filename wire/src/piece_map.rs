//! Which pieces of a blob somebody has, in memory as bits and on the wire as runs.

use std::{fmt, iter, ops::Range};

use bitvec::prelude::{BitVec, Lsb0};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

pub use crate::piece_runs::PieceRuns;
use crate::{
    bounded::List,
    geometry::PieceIndex,
    limits::{PIECE_RUNS_MAX, PIECES_MAX},
};

const WORD_BITS: u32 = u64::BITS;
const WORDS_MAX: usize = PIECES_MAX.div_ceil(WORD_BITS) as usize;

/// Set of pieces of one blob, a bit each. Set algebra goes over whole words.
///
/// Two maps that are combined belong to one blob. Where their sizes differ nonetheless, pieces past the end of either
/// count as absent there, so that a hostile map does no harm.
#[derive(Clone, PartialEq, Eq)]
pub struct PieceMap {
    /// Bits past the last piece are zero, so that the words can be counted and compared as they are.
    bits: BitVec<u64, Lsb0>,
    pieces: u32,
    /// Number of set bits, kept so that progress is read in constant time.
    ones: u32,
}

impl fmt::Debug for PieceMap {
    /// The runs alone: bitvec's own form shows addresses, which differ from run to run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PieceMap({} of {}: ", self.ones, self.pieces)?;
        f.debug_list().entries(self.runs().ranges()).finish()?;
        f.write_str(")")
    }
}

impl PieceMap {
    /// A map of `pieces` pieces, none present.
    ///
    /// # Panics
    /// Above [`PIECES_MAX`]; a [`crate::geometry::Geometry`] stays below.
    pub fn empty(pieces: u32) -> Self {
        assert!(pieces <= PIECES_MAX, "a geometry bounds the number of pieces");
        Self { bits: BitVec::repeat(false, pieces as usize), pieces, ones: 0 }
    }

    /// A map of `pieces` pieces, all present.
    ///
    /// # Panics
    /// Above [`PIECES_MAX`].
    pub fn full(pieces: u32) -> Self {
        let mut map = Self::empty(pieces);
        map.insert_range(0..pieces);
        map
    }

    /// Number of pieces that the blob has.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Number of pieces present.
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether all pieces are present.
    pub fn is_full(&self) -> bool {
        self.ones == self.pieces
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

    /// Adds the pieces of `runs` that the blob has; says how many were absent.
    pub fn insert_runs(&mut self, runs: &PieceRuns) -> u32 {
        runs.ranges().map(|range| self.insert_range(range)).sum()
    }

    /// Adds the pieces of `range` that the blob has; says how many were absent.
    pub fn insert_range(&mut self, range: Range<u32>) -> u32 {
        let end = range.end.min(self.pieces);
        let mut start = range.start;
        let mut added = 0;
        while start < end {
            let word_end = (start / WORD_BITS + 1) * WORD_BITS;
            let run = end.min(word_end) - start;
            let mask = (u64::MAX >> (WORD_BITS - run)) << (start % WORD_BITS);
            let word = &mut self.bits.as_raw_mut_slice()[(start / WORD_BITS) as usize];
            added += (mask & !*word).count_ones();
            *word |= mask;
            start = word_end;
        }
        self.ones += added;
        added
    }

    /// Adds every piece of `other` that the blob has.
    pub fn union(&mut self, other: &Self) {
        for (mine, theirs) in self.bits.as_raw_mut_slice().iter_mut().zip(other.bits.as_raw_slice()) {
            *mine |= theirs;
        }
        self.bits.set_uninitialized(false);
        self.ones = self.words().iter().map(|word| word.count_ones()).sum();
    }

    /// The pieces in this map that are missing in `other`, ascending.
    pub fn and_not<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = PieceIndex> + 'a {
        ones(self.difference(other))
    }

    /// Number of pieces in this map that are missing in `other`.
    pub fn difference_count(&self, other: &Self) -> u32 {
        self.difference(other).map(u64::count_ones).sum()
    }

    /// Whether this map has a piece that is missing in `other`: whether its owner is of use to the other's.
    pub fn intersects_missing(&self, other: &Self) -> bool {
        self.difference(other).any(|word| word != 0)
    }

    fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        let theirs = other.words().iter().copied().chain(iter::repeat(0));
        self.words().iter().zip(theirs).map(|(&mine, theirs)| mine & !theirs)
    }

    /// First piece at or after `from` that is absent.
    pub fn first_missing(&self, from: PieceIndex) -> Option<PieceIndex> {
        let mut start = from.0;
        while start < self.pieces {
            let absent = !self.words()[(start / WORD_BITS) as usize] >> (start % WORD_BITS);
            if absent != 0 {
                // The bits past the end look absent too.
                return Some(PieceIndex(start + absent.trailing_zeros())).filter(|piece| piece.0 < self.pieces);
            }
            start = (start / WORD_BITS + 1) * WORD_BITS;
        }
        None
    }

    /// The words behind the bits, piece `i` at bit `i % 64` of word `i / 64`; bits past the last piece are zero.
    pub fn words(&self) -> &[u64] {
        self.bits.as_raw_slice()
    }

    /// The pieces present, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        ones(self.words().iter().copied())
    }

    /// Number of runs of present pieces: of the bits that are set while the one before is not.
    fn run_count(&self) -> usize {
        let mut before = 0;
        let mut runs = 0;
        for &word in self.words() {
            runs += (word & !(word << 1 | before)).count_ones() as usize;
            before = word >> (WORD_BITS - 1);
        }
        runs
    }

    /// The present pieces as runs.
    pub fn runs(&self) -> PieceRuns {
        PieceRuns::from_ascending(self.iter())
    }
}

/// Positions of the set bits of a sequence of words, ascending.
fn ones(words: impl Iterator<Item = u64>) -> impl Iterator<Item = PieceIndex> {
    words.zip(0u32..).flat_map(|(word, index)| {
        let mut rest = word;
        iter::from_fn(move || {
            (rest != 0).then(|| {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                PieceIndex(index * WORD_BITS + bit)
            })
        })
    })
}

/// Wire form of a map: runs while that is likely to be shorter, else raw words.
#[derive(Deserialize)]
enum Encoded {
    Runs {
        pieces: u32,
        runs: PieceRuns,
    },
    Words {
        pieces: u32,
        #[serde(with = "List::<WORDS_MAX>")]
        words: Vec<u64>,
    },
}

/// [`Encoded`] as it is written, straight from the map. Variants and fields are those of [`Encoded`], in its order.
#[derive(Serialize)]
enum Encoding<'a> {
    Runs {
        pieces: u32,
        runs: PieceRuns,
    },
    Words {
        pieces: u32,
        #[serde(serialize_with = "write_words")]
        words: &'a [u64],
    },
}

fn write_words<S: Serializer>(words: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    List::<WORDS_MAX>::serialize(words, serializer)
}

impl Serialize for PieceMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pieces = self.pieces;
        // A run takes two bytes or little more, a full word nine.
        let encoding = if self.run_count() <= PIECE_RUNS_MAX.min(self.words().len() * 4) {
            Encoding::Runs { pieces, runs: self.runs() }
        } else {
            Encoding::Words { pieces, words: self.words() }
        };
        encoding.serialize(serializer)
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
        map.insert_runs(runs);
        Some(map)
    }

    fn from_words(pieces: u32, words: Vec<u64>) -> Option<Self> {
        if pieces > PIECES_MAX || words.len() != pieces.div_ceil(WORD_BITS) as usize {
            return None;
        }
        let tail = pieces % WORD_BITS;
        if tail != 0 && words.last().is_some_and(|last| last >> tail != 0) {
            return None;
        }
        let ones = words.iter().map(|word| word.count_ones()).sum();
        let mut bits = BitVec::from_vec(words);
        bits.truncate(pieces as usize);
        Some(Self { bits, pieces, ones })
    }
}

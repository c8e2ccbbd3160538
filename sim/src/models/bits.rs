//! Sets of pieces as words of bits, so that what two hosts lack of each other is found a word at a time.

/// Pieces, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// None of `count` pieces.
    pub(super) fn none(count: u32) -> Self {
        Self(vec![0; count.div_ceil(64) as usize])
    }

    /// All of `count` pieces.
    pub(super) fn all(count: u32) -> Self {
        let mut bits = Self::none(count);
        (0..count).for_each(|piece| bits.add(piece));
        bits
    }

    pub(super) fn has(&self, piece: u32) -> bool {
        self.0[piece as usize / 64] >> (piece % 64) & 1 == 1
    }

    pub(super) fn add(&mut self, piece: u32) {
        self.0[piece as usize / 64] |= 1 << (piece % 64);
    }

    pub(super) fn remove(&mut self, piece: u32) {
        self.0[piece as usize / 64] &= !(1 << (piece % 64));
    }

    /// The pieces that are in one of `these` and in none of `others`, ascending.
    pub(super) fn among<'a>(these: &'a [&'a Self], others: &'a [&'a Self]) -> impl Iterator<Item = u32> + 'a {
        let words = these.first().map_or(0, |bits| bits.0.len());
        let word = |place: usize| {
            let wanted = these.iter().fold(0, |word, bits| word | bits.0[place]);
            others.iter().fold(wanted, |word, bits| word & !bits.0[place])
        };
        (0_u32..).zip(0..words).flat_map(move |(number, place)| Ones(word(place)).map(move |bit| number * 64 + bit))
    }
}

/// The numbers of a word's ones, ascending.
struct Ones(u64);

impl Iterator for Ones {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (bit < 64).then_some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_and_another_lacks_comes_in_order() {
        let mut some = Bits::none(130);
        for piece in [0, 63, 64, 129] {
            some.add(piece);
        }
        let mut other = Bits::none(130);
        other.add(63);
        other.add(5);
        assert_eq!(Bits::among(&[&some], &[&other]).collect::<Vec<_>>(), [0, 64, 129]);
        assert_eq!(Bits::among(&[&some, &other], &[]).collect::<Vec<_>>(), [0, 5, 63, 64, 129]);
        some.remove(0);
        assert!(!some.has(0) && some.has(64));
        assert_eq!(Bits::among(&[&Bits::all(130)], &[]).count(), 130);
    }
}

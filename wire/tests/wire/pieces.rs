//! Piece maps and runs against a set of numbers that does the same the slow way.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};
use shoal_wire::{
    geometry::PieceIndex,
    limits::PIECES_MAX,
    piece_map::{PieceMap, PieceRuns},
};

use crate::arbitrary;

fn set(map: &PieceMap) -> BTreeSet<u32> {
    (0..map.pieces()).filter(|&piece| map.has(PieceIndex(piece))).collect()
}

/// What must hold of every map.
fn check(map: &PieceMap) -> Result<(), TestCaseError> {
    let members = set(map);
    prop_assert_eq!(map.count() as usize, members.len());
    prop_assert_eq!(map.iter().map(|piece| piece.0).collect::<BTreeSet<_>>(), members.clone());
    prop_assert_eq!(map.is_full(), members.len() == map.pieces() as usize);
    prop_assert_eq!(map.is_empty(), members.is_empty());
    prop_assert_eq!(map.words().len(), map.pieces().div_ceil(64) as usize);
    let bits: u32 = map.words().iter().map(|word| word.count_ones()).sum();
    prop_assert_eq!(bits, map.count(), "bits past the last piece are zero");
    let copy = map.clone();
    prop_assert_eq!(copy.words(), map.words());
    prop_assert!(!map.has(PieceIndex(map.pieces())) && !map.has(PieceIndex(u32::MAX)));
    Ok(())
}

fn two_maps() -> impl Strategy<Value = (PieceMap, PieceMap)> {
    arbitrary::piece_count().prop_flat_map(|pieces| (arbitrary::map(pieces), arbitrary::map(pieces)))
}

fn maps_of_two_sizes() -> impl Strategy<Value = (PieceMap, PieceMap)> {
    let map = || arbitrary::piece_count().prop_flat_map(arbitrary::map);
    (map(), map())
}

proptest! {
    #[test]
    fn single_pieces(pieces in 0..200u32, steps in vec((any::<bool>(), 0..210u32), 0..100)) {
        let (mut map, mut model) = (PieceMap::empty(pieces), BTreeSet::new());
        for (insert, piece) in steps {
            let index = PieceIndex(piece);
            if insert {
                prop_assert_eq!(map.insert(index), piece < pieces && model.insert(piece));
            } else {
                prop_assert_eq!(map.remove(index), model.remove(&piece));
            }
        }
        check(&map)?;
        prop_assert_eq!(set(&map), model);
    }

    #[test]
    fn full_and_empty(pieces in arbitrary::piece_count()) {
        let (full, empty) = (PieceMap::full(pieces), PieceMap::empty(pieces));
        check(&full)?;
        check(&empty)?;
        prop_assert!(full.is_full() && empty.is_empty());
        prop_assert_eq!(full.difference_count(&empty), pieces);
    }

    #[test]
    fn algebra((a, b) in prop_oneof![two_maps(), maps_of_two_sizes()]) {
        let (in_a, in_b) = (set(&a), set(&b));
        let only_a: Vec<u32> = in_a.difference(&in_b).copied().collect();
        prop_assert_eq!(a.and_not(&b).map(|piece| piece.0).collect::<Vec<_>>(), only_a.clone());
        prop_assert_eq!(a.difference_count(&b) as usize, only_a.len());
        prop_assert_eq!(a.intersects_missing(&b), !only_a.is_empty());
        let mut both = a.clone();
        both.union(&b);
        check(&both)?;
        let expected: BTreeSet<u32> = in_a.union(&in_b).copied().filter(|&piece| piece < a.pieces()).collect();
        prop_assert_eq!(set(&both), expected);
    }

    #[test]
    fn first_missing(map in arbitrary::piece_count().prop_flat_map(arbitrary::map), from in 0..PIECES_MAX) {
        for from in [0, from % map.pieces(), map.pieces() - 1, map.pieces(), u32::MAX] {
            let expected = (from..map.pieces()).map(PieceIndex).find(|&piece| !map.has(piece));
            prop_assert_eq!(map.first_missing(PieceIndex(from)), expected);
        }
    }

    #[test]
    fn runs_are_the_same_set(map in arbitrary::piece_count().prop_flat_map(arbitrary::map)) {
        let runs = map.runs();
        prop_assert!(runs.iter().eq(map.iter()));
        prop_assert_eq!(runs.count(), map.count());
        prop_assert_eq!(runs.is_empty(), map.is_empty());
        prop_assert_eq!(runs.end(), map.iter().last().map_or(0, |last| last.0 + 1));
        let ranges: Vec<_> = runs.ranges().collect();
        prop_assert!(ranges.iter().all(|range| range.start < range.end));
        prop_assert!(ranges.is_sorted_by(|a, b| a.end < b.start), "runs that touch are one run");
    }

    #[test]
    fn insert_runs((mut map, news) in prop_oneof![two_maps(), maps_of_two_sizes()]) {
        let mut expected = map.clone();
        expected.union(&news);
        let added = expected.count() - map.count();
        prop_assert_eq!(map.insert_runs(&news.runs()), added);
        check(&map)?;
        prop_assert_eq!(map, expected);
    }
}

#[test]
fn ranges_that_are_empty_backwards_or_past_the_end_add_nothing() {
    let mut map = PieceMap::empty(65);
    let backwards = std::ops::Range { start: 9, end: 3 };
    assert_eq!([map.insert_range(5..5), map.insert_range(backwards), map.insert_range(65..u32::MAX)], [0, 0, 0]);
    assert!(map.is_empty());
    assert_eq!(map.insert_range(64..u32::MAX), 1);
    assert_eq!(map.words(), [0, 1]);
}

#[test]
#[should_panic(expected = "a geometry bounds the number of pieces")]
fn a_map_above_the_largest_blob_is_a_defect_of_the_caller() {
    PieceMap::empty(PIECES_MAX + 1);
}

#[test]
#[should_panic(expected = "pieces ascend")]
fn runs_of_pieces_that_do_not_ascend_are_a_defect_of_the_caller() {
    PieceRuns::from_ascending([PieceIndex(3), PieceIndex(3)]);
}

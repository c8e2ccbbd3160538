use blake3::hazmat::HasherExt as _;
use proptest::prelude::*;
use sha2::Digest as _;

use crate::{
    Sha256, hash_piece,
    lanes::Lanes,
    tree::{SUBTREE_BYTES, in_one_pass, in_two_passes, is_fit},
};

/// Bytes that look random, the same for the same seed.
fn content(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// The part of a message before a piece, which SHA-256 has had.
fn sha256_after(bytes: &[u8]) -> Sha256 {
    let mut sha256 = Sha256::new();
    sha256.update(bytes);
    sha256
}

/// This processor, or a word that nothing was tested with it.
fn lanes() -> Option<Lanes> {
    let lanes = Lanes::of_this_processor();
    if lanes.is_none() {
        eprintln!("skipped: this processor has no AVX-512 or no SHA extensions, and hashes in two passes");
    }
    lanes
}

/// Checks both hashes of a piece in `parts` after `before` against the libraries'.
fn check(before: &[u8], parts: &[&[u8]]) {
    let piece = parts.concat();
    let whole = [before, &piece].concat();
    let both = |hash: &dyn Fn(&mut Sha256) -> blake3::Hash| {
        let mut sha256 = sha256_after(before);
        let hash = hash(&mut sha256);
        assert_eq!(hash, blake3::hash(&piece), "BLAKE3 of {} bytes", piece.len());
        assert_eq!(sha256.finalize()[..], sha2::Sha256::digest(&whole)[..], "SHA-256 of {} bytes", whole.len());
    };
    both(&|sha256| hash_piece(parts, sha256));
    both(&|sha256| in_two_passes(parts, sha256));
    if let Some(lanes) = lanes()
        && is_fit(parts)
        && before.len().is_multiple_of(64)
    {
        both(&|sha256| in_one_pass(lanes, parts, sha256));
    }
}

#[test]
fn pieces_of_all_sizes_have_the_hashes_that_the_libraries_give_them() {
    let bytes = content(18 * SUBTREE_BYTES + 1000, 1);
    for subtrees in 0..=18 {
        for rest in [0, 1, 63, 64, 1000, 1024, 1025] {
            let piece = &bytes[..subtrees * SUBTREE_BYTES + rest.min(bytes.len() - subtrees * SUBTREE_BYTES)];
            check(&[], &piece.chunks(4 * SUBTREE_BYTES).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_piece_in_parts_that_cut_subtrees_is_hashed_all_the_same() {
    let bytes = content(4 * SUBTREE_BYTES, 2);
    for part in [1000, SUBTREE_BYTES - 1, SUBTREE_BYTES + 64] {
        let parts: Vec<_> = bytes.chunks(part).collect();
        assert!(!is_fit(&parts), "parts of {part} bytes cut subtrees");
        check(&[], &parts);
    }
}

#[test]
fn pieces_go_in_one_pass_from_two_subtrees_on() {
    let bytes = content(4 * SUBTREE_BYTES, 3);
    assert!(!is_fit(&[&bytes[..SUBTREE_BYTES]]) && !is_fit(&[] as &[&[u8]]), "the root is another hash");
    assert!(is_fit(&[&bytes[..=SUBTREE_BYTES]]) && is_fit(&[&bytes[..]]));
    assert!(is_fit(&bytes.chunks(SUBTREE_BYTES).collect::<Vec<_>>()));
}

#[test]
fn a_digest_goes_on_from_piece_to_piece_wherever_it_stands() {
    let bytes = content(3 * SUBTREE_BYTES + 64, 4);
    for before in [0, 1, 63, 64, 640, 4096] {
        let (before, piece) = bytes.split_at(before);
        check(before, &[&piece[..2 * SUBTREE_BYTES + 64]]);
    }
}

#[test]
fn a_subtree_has_its_chaining_value_wherever_it_is() {
    let Some(lanes) = lanes() else { return };
    let bytes = content(SUBTREE_BYTES, 5);
    let subtree = bytes.as_chunks::<SUBTREE_BYTES>().0.first().expect("all of it");
    for offset in [0, SUBTREE_BYTES as u64, 1 << 24, (1 << 42) - SUBTREE_BYTES as u64] {
        let mut state = crate::INITIAL;
        let value = lanes.subtree(subtree, offset, &mut state);
        let mut library = blake3::Hasher::new();
        let expected = library.set_input_offset(offset).update(&bytes).finalize_non_root();
        assert_eq!(value, expected, "at {offset}");
        let mut expected = crate::INITIAL;
        sha2::block_api::compress256(&mut expected, bytes.as_chunks().0);
        assert_eq!(state, expected, "SHA-256 beside it");
    }
}

#[test]
fn bytes_may_begin_anywhere_in_memory() {
    let bytes = content(2 * SUBTREE_BYTES + 64, 6);
    for start in [0, 1, 15, 31, 63] {
        check(&[], &[&bytes[start..start + 2 * SUBTREE_BYTES]]);
    }
}

proptest! {
    #[test]
    fn sha256_is_the_librarys_however_it_is_fed(
        bytes in prop::collection::vec(any::<u8>(), 0..1000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut sha256 = Sha256::new();
        cuts.windows(2).for_each(|cut| sha256.update(&bytes[cut[0]..cut[1]]));
        prop_assert_eq!(&sha256.finalize()[..], &sha2::Sha256::digest(&bytes)[..]);
    }
}

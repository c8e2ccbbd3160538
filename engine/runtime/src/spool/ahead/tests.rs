//! What is hashed ahead is what the digest would have come to, whatever pieces come and in whatever order.

use futures_util::FutureExt;
use shoal_wire::{ids::MemberId, transfer::Voucher};
use tempfile::TempDir;

use super::*;
use crate::{
    memory::PieceMemory,
    spool::{Spool, blob::Stored, interest::Reading, prefix::PrefixRun},
    testing::{content, gathered, piece_of, sha256, source},
};

/// Bytes of a piece of a small blob.
const PIECE: usize = 256 * 1024;

/// A blob of six pieces that a reader waits for.
struct Case {
    bytes: Vec<u8>,
    spool: Spool,
    reading: Reading,
    _directory: TempDir,
}

impl Case {
    /// `None` where the processor cannot hash in one pass, and nothing here is to be tested.
    fn new() -> Option<Self> {
        if !is_one_pass() {
            eprintln!("skipped: this processor has no AVX-512 or no SHA extensions");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let spool =
            Spool::open(directory.path(), 1 << 30, Arc::default(), Arc::default(), None).expect("the spool opens");
        let bytes = content(6 * PIECE, 1);
        let reading = spool.read(sha256(&bytes), bytes.len() as u64, Some(source())).expect("it can be read");
        Some(Self { bytes, spool, reading, _directory: directory })
    }

    fn blob(&self) -> &Blob {
        self.reading.blob()
    }

    /// Hashes a piece that came with these bytes, which have the hash that they should.
    fn hash(&self, piece: u32, bytes: &[u8]) -> (PieceBytes, PieceHash) {
        let memory = Arc::<PieceMemory>::default();
        let mut gathering = memory.gather(bytes.len() as u64).now_or_never().expect("there is room").without_hash();
        gathering.copy_from(bytes);
        let whole = gathering.finish();
        assert_eq!(whole.hash(), None, "it was to be hashed once it is whole");
        let hash = self.blob().hash_whole(PieceIndex(piece), &whole);
        assert_eq!(hash.0, *blake3::hash(bytes).as_bytes());
        (whole, hash)
    }

    fn right(&self, piece: u32) -> Vec<u8> {
        piece_of(&self.bytes, PieceIndex(piece))
    }

    /// Stores a piece whose voucher has `hash`, and lets the digest go on.
    fn store(&self, piece: u32, bytes: &PieceBytes, hash: PieceHash) -> PrefixRun {
        let (blob, piece) = (self.blob(), PieceIndex(piece));
        let voucher = Voucher { injector: MemberId([1; 16]), hash, signature: vec![3; 64] };
        assert_eq!(blob.store(piece, bytes, &voucher, &|| false).expect("the disk works"), Stored::New);
        if blob.announce(piece) { blob.run_prefix(None).expect("the disk works") } else { PrefixRun::Waiting }
    }

    /// Hashes and stores a piece as a download does.
    fn put(&self, piece: u32, bytes: &[u8]) -> PrefixRun {
        let (whole, hash) = self.hash(piece, bytes);
        self.store(piece, &whole, hash)
    }

    fn in_one_pass(&self) -> u64 {
        self.spool.metrics.pieces_hashed_with_digest.get()
    }

    fn is_held(&self) -> bool {
        self.spool.held(&sha256(&self.bytes)).is_some()
    }
}

#[test]
fn pieces_in_order_are_hashed_with_the_digest() {
    let Some(case) = Case::new() else { return };
    for piece in 0..5 {
        assert!(case.blob().hashes_whole(PieceIndex(piece)));
        assert_eq!(case.put(piece, &case.right(piece)), PrefixRun::Waiting);
    }
    assert_eq!(case.put(5, &case.right(5)), PrefixRun::Verified);
    assert_eq!((case.in_one_pass(), case.is_held()), (6, true));
}

#[test]
fn pieces_that_wait_to_be_stored_do_not_hold_up_those_after_them() {
    let Some(case) = Case::new() else { return };
    let hashed: Vec<_> = (0..4).map(|piece| case.hash(piece, &case.right(piece))).collect();
    for (piece, (whole, hash)) in (0..).zip(&hashed) {
        case.store(piece, whole, *hash);
    }
    case.put(4, &case.right(4));
    assert_eq!(case.put(5, &case.right(5)), PrefixRun::Verified);
    assert_eq!(case.in_one_pass(), 6);
}

#[test]
fn what_is_hashed_ahead_is_bounded() {
    let Some(case) = Case::new() else { return };
    let near: Vec<_> = (0..6).filter(|&piece| case.blob().hashes_whole(PieceIndex(piece))).collect();
    assert_eq!(near, [0, 1, 2, 3], "what comes later than that is hashed while it comes");
    for piece in 0..6 {
        case.hash(piece, &case.right(piece));
    }
    assert_eq!(case.blob().state().prefix.ahead.after.len(), AHEAD_MAX as usize);
}

#[test]
fn a_blob_that_peers_want_is_hashed_while_it_comes() {
    let Some(case) = Case::new() else { return };
    case.blob().note_asked();
    assert!(!case.blob().hashes_whole(PieceIndex(0)));
}

#[test]
fn a_piece_out_of_turn_is_hashed_alone_and_the_digest_reads_it_later() {
    let Some(case) = Case::new() else { return };
    for piece in [1, 0, 2, 5, 3] {
        assert_eq!(case.put(piece, &case.right(piece)), PrefixRun::Waiting);
    }
    assert_eq!(case.in_one_pass(), 3, "0, 2 and 3 came in their turn");
    assert_eq!(case.put(4, &case.right(4)), PrefixRun::Verified);
    assert!(case.is_held());
}

#[test]
fn a_corrupt_piece_leaves_no_trace_in_the_digest() {
    let Some(case) = Case::new() else { return };
    let (_, wrong) = case.hash(0, &content(PIECE, 9));
    let after = case.hash(1, &case.right(1));
    let first = case.hash(0, &case.right(0));
    assert_ne!(wrong, first.1, "the voucher says so");
    case.store(0, &first.0, first.1);
    case.store(1, &after.0, after.1);
    for piece in 2..5 {
        case.put(piece, &case.right(piece));
    }
    assert_eq!(case.put(5, &case.right(5)), PrefixRun::Verified);
}

#[test]
fn a_piece_that_came_another_way_is_no_excuse_for_what_was_hashed_before() {
    let Some(case) = Case::new() else { return };
    case.hash(0, &content(PIECE, 9));
    case.hash(1, &case.right(1));
    // Nobody hashes the right one ahead.
    let first = gathered(&case.right(0));
    case.store(0, &first, first.hash().expect("it was hashed while it came"));
    for piece in 1..5 {
        case.put(piece, &case.right(piece));
    }
    assert_eq!(case.put(5, &case.right(5)), PrefixRun::Verified);
}

#[test]
fn a_blob_that_begins_again_forgets_what_was_hashed_ahead() {
    let Some(case) = Case::new() else { return };
    for piece in 0..5 {
        case.put(piece, &content(PIECE, 10));
    }
    let late = case.blob().state().prefix.ahead.generation.clone();
    let (wrong, hash) = case.hash(5, &content(PIECE, 11));
    assert_eq!(case.store(5, &wrong, hash), PrefixRun::Corrupt, "each piece is as its voucher says, the blob is not");
    // A job that began before.
    let mut sha256 = Sha256::new();
    sha256.update(&content(PIECE, 10));
    case.blob().state().prefix.keep(After { piece: PieceIndex(0), hash, sha256 }, &late);
    assert!(case.blob().state().prefix.ahead.after.is_empty());
    for piece in 0..5 {
        case.put(piece, &case.right(piece));
    }
    assert_eq!(case.put(5, &case.right(5)), PrefixRun::Verified);
}

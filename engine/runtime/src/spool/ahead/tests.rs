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

/// A blob that a reader waits for. What is tested holds where the processor hashes in two passes as well.
struct Case {
    bytes: Vec<u8>,
    spool: Spool,
    reading: Reading,
    _directory: TempDir,
}

impl Case {
    fn new() -> Self {
        Self::of(6)
    }

    fn of(pieces: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let spool =
            Spool::open(directory.path(), 1 << 30, Arc::default(), Arc::default(), None).expect("the spool opens");
        let bytes = content(pieces * PIECE, 1);
        let reading = spool.read(sha256(&bytes), bytes.len() as u64, Some(source())).expect("it can be read");
        Self { bytes, spool, reading, _directory: directory }
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

    /// The same of all pieces from `first` on.
    fn put_from(&self, first: u32) -> PrefixRun {
        (first..6).map(|piece| self.put(piece, &self.right(piece))).last().expect("at least one piece")
    }

    /// What somebody has computed of the right second piece after a wrong first one was hashed, and not kept yet.
    fn computed_after_a_wrong_first(&self) -> (After, Arc<()>) {
        self.hash(0, &content(PIECE, 9));
        let (mut sha256, generation) = {
            let state = self.blob().state();
            let sha256 = state.prefix.before(PieceIndex(1)).expect("after the wrong first piece");
            (sha256, state.prefix.ahead.generation.clone())
        };
        sha256.update(&self.right(1));
        let hash = PieceHash(*blake3::hash(&self.right(1)).as_bytes());
        (After { piece: PieceIndex(1), hash, sha256, in_one_pass: true }, generation)
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
    let case = Case::new();
    for piece in 0..5 {
        assert_eq!(case.put(piece, &case.right(piece)), PrefixRun::Waiting);
    }
    assert_eq!(case.put(5, &case.right(5)), PrefixRun::Verified);
    assert_eq!((case.in_one_pass(), case.is_held()), (6, true));
}

#[test]
fn pieces_that_wait_to_be_stored_do_not_hold_up_those_after_them() {
    let case = Case::new();
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
    const NEAR: u32 = 48 * 4;
    let case = Case::of(NEAR as usize + 8);
    for piece in 0..NEAR + 8 {
        case.hash(piece, &case.right(piece));
    }
    assert_eq!(case.blob().state().prefix.ahead.after.len(), NEAR as usize);
}

#[test]
fn large_pieces_of_which_few_come_at_once_are_hashed_when_they_are_whole() {
    let case = Case::new();
    let whole = |size: u64| -> Vec<u32> {
        let reading = case.spool.read(sha256(&size.to_le_bytes()), size, Some(source())).expect("it can be read");
        let all = (0..reading.blob().geometry().pieces()).map(PieceIndex);
        all.filter(|&piece| reading.blob().hashes_whole(piece)).map(|piece| piece.0).collect()
    };
    let first = |pieces: u32| if is_one_pass() { (0..pieces).collect() } else { Vec::new() };
    assert_eq!(whole(2 << 30), [0; 0], "of pieces of 4 MiB");
    assert_eq!(whole(4 << 30), first(6), "of pieces of 8 MiB");
    assert_eq!(whole(8 << 30), first(3), "of pieces of 16 MiB");
}

#[test]
fn a_blob_that_peers_want_is_hashed_while_it_comes() {
    let case = Case::new();
    let reading = case.spool.read(sha256(b"large"), 4 << 30, Some(source())).expect("it can be read");
    assert_eq!(reading.blob().hashes_whole(PieceIndex(0)), is_one_pass());
    reading.blob().note_asked();
    assert!(!reading.blob().hashes_whole(PieceIndex(0)));
}

#[test]
fn a_piece_out_of_turn_is_hashed_alone_and_the_digest_reads_it_later() {
    let case = Case::new();
    for piece in [1, 0, 2, 5, 3] {
        assert_eq!(case.put(piece, &case.right(piece)), PrefixRun::Waiting);
    }
    assert_eq!(case.put(4, &case.right(4)), PrefixRun::Verified);
    assert_eq!(case.in_one_pass(), 4, "0, 2, 3 and 4 came in their turn");
    assert!(case.is_held());
}

#[test]
fn a_piece_out_of_turn_costs_none_after_it_a_second_pass() {
    for (in_memory, in_one_pass) in [(true, 5), (false, 4)] {
        let case = Case::new();
        case.put(1, &case.right(1));
        let first = case.hash(0, &case.right(0));
        if !in_memory {
            case.spool.memory.forget(&sha256(&case.bytes));
        }
        // The first is not stored yet, so the digest has not read the second.
        let third = case.hash(2, &case.right(2));
        case.store(0, &first.0, first.1);
        case.store(2, &third.0, third.1);
        assert_eq!(case.put_from(3), PrefixRun::Verified);
        assert_eq!(case.in_one_pass(), in_one_pass, "in memory: {in_memory}");
    }
}

#[test]
fn a_piece_out_of_turn_that_is_not_stored_is_not_read() {
    let case = Case::new();
    let wrong = gathered(&content(PIECE, 9));
    case.spool.memory.keep(&sha256(&case.bytes), PieceIndex(1), &wrong);
    let first = case.hash(0, &case.right(0));
    case.hash(2, &case.right(2));
    assert_eq!(case.blob().state().prefix.ahead.after.len(), 1, "the first alone");
    case.store(0, &first.0, first.1);
    assert_eq!(case.put_from(1), PrefixRun::Verified);
}

#[test]
fn a_corrupt_piece_leaves_no_trace_in_the_digest() {
    let case = Case::new();
    let (_, wrong) = case.hash(0, &content(PIECE, 9));
    let after = case.hash(1, &case.right(1));
    let first = case.hash(0, &case.right(0));
    assert_ne!(wrong, first.1, "the voucher says so");
    case.store(0, &first.0, first.1);
    case.store(1, &after.0, after.1);
    assert_eq!(case.put_from(2), PrefixRun::Verified);
}

#[test]
fn a_piece_that_came_another_way_is_no_excuse_for_what_was_hashed_before() {
    let case = Case::new();
    case.hash(0, &content(PIECE, 9));
    case.hash(1, &case.right(1));
    // Nobody hashes the right one ahead.
    let first = gathered(&case.right(0));
    case.store(0, &first, first.hash().expect("it was hashed while it came"));
    assert_eq!(case.put_from(1), PrefixRun::Verified);
}

#[test]
fn what_is_still_computed_from_a_piece_that_was_refused_is_not_kept() {
    let case = Case::new();
    let (late, generation) = case.computed_after_a_wrong_first();
    // Meanwhile the right one comes another way, and the digest reads it.
    let first = gathered(&case.right(0));
    case.store(0, &first, first.hash().expect("it was hashed while it came"));
    case.blob().state().prefix.keep(late, &generation);
    let second = gathered(&case.right(1));
    case.store(1, &second, second.hash().expect("it was hashed while it came"));
    assert_eq!(case.put_from(2), PrefixRun::Verified);
}

#[test]
fn what_is_still_computed_from_a_piece_that_another_has_replaced_is_not_kept() {
    let case = Case::new();
    let (late, generation) = case.computed_after_a_wrong_first();
    let first = case.hash(0, &case.right(0));
    case.blob().state().prefix.keep(late, &generation);
    case.store(0, &first.0, first.1);
    let second = gathered(&case.right(1));
    case.store(1, &second, second.hash().expect("it was hashed while it came"));
    assert_eq!(case.put_from(2), PrefixRun::Verified);
}

#[test]
fn a_piece_that_comes_twice_costs_those_after_it_nothing() {
    let case = Case::new();
    let hashed: Vec<_> = [0, 1, 2, 0, 1].map(|piece| case.hash(piece, &case.right(piece))).into();
    for (piece, (whole, hash)) in (0..3).zip(&hashed) {
        case.store(piece, whole, *hash);
    }
    assert_eq!(case.in_one_pass(), 3);
}

#[test]
fn a_digest_that_reads_on_by_itself_gives_up_what_it_has_passed() {
    let case = Case::new();
    let (first, hash) = case.hash(0, &case.right(0));
    // As while a job has the hasher: the first piece is in the digest and is kept as well.
    case.blob().state().prefix.next = 1;
    let generation = case.blob().state().prefix.ahead.generation.clone();
    case.hash(1, &case.right(1));
    assert!(case.blob().state().prefix.ahead.after.is_empty());
    assert!(!Arc::ptr_eq(&case.blob().state().prefix.ahead.generation, &generation));
    case.blob().state().prefix.next = 0;
    case.store(0, &first, hash);
    assert_eq!(case.put_from(1), PrefixRun::Verified);
}

#[test]
fn a_blob_that_begins_again_forgets_what_was_hashed_ahead() {
    let case = Case::new();
    for piece in 0..5 {
        case.put(piece, &content(PIECE, 10));
    }
    let late = case.blob().state().prefix.ahead.generation.clone();
    let (wrong, hash) = case.hash(5, &content(PIECE, 11));
    assert_eq!(case.store(5, &wrong, hash), PrefixRun::Corrupt, "each piece is as its voucher says, the blob is not");
    // A job that began before.
    let mut sha256 = Sha256::new();
    sha256.update(&content(PIECE, 10));
    case.blob().state().prefix.keep(After { piece: PieceIndex(0), hash, sha256, in_one_pass: true }, &late);
    assert!(case.blob().state().prefix.ahead.after.is_empty());
    assert_eq!(case.put_from(0), PrefixRun::Verified);
}

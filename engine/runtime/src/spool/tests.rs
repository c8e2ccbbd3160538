//! The spool: order, verification, restarts, eviction, failing disks, and what the core is told.

use std::{fs::File, ops::Range, path::Path, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use proptest::prelude::*;
use shoal_core::event::Input;
use shoal_wire::{
    geometry::PieceIndex,
    ids::{MemberId, PieceHash},
    transfer::Voucher,
};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::{
    Spool,
    blob::{Blob, Stored},
    direct::DirectFile,
    interest::Reading,
    prefix::PrefixRun,
};
use crate::{
    engine::BlobError,
    metrics::Metrics,
    pool::Pool,
    reader::BlobReader,
    testing::{content, gathered, piece_of, sha256, source},
};

const PIECE: usize = 256 * 1024;

fn open(directory: &TempDir, limit_bytes: u64) -> Spool {
    Spool::open(directory.path(), limit_bytes, Arc::default(), Arc::default(), None).expect("the spool opens")
}

fn voucher() -> Voucher {
    Voucher { injector: MemberId([1; 16]), hash: PieceHash([2; 32]), signature: vec![3; 64] }
}

fn want(spool: &Spool, bytes: &[u8]) -> Reading {
    spool.read(sha256(bytes), bytes.len() as u64, Some(source())).expect("it can be read")
}

/// Stores one piece as a download does.
fn put(blob: &Blob, bytes: &[u8], piece: u32) -> PrefixRun {
    let piece = PieceIndex(piece);
    let part = gathered(&piece_of(bytes, piece));
    assert_eq!(blob.store(piece, &part, &voucher(), &|| false).expect("the disk works"), Stored::New);
    if blob.announce(piece) {
        blob.run_prefix(Some((piece, &part))).expect("the disk works")
    } else {
        PrefixRun::Waiting
    }
}

fn fill(blob: &Blob, bytes: &[u8]) -> PrefixRun {
    (0..blob.geometry().pieces()).map(|piece| put(blob, bytes, piece)).last().expect("at least one piece")
}

#[test]
fn one_is_told_that_the_digest_can_go_on_until_it_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, u64::MAX);
    let bytes = content(3 * PIECE, 1);
    let reading = want(&spool, &bytes);
    let blob = reading.blob();
    for piece in [PieceIndex(0), PieceIndex(1)] {
        let part = gathered(&piece_of(&bytes, piece));
        blob.store(piece, &part, &voucher(), &|| false).expect("the disk works");
        assert_eq!(blob.announce(piece), piece.0 == 0, "{piece:?}");
    }
    assert_eq!(blob.run_prefix(None).expect("the disk works"), PrefixRun::Waiting);
    assert_eq!(put(blob, &bytes, 2), PrefixRun::Verified, "the run went along both");
}

#[test]
fn a_hint_that_is_not_what_was_stored_does_not_reach_the_digest() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, u64::MAX);
    let bytes = content(2 * PIECE, 1);
    let reading = want(&spool, &bytes);
    let (blob, piece) = (reading.blob(), PieceIndex(0));
    blob.store(piece, &gathered(&piece_of(&bytes, piece)), &voucher(), &|| false).expect("the disk works");
    assert!(blob.announce(piece));
    let late = gathered(&content(PIECE, 9));
    assert_eq!(blob.run_prefix(Some((piece, &late))).expect("the disk works"), PrefixRun::Waiting);
    assert_eq!(put(blob, &bytes, 1), PrefixRun::Verified);
}

fn hold(spool: &Spool, bytes: &[u8]) -> Arc<Blob> {
    let reading = want(spool, bytes);
    assert_eq!(fill(reading.blob(), bytes), PrefixRun::Verified);
    reading.blob().clone()
}

fn reader(reading: Reading) -> BlobReader {
    BlobReader::new(reading, Pool::new(TaskTracker::new()), Arc::default(), None, false)
}

fn reader_of(reading: Reading, range: Range<u64>, excerpt: bool) -> BlobReader {
    BlobReader::new(reading, Pool::new(TaskTracker::new()), Arc::default(), Some(range), excerpt)
}

async fn read_all(mut reader: BlobReader) -> Result<Vec<u8>, BlobError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

fn names(inputs: &[Input]) -> Vec<&'static str> {
    let name = |input: &Input| match input {
        Input::Want { can_lease: true, .. } => "want and lease",
        Input::Want { .. } => "want",
        Input::Unwant { .. } => "unwant",
        Input::Hold { .. } => "hold",
        Input::Dropped { .. } => "dropped",
        Input::Demand { .. } => "demand",
        Input::ReadersAt { .. } => "readers at",
        Input::Verified { .. } => "verified",
        Input::Corrupt { .. } => "corrupt",
        _ => "another",
    };
    inputs.iter().map(name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_in_any_order_verify_exactly_once_all_are_there(order in Just((0..7u32).collect::<Vec<_>>()).prop_shuffle()) {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = open(&directory, 1 << 30);
        let bytes = content(6 * PIECE + 777, 1);
        let reading = want(&spool, &bytes);
        let (last, first) = order.split_last().expect("seven pieces");
        for &piece in first {
            prop_assert_eq!(put(reading.blob(), &bytes, piece), PrefixRun::Waiting);
        }
        prop_assert_eq!(spool.held(&sha256(&bytes)), None);
        prop_assert_eq!(put(reading.blob(), &bytes, *last), PrefixRun::Verified);
        prop_assert_eq!(spool.held(&sha256(&bytes)), Some(bytes.len() as u64));
        let path = directory.path().join("spool/sha256").join(sha256(&bytes).hex());
        prop_assert!(std::fs::read(path).expect("the blob has its name") == bytes);
    }
}

#[test]
fn sha512_blobs_verify_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(PIECE + 1, 2);
    let digest = shoal_wire::digest::Digest::Sha512(<sha2::Sha512 as sha2::Digest>::digest(&bytes).into());
    let reading = spool.read(digest, bytes.len() as u64, None).expect("it can be read");
    assert_eq!(fill(reading.blob(), &bytes), PrefixRun::Verified);
}

#[test]
fn a_piece_is_stored_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(2 * PIECE, 1);
    let reading = want(&spool, &bytes);
    put(reading.blob(), &bytes, 1);
    let again = reading.blob().store(PieceIndex(1), &gathered(&piece_of(&bytes, PieceIndex(1))), &voucher(), &|| false);
    assert_eq!(again.expect("the disk works"), Stored::Duplicate);
    assert_eq!(spool.metrics.spool_bytes.get(), i64::try_from(PIECE).expect("small"));
}

#[tokio::test]
async fn bytes_leave_in_order_and_the_last_piece_only_once_the_digest_holds() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(2 * PIECE + 5, 1);
    let reading = want(&spool, &bytes);
    let blob = reading.blob().clone();
    let mut reader = reader(reading);
    put(&blob, &bytes, 1);
    assert!(reader.next().now_or_never().is_none(), "the first piece is not there");
    put(&blob, &bytes, 0);
    for expected in bytes[..2 * PIECE].chunks(PIECE) {
        assert!(reader.next().await.expect("a chunk").expect("good") == expected);
    }
    let last = piece_of(&bytes, PieceIndex(2));
    blob.store(PieceIndex(2), &gathered(&last), &voucher(), &|| false).expect("the disk works");
    assert!(reader.next().now_or_never().is_none(), "stored, but the digest has not been compared");
    assert!(blob.announce(PieceIndex(2)));
    assert_eq!(blob.run_prefix(None).expect("the disk works"), PrefixRun::Verified);
    assert!(reader.next().await.expect("a chunk").expect("good") == last);
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn an_excerpt_gets_the_last_piece_as_soon_as_it_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(2 * PIECE + 5, 1);
    let (size, end) = (bytes.len() as u64, 2 * PIECE as u64);
    let reading = want(&spool, &bytes);
    let blob = reading.blob().clone();
    let mut excerpt = reader_of(reading, end - 7..size, true);
    let mut part = reader_of(want(&spool, &bytes), end..size, false);
    // What begins with the blob and ends with it is the blob, whatever is said of it.
    let mut whole = reader_of(want(&spool, &bytes), 0..size, true);
    assert!(excerpt.next().now_or_never().is_none(), "nothing is there");
    put(&blob, &bytes, 0);
    put(&blob, &bytes, 2);
    assert!(excerpt.next().now_or_never().is_none(), "its first piece is not there");
    let mut end_alone = reader_of(want(&spool, &bytes), end + 1..size, true);
    let read = tokio::time::timeout(Duration::from_secs(5), end_alone.next()).await;
    assert!(read.expect("it waits for nothing").expect("a chunk").expect("good") == bytes[2 * PIECE + 1..]);
    assert!(part.next().now_or_never().is_none(), "it may be taken for the rest of the blob");
    assert!(whole.next().await.expect("a chunk").expect("good") == bytes[..PIECE]);
    assert!(whole.next().now_or_never().is_none());
    let wrong = vec![0; PIECE];
    blob.store(PieceIndex(1), &gathered(&wrong), &voucher(), &|| false).expect("the disk works");
    assert!(excerpt.next().await.expect("a chunk").expect("as its piece says") == wrong[PIECE - 7..]);
    assert!(blob.announce(PieceIndex(1)));
    assert_eq!(blob.run_prefix(None).expect("the disk works"), PrefixRun::Corrupt);
    for reader in [excerpt, part, whole] {
        assert!(reader.any(async |read| read == Err(BlobError::Corrupt)).await, "who reads still is told");
    }
}

#[tokio::test]
async fn a_corrupt_blob_never_looks_complete_and_begins_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(2 * PIECE + 5, 1);
    let reading = want(&spool, &bytes);
    let blob = reading.blob().clone();
    let mut reader = reader(reading);
    assert_eq!(names(&spool.news().drain()), ["want and lease"]);
    let wrong = [&bytes[..2 * PIECE], b"wrong"].concat();
    assert_eq!(fill(&blob, &wrong), PrefixRun::Corrupt);
    assert_eq!(reader.next().await, Some(Err(BlobError::Corrupt)), "though its first bytes were right");
    assert!(reader.next().await.is_none());
    assert_eq!(names(&spool.news().drain()), ["corrupt", "unwant"]);
    assert!(!blob.has(PieceIndex(0)), "all pieces are discarded");
    assert_eq!(spool.metrics.spool_bytes.get(), 0);

    let again = want(&spool, &bytes);
    assert_eq!(fill(again.blob(), &bytes), PrefixRun::Verified);
    assert!(read_all(self::reader(again)).await.expect("good") == bytes);
}

#[tokio::test]
async fn a_restart_keeps_good_blobs_and_removes_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let (good, damaged, partial) = (content(PIECE + 1, 1), content(PIECE + 1, 2), content(PIECE + 1, 3));
    hold(&spool, &good);
    hold(&spool, &damaged);
    let reading = want(&spool, &partial);
    put(reading.blob(), &partial, 0);
    let folder = directory.path().join("spool/sha256");
    std::fs::write(folder.join(sha256(&damaged).hex()), vec![0; PIECE + 1]).expect("written");
    std::fs::write(folder.join("not-a-digest"), b"").expect("written");
    drop((reading, spool));

    let spool = open(&directory, 1 << 30);
    assert_eq!(spool.held(&sha256(&good)), None, "nothing is held before it is verified");
    let early = want(&spool, &good);
    let waiting = want(&spool, &damaged);
    assert_eq!(names(&spool.news().drain()), [""; 0]);
    for blob in spool.unchecked() {
        blob.check();
    }
    let mut told = names(&spool.news().drain());
    told.sort_unstable();
    assert_eq!(told, ["hold", "want and lease"], "the damaged one is wanted again by who waits for it");
    assert!(read_all(reader(early)).await.expect("good") == good);
    assert_eq!(fill(waiting.blob(), &damaged), PrefixRun::Verified);
    assert!(!folder.join(format!("{}.partial", sha256(&partial).hex())).exists());
    assert!(folder.join("not-a-digest").exists(), "what is not ours is left alone");
}

#[tokio::test]
async fn a_reader_has_a_blob_of_an_earlier_life_checked_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (bytes, other) = (content(PIECE + 1, 1), content(PIECE + 1, 2));
    let spool = open(&directory, 1 << 30);
    hold(&spool, &bytes);
    hold(&spool, &other);
    drop(spool);
    let spool = open(&directory, 1 << 30);
    let reading = want(&spool, &bytes);
    assert!(read_all(reader(reading)).await.expect("good") == bytes, "though the spool's check never ran");
    assert_eq!(spool.held(&sha256(&other)), None, "nobody asked for it");
}

/// A spool with one blob of an earlier life, which cannot be read for now though nothing is wrong with it.
fn hindered(directory: &TempDir, bytes: &[u8]) -> (Arc<Spool>, Arc<Blob>) {
    hold(&open(directory, 1 << 30), bytes);
    let spool = Arc::new(open(directory, 1 << 30));
    let blob = spool.get(&sha256(bytes)).expect("found on disk");
    blob.replace_file(File::open(directory.path()).expect("a directory, which has no bytes"));
    (spool, blob)
}

fn unhinder(blob: &Blob) {
    blob.replace_file(File::open(blob.path()).expect("it is still there"));
}

#[test]
fn an_error_that_passes_leaves_a_blob_of_an_earlier_life_for_later() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = content(PIECE + 1, 1);
    let (spool, blob) = hindered(&directory, &bytes);
    blob.check();
    assert!(blob.is_unchecked() && is_on_disk(&directory, &bytes), "nothing is known against it");
    assert_eq!(names(&spool.news().drain()), [""; 0]);
    unhinder(&blob);
    blob.check();
    assert_eq!(names(&spool.news().drain()), ["hold"]);
    assert_eq!(spool.held(&sha256(&bytes)), Some(bytes.len() as u64));
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_could_not_be_checked_at_the_start_is_checked_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = content(PIECE + 1, 1);
    let (spool, blob) = hindered(&directory, &bytes);
    let checking = tokio::spawn(spool.clone().check_all(Pool::new(TaskTracker::new())));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(blob.is_unchecked() && !checking.is_finished());
    unhinder(&blob);
    checking.await.expect("it ends");
    assert!(blob.is_verified());
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_checked_is_not_tried_for_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = content(PIECE + 1, 1);
    let (spool, blob) = hindered(&directory, &bytes);
    spool.check_all(Pool::new(TaskTracker::new())).await;
    assert!(blob.is_unchecked() && is_on_disk(&directory, &bytes));
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_a_moment_for_a_check_that_is_hindered_and_then_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = content(PIECE + 1, 1);
    let (spool, blob) = hindered(&directory, &bytes);
    let read = tokio::time::timeout(Duration::from_secs(9), read_all(reader(want(&spool, &bytes)))).await;
    assert!(matches!(read, Ok(Err(BlobError::Store(_)))), "{read:?}");
    assert!(blob.is_unchecked() && is_on_disk(&directory, &bytes));
    let reading = tokio::spawn(read_all(reader(want(&spool, &bytes))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    unhinder(&blob);
    assert!(reading.await.expect("no panic").expect("good") == bytes);
}

#[test]
fn blobs_that_wait_for_their_check_do_not_count_as_unfinished() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("spool/sha256");
    std::fs::create_dir_all(&folder).expect("made");
    for number in 0..=super::PARTIAL_MAX {
        std::fs::write(folder.join(sha256(&number.to_le_bytes()).hex()), number.to_le_bytes()).expect("written");
    }
    let spool = open(&directory, 1 << 30);
    assert!(spool.unchecked().len() > super::PARTIAL_MAX);
    want(&spool, &content(PIECE, 1));
}

#[tokio::test]
async fn a_lost_file_drops_the_blob_and_who_reads_next_fills_it_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(PIECE + 1, 1);
    hold(&spool, &bytes);
    spool.news().drain();
    std::fs::remove_file(directory.path().join("spool/sha256").join(sha256(&bytes).hex())).expect("removed");
    let failed = read_all(reader(want(&spool, &bytes))).await;
    assert!(matches!(failed, Err(BlobError::Store(_))), "{failed:?}");
    assert_eq!(names(&spool.news().drain()), ["dropped"]);
    assert_eq!((spool.held(&sha256(&bytes)), spool.metrics.spool_bytes.get()), (None, 0));
    let again = want(&spool, &bytes);
    assert_eq!(names(&spool.news().drain()), ["want and lease"]);
    assert_eq!(fill(again.blob(), &bytes), PrefixRun::Verified);
    assert!(read_all(reader(again)).await.expect("good") == bytes);
}

#[test]
fn a_file_that_cannot_be_read_is_lost_but_a_lack_of_handles_passes() {
    const EIO: i32 = 5;
    const EMFILE: i32 = 24;
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(PIECE + 1, 1);
    let blob = hold(&spool, &bytes);
    spool.news().drain();
    blob.lose_for(&std::io::Error::from_raw_os_error(EMFILE));
    assert!(blob.is_verified());
    blob.lose_for(&std::io::Error::from_raw_os_error(EIO));
    assert_eq!(names(&spool.news().drain()), ["dropped"]);
    assert!(!is_on_disk(&directory, &bytes));
    spool.evict();
    assert_eq!(spool.metrics.spool_bytes.get(), 0);
}

#[test]
fn the_least_recently_used_unread_blob_goes_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let size = PIECE + 1;
    let spool = open(&directory, 2 * size as u64);
    let blobs: Vec<_> = (1..=3).map(|seed| content(size, seed)).collect();
    let read = want(&spool, &blobs[0]);
    fill(read.blob(), &blobs[0]);
    hold(&spool, &blobs[1]);
    spool.news().drain();
    hold(&spool, &blobs[2]);
    assert!(spool.is_over_limit());
    spool.evict();
    let held: Vec<_> = blobs.iter().map(|bytes| spool.held(&sha256(bytes)).is_some()).collect();
    assert_eq!(held, [true, false, true], "the first is being read");
    assert!(names(&spool.news().drain()).contains(&"dropped"));
    assert!(!is_on_disk(&directory, &blobs[1]));
    drop(read);
    hold(&spool, &blobs[1]);
    spool.evict();
    assert_eq!(spool.held(&sha256(&blobs[0])), None, "read no more, and used before the others");
    assert!(!spool.is_over_limit());
}

fn is_on_disk(directory: &TempDir, bytes: &[u8]) -> bool {
    let hex = sha256(bytes).hex();
    let folder = std::fs::read_dir(directory.path().join("spool/sha256")).expect("the folder");
    folder.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with(&hex))
}

#[tokio::test]
async fn a_disk_that_fails_fails_pieces_and_then_the_readers() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(2 * PIECE, 1);
    let reading = want(&spool, &bytes);
    let blob = reading.blob().clone();
    let mut reader = reader(reading);
    blob.replace_file(File::open(Path::new("/dev/null")).expect("a file that cannot be written"));
    let part = gathered(&piece_of(&bytes, PieceIndex(0)));
    for _ in 0..3 {
        assert!(reader.next().now_or_never().is_none(), "one failure is not the end");
        assert!(blob.store(PieceIndex(0), &part, &voucher(), &|| panic!("it is not full")).is_err());
    }
    assert!(matches!(reader.next().await, Some(Err(BlobError::Store(_)))));
    assert!(!blob.has(PieceIndex(0)));
}

#[test]
fn on_a_full_disk_what_is_unread_goes_before_a_piece_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let (old, new) = (content(PIECE, 1), content(2 * PIECE, 2));
    hold(&spool, &old);
    let reading = want(&spool, &new);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a file that is always full");
    reading.blob().replace_file(full);
    let part = gathered(&piece_of(&new, PieceIndex(0)));
    let error = reading.blob().store(PieceIndex(0), &part, &voucher(), &|| spool.relieve_disk());
    assert_eq!(error.expect_err("nothing helps here").kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(spool.held(&sha256(&old)), None, "it was removed to make room");
    assert!(!is_on_disk(&directory, &old));
    assert!(reading.ended().is_none(), "one failure is not the end, and what is read stays");
}

#[test]
fn a_folder_that_is_gone_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    std::fs::remove_dir_all(directory.path().join("spool/sha256")).expect("removed");
    let opened = spool.read(sha256(b"x"), 1, None);
    assert!(matches!(opened.map(|_| ()), Err(BlobError::Store(_))));
}

#[test]
fn a_size_that_contradicts_what_is_known_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(1000, 1);
    let reading = want(&spool, &bytes);
    assert!(matches!(spool.read(sha256(&bytes), 999, None).map(|_| ()), Err(BlobError::Invalid(_))));
    drop(reading);
    drop(spool.read(sha256(&bytes), 999, None).expect("nobody reads it, so the first word was not better"));
    hold(&spool, &bytes);
    assert!(matches!(spool.read(sha256(&bytes), 999, None).map(|_| ()), Err(BlobError::Invalid(_))));
}

#[test]
fn the_core_is_told_what_holds_and_nothing_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(2 * PIECE, 1);
    let size = bytes.len() as u64;
    let first = spool.read(sha256(&bytes), size, None).expect("it can be read");
    assert_eq!(names(&spool.news().drain()), ["want"]);
    let second = want(&spool, &bytes);
    assert_eq!(names(&spool.news().drain()), ["want and lease"], "a source is new");
    drop(first);
    assert_eq!(names(&spool.news().drain()), [""; 0]);
    drop(second);
    let third = want(&spool, &bytes);
    assert_eq!(names(&spool.news().drain()), [""; 0], "wanted before and after");
    put(third.blob(), &bytes, 1);
    drop(third);
    assert_eq!(names(&spool.news().drain()), ["unwant"]);
    let fourth = want(&spool, &bytes);
    let inputs = spool.news().drain();
    assert!(matches!(&inputs[..], [Input::Want { have, .. }] if have.count() == 1), "pieces are kept: {inputs:?}");
    put(fourth.blob(), &bytes, 0);
    assert_eq!(names(&spool.news().drain()), ["verified"]);
    drop(fourth);
    assert_eq!(names(&spool.news().drain()), [""; 0]);
}

#[tokio::test]
async fn readers_of_parts_demand_the_pieces_under_their_cursors() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let bytes = content(8 * PIECE, 1);
    let piece = PIECE as u64;
    let reading = want(&spool, &bytes);
    let blob = reading.blob().clone();
    let mut part = reader_of(reading, 4 * piece + 10..6 * piece, false);
    assert!(part.next().now_or_never().is_none());
    let inputs = spool.news().drain();
    let demanded = vec![PieceIndex(4), PieceIndex(5)];
    assert!(
        matches!(&inputs[..], [Input::Want { .. }, Input::Demand { pieces, .. }] if *pieces == demanded),
        "{inputs:?}"
    );
    put(&blob, &bytes, 4);
    let chunk = part.next().await.expect("a chunk").expect("good");
    assert!(chunk == bytes[4 * PIECE + 10..5 * PIECE]);
    drop(part);
    assert_eq!(names(&spool.news().drain()), ["unwant"]);
}

#[tokio::test]
async fn unfinished_blobs_are_bounded() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    let digest = |number: usize| sha256(&number.to_le_bytes());
    let mut readings: Vec<_> =
        (0..super::PARTIAL_MAX).map(|number| spool.read(digest(number), 8, None).expect("there is room")).collect();
    let most = super::PARTIAL_MAX;
    assert!(matches!(spool.read(digest(most), 8, None).map(|_| ()), Err(BlobError::Store(_))));
    drop(readings.swap_remove(7));
    drop(spool.read(digest(most), 8, None).expect("an unread one made room"));
    assert!(spool.get(&digest(7)).is_none());
}

#[tokio::test]
async fn stopping_ends_all_readers() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(directory.path(), 1 << 30, Arc::default(), Arc::<Metrics>::default(), None)
        .expect("the spool opens");
    let mut reader = reader(want(&spool, &content(PIECE, 1)));
    assert!(reader.next().now_or_never().is_none());
    spool.stop();
    assert_eq!(reader.next().await, Some(Err(BlobError::Stopping)));
}

/// How far the core is told that the readers are, each time that it is told.
fn told_fronts(spool: &Spool) -> Vec<Option<u32>> {
    let front = |input: &Input| match input {
        Input::ReadersAt { piece, .. } => Some(piece.map(|piece| piece.0)),
        _ => None,
    };
    spool.news().drain().iter().filter_map(front).collect()
}

#[tokio::test]
async fn the_core_is_told_how_far_readers_are_in_steps() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = open(&directory, 1 << 30);
    // Pieces of 256 KiB, steps of 4 MiB.
    let bytes = content(40 * PIECE, 1);
    let reading = want(&spool, &bytes);
    let blob = reading.blob().clone();
    let mut first = reader(reading);
    assert_eq!(told_fronts(&spool), [], "it has not begun");
    assert!(first.next().now_or_never().is_none());
    assert_eq!(told_fronts(&spool), [Some(0)]);
    for piece in 0..39 {
        put(&blob, &bytes, piece);
    }
    let read = async |reader: &mut BlobReader, pieces: usize| {
        let mut left = pieces * PIECE;
        while left > 0 {
            left -= reader.next().await.expect("there are more").expect("good").len();
        }
    };
    read(&mut first, 16).await;
    assert_eq!(told_fronts(&spool), [], "it is at the next piece only when it reads that");
    read(&mut first, 1).await;
    assert_eq!(told_fronts(&spool), [Some(16)]);
    read(&mut first, 14).await;
    assert_eq!(told_fronts(&spool), []);

    let mut second = reader(want(&spool, &bytes));
    assert_eq!(told_fronts(&spool), [None], "one has not begun");
    read(&mut second, 1).await;
    assert_eq!(told_fronts(&spool), [Some(16)], "the first counts");
    drop(first);
    assert_eq!(told_fronts(&spool), [Some(0)], "it is gone");
    let piece = PIECE as u64;
    let part = reader_of(want(&spool, &bytes), 30 * piece..32 * piece, false);
    assert_eq!(told_fronts(&spool), [None], "one reads a part");
    drop(part);
    assert_eq!(told_fronts(&spool), [Some(0)]);
    drop(second);
    assert_eq!(names(&spool.news().drain()), ["unwant"]);
    let mut third = reader(want(&spool, &bytes));
    read(&mut third, 1).await;
    assert_eq!(names(&spool.news().drain()), ["want and lease", "readers at"], "whatever it was told before");
}

/// Bytes of pieces that were written past the page cache while `bytes` filled a blob of which `asked` says whether a peer
/// asks for it after its first piece.
fn written_directly(bytes: &[u8], asked: bool) -> u64 {
    let directory = tempfile::tempdir().expect("a directory");
    let metrics: Arc<Metrics> = Arc::default();
    let spool = Spool::open(directory.path(), 1 << 30, Arc::default(), metrics.clone(), None).expect("the spool opens");
    let reading = want(&spool, bytes);
    let blob = reading.blob();
    put(blob, bytes, 0);
    if asked {
        blob.note_asked();
    }
    for piece in 1..blob.geometry().pieces() {
        put(blob, bytes, piece);
    }
    assert!(blob.is_verified());
    let found = std::fs::read(blob.path()).expect("it is there");
    assert!(found == bytes, "every byte is where it belongs");
    metrics.spool_direct_bytes.get()
}

#[test]
fn what_only_local_readers_want_goes_past_the_page_cache() {
    let directory = tempfile::tempdir().expect("a directory");
    let probe = directory.path().join("probe");
    std::fs::write(&probe, []).expect("written");
    let is_possible = DirectFile::open(&probe).is_some();
    let piece = PIECE as u64;
    // Fewer pieces than a disk is judged by, so that a slow one makes no difference. The last is no whole page.
    let bytes = content(5 * PIECE + 777, 1);
    let direct = |pieces: u64| if is_possible { pieces * piece } else { 0 };
    assert_eq!(written_directly(&bytes, false), direct(5));
    assert_eq!(written_directly(&bytes, true), direct(1), "peers are served from the page cache");
}

#[test]
fn a_piece_that_cannot_go_past_the_page_cache_goes_through_it_and_so_does_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let metrics: Arc<Metrics> = Arc::default();
    let spool = Spool::open(directory.path(), 1 << 30, Arc::default(), metrics.clone(), None).expect("the spool opens");
    let bytes = content(4 * PIECE, 1);
    let reading = want(&spool, &bytes);
    let blob = reading.blob();
    put(blob, &bytes, 0);
    let before = metrics.spool_direct_bytes.get();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a file that is always full");
    blob.state().direct = Some(DirectFile::of(full));
    for piece in 1..4 {
        put(blob, &bytes, piece);
    }
    assert!(blob.is_verified());
    assert!(std::fs::read(blob.path()).expect("it is there") == bytes, "every byte is where it belongs");
    assert_eq!(metrics.spool_direct_bytes.get(), before, "the cache has them");
}

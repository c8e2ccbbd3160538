//! Order, hashes, bounds.

use std::io::Write;

use bytes::BufMut;
use futures_util::FutureExt;
use proptest::prelude::*;
use shoal_wire::ids::PieceHash;

use super::*;

const DIGEST: Digest = Digest::Sha256([7; 32]);
const MIB: u64 = 1024 * 1024;
/// How many of the largest pieces have room.
const ROOM: u32 = BUDGET_KIB / (16 * 1024);

fn memory() -> Arc<PieceMemory> {
    Arc::default()
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()
}

async fn piece(memory: &Arc<PieceMemory>, bytes: &[u8]) -> PieceBytes {
    let mut gathering = memory.gather(bytes.len() as u64).await;
    assert_eq!(gathering.copy_from(bytes), bytes.len());
    gathering.finish()
}

proptest! {
    #[test]
    fn whatever_the_steps_the_piece_has_its_bytes_and_their_hash(
        length in prop_oneof![0usize..5, 200_000usize..800_000],
        steps in proptest::collection::vec(1usize..100_000, 1..20),
    ) {
        let bytes = content(length);
        let mut gathering = memory().gather(length as u64).now_or_never().expect("there is room");
        for step in steps.iter().cycle() {
            if gathering.missing() == 0 {
                break;
            }
            let begin = usize::try_from(gathering.filled()).expect("small");
            let mut room = gathering.room(*step);
            let part = room.remaining_mut();
            prop_assert!((1..=*step).contains(&part));
            room.put_slice(&bytes[begin..begin + part]);
            gathering.advance();
        }
        let piece = gathering.finish();
        prop_assert_eq!(piece.chunks().concat(), bytes.clone());
        prop_assert_eq!(piece.hash(), Some(PieceHash(*blake3::hash(&bytes).as_bytes())));
    }
}

#[tokio::test]
async fn bytes_beyond_the_piece_are_left() {
    let mut gathering = memory().gather(10).await;
    assert_eq!(gathering.copy_from(&[1; 7]), 7);
    assert_eq!(gathering.copy_from(&[2; 7]), 3);
    assert_eq!(gathering.copy_from(&[3; 7]), 0);
    assert_eq!(gathering.finish().chunks().concat(), [1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
}

#[tokio::test]
async fn what_is_gathered_is_bounded_and_goes_on_when_a_piece_is_done() {
    let memory = memory();
    let mut held = Vec::new();
    for _ in 0..ROOM {
        held.push(memory.gather(16 * MIB).now_or_never().expect("so many of the largest pieces have room"));
    }
    let mut next = std::pin::pin!(memory.gather(MIB));
    assert!(next.as_mut().now_or_never().is_none(), "the next one waits");
    held.pop();
    assert!(next.now_or_never().is_some(), "and goes on");
}

#[tokio::test]
async fn what_is_small_does_not_wait_for_what_is_large() {
    let memory = memory();
    let held: Vec<_> = (0..ROOM).map(|_| memory.gather(16 * MIB).now_or_never().expect("room")).collect();
    let mut large = std::pin::pin!(memory.gather(16 * MIB));
    assert!(large.as_mut().now_or_never().is_none(), "the next large one waits");
    let small: Vec<_> = (0..8).map(|_| memory.gather(CHUNK_BYTES as u64).now_or_never().expect("a reserve")).collect();
    let mut next = std::pin::pin!(memory.gather(1));
    assert!(next.as_mut().now_or_never().is_none(), "the reserve is bounded");
    drop(small);
    assert!(next.now_or_never().is_some());
    drop(held);
    assert!(large.now_or_never().is_some(), "and what is large has lost nothing");
}

#[tokio::test]
async fn kept_pieces_make_room_the_oldest_first() {
    let memory = memory();
    for index in 0..ROOM {
        let piece = piece(&memory, &content(16 << 20)).await;
        memory.keep(&DIGEST, PieceIndex(index), &piece);
    }
    let gathering = memory.gather(MIB).now_or_never().expect("the oldest makes room");
    assert!(memory.recent(&DIGEST, PieceIndex(0)).is_none());
    assert!(memory.recent(&DIGEST, PieceIndex(1)).is_some());
    drop(gathering);
    memory.forget(&DIGEST);
    assert!((1..ROOM).all(|index| memory.recent(&DIGEST, PieceIndex(index)).is_none()));
    assert_eq!(memory.budget.available_permits(), BUDGET_KIB as usize, "nothing is counted any more");
}

#[tokio::test]
async fn nothing_is_kept_while_a_transfer_waits() {
    let memory = memory();
    let stored = piece(&memory, &content(16 << 20)).await;
    let held: Vec<_> = (1..ROOM).map(|_| memory.gather(16 * MIB).now_or_never().expect("room")).collect();
    let mut next = std::pin::pin!(memory.gather(16 * MIB));
    assert!(next.as_mut().now_or_never().is_none());
    memory.keep(&DIGEST, PieceIndex(0), &stored);
    assert!(memory.recent(&DIGEST, PieceIndex(0)).is_none());
    drop(stored);
    assert!(next.now_or_never().is_some());
    drop(held);
}

#[tokio::test]
async fn parts_end_with_their_chunk() {
    let memory = memory();
    let bytes = content(CHUNK_BYTES + 10);
    let piece = piece(&memory, &bytes).await;
    memory.keep(&DIGEST, PieceIndex(3), &piece);
    let part = |offset, length| memory.recent_part(&DIGEST, PieceIndex(3), offset, length);
    assert_eq!(part(5, 100).expect("kept"), bytes[5..105]);
    let edge = CHUNK_BYTES as u64 - 1;
    assert_eq!(part(edge, 100).expect("kept"), bytes[CHUNK_BYTES - 1..CHUNK_BYTES]);
    assert_eq!(part(edge + 1, 100).expect("kept"), bytes[CHUNK_BYTES..]);
    assert_eq!(part(CHUNK_BYTES as u64 + 10, 100), None);
    assert_eq!(memory.recent_part(&DIGEST, PieceIndex(4), 0, 1), None);
}

#[tokio::test]
async fn pieces_of_whole_pages_can_be_written_from_where_they_are() {
    let memory = memory();
    let at = |piece: &PieceBytes| piece.chunks().iter().map(|chunk| chunk.as_ptr() as usize).collect::<Vec<_>>();
    let mut before = Vec::new();
    for _ in 0..2 {
        let whole = piece(&memory, &content(2 * CHUNK_BYTES)).await;
        assert!(whole.is_aligned(), "{:?}", at(&whole));
        let now = at(&whole);
        assert!(before.is_empty() || now.iter().all(|address| before.contains(address)), "buffers are used again");
        before = now;
    }
    assert!(!piece(&memory, &content(2 * CHUNK_BYTES + 5)).await.is_aligned());
}

#[tokio::test]
async fn a_piece_written_at_once_has_its_place() {
    let bytes = content(2 * CHUNK_BYTES + 5);
    let piece = piece(&memory(), &bytes).await;
    let file = tempfile::tempfile().expect("a file");
    piece.write_at_once(&file, 7).expect("written");
    let found = memory().read_at(&file, 7, CHUNK_BYTES as u64).expect("read");
    assert_eq!(found, bytes[..CHUNK_BYTES]);
    assert_eq!(file.metadata().expect("its length").len(), 7 + bytes.len() as u64);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a file that is always full");
    assert_eq!(piece.write_at_once(&full, 0).expect_err("full").kind(), io::ErrorKind::StorageFull);
}

#[test]
fn files_are_read_into_buffers_that_are_used_again() {
    let memory = memory();
    let bytes = content(CHUNK_BYTES + 10);
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("written");
    let first = memory.read_at(&file, 0, CHUNK_BYTES as u64).expect("read");
    assert_eq!(first, bytes[..CHUNK_BYTES]);
    let address = first.as_ptr();
    drop(first);
    let again = memory.read_at(&file, 3, CHUNK_BYTES as u64 - 5).expect("read");
    assert_eq!(again, bytes[3..CHUNK_BYTES - 2]);
    assert_eq!(again.as_ptr(), address);
    assert_eq!(memory.read_at(&file, CHUNK_BYTES as u64, 10).expect("read"), bytes[CHUNK_BYTES..]);
    let error = memory.read_at(&file, CHUNK_BYTES as u64, 11).expect_err("past the end");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

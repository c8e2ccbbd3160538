//! Pieces from one real endpoint to another.

use std::sync::Arc;

use shoal_core::event::{Input, MemberEvent, Refusal, TransferFailure, TransferId, UploadId};
use shoal_wire::{
    control::Load,
    geometry::PieceIndex,
    transfer::{Urgency, Voucher},
};

use crate::{
    identity::Identity,
    net::transfer::{download::Request, upload::Verdict},
    spool::{interest::Reading, prefix::PrefixRun},
    testing::{TestNode, content, gathered, on_disk, piece_of, sha256},
};

const SIZE: usize = 600_000;

/// Two members, of which `holder` has pieces that `wanter` wants.
struct Pair {
    holder: TestNode,
    wanter: TestNode,
    bytes: Vec<u8>,
    source: Reading,
    target: Reading,
}

impl Pair {
    async fn new() -> Self {
        let (holder, wanter) = (TestNode::start().await, TestNode::start().await);
        holder.learn(&wanter.stack);
        wanter.learn(&holder.stack);
        let bytes = content(SIZE, 1);
        let read = |node: &TestNode| node.stack.spool.read(sha256(&bytes), SIZE as u64, None).expect("it can be read");
        let (source, target) = (read(&holder), read(&wanter));
        Self { holder, wanter, bytes, source, target }
    }

    /// Puts a piece into the holder's spool with the word of `injector`.
    fn inject(&self, piece: u32, injector: &Identity) -> Voucher {
        let piece = PieceIndex(piece);
        let part = piece_of(&self.bytes, piece);
        let hash = shoal_wire::ids::PieceHash(*blake3::hash(&part).as_bytes());
        let voucher = injector.vouch(&sha256(&self.bytes), piece, hash);
        let blob = self.source.blob();
        blob.store(piece, &gathered(&part), &voucher, &|| false).expect("stored");
        if blob.announce(piece) {
            blob.run_prefix(None).expect("hashed");
        }
        voucher
    }

    fn ask(&self, transfer: u64, piece: u32) {
        let request = Request {
            transfer: TransferId(transfer),
            from: self.holder.stack.table.own_id(),
            digest: sha256(&self.bytes),
            piece: PieceIndex(piece),
            urgency: Urgency::Bulk,
            held: 0,
        };
        self.wanter.stack.downloads.start(&self.wanter.stack.peers, request);
    }

    async fn asked(&mut self) -> UploadId {
        match self.holder.input().await {
            Input::PieceRequested { upload, from, digest, .. } => {
                assert_eq!(from, self.wanter.stack.table.own_id());
                assert_eq!(digest, sha256(&self.bytes));
                upload
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn ended(&mut self, expected: UploadId) {
        match self.holder.input().await {
            Input::UploadEnded { upload } => assert_eq!(upload, expected),
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn failure(&mut self) -> TransferFailure {
        match self.wanter.input().await {
            Input::PieceFailed { failure, .. } => failure,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn arrived(&self, piece: u32) -> bool {
        let blob = self.target.blob();
        blob.has(PieceIndex(piece)) && on_disk(blob, PieceIndex(piece)) == piece_of(&self.bytes, PieceIndex(piece))
    }

    async fn serve(&mut self, transfer: u64, piece: u32) -> shoal_wire::ids::MemberId {
        self.ask(transfer, piece);
        let upload = self.asked().await;
        self.holder.stack.uploads.decide(upload, Verdict::Serve);
        self.ended(upload).await;
        match self.wanter.input().await {
            Input::PieceStored { transfer: stored, injector } => {
                assert_eq!(stored, TransferId(transfer));
                injector
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn stranger() -> (Identity, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    (Identity::open(directory.path()).expect("an identity"), directory)
}

#[tokio::test]
async fn a_relayed_piece_arrives_with_its_injectors_word_even_after_its_death() {
    let mut pair = Pair::new().await;
    let (injector, _directory) = stranger();
    let voucher = pair.inject(1, &injector);
    let record = crate::table::tests::record(injector.public_key(), 1);
    pair.wanter.stack.table.apply(&MemberEvent::Up(record.into()));
    pair.wanter.stack.table.apply(&MemberEvent::Dead(injector.id()));
    assert_eq!(pair.serve(1, 1).await, injector.id());
    assert!(pair.arrived(1));
    assert_eq!(pair.target.blob().voucher(PieceIndex(1)), Some(voucher));
}

#[tokio::test]
async fn who_holds_the_whole_blob_vouches_for_it() {
    let mut pair = Pair::new().await;
    let (injector, _directory) = stranger();
    for piece in 0..3 {
        pair.inject(piece, &injector);
    }
    assert!(pair.source.blob().is_verified());
    let holder = pair.holder.stack.table.own_id();
    for piece in [2, 0, 1] {
        assert_eq!(pair.serve(u64::from(piece), piece).await, holder, "the injector is not needed");
        assert!(pair.arrived(piece));
    }
    assert_eq!(pair.holder.stack.metrics.peer_sent_bytes.get(), SIZE as u64);
    assert_eq!(pair.wanter.stack.metrics.peer_received_bytes.get(), SIZE as u64);
    while !pair.target.blob().is_verified() {
        tokio::task::yield_now().await;
    }
    assert_eq!(pair.target.blob().run_prefix(None).expect("nothing to do"), PrefixRun::Waiting);
}

#[tokio::test]
async fn refusals_arrive_with_their_reason() {
    let mut pair = Pair::new().await;
    let load = Load { active: 4, queued: 1 };
    for (refusal, expected) in
        [(Refusal::Busy(load), TransferFailure::Busy(load)), (Refusal::NotHeld, TransferFailure::NotHeld)]
    {
        pair.ask(1, 0);
        let upload = pair.asked().await;
        pair.holder.stack.uploads.decide(upload, Verdict::Refuse(refusal));
        assert_eq!(pair.failure().await, expected);
    }
    assert_eq!(pair.holder.stack.metrics.uploads_refused_busy.get(), 1);
}

#[tokio::test]
async fn a_piece_that_is_gone_when_it_is_served_is_not_held() {
    let mut pair = Pair::new().await;
    pair.ask(1, 0);
    let upload = pair.asked().await;
    pair.holder.stack.uploads.decide(upload, Verdict::Serve);
    assert_eq!(pair.failure().await, TransferFailure::NotHeld);
    pair.ended(upload).await;
}

#[tokio::test]
async fn a_complete_blob_whose_file_is_lost_is_not_held_and_dropped() {
    let mut pair = Pair::new().await;
    let own = Arc::clone(&pair.holder.stack.uploads.identity);
    for piece in 0..3 {
        pair.inject(piece, &own);
    }
    pair.holder.stack.spool.news().drain();
    let blob = pair.source.blob();
    std::fs::remove_file(blob.path()).expect("removed");
    pair.holder.stack.memory.forget(&sha256(&pair.bytes));
    pair.ask(1, 0);
    let upload = pair.asked().await;
    pair.holder.stack.uploads.decide(upload, Verdict::Serve);
    assert_eq!(pair.failure().await, TransferFailure::NotHeld);
    pair.ended(upload).await;
    let told = pair.holder.stack.spool.news().drain();
    assert!(matches!(&told[..], [Input::Dropped { digest }] if *digest == sha256(&pair.bytes)), "{told:?}");
}

#[tokio::test]
async fn a_piece_that_was_just_stored_is_sent_without_its_file() {
    let mut pair = Pair::new().await;
    let own = Arc::clone(&pair.holder.stack.uploads.identity);
    for piece in 0..3 {
        pair.inject(piece, &own);
    }
    std::fs::remove_file(pair.source.blob().path()).expect("removed");
    pair.serve(1, 1).await;
    assert!(pair.arrived(1));
}

#[tokio::test]
async fn a_cancelled_transfer_frees_the_uploader_and_has_no_result() {
    let mut pair = Pair::new().await;
    pair.ask(1, 0);
    let upload = pair.asked().await;
    pair.wanter.stack.downloads.cancel(TransferId(1));
    pair.ended(upload).await;
    let (injector, _directory) = stranger();
    pair.inject(1, &injector);
    pair.wanter.stack.table.apply(&MemberEvent::Up(crate::table::tests::record(injector.public_key(), 1).into()));
    assert_eq!(pair.serve(2, 1).await, injector.id(), "the first result is that of the second transfer");
}

#[tokio::test]
async fn a_lost_connection_ends_both_sides() {
    let mut pair = Pair::new().await;
    pair.ask(1, 0);
    let upload = pair.asked().await;
    let wanter = pair.wanter.stack.table.own_id();
    pair.holder.stack.peers.connection(wanter).await.expect("connected").close(7u32.into(), b"the test cuts it");
    let mut ends = 0;
    while ends < 1 {
        match pair.holder.input().await {
            Input::UploadEnded { upload: ended } => {
                assert_eq!(ended, upload);
                ends += 1;
            }
            Input::ControlLost { to } => assert_eq!(to, wanter),
            other => panic!("unexpected {other:?}"),
        }
    }
    loop {
        match pair.wanter.input().await {
            Input::PieceFailed { failure, .. } => break assert_eq!(failure, TransferFailure::Unreachable),
            Input::ControlLost { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_link_that_serves_a_piece_is_not_the_one_that_makes_room() {
    let mut pair = Pair::new().await;
    let own = Arc::clone(&pair.holder.stack.uploads.identity);
    pair.inject(0, &own);
    pair.holder.stack.peers.limit_links(2);
    pair.ask(1, 0);
    let upload = pair.asked().await;
    let holder = pair.holder.stack.table.own_id();
    let before = pair.wanter.stack.peers.connection(holder).await.expect("connected").stable_id();
    for _ in 0..3 {
        let other = TestNode::start().await;
        pair.holder.learn(&other.stack);
        other.learn(&pair.holder.stack);
        let other = other.stack.table.own_id();
        pair.holder.stack.peers.connection(other).await.expect("connected");
    }
    pair.holder.stack.uploads.decide(upload, Verdict::Serve);
    pair.ended(upload).await;
    assert!(matches!(pair.wanter.input().await, Input::PieceStored { .. }));
    let after = pair.wanter.stack.peers.connection(holder).await.expect("connected").stable_id();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_piece_that_is_there_already_is_told_and_counted_as_duplicate() {
    let mut pair = Pair::new().await;
    let own = Arc::clone(&pair.holder.stack.uploads.identity);
    pair.inject(0, &own);
    pair.serve(1, 0).await;
    pair.serve(2, 0).await;
    assert_eq!(pair.wanter.stack.metrics.duplicate_received_bytes.get(), 256 * 1024);
    assert_eq!(pair.wanter.stack.metrics.pieces_stored.get(), 1);
}

#[tokio::test]
async fn a_failing_disk_fails_the_transfer_as_ours() {
    let mut pair = Pair::new().await;
    let own = Arc::clone(&pair.holder.stack.uploads.identity);
    pair.inject(0, &own);
    pair.target.blob().replace_file(std::fs::File::open("/dev/null").expect("a file that cannot be written"));
    pair.ask(1, 0);
    let upload = pair.asked().await;
    pair.holder.stack.uploads.decide(upload, Verdict::Serve);
    assert_eq!(pair.failure().await, TransferFailure::Store);
}

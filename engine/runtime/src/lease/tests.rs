//! Leases against upstreams of all kinds.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use shoal_core::event::{FetchFailure, HeldLease, Input};
use shoal_wire::{
    control::UpstreamFailure,
    digest::Digest,
    geometry::PieceIndex,
    ids::{LeaseId, MemberId},
    name::{Descriptor, Name},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{Leases, Run};
use crate::{
    identity::{Identity, is_signed_by},
    limit::Limiter,
    net::transfer::store::Store,
    pool::Pool,
    spool::{Spool, interest::Reading},
    tasks::Tasks,
    testing::{content, on_disk, piece_of, sha256, source, source_of},
    upstream::{Upstream, UpstreamBody, UpstreamSource},
};

const PIECE: u64 = 256 * 1024;

/// What an upstream does with one request.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Good,
    /// Sends everything whatever is asked for.
    Whole,
    /// Ends after so many bytes.
    Short(usize),
    /// Sends so many bytes, and then nothing more.
    Stall(usize),
    Fail(UpstreamFailure),
}

struct Registry {
    blob: Vec<u8>,
    manners: Mutex<VecDeque<Manner>>,
    asked: Mutex<Vec<Range<u64>>>,
    repositories: Mutex<Vec<String>>,
}

#[async_trait]
impl Upstream for Registry {
    async fn resolve(&self, _name: &Name) -> Result<Descriptor, UpstreamFailure> {
        Err(UpstreamFailure::NotFound)
    }

    async fn fetch(
        &self,
        source: &UpstreamSource,
        _digest: &Digest,
        range: Range<u64>,
    ) -> Result<UpstreamBody, UpstreamFailure> {
        let manner = crate::lock(&self.manners).pop_front().expect("a request that the test foresees");
        crate::lock(&self.asked).push(range.clone());
        crate::lock(&self.repositories).push(source.repository.clone());
        let index = |offset| usize::try_from(offset).expect("a small blob");
        let asked = &self.blob[index(range.start)..index(range.end)];
        let (bytes, stalls) = match manner {
            Manner::Good => (asked, false),
            Manner::Whole => (&self.blob[..], false),
            Manner::Short(bytes) => (&asked[..bytes], false),
            Manner::Stall(bytes) => (&asked[..bytes], true),
            Manner::Fail(failure) => return Err(failure),
        };
        let chunks: Vec<_> = bytes.chunks(10_007).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let chunks = stream::iter(chunks);
        let stream = if stalls { chunks.chain(stream::pending()).boxed() } else { chunks.boxed() };
        Ok(UpstreamBody { whole: matches!(manner, Manner::Whole), stream })
    }
}

struct Bench {
    registry: Arc<Registry>,
    leases: Arc<Leases>,
    identity: Arc<Identity>,
    inputs: mpsc::Receiver<Input>,
    reading: Reading,
    _directory: TempDir,
}

const LEASE: HeldLease = HeldLease { home: MemberId([9; 16]), lease: LeaseId(7) };

impl Bench {
    fn new(size: usize, manners: &[Manner]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let blob = content(size, 1);
        let identity = Arc::new(Identity::open(directory.path()).expect("an identity"));
        let metrics = Arc::default();
        let spool = Arc::new(
            Spool::open(directory.path(), 1 << 30, Arc::default(), Arc::clone(&metrics), None).expect("a spool"),
        );
        let reading = spool.read(sha256(&blob), blob.len() as u64, Some(source())).expect("it can be read");
        let tasks = Tasks::default();
        let pool = Pool::new(tasks.tracker().clone());
        let (sender, inputs) = mpsc::channel(100);
        let manners = Mutex::new(manners.iter().copied().collect());
        let registry = Arc::new(Registry { blob, manners, asked: Mutex::default(), repositories: Mutex::default() });
        let store = Arc::new(Store { spool, pool, memory: Arc::default(), metrics, inputs: sender });
        let limiter = Arc::new(Limiter::new(None));
        let leases = Leases::new(store, registry.clone(), identity.clone(), limiter, tasks);
        Self { registry, leases: Arc::new(leases), identity, inputs, reading, _directory: directory }
    }

    fn fetch(&self, first: u32, count: u32) {
        let digest = *self.reading.blob().digest();
        self.leases.fetch(Run { lease: LEASE, digest, first: PieceIndex(first), count });
    }

    /// Another reader, whose repository is this one.
    fn read_from(&self, repository: &str) -> Reading {
        let (spool, blob) = (&self.leases.store.spool, &self.registry.blob);
        spool.read(sha256(blob), blob.len() as u64, Some(source_of(repository))).expect("it can be read")
    }

    /// The repositories that were asked since the last call.
    fn repositories(&self) -> Vec<String> {
        std::mem::take(&mut *crate::lock(&self.registry.repositories))
    }

    /// Pieces that arrive until the lease ends, and how it ends.
    async fn outcome(&mut self) -> (Vec<u32>, Result<(), FetchFailure>) {
        let mut pieces = Vec::new();
        loop {
            match self.inputs.recv().await.expect("the leases run") {
                Input::LeasePiece { piece, lease, .. } => {
                    assert_eq!(lease, LEASE);
                    pieces.push(piece.0);
                }
                Input::LeaseEnded { result, .. } => return (pieces, result),
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn counter(&self, name: &str) -> u64 {
        let snapshot = self.leases.store.metrics.snapshot();
        snapshot.counters.iter().find(|counter| counter.0 == name).expect("a known counter").2
    }
}

const UNAVAILABLE: Result<(), FetchFailure> = Err(FetchFailure::Upstream(UpstreamFailure::Unavailable));

#[tokio::test]
async fn a_run_is_fetched_stored_and_vouched_for() {
    let mut bench = Bench::new(1_000_000, &[Manner::Good]);
    bench.fetch(1, 3);
    assert_eq!(bench.outcome().await, (vec![1, 2, 3], Ok(())));
    assert_eq!(crate::lock(&bench.registry.asked).first(), Some(&(PIECE..1_000_000)));
    let blob = bench.reading.blob();
    for piece in (1..4).map(PieceIndex) {
        let voucher = blob.voucher(piece).expect("stored");
        assert!(is_signed_by(&voucher, &bench.identity.public_key(), blob.digest(), piece));
        assert!(on_disk(blob, piece) == piece_of(&bench.registry.blob, piece));
    }
    assert_eq!(bench.counter("upstream_received_bytes"), 1_000_000 - PIECE);
}

#[tokio::test]
async fn an_upstream_without_ranges_is_asked_once_and_taken_over() {
    let mut bench = Bench::new(600_000, &[Manner::Whole]);
    bench.fetch(1, 1);
    assert_eq!(bench.outcome().await, (vec![], Err(FetchFailure::NoRanges)));
    assert_eq!(bench.counter("upstream_received_bytes"), 0, "nothing of the kept body is read");
    bench.fetch(0, 3);
    assert_eq!(bench.outcome().await, (vec![0, 1, 2], Ok(())));
    assert_eq!(bench.counter("upstream_requests"), 1);
    assert!(bench.reading.blob().is_verified());
}

#[tokio::test(start_paused = true)]
async fn a_kept_body_is_dropped_after_a_moment() {
    let mut bench = Bench::new(600_000, &[Manner::Whole, Manner::Whole]);
    bench.fetch(1, 1);
    assert_eq!(bench.outcome().await.1, Err(FetchFailure::NoRanges));
    tokio::time::sleep(super::PARK * 2).await;
    bench.fetch(0, 3);
    assert_eq!(bench.outcome().await, (vec![0, 1, 2], Ok(())));
    assert_eq!(bench.counter("upstream_requests"), 2);
}

#[tokio::test]
async fn an_upstream_without_ranges_that_is_asked_for_everything_is_simply_read() {
    let mut bench = Bench::new(600_000, &[Manner::Whole]);
    bench.fetch(0, 3);
    assert_eq!(bench.outcome().await, (vec![0, 1, 2], Ok(())));
}

#[tokio::test]
async fn a_body_that_ends_early_is_unavailable_after_its_whole_pieces() {
    let mut bench = Bench::new(1_000_000, &[Manner::Short(300_000)]);
    bench.fetch(0, 4);
    assert_eq!(bench.outcome().await, (vec![0], UNAVAILABLE));
    assert_eq!(bench.counter("upstream_failures"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_given_up() {
    let mut bench = Bench::new(1_000_000, &[Manner::Stall(300_000)]);
    bench.fetch(0, 4);
    assert_eq!(bench.outcome().await, (vec![0], UNAVAILABLE));
}

#[tokio::test]
async fn what_the_upstream_says_is_passed_on() {
    for failure in
        [UpstreamFailure::Denied, UpstreamFailure::NotFound, UpstreamFailure::RateLimited { retry_after_s: 9 }]
    {
        let mut bench = Bench::new(1000, &[Manner::Fail(failure)]);
        bench.fetch(0, 1);
        assert_eq!(bench.outcome().await, (vec![], Err(FetchFailure::Upstream(failure))));
    }
}

#[tokio::test]
async fn a_cut_ends_the_run_where_it_says() {
    let mut bench = Bench::new(1_000_000, &[Manner::Good]);
    bench.fetch(0, 4);
    bench.leases.cut(LEASE, PieceIndex(2));
    bench.leases.cut(LEASE, PieceIndex(3));
    assert_eq!(bench.outcome().await, (vec![0, 1], Ok(())), "a later cut does not lengthen the run again");
}

#[tokio::test]
async fn a_cut_behind_the_position_aborts_and_counts_what_was_wasted() {
    let mut bench = Bench::new(1_000_000, &[Manner::Stall(300_000)]);
    bench.fetch(0, 4);
    assert!(matches!(bench.inputs.recv().await, Some(Input::LeasePiece { piece: PieceIndex(0), .. })));
    let all = 300_000;
    while bench.counter("upstream_received_bytes") < all {
        tokio::task::yield_now().await;
    }
    bench.leases.cut(LEASE, PieceIndex(0));
    assert_eq!(bench.outcome().await, (vec![], Ok(())));
    assert_eq!(bench.counter("duplicate_received_bytes"), all - PIECE);
}

const FIRST: &str = "library/thing";

#[tokio::test]
async fn the_source_of_a_later_reader_does_not_replace_that_of_the_first() {
    let mut bench = Bench::new(600_000, &[Manner::Good]);
    let _later = bench.read_from("team/secret");
    bench.fetch(0, 3);
    assert_eq!(bench.outcome().await, (vec![0, 1, 2], Ok(())));
    assert_eq!(bench.repositories(), [FIRST]);
}

#[tokio::test]
async fn a_source_that_fails_makes_way_for_the_next_and_nobody_is_told() {
    use UpstreamFailure::{Denied, NoUpstream, NotFound, Unavailable};
    for failure in [Denied, NotFound, Unavailable, NoUpstream] {
        let mut bench = Bench::new(600_000, &[Manner::Fail(failure), Manner::Good, Manner::Good]);
        let _later = bench.read_from("team/app");
        bench.fetch(0, 2);
        assert_eq!(bench.outcome().await, (vec![0, 1], Ok(())), "{failure:?}");
        bench.fetch(2, 1);
        assert_eq!(bench.outcome().await, (vec![2], Ok(())));
        assert_eq!(bench.repositories(), [FIRST, "team/app", "team/app"], "it stays in use");
        assert_eq!(bench.counter("upstream_failures"), 0);
    }
}

#[tokio::test]
async fn a_source_whose_body_breaks_off_makes_way_for_the_next() {
    let mut bench = Bench::new(1_000_000, &[Manner::Short(300_000), Manner::Good]);
    let _later = bench.read_from("team/app");
    bench.fetch(0, 4);
    assert_eq!(bench.outcome().await, (vec![0], UNAVAILABLE));
    bench.fetch(1, 3);
    assert_eq!(bench.outcome().await, (vec![1, 2, 3], Ok(())));
    assert_eq!(bench.repositories(), [FIRST, "team/app"]);
}

#[tokio::test]
async fn where_all_sources_fail_the_most_hopeful_word_is_passed_on() {
    let words = [UpstreamFailure::NotFound, UpstreamFailure::Unavailable, UpstreamFailure::Denied];
    let mut bench = Bench::new(1000, &words.map(Manner::Fail));
    let _later = [bench.read_from("team/app"), bench.read_from("team/secret")];
    bench.fetch(0, 1);
    assert_eq!(bench.outcome().await, (vec![], UNAVAILABLE));
    assert_eq!(bench.repositories(), [FIRST, "team/app", "team/secret"], "each is asked once");
}

#[tokio::test]
async fn an_upstream_that_asks_for_less_is_not_passed_over() {
    let limited = UpstreamFailure::RateLimited { retry_after_s: 9 };
    let mut bench = Bench::new(1000, &[Manner::Fail(limited), Manner::Good]);
    let _later = bench.read_from("team/app");
    bench.fetch(0, 1);
    assert_eq!(bench.outcome().await, (vec![], Err(FetchFailure::Upstream(limited))));
    bench.fetch(0, 1);
    assert_eq!(bench.outcome().await, (vec![0], Ok(())));
    assert_eq!(bench.repositories(), [FIRST, FIRST]);
}

#[tokio::test]
async fn the_source_of_a_reader_that_left_is_not_asked_while_there_are_others() {
    let mut bench = Bench::new(1000, &[Manner::Good]);
    let later = bench.read_from("team/app");
    let first = std::mem::replace(&mut bench.reading, later);
    drop(first);
    bench.fetch(0, 1);
    assert_eq!(bench.outcome().await, (vec![0], Ok(())));
    assert_eq!(bench.repositories(), ["team/app"]);
}

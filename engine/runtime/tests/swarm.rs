//! Whole engines on loopback, with an upstream in memory.

use std::{
    net::SocketAddr,
    num::NonZeroU64,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sha2::{Digest as _, Sha256};
use shoal_runtime::{
    BlobError, BlobRequest, ClusterSecret, ContentKind, CoreConfig, Descriptor, Digest, Engine, EngineConfig,
    Moderation, Name, Reference, ResolveError, StartError, Upstream, UpstreamBody, UpstreamFailure, UpstreamSource,
};

/// A registry in memory that counts what it gives.
struct Registry {
    blob: Vec<u8>,
    digest: Digest,
    ranges: bool,
    sent_bytes: AtomicU64,
    requests: AtomicU64,
    lookups: Mutex<Vec<Name>>,
}

impl Registry {
    fn new(size: usize, ranges: bool) -> Arc<Self> {
        let blob: Vec<u8> = (0..size).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
        let digest = Digest::Sha256(Sha256::digest(&blob).into());
        Arc::new(Self { blob, digest, ranges, sent_bytes: 0.into(), requests: 0.into(), lookups: Mutex::default() })
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn request(&self) -> BlobRequest {
        let size = self.blob.len() as u64;
        BlobRequest { digest: self.digest(), size, source: Some(source()), range: None, excerpt: false }
    }
}

fn within(range: &Range<u64>) -> Range<usize> {
    let index = |offset| usize::try_from(offset).expect("a small blob");
    index(range.start)..index(range.end)
}

fn source() -> UpstreamSource {
    UpstreamSource {
        registry: "registry.test".to_owned(),
        repository: "library/thing".to_owned(),
        kind: ContentKind::Blob,
        media_type: String::new(),
    }
}

#[async_trait]
impl Upstream for Registry {
    async fn resolve(&self, name: &Name) -> Result<Descriptor, UpstreamFailure> {
        self.lookups.lock().expect("not poisoned").push(name.clone());
        match &name.reference {
            Reference::Tag(tag) if tag == "latest" => {
                let media_type = "application/octet-stream".to_owned();
                Ok(Descriptor { media_type, digest: self.digest(), size: self.blob.len() as u64 })
            }
            _ => Err(UpstreamFailure::NotFound),
        }
    }

    async fn fetch(
        &self,
        _source: &UpstreamSource,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<UpstreamBody, UpstreamFailure> {
        self.requests.fetch_add(1, SeqCst);
        if *digest != self.digest() {
            return Err(UpstreamFailure::NotFound);
        }
        let range = if self.ranges { within(&range) } else { 0..self.blob.len() };
        let whole = !self.ranges;
        let chunks: Vec<_> = self.blob[range].chunks(30_000).map(Bytes::copy_from_slice).collect();
        self.sent_bytes.fetch_add(chunks.iter().map(|chunk| chunk.len() as u64).sum(), SeqCst);
        Ok(UpstreamBody { whole, stream: Box::pin(stream::iter(chunks.into_iter().map(Ok))) })
    }
}

struct Node {
    engine: Engine,
    _directory: tempfile::TempDir,
}

fn config(directory: &tempfile::TempDir, secret: u8, seeds: &[SocketAddr]) -> EngineConfig {
    EngineConfig {
        data_dir: directory.path().to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        secret: ClusterSecret([secret; 32]),
        seeds: seeds.iter().map(ToString::to_string).collect(),
        zone: String::new(),
        upload_bytes_per_s: None,
        download_bytes_per_s: None,
        link_bytes_per_s: None,
        spool_bytes: 1 << 30,
        core: CoreConfig::default(),
    }
}

async fn start(registry: &Arc<Registry>, secret: u8, seeds: &[SocketAddr]) -> Node {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = Engine::start(config(&directory, secret, seeds), registry.clone()).await.expect("a node starts");
    Node { engine, _directory: directory }
}

async fn cluster(registry: &Arc<Registry>, count: usize) -> Vec<Node> {
    let mut nodes = vec![start(registry, 1, &[]).await];
    let seed = nodes[0].engine.status().listen;
    for _ in 1..count {
        nodes.push(start(registry, 1, &[seed]).await);
    }
    until("all nodes know each other", || nodes.iter().all(|node| node.engine.status().members.len() == count)).await;
    nodes
}

/// Waits for a condition. It has no limit of its own; the test runner's applies.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let mut rounds = 0;
    while !condition() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        rounds += 1;
        if rounds % 500 == 0 {
            eprintln!("still waiting until {what}");
        }
    }
}

async fn read(engine: &Engine, request: BlobRequest) -> Result<Vec<u8>, BlobError> {
    let mut reader = engine.open(request).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await {
        let chunk = chunk?;
        assert!(chunk.len() <= 256 * 1024, "chunks are bounded");
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn counter(engine: &Engine, name: &str) -> u64 {
    let snapshot = engine.metrics();
    snapshot.counters.iter().find(|counter| counter.0 == name).map(|counter| counter.2).expect("a known counter")
}

async fn stop(nodes: Vec<Node>) {
    futures_util::future::join_all(nodes.iter().map(|node| node.engine.shutdown())).await;
}

async fn pull_everywhere(registry: &Arc<Registry>, nodes: &[Node]) {
    let pulls = nodes.iter().map(|node| read(&node.engine, registry.request()));
    for bytes in futures_util::future::join_all(pulls).await {
        assert!(bytes.expect("the pull succeeds") == registry.blob, "every byte is right");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_pull_at_once_cost_the_upstream_about_one_copy() {
    let registry = Registry::new(5 * 1024 * 1024 + 12_345, true);
    let nodes = cluster(&registry, 3).await;
    pull_everywhere(&registry, &nodes).await;
    let copies = registry.sent_bytes.load(SeqCst) as f64 / registry.blob.len() as f64;
    assert!((1.0..=1.15).contains(&copies), "the upstream gave {copies} copies");
    for node in &nodes {
        until("the blob is held", || node.engine.held(&registry.digest()).is_some()).await;
        assert_eq!(counter(&node.engine, "pieces_corrupt"), 0);
    }
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_come_no_further_ahead_of_a_slow_reader_than_memory_reaches() {
    const MIB: u64 = 1024 * 1024;
    let registry = Registry::new(96 * 1024 * 1024, true);
    let nodes = cluster(&registry, 2).await;
    read(&nodes[0].engine, registry.request()).await.expect("the pull succeeds");
    until("the blob is held", || nodes[0].engine.held(&registry.digest()).is_some()).await;
    let received = || counter(&nodes[1].engine, "peer_received_bytes");
    let request = BlobRequest { source: None, ..registry.request() };
    let mut reader = nodes[1].engine.open(request).await.expect("it opens");
    let mut bytes = Vec::new();
    // 32 MiB, from the start of the step of 4 MiB in which the reader is; a quarter of a MiB is in its hands.
    let reach = 32 * MIB;
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk.expect("good"));
        let read = bytes.len() as u64;
        if read == 8 * MIB {
            until("the rest within reach has come", || received() >= 8 * MIB - 4 * MIB + reach).await;
        }
        assert!(received() <= read + reach, "{} bytes came when {read} were read", received());
    }
    assert!(bytes == registry.blob, "every byte is right");
    assert_eq!(registry.sent_bytes.load(SeqCst), registry.blob.len() as u64, "once, to the first node");
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_is_timed_beside_what_the_link_allows() {
    let registry = Registry::new(4_000_000, true);
    let directory = tempfile::tempdir().expect("a directory");
    let config = EngineConfig {
        download_bytes_per_s: Some(4_000_000),
        link_bytes_per_s: NonZeroU64::new(4_000_000),
        ..config(&directory, 1, &[])
    };
    let engine = Engine::start(config, registry.clone()).await.expect("a node starts");
    read(&engine, registry.request()).await.expect("the pull succeeds");
    until("the pull is counted", || counter(&engine, "pulls_milliseconds") > 0).await;
    assert_eq!(counter(&engine, "pulls_bound_milliseconds"), 1000);
    let took = counter(&engine, "pulls_milliseconds");
    assert!(took >= 970, "{took} ms is less than the link allows, beyond the burst of the limit");
    read(&engine, registry.request()).await.expect("it is there");
    assert_eq!(counter(&engine, "pulls_bound_milliseconds"), 1000, "what is there already is no pull");
    engine.shutdown().await;
}

#[test]
fn threads_rest_while_pieces_trickle_in() {
    let moderation = Moderation::default();
    let resting = moderation.clone();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).on_thread_park(move || resting.before_park()).enable_all();
    builder.build().expect("a runtime").block_on(async {
        let registry = Registry::new(10_000_000, true);
        let nodes = cluster(&registry, 2).await;
        read(&nodes[0].engine, registry.request()).await.expect("the pull succeeds");
        let directory = tempfile::tempdir().expect("a directory");
        let seed = nodes[0].engine.status().listen;
        let slow = EngineConfig { download_bytes_per_s: Some(2_500_000), ..config(&directory, 1, &[seed]) };
        let slow = Engine::start(slow, registry.clone()).await.expect("a node starts");
        slow.moderate(&moderation);
        until("it knows the others", || slow.status().members.len() == 3).await;
        let request = BlobRequest { source: None, ..registry.request() };
        let bytes = read(&slow, request).await.expect("the pull succeeds");
        assert!(bytes == registry.blob, "every byte is right");
        assert!(counter(&slow, "rests") > 0, "4 s at 20 Mbit/s");
        slow.shutdown().await;
        stop(nodes).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_without_ranges_gives_about_one_copy_too() {
    let registry = Registry::new(3 * 1024 * 1024, false);
    let nodes = cluster(&registry, 3).await;
    pull_everywhere(&registry, &nodes).await;
    let read: u64 = nodes.iter().map(|node| counter(&node.engine, "upstream_received_bytes")).sum();
    let copies = read as f64 / registry.blob.len() as f64;
    assert!((1.0..=1.15).contains(&copies), "{copies} copies were read from the upstream");
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_pulls_from_its_peers_alone() {
    let registry = Registry::new(2 * 1024 * 1024, true);
    let mut nodes = cluster(&registry, 2).await;
    pull_everywhere(&registry, &nodes).await;
    let before = registry.requests.load(SeqCst);
    let seed = nodes[0].engine.status().listen;
    nodes.push(start(&registry, 1, &[seed]).await);
    until("the late node has joined", || nodes[2].engine.status().members.len() == 3).await;
    let request = BlobRequest { source: None, ..registry.request() };
    assert!(read(&nodes[2].engine, request).await.expect("the pull succeeds") == registry.blob);
    assert_eq!(registry.requests.load(SeqCst), before, "the upstream is not asked again");
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_read_without_waiting_for_the_whole() {
    let registry = Registry::new(4 * 1024 * 1024, true);
    let nodes = cluster(&registry, 2).await;
    let range = 1_500_000..1_600_001;
    let request = BlobRequest { range: Some(range.clone()), ..registry.request() };
    let bytes = read(&nodes[1].engine, request).await.expect("the part is read");
    assert!(bytes == registry.blob[within(&range)]);
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_asked_of_the_upstream_once() {
    let registry = Registry::new(1000, true);
    let nodes = cluster(&registry, 3).await;
    let name = |tag: &str| Name {
        registry: "registry.test".to_owned(),
        repository: "library/thing".to_owned(),
        kind: ContentKind::Manifest,
        reference: Reference::Tag(tag.to_owned()),
    };
    let answers = nodes.iter().map(|node| node.engine.resolve(name("latest")));
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer.expect("found").digest, registry.digest());
    }
    assert_eq!(registry.lookups.lock().expect("not poisoned").len(), 1);
    let missing = nodes[0].engine.resolve(name("missing")).await;
    assert_eq!(missing, Err(ResolveError::Upstream(UpstreamFailure::NotFound)));
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_secret_stays_outside() {
    let registry = Registry::new(1000, true);
    let inside = start(&registry, 1, &[]).await;
    let seed = inside.engine.status().listen;
    let outside = start(&registry, 2, &[seed]).await;
    until("its gossip is refused", || counter(&inside.engine, "gossip_rejected_packets") > 0).await;
    assert_eq!(inside.engine.status().members.len(), 1);
    assert_eq!(outside.engine.status().seeds_unreached, [seed.to_string()]);
    stop(vec![inside, outside]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_datagrams_are_counted_and_harmless() {
    let registry = Registry::new(300_000, true);
    let nodes = cluster(&registry, 2).await;
    let target = nodes[0].engine.status().listen;
    let before = counter(&nodes[0].engine, "gossip_rejected_packets");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for length in 1..200usize {
        let datagram: Vec<u8> = (0..length).map(|index| (index * 31 + length * 7).to_le_bytes()[0]).collect();
        let quic = [&[0xc0 | datagram[0]], &datagram[1..]].concat();
        let gossip = [&[datagram[0] & !0x40], &datagram[1..]].concat();
        socket.send_to(&quic, target).expect("sent");
        socket.send_to(&gossip, target).expect("sent");
    }
    until("the random gossip is counted", || {
        counter(&nodes[0].engine, "gossip_rejected_packets") + counter(&nodes[0].engine, "gossip_dropped_packets")
            >= before + 199
    })
    .await;
    pull_everywhere(&registry, &nodes).await;
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_serves_what_it_held() {
    let registry = Registry::new(700_000, true);
    let directory = tempfile::tempdir().expect("a directory");
    let first = Engine::start(config(&directory, 1, &[]), registry.clone()).await.expect("a node starts");
    read(&first, registry.request()).await.expect("the pull succeeds");
    let (id, address) = (first.status().id, first.status().listen);
    first.shutdown().await;
    assert!(matches!(first.open(registry.request()).await, Err(BlobError::Stopping)));
    let again = EngineConfig { listen: address, ..config(&directory, 1, &[]) };
    let second = Engine::start(again, registry.clone()).await.expect("the port is free again");
    assert_eq!(second.status().id, id);
    let before = registry.requests.load(SeqCst);
    assert!(read(&second, registry.request()).await.expect("it is still there") == registry.blob);
    assert_eq!(registry.requests.load(SeqCst), before);
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_goes_where_the_spool_is_over_its_limit() {
    let registry = Registry::new(700_000, true);
    let directory = tempfile::tempdir().expect("a directory");
    let small = EngineConfig { spool_bytes: 1, ..config(&directory, 1, &[]) };
    let engine = Engine::start(small, registry.clone()).await.expect("a node starts");
    assert!(read(&engine, registry.request()).await.expect("the pull succeeds") == registry.blob);
    // Nobody else asks for anything: that the reader left is enough.
    until("the blob is evicted", || engine.held(&registry.digest()).is_none()).await;
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_nobody_has_fails_with_the_upstreams_word() {
    let registry = Registry::new(1000, true);
    let node = start(&registry, 1, &[]).await;
    let request = BlobRequest { digest: Digest::Sha256([7; 32]), ..registry.request() };
    let failure = read(&node.engine, request).await.expect_err("it does not exist");
    assert_eq!(failure, BlobError::Unavailable(UpstreamFailure::NotFound));
    stop(vec![node]).await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let registry = Registry::new(1000, true);
    let node = start(&registry, 1, &[]).await;
    let past = BlobRequest { range: Some(500..1001), ..registry.request() };
    assert!(matches!(node.engine.open(past).await, Err(BlobError::Invalid(_))));
    let huge = BlobRequest { size: u64::MAX, ..registry.request() };
    assert!(matches!(node.engine.open(huge).await, Err(BlobError::Invalid(_))));
    let empty = BlobRequest { size: 0, ..registry.request() };
    assert!(matches!(node.engine.open(empty).await, Err(BlobError::Invalid(_))), "not the digest of nothing");
    stop(vec![node]).await;
}

#[tokio::test]
async fn an_empty_blob_needs_no_peer() {
    let registry = Registry::new(0, true);
    let node = start(&registry, 1, &[]).await;
    assert_eq!(read(&node.engine, registry.request()).await, Ok(Vec::new()));
    assert_eq!(registry.requests.load(SeqCst), 0);
    stop(vec![node]).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said() {
    let registry = Registry::new(0, true);
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let directory = tempfile::tempdir().expect("a directory");
    let listen = taken.local_addr().expect("an address");
    let error = Engine::start(EngineConfig { listen, ..config(&directory, 1, &[]) }, registry).await;
    let error = error.expect_err("the port is taken");
    assert!(matches!(error, StartError::Listen { address, .. } if address == listen), "{error}");
    assert!(error.to_string().contains("--swarm-listen"), "{error}");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_said() {
    let registry = Registry::new(0, true);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, b"").expect("written");
    let config = EngineConfig { data_dir: file.join("below"), ..config(&directory, 1, &[]) };
    let error = Engine::start(config, registry).await.expect_err("a file is no directory");
    assert!(matches!(&error, StartError::DataDir { path, .. } if path.starts_with(&file)), "{error}");
    assert!(error.to_string().contains("--data-dir"), "{error}");
}

#[tokio::test]
async fn a_wildcard_address_needs_one_to_advertise() {
    let registry = Registry::new(0, true);
    let directory = tempfile::tempdir().expect("a directory");
    let config = EngineConfig { listen: ([0, 0, 0, 0], 0).into(), ..config(&directory, 1, &[]) };
    let error = Engine::start(config, registry).await.expect_err("nobody could reach it");
    assert!(error.to_string().contains("--advertise"), "{error}");
}

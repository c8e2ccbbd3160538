//! What several tests of this crate need.

use std::{net::SocketAddr, ops::Range, os::unix::fs::FileExt, sync::Arc};

use async_trait::async_trait;
use futures_util::FutureExt;
use sha2::{Digest as _, Sha256};
use shoal_core::{
    config::CoreConfig,
    event::{Input, MemberEvent},
};
use shoal_wire::{
    control::UpstreamFailure,
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    name::{ContentKind, Descriptor, Name},
};
use tempfile::TempDir;

use crate::{
    config::{ClusterSecret, EngineConfig},
    memory::{PieceBytes, PieceMemory},
    spool::blob::Blob,
    stack::{Events, Opened, Stack},
    upstream::{Upstream, UpstreamBody, UpstreamSource},
};

/// A node without a core: the test plays it.
pub(crate) struct TestNode {
    pub(crate) stack: Stack,
    pub(crate) events: Events,
    _directory: TempDir,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let opened = Stack::open(&config(&directory), Arc::new(NoUpstream)).await;
        let Opened { stack, events, .. } = opened.expect("a node starts");
        Self { stack, events, _directory: directory }
    }

    /// Makes `other` known here, as gossip would.
    pub(crate) fn learn(&self, other: &Stack) {
        self.stack.table.apply(&MemberEvent::Up(other.table.own().clone().into()));
    }

    /// The next input for the core.
    pub(crate) async fn input(&mut self) -> Input {
        self.events.inputs.recv().await.expect("the node runs")
    }
}

pub(crate) fn config(directory: &TempDir) -> EngineConfig {
    EngineConfig {
        data_dir: directory.path().to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        secret: ClusterSecret([1; 32]),
        seeds: Vec::new(),
        zone: String::new(),
        upload_bytes_per_s: None,
        download_bytes_per_s: None,
        link_bytes_per_s: None,
        spool_bytes: 1 << 30,
        core: CoreConfig::default(),
    }
}

struct NoUpstream;

#[async_trait]
impl Upstream for NoUpstream {
    async fn resolve(&self, _name: &Name) -> Result<Descriptor, UpstreamFailure> {
        Err(UpstreamFailure::NoUpstream)
    }

    async fn fetch(&self, _: &UpstreamSource, _: &Digest, _: Range<u64>) -> Result<UpstreamBody, UpstreamFailure> {
        Err(UpstreamFailure::NoUpstream)
    }
}

pub(crate) fn source() -> UpstreamSource {
    source_of("library/thing")
}

pub(crate) fn source_of(repository: &str) -> UpstreamSource {
    UpstreamSource {
        registry: "registry.test".to_owned(),
        repository: repository.to_owned(),
        kind: ContentKind::Blob,
        media_type: String::new(),
    }
}

/// Bytes that look random, the same for the same seed.
pub(crate) fn content(size: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::Sha256(Sha256::digest(bytes).into())
}

/// The bytes of one piece.
pub(crate) fn piece_of(content: &[u8], piece: PieceIndex) -> Vec<u8> {
    let range = Geometry::of(content.len() as u64).expect("a small blob").range(piece);
    let index = |offset| usize::try_from(offset).expect("a small blob");
    content[index(range.start)..index(range.end)].to_vec()
}

/// Bytes that were gathered as a piece.
pub(crate) fn gathered(bytes: &[u8]) -> PieceBytes {
    let memory = Arc::<PieceMemory>::default();
    let mut gathering = memory.gather(bytes.len() as u64).now_or_never().expect("new memory has room");
    gathering.copy_from(bytes);
    gathering.finish()
}

/// What a blob's file has where `piece` belongs.
pub(crate) fn on_disk(blob: &Blob, piece: PieceIndex) -> Vec<u8> {
    let range = blob.geometry().range(piece);
    let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("a small piece")];
    blob.file().expect("the file").read_exact_at(&mut bytes, range.start).expect("read");
    bytes
}

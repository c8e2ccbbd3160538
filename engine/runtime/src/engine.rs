//! The handle to a running node.

use std::{
    net::SocketAddr,
    ops::Range,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use shoal_wire::{
    control::UpstreamFailure,
    digest::Digest,
    ids::MemberId,
    name::{Descriptor, Name},
};
use thiserror::Error;

use crate::{
    config::EngineConfig,
    upstream::{Upstream, UpstreamSource},
};

/// A running node. Clones are handles to the same node.
#[derive(Clone, Debug)]
pub struct Engine {}

/// A blob, or a part of it, that a reader wants.
#[derive(Clone, Debug)]
pub struct BlobRequest {
    /// Of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where this node may fetch it, if anywhere. Without one the blob can only come from peers.
    pub source: Option<UpstreamSource>,
    /// Bytes to read; the whole blob where it is `None`. Lies within the blob.
    pub range: Option<Range<u64>>,
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The UDP port is taken or not allowed.
    #[error(
        "cannot listen on UDP {address}: {source}. Choose another address with --swarm-listen, or stop what uses it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}. Make it writable, or choose another with --data-dir")]
    DataDir {
        /// The path that failed.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Anything else, said in full.
    #[error("{0}")]
    Other(String),
}

/// Why a name was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// The upstream's word, through whichever node asked it.
    #[error("the upstream answered: {0:?}")]
    Upstream(UpstreamFailure),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Why a blob cannot be read, or not further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlobError {
    /// Neither peers nor an upstream deliver it. A reader may close cleanly and continue elsewhere.
    #[error("neither a peer nor an upstream delivers the blob: {0:?}")]
    Unavailable(UpstreamFailure),
    /// Bytes that were already read do not belong to the blob. A reader must reset its connection, never close cleanly.
    #[error("the blob's bytes do not have its digest; what was read before must be discarded")]
    Corrupt,
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error("the spool failed: {0}")]
    Store(String),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Verified bytes of a blob, in order. Dropping it ends the reader's interest.
#[derive(Debug)]
pub struct BlobReader {}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// Its id.
    pub id: MemberId,
    /// UDP address that it listens on, with the port that it got.
    pub listen: SocketAddr,
    /// Members that count as alive, this one included, ordered by id.
    pub members: Vec<(MemberId, SocketAddr)>,
    /// Seeds that have not answered yet.
    pub seeds_unreached: Vec<String>,
}

/// Counters and gauges of the engine at one moment. Names are those of the metrics page, without the prefix `shoal_`;
/// each comes with its help text.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    /// Counters: name, help, value.
    pub counters: Vec<(&'static str, &'static str, u64)>,
    /// Gauges: name, help, value.
    pub gauges: Vec<(&'static str, &'static str, i64)>,
}

impl Engine {
    /// Starts a node: opens its port and its spool, and begins to join.
    pub async fn start(_config: EngineConfig, _upstream: Arc<dyn Upstream>) -> Result<Self, StartError> {
        Ok(Self {})
    }

    /// Finds out what a name stands for: from what this node knows, from the cluster, or from an upstream.
    pub async fn resolve(&self, _name: Name) -> Result<Descriptor, ResolveError> {
        Err(ResolveError::Stopping)
    }

    /// Opens a blob for reading. Returns at once; waiting happens in the reader.
    pub async fn open(&self, _request: BlobRequest) -> Result<BlobReader, BlobError> {
        Err(BlobError::Stopping)
    }

    /// Size of a blob that this node holds complete and verified.
    pub fn held(&self, _digest: &Digest) -> Option<u64> {
        None
    }

    /// What the node says about itself.
    pub fn status(&self) -> EngineStatus {
        unreachable!("the interface is agreed first; the engine follows in the next commits")
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> MetricsSnapshot {
        MetricsSnapshot::default()
    }

    /// Announces the departure, ends all tasks in order and closes the port. Idempotent.
    pub async fn shutdown(&self) {}
}

impl Stream for BlobReader {
    type Item = Result<Bytes, BlobError>;

    fn poll_next(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

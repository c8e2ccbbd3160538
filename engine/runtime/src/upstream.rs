//! How the engine reaches registries. The shim implements it; the engine knows no HTTP.

use std::{ops::Range, pin::Pin};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use shoal_wire::{
    control::UpstreamFailure,
    digest::Digest,
    name::{ContentKind, Descriptor, Name},
};

/// Where a blob can be fetched: in which repository of which registry. Each node uses its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamSource {
    /// Registry host, with port where there is one.
    pub registry: String,
    /// Repository.
    pub repository: String,
    /// Which endpoint has it.
    pub kind: ContentKind,
    /// Media type that a manifest is known to have; empty where it is not known.
    pub media_type: String,
}

/// Body of an upstream's answer to a ranged request.
pub struct UpstreamBody {
    /// Whether the upstream ignored the range: the stream starts at byte 0 of the whole content.
    pub whole: bool,
    /// The bytes. An error ends it; so does the end of the requested range.
    pub stream: Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamFailure>> + Send>>,
}

/// The registries behind this node. Calls are cancelled by dropping their futures and streams.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Asks the registry what `name` stands for (`HEAD`, or what else the registry needs).
    async fn resolve(&self, name: &Name) -> Result<Descriptor, UpstreamFailure>;

    /// Fetches the bytes `range` of the content.
    async fn fetch(
        &self,
        source: &UpstreamSource,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<UpstreamBody, UpstreamFailure>;
}

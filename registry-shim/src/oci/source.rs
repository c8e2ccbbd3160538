//! Where the endpoint gets content from: the engine, or in tests a memory.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use shoal_runtime::{BlobError, BlobRequest, Descriptor, Digest, Engine, Name, ResolveError};

/// Verified bytes of a blob, in order.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, BlobError>> + Send>>;

/// What the endpoint needs of an engine.
#[async_trait]
pub trait BlobSource: Send + Sync + 'static {
    /// Finds out what a name stands for.
    async fn resolve(&self, name: Name) -> Result<Descriptor, ResolveError>;

    /// Opens a blob, or a part of it. Dropping the stream ends the interest in it.
    async fn open(&self, request: BlobRequest) -> Result<BlobStream, BlobError>;

    /// Size in bytes of a blob that is here complete and verified.
    fn held(&self, digest: &Digest) -> Option<u64>;
}

#[async_trait]
impl BlobSource for Engine {
    async fn resolve(&self, name: Name) -> Result<Descriptor, ResolveError> {
        Engine::resolve(self, name).await
    }

    async fn open(&self, request: BlobRequest) -> Result<BlobStream, BlobError> {
        let reader = Engine::open(self, request).await?;
        Ok(Box::pin(reader))
    }

    fn held(&self, digest: &Digest) -> Option<u64> {
        Engine::held(self, digest)
    }
}

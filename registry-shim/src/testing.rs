//! What tests of several modules share: content in memory in place of an engine.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sha2::{Digest as _, Sha256};
use shoal_runtime::{
    BlobError, BlobRequest, ContentKind, Descriptor, Digest, Name, Reference, ResolveError, UpstreamFailure,
};
use tokio::sync::oneshot;

use crate::oci::source::{BlobSource, BlobStream};

pub(crate) fn digest_of(content: &[u8]) -> Digest {
    Digest::Sha256(Sha256::digest(content).into())
}

/// How a stream of the memory ends after its bytes.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Complete,
    Fails(BlobError),
    Hangs,
}

/// Content that is served from memory, and a record of what was asked.
#[derive(Default)]
pub(crate) struct Memory {
    names: Mutex<HashMap<Name, Result<Descriptor, ResolveError>>>,
    blobs: Mutex<HashMap<Digest, (Bytes, End)>>,
    held: Mutex<HashMap<Digest, u64>>,
    pub(crate) resolved: Mutex<Vec<Name>>,
    pub(crate) opened: Mutex<Vec<BlobRequest>>,
    /// Resolves when the last stream that was opened is dropped.
    pub(crate) dropped: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Memory {
    /// A name that stands for `content` of this media type, which can be read.
    pub(crate) fn publish(&self, name: &Name, media_type: &str, content: &[u8]) -> Digest {
        let digest = self.store(content);
        let descriptor = Descriptor { media_type: media_type.to_owned(), digest, size: content.len() as u64 };
        self.names.lock().unwrap().insert(name.clone(), Ok(descriptor));
        digest
    }

    /// A name that cannot be found out.
    pub(crate) fn refuse(&self, name: &Name, failure: UpstreamFailure) {
        self.names.lock().unwrap().insert(name.clone(), Err(ResolveError::Upstream(failure)));
    }

    /// Content that can be read by its digest.
    pub(crate) fn store(&self, content: &[u8]) -> Digest {
        let digest = digest_of(content);
        self.script(digest, content, End::Complete);
        digest
    }

    /// Content that is here complete.
    pub(crate) fn hold(&self, content: &[u8]) -> Digest {
        let digest = self.store(content);
        self.held.lock().unwrap().insert(digest, content.len() as u64);
        digest
    }

    /// Bytes that reading `digest` gives, and how it ends.
    pub(crate) fn script(&self, digest: Digest, content: &[u8], end: End) {
        self.blobs.lock().unwrap().insert(digest, (Bytes::copy_from_slice(content), end));
    }

    pub(crate) fn resolutions(&self) -> usize {
        self.resolved.lock().unwrap().len()
    }
}

#[async_trait]
impl BlobSource for Memory {
    async fn resolve(&self, name: Name) -> Result<Descriptor, ResolveError> {
        self.resolved.lock().unwrap().push(name.clone());
        let unknown = Err(ResolveError::Upstream(UpstreamFailure::NotFound));
        self.names.lock().unwrap().get(&name).cloned().unwrap_or(unknown)
    }

    async fn open(&self, request: BlobRequest) -> Result<BlobStream, BlobError> {
        let found = self.blobs.lock().unwrap().get(&request.digest).cloned();
        let (content, end) = found.ok_or(BlobError::Unavailable(UpstreamFailure::NotFound))?;
        let range = request.range.clone().unwrap_or(0..content.len() as u64);
        let wanted = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        self.opened.lock().unwrap().push(request);
        let (guard, dropped) = oneshot::channel::<()>();
        *self.dropped.lock().unwrap() = Some(dropped);

        let pieces: Vec<_> = content.slice(wanted).chunks(64 * 1024).map(Bytes::copy_from_slice).map(Ok).collect();
        let last = match end {
            End::Complete => stream::empty().boxed(),
            End::Fails(error) => stream::iter([Err(error)]).boxed(),
            End::Hangs => stream::pending().boxed(),
        };
        let guard = Arc::new(guard);
        Ok(Box::pin(stream::iter(pieces).chain(last).map(move |item| {
            let _until_dropped = &guard;
            item
        })))
    }

    fn held(&self, digest: &Digest) -> Option<u64> {
        self.held.lock().unwrap().get(digest).copied()
    }
}

pub(crate) fn tag(registry: &str, repository: &str, tag: &str) -> Name {
    Name {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        kind: ContentKind::Manifest,
        reference: Reference::Tag(tag.to_owned()),
    }
}

pub(crate) fn by_digest(registry: &str, repository: &str, kind: ContentKind, digest: Digest) -> Name {
    Name {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        kind,
        reference: Reference::Digest(digest),
    }
}

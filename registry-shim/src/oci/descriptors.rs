//! What has passed through this node: for each digest its media type, size and kind.
//!
//! containerd asks for a tag, then for digests that the answers named. Remembering those answers saves a round trip to
//! the registry for each of them. Nothing here is trusted beyond the next read: content that does not fit is forgotten.

use std::sync::{Mutex, PoisonError};

use shoal_runtime::{ContentKind, Digest};

use super::manifest::Manifest;
use crate::bounded::BoundedMap;

/// Descriptors that are remembered, a few hundred bytes each: the content of several hundred images.
pub const DESCRIPTORS_MAX: usize = 16_384;

/// What is known about a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Media type; empty where nobody has said it yet.
    pub media_type: String,
    /// Size in bytes.
    pub size: u64,
    /// Manifest or blob.
    pub kind: ContentKind,
}

/// The memory of descriptors, shared by all requests.
#[derive(Debug)]
pub struct Descriptors {
    known: Mutex<BoundedMap<Digest, Known>>,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self { known: Mutex::new(BoundedMap::new(DESCRIPTORS_MAX)) }
    }
}

impl Descriptors {
    /// What is known about `digest`.
    pub fn get(&self, digest: &Digest) -> Option<Known> {
        self.lock().get(digest).cloned()
    }

    /// Remembers what `digest` is.
    pub fn remember(&self, digest: Digest, known: Known) {
        self.lock().insert(digest, known);
    }

    /// Remembers what a manifest says about its children.
    pub fn remember_children(&self, manifest: &Manifest) {
        let mut memory = self.lock();
        for child in &manifest.children {
            let known = Known { media_type: child.media_type.clone(), size: child.size, kind: child.kind };
            memory.insert(child.digest, known);
        }
    }

    /// Forgets `digest`, because its content was not what was remembered.
    pub fn forget(&self, digest: &Digest) {
        self.lock().remove(digest);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BoundedMap<Digest, Known>> {
        // A panic elsewhere cannot leave the map half changed in a way that matters: it is a cache.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

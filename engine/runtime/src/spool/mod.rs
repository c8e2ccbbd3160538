//! Blobs on disk: `<data_dir>/spool/<algorithm>/<hex>` once verified, `<hex>.partial` (sparse) before.
//!
//! - `blob`: the pieces of one blob and who reads it; `prefix`: its digest, computed along the contiguous prefix;
//! - `check`: blobs of an earlier life, which are not served before they are verified again;
//! - `direct`: pieces that go past the page cache, because only local readers want them;
//! - `interest`: what its readers want, told to the core as levels, so that no order of events can lose one;
//! - `sources`: where its readers say that it can be fetched;
//! - `pull`: how long it takes, beside the least time that the links allow;
//! - this file: the index, and eviction of what was used least recently.
//!
//! Unfinished blobs do not survive a restart: their pieces' vouchers are in memory alone.

mod ahead;
pub(crate) mod blob;
mod check;
mod direct;
pub(crate) mod interest;
pub(crate) mod prefix;
mod pull;
mod removal;
pub(crate) mod sources;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs, io,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use shoal_wire::{digest::Digest, geometry::Geometry};

use crate::{
    engine::{BlobError, StartError},
    memory::PieceMemory,
    metrics::Metrics,
    spool::{
        blob::{Blob, Shared},
        interest::{News, Reading},
    },
    upstream::UpstreamSource,
};

/// Blobs that are being filled, or were and may be again, at once: each keeps a file open.
const PARTIAL_MAX: usize = 512;

/// All blobs of a node.
pub(crate) struct Spool {
    directory: PathBuf,
    limit_bytes: u64,
    blobs: Mutex<HashMap<Digest, Arc<Blob>>>,
    uses: AtomicU64,
    news: Arc<News>,
    memory: Arc<PieceMemory>,
    metrics: Arc<Metrics>,
    link: Option<NonZeroU64>,
}

impl Spool {
    /// Opens the spool below `data_dir`: removes unfinished blobs, and indexes complete ones, which are not served
    /// before [`Spool::check_all`] has verified them. Blocking.
    ///
    /// # Errors
    /// The directory cannot be made, read or written.
    pub(crate) fn open(
        data_dir: &Path,
        limit_bytes: u64,
        memory: Arc<PieceMemory>,
        metrics: Arc<Metrics>,
        link: Option<NonZeroU64>,
    ) -> Result<Self, StartError> {
        let directory = data_dir.join("spool");
        let spool = Self {
            directory: directory.clone(),
            limit_bytes,
            blobs: Mutex::default(),
            uses: AtomicU64::new(0),
            news: Arc::default(),
            memory,
            metrics,
            link,
        };
        let mut found = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let path = directory.join(algorithm);
            let read = fs::create_dir_all(&path).and_then(|()| probe(&path)).and_then(|()| scan(&path, algorithm));
            found.extend(read.map_err(|source| StartError::DataDir { path, source })?);
        }
        found.sort_by_key(|found| found.modified);
        for Found { digest, geometry, .. } in found {
            let blob = spool.blob(digest, geometry, true);
            crate::lock(&spool.blobs).insert(digest, blob);
        }
        Ok(spool)
    }

    /// What the blobs have to tell the core.
    pub(crate) fn news(&self) -> &Arc<News> {
        &self.news
    }

    /// The blob of this digest, in whatever state.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Blob>> {
        crate::lock(&self.blobs).get(digest).cloned()
    }

    /// A reader's hold on a blob, which is made where it is not there. Blocking.
    ///
    /// # Errors
    /// The size is not that of the blob as it is known, is beyond the protocol, too many blobs are unfinished, or the
    /// disk cannot be written.
    pub(crate) fn read(&self, digest: Digest, size: u64, source: Option<UpstreamSource>) -> Result<Reading, BlobError> {
        let geometry = Geometry::of(size).map_err(|error| BlobError::Invalid(error.to_string()))?;
        let mut garbage = Vec::new();
        let reading = self.attach(&mut crate::lock(&self.blobs), digest, geometry, source, &mut garbage);
        for path in &garbage {
            removal::remove(path);
        }
        let reading = reading?;
        let blob = reading.blob();
        self.touch(blob);
        if size == 0 && !blob.is_verified() {
            blob.complete_empty()?;
        }
        blob.prepare().map_err(|error| BlobError::Store(error.to_string()))?;
        Ok(reading)
    }

    fn attach(
        &self,
        blobs: &mut HashMap<Digest, Arc<Blob>>,
        digest: Digest,
        geometry: Geometry,
        source: Option<UpstreamSource>,
        garbage: &mut Vec<PathBuf>,
    ) -> Result<Reading, BlobError> {
        if let Some(blob) = blobs.get(&digest).filter(|blob| !blob.is_gone()) {
            if blob.geometry() == geometry {
                return Ok(blob.attach(source));
            }
            let known = blob.geometry().size();
            let wrong = || BlobError::Invalid(format!("{digest} has {known} bytes, not {}", geometry.size()));
            if blob.is_verified() {
                return Err(wrong());
            }
            garbage.push(blob.discard_if_unread().ok_or_else(wrong)?);
            blobs.remove(&digest);
        }
        blobs.retain(|_, blob| !blob.is_gone());
        let is_partial = |blob: &Blob| !blob.is_verified() && !blob.is_unchecked();
        if blobs.values().filter(|blob| is_partial(blob)).count() >= PARTIAL_MAX {
            let evicted = evict_oldest(blobs, is_partial);
            let full = || BlobError::Store(format!("{PARTIAL_MAX} blobs are being read already"));
            garbage.push(evicted.ok_or_else(full)?);
        }
        let blob = self.blob(digest, geometry, false);
        blobs.insert(digest, blob.clone());
        Ok(blob.attach(source))
    }

    /// Size of a blob that is complete and verified.
    pub(crate) fn held(&self, digest: &Digest) -> Option<u64> {
        self.get(digest).filter(|blob| blob.is_verified()).map(|blob| blob.geometry().size())
    }

    /// Removes what was used least recently and is not being read, until the spool keeps to its limit. Blocking.
    pub(crate) fn evict(&self) {
        while self.stored_bytes() > self.limit_bytes {
            let Some(garbage) = evict_oldest(&mut crate::lock(&self.blobs), |_| true) else { return };
            removal::remove(&garbage);
        }
    }

    /// Removes one blob that is not being read, the least recently used, because the disk is full below the spool's limit.
    /// Returns whether there was one. Blocking.
    pub(crate) fn relieve_disk(&self) -> bool {
        let Some(garbage) = evict_oldest(&mut crate::lock(&self.blobs), |_| true) else { return false };
        removal::remove(&garbage);
        tracing::warn!(directory = %self.directory.display(), limit_bytes = self.limit_bytes,
            "the disk is full below the spool's limit; a blob was removed: free some space, or lower --spool-limit");
        true
    }

    /// Whether [`Spool::evict`] may have something to do.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.stored_bytes() > self.limit_bytes
    }

    /// Blobs that were found at the start and are not verified yet, the most recently written first.
    pub(crate) fn unchecked(&self) -> Vec<Arc<Blob>> {
        let mut blobs: Vec<_> = crate::lock(&self.blobs).values().filter(|blob| blob.is_unchecked()).cloned().collect();
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.last_used()));
        blobs
    }

    /// Ends all readers, because the node stops.
    pub(crate) fn stop(&self) {
        for blob in crate::lock(&self.blobs).values() {
            blob.end_readers(&BlobError::Stopping);
        }
    }

    fn stored_bytes(&self) -> u64 {
        u64::try_from(self.metrics.spool_bytes.get()).unwrap_or(0)
    }

    fn blob(&self, digest: Digest, geometry: Geometry, on_disk: bool) -> Arc<Blob> {
        let path = self.directory.join(digest.algorithm()).join(digest.hex());
        let used = self.uses.fetch_add(1, Relaxed);
        let shared = Shared {
            news: self.news.clone(),
            memory: self.memory.clone(),
            metrics: self.metrics.clone(),
            link: self.link,
        };
        Blob::new(digest, geometry, path, on_disk, used, shared)
    }

    /// Marks a blob as used now.
    pub(crate) fn touch(&self, blob: &Blob) {
        blob.touch(self.uses.fetch_add(1, Relaxed));
    }
}

/// Gives up the unread blob that was used least recently among those that `eligible` names. Returns the file that is
/// left to be removed.
fn evict_oldest(blobs: &mut HashMap<Digest, Arc<Blob>>, eligible: impl Fn(&Blob) -> bool) -> Option<PathBuf> {
    let mut candidates: Vec<_> = blobs.values().filter(|blob| eligible(blob)).cloned().collect();
    candidates.sort_by_cached_key(|blob| blob.last_used());
    for blob in candidates {
        if let Some(garbage) = blob.discard_if_unread() {
            blobs.remove(blob.digest());
            tracing::info!(digest = %blob.digest(), "evicted a blob from the spool");
            return Some(garbage);
        }
    }
    None
}

struct Found {
    digest: Digest,
    geometry: Geometry,
    modified: std::time::SystemTime,
}

/// Makes sure that files can be written in `directory`.
fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(".probe");
    fs::write(&path, b"")?;
    fs::remove_file(&path)
}

/// Complete blobs in `directory`. Unfinished ones are removed; other files are left alone.
fn scan(directory: &Path, algorithm: &str) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(blob::PARTIAL_SUFFIX) || name.ends_with(removal::REMOVED_SUFFIX) {
            fs::remove_file(entry.path())?;
            continue;
        }
        let metadata = entry.metadata()?;
        let (Ok(digest), Ok(geometry)) = (format!("{algorithm}:{name}").parse(), Geometry::of(metadata.len())) else {
            tracing::warn!(path = %entry.path().display(), "not a blob; left alone");
            continue;
        };
        let modified = metadata.modified().unwrap_or(std::time::UNIX_EPOCH);
        found.push(Found { digest, geometry, modified });
    }
    Ok(found)
}

//! The memory that pieces take while they are gathered, hashed, written and passed on.
//!
//! A piece is gathered into chunks of [`CHUNK_BYTES`], whose buffers are used again: nothing is zeroed, no page is
//! faulted in twice, and whoever holds a part of a piece, such as a connection to a slow client, keeps a chunk and not
//! the whole piece. Pieces that are stored stay here as long as there is room (`recent`), because the digest, the
//! readers and the peers want just those next.
//!
//! Bounds: what is gathered and what is kept together, [`BUDGET_KIB`], and [`RESERVE_KIB`] for small pieces beside that;
//! buffers that wait to be used again, [`FREE_CHUNKS_MAX`].

mod chunk;
mod gathering;
mod recent;

use std::{
    fs::File,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use shoal_wire::{digest::Digest, geometry::PieceIndex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::gathering::{Gathering, PieceBytes};
use self::{
    chunk::{BUFFER_BYTES, Chunk},
    recent::Recent,
};

/// Bytes of a chunk: large enough that a system call or a step of the hash does much, small enough to stay in the
/// processor's cache between them.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// Memory for pieces that are being gathered or kept, in KiB; further transfers wait before they ask for theirs. Four
/// of the largest pieces.
const BUDGET_KIB: u32 = 64 * 1024;

/// Memory beside it for pieces of at most a chunk, in KiB: a manifest does not wait until pieces of 16 MiB have come over a
/// slow link.
const RESERVE_KIB: u32 = 2 * 1024;

/// Buffers that wait to be used again: those of one of the largest pieces.
const FREE_CHUNKS_MAX: usize = 64;

/// Memory for the pieces of all blobs.
pub(crate) struct PieceMemory {
    budget: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    /// Transfers that wait for memory, or are about to: nothing is kept meanwhile.
    waiting: AtomicUsize,
    recent: Mutex<Recent>,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Default for PieceMemory {
    fn default() -> Self {
        Self {
            budget: Arc::new(Semaphore::new(BUDGET_KIB as usize)),
            reserve: Arc::new(Semaphore::new(RESERVE_KIB as usize)),
            waiting: AtomicUsize::new(0),
            recent: Mutex::default(),
            free: Mutex::default(),
        }
    }
}

/// Counts a waiting transfer until it has its memory or gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl PieceMemory {
    /// Memory for a piece of `length` bytes; what was kept longest makes room. Waits where all of it is being gathered.
    /// Cancel-safe.
    pub(crate) async fn gather(self: &Arc<Self>, length: u64) -> Gathering {
        let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX).min(BUDGET_KIB);
        self.waiting.fetch_add(1, SeqCst);
        let waiting = Waiting(&self.waiting);
        crate::lock(&self.recent).make_room(|| self.budget.available_permits() >= kib as usize);
        let permit = tokio::select! {
            biased;
            permit = self.budget.clone().acquire_many_owned(kib) => permit,
            permit = self.reserve.clone().acquire_many_owned(kib), if length <= CHUNK_BYTES as u64 => permit,
        };
        let permit = permit.expect("neither is ever closed");
        drop(waiting);
        Gathering::new(self.clone(), permit, length)
    }

    /// Keeps a stored piece as long as there is room.
    pub(crate) fn keep(&self, digest: &Digest, piece: PieceIndex, bytes: &PieceBytes) {
        let mut recent = crate::lock(&self.recent);
        if self.waiting.load(SeqCst) == 0 {
            recent.insert((*digest, piece), bytes.clone());
        }
    }

    /// A piece that is kept. Whoever holds it for long keeps transfers from its memory: see [`PieceMemory::recent_part`].
    pub(crate) fn recent(&self, digest: &Digest, piece: PieceIndex) -> Option<PieceBytes> {
        crate::lock(&self.recent).get(&(*digest, piece)).cloned()
    }

    /// Bytes of a kept piece from `offset` on, at most `length` and at most to the end of a chunk; at least one.
    pub(crate) fn recent_part(&self, digest: &Digest, piece: PieceIndex, offset: u64, length: u64) -> Option<Bytes> {
        crate::lock(&self.recent).get(&(*digest, piece))?.part(offset, length)
    }

    /// Forgets all pieces of a blob.
    pub(crate) fn forget(&self, digest: &Digest) {
        crate::lock(&self.recent).forget(digest);
    }

    /// Reads a part of a file, at most [`CHUNK_BYTES`]. Blocking.
    ///
    /// # Errors
    /// Those of the system; `UnexpectedEof` where the file ends before.
    pub(crate) fn read_at(self: &Arc<Self>, file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
        let length = usize::try_from(length).map_err(io::Error::other)?.min(CHUNK_BYTES);
        let mut chunk = self.chunk(length);
        chunk.read_at(file, offset, length)?;
        Ok(Bytes::from_owner(chunk))
    }

    /// A chunk without bytes, with room for `length`.
    fn chunk(self: &Arc<Self>, length: usize) -> Chunk {
        // Few blobs end with a chunk that is much shorter; those that are small alone are not worth a large buffer.
        if length <= CHUNK_BYTES / 2 {
            return Chunk::small(length, self.clone());
        }
        let free = crate::lock(&self.free).pop();
        Chunk::aligned(free.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES)), self.clone())
    }

    /// Keeps a buffer to be used again, where few wait for that.
    fn take_back(&self, buffer: Vec<u8>) {
        let mut free = crate::lock(&self.free);
        if free.len() < FREE_CHUNKS_MAX {
            free.push(buffer);
        }
    }
}

impl std::fmt::Debug for PieceMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PieceMemory").field("free_kib", &self.budget.available_permits()).finish_non_exhaustive()
    }
}

/// The part of the budget that a piece takes, shared by all who hold the piece.
type Share = Arc<OwnedSemaphorePermit>;

#[cfg(test)]
mod tests;

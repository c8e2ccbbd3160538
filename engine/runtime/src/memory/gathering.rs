//! One piece: filled in order, and hashed while its bytes are still in the processor's cache, unless who uses it
//! hashes it.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};

use bytes::{BufMut, Bytes, buf::Limit};
use rustix::io::pwritev;
use shoal_wire::ids::PieceHash;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    CHUNK_BYTES, PieceMemory, Share,
    chunk::{ALIGNMENT, Chunk},
};

/// Bytes that are hashed at once: BLAKE3 needs so many to work on all lanes of the processor (measured: 1.4 KB at a
/// time run at 0.8 GB/s, 64 KiB and more at 8), and they take 10 to 60 microseconds, which may pass on an async
/// thread.
const HASH_BYTES: usize = 64 * 1024;

/// A piece that is being filled.
pub(crate) struct Gathering {
    memory: Arc<PieceMemory>,
    share: OwnedSemaphorePermit,
    length: u64,
    full: Vec<Bytes>,
    current: Chunk,
    /// Bytes that the current chunk takes.
    current_bytes: usize,
    /// `None` where the piece is hashed once it is whole.
    hasher: Option<blake3::Hasher>,
    /// Bytes of the current chunk that are hashed.
    hashed: usize,
}

impl Gathering {
    pub(super) fn new(memory: Arc<PieceMemory>, share: OwnedSemaphorePermit, length: u64) -> Self {
        let current = Chunk::empty(memory.clone());
        let hasher = Some(blake3::Hasher::new());
        Self { memory, share, length, full: Vec::new(), current, current_bytes: 0, hasher, hashed: 0 }
    }

    /// The same, which does not hash: who uses the piece does, once it is whole.
    pub(crate) fn without_hash(self) -> Self {
        debug_assert_eq!(self.filled(), 0, "nothing is hashed yet");
        Self { hasher: None, ..self }
    }

    /// Bytes that were filled in.
    pub(crate) fn filled(&self) -> u64 {
        (self.full.len() * CHUNK_BYTES + self.current.len()) as u64
    }

    /// Bytes that are missing.
    pub(crate) fn missing(&self) -> u64 {
        self.length - self.filled()
    }

    /// Where the next bytes go: room for at least one and at most `limit` (at least 1), unless nothing is missing.
    /// Call [`Gathering::advance`] when some were written.
    pub(crate) fn room(&mut self, limit: usize) -> Limit<&mut Vec<u8>> {
        if self.current.len() == self.current_bytes && self.missing() > 0 {
            self.current_bytes = usize::try_from(self.missing()).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let next = self.memory.chunk(self.current_bytes);
            let full = std::mem::replace(&mut self.current, next);
            if full.len() > 0 {
                self.full.push(Bytes::from_owner(full));
            }
            self.hashed = 0;
        }
        let free = self.current_bytes - self.current.len();
        self.current.room(limit.min(free))
    }

    /// Takes note of what was written into the room, and hashes it where that is to be done here.
    pub(crate) fn advance(&mut self) {
        let end = self.current.len();
        let Some(hasher) = &mut self.hasher else { return };
        if end - self.hashed >= HASH_BYTES || end == self.current_bytes {
            hasher.update(&self.current.as_ref()[self.hashed..]);
            self.hashed = end;
        }
    }

    /// Copies from the front of `bytes` what the piece still misses, and returns how many bytes that were.
    pub(crate) fn copy_from(&mut self, bytes: &[u8]) -> usize {
        let mut copied = 0;
        while copied < bytes.len() && self.missing() > 0 {
            let mut room = self.room(bytes.len() - copied);
            let length = room.remaining_mut().min(bytes.len() - copied);
            room.put_slice(&bytes[copied..copied + length]);
            self.advance();
            copied += length;
        }
        copied
    }

    /// The piece, of which nothing is missing.
    pub(crate) fn finish(self) -> PieceBytes {
        debug_assert_eq!(self.missing(), 0, "a piece is whole");
        let mut chunks = self.full;
        if self.current.len() > 0 {
            chunks.push(Bytes::from_owner(self.current));
        }
        let hash = self.hasher.map(|hasher| PieceHash(*hasher.finalize().as_bytes()));
        PieceBytes { chunks: chunks.into(), length: self.length, hash, _share: Arc::new(self.share) }
    }
}

/// All bytes of a piece. Clones share them, and its part of the budget.
#[derive(Clone)]
pub(crate) struct PieceBytes {
    /// All but the last have [`CHUNK_BYTES`].
    chunks: Arc<[Bytes]>,
    length: u64,
    hash: Option<PieceHash>,
    _share: Share,
}

impl PieceBytes {
    /// Number of bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Their hash, where it was computed while they came.
    pub(crate) fn hash(&self) -> Option<PieceHash> {
        self.hash
    }

    /// The bytes, part by part.
    pub(crate) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Bytes from `offset` on, at most `length` and at most to the end of a chunk. `None` past the end.
    pub(super) fn part(&self, offset: u64, length: u64) -> Option<Bytes> {
        let offset = usize::try_from(offset).ok()?;
        let chunk = self.chunks.get(offset / CHUNK_BYTES)?;
        let start = offset % CHUNK_BYTES;
        let end = chunk.len().min(start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)));
        let range: Range<usize> = start..end;
        (!range.is_empty()).then(|| chunk.slice(range))
    }

    /// Writes the piece to its place in a file. Blocking.
    ///
    /// # Errors
    /// Those of the system; the place then has undefined bytes.
    pub(crate) fn write_at(&self, file: &File, mut offset: u64) -> io::Result<()> {
        for chunk in &*self.chunks {
            file.write_all_at(chunk, offset)?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// Whether the disk can take the piece from where it is in memory: it is a whole number of pages, in pages.
    pub(crate) fn is_aligned(&self) -> bool {
        let in_pages = |chunk: &Bytes| chunk.as_ptr().align_offset(ALIGNMENT) == 0;
        self.length.is_multiple_of(ALIGNMENT as u64) && self.chunks.iter().all(in_pages)
    }

    /// Writes the piece to its place in a file in one call, which must take all of it. Blocking.
    ///
    /// # Errors
    /// Those of the system, and `WriteZero` where it took a part only; the place then has undefined bytes.
    pub(crate) fn write_at_once(&self, file: &File, offset: u64) -> io::Result<()> {
        let slices: Vec<io::IoSlice<'_>> = self.chunks.iter().map(|chunk| io::IoSlice::new(chunk)).collect();
        if pwritev(file, &slices, offset)? as u64 == self.length {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

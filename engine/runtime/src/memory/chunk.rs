//! A part of a piece, in a buffer that goes back to where it came from.

use std::{fs::File, io, sync::Arc};

use bytes::{BufMut, buf::Limit};
use rustix::{buffer::spare_capacity, io::Errno};

use super::{CHUNK_BYTES, PieceMemory};

/// What disks and file systems want the place of a buffer in memory to be a multiple of, where they take it as it is.
/// Those that are content with less are content with this.
pub(super) const ALIGNMENT: usize = 4096;

/// Room of a buffer that is used again: a chunk, and what it takes to begin at a multiple of [`ALIGNMENT`].
pub(super) const BUFFER_BYTES: usize = CHUNK_BYTES + ALIGNMENT;

/// Bytes in a buffer. Those of a large one begin at a multiple of [`ALIGNMENT`].
pub(super) struct Chunk {
    /// Never grows beyond its capacity, so that it stays where it is.
    buffer: Vec<u8>,
    /// Where the bytes begin.
    start: usize,
    memory: Arc<PieceMemory>,
}

impl Chunk {
    /// No bytes, and room for none.
    pub(super) fn empty(memory: Arc<PieceMemory>) -> Self {
        Self { buffer: Vec::new(), start: 0, memory }
    }

    /// No bytes yet, in a buffer of at least [`BUFFER_BYTES`].
    pub(super) fn aligned(mut buffer: Vec<u8>, memory: Arc<PieceMemory>) -> Self {
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        buffer.clear();
        buffer.resize(start, 0);
        Self { buffer, start, memory }
    }

    /// No bytes yet, in a buffer for `length` of them.
    pub(super) fn small(length: usize, memory: Arc<PieceMemory>) -> Self {
        Self { buffer: Vec::with_capacity(length), start: 0, memory }
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Where the next bytes go, at most `limit`, for which there must be room.
    pub(super) fn room(&mut self, limit: usize) -> Limit<&mut Vec<u8>> {
        (&mut self.buffer).limit(limit)
    }

    /// Reads from a file until there are `length` bytes, of which `offset` is the place of the first. Blocking.
    ///
    /// # Errors
    /// Those of the system; `UnexpectedEof` where the file ends before.
    pub(super) fn read_at(&mut self, file: &File, offset: u64, length: usize) -> io::Result<()> {
        while self.len() < length {
            let position = offset + self.len() as u64;
            match rustix::io::pread(file, spare_capacity(&mut self.buffer), position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.buffer.truncate(self.start + length);
        Ok(())
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() == BUFFER_BYTES {
            self.memory.take_back(buffer);
        }
    }
}

//! The bytes of a piece that is being sent: from memory where they were stored a moment ago, else from the disk.

use std::{fs::File, io, ops::Range, sync::Arc};

use bytes::Bytes;
use shoal_wire::geometry::PieceIndex;

use crate::{
    memory::{CHUNK_BYTES, PieceMemory},
    pool::Pool,
    spool::blob::Blob,
};

/// A piece, chunk by chunk.
pub(super) struct PieceSource {
    blob: Arc<Blob>,
    piece: PieceIndex,
    memory: Arc<PieceMemory>,
    pool: Pool,
    /// Opened when it is needed first; what is evicted afterwards can still be read.
    file: Option<Arc<File>>,
    /// Bytes of the blob that are left.
    left: Range<u64>,
}

impl PieceSource {
    pub(super) fn new(blob: Arc<Blob>, piece: PieceIndex, memory: Arc<PieceMemory>, pool: Pool) -> Self {
        let left = blob.geometry().range(piece);
        Self { blob, piece, memory, pool, file: None, left }
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// The disk. Where that means that the blob is lost, it is given up.
    pub(super) async fn next(&mut self) -> io::Result<Bytes> {
        if self.left.is_empty() {
            return Ok(Bytes::new());
        }
        let within = self.left.start - self.blob.geometry().range(self.piece).start;
        let length = self.left.end - self.left.start;
        let bytes = match self.memory.recent_part(self.blob.digest(), self.piece, within, length) {
            Some(bytes) => bytes,
            None => self.read_file(length.min(CHUNK_BYTES as u64)).await?,
        };
        self.left.start += bytes.len() as u64;
        Ok(bytes)
    }

    async fn read_file(&mut self, length: u64) -> io::Result<Bytes> {
        let (blob, open, memory) = (self.blob.clone(), self.file.clone(), self.memory.clone());
        let offset = self.left.start;
        let job = move || {
            let file = open.map_or_else(|| blob.file(), Ok);
            let read = file.and_then(|file| memory.read_at(&file, offset, length).map(|bytes| (file, bytes)));
            read.inspect_err(|error| blob.lose_for(error))
        };
        let (file, bytes) = self.pool.run(job).await.and_then(|read| read)?;
        self.file = Some(file);
        Ok(bytes)
    }
}

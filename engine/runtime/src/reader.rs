//! Verified bytes of a blob, in order.

use std::{
    fs::File,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use shoal_wire::geometry::PieceIndex;

use crate::{
    engine::BlobError,
    memory::{CHUNK_BYTES, PieceMemory},
    pool::Pool,
    spool::interest::Reading,
};

/// Verified bytes of a blob, or of a part of it, in order and in chunks of at most 256 KiB. A piece's bytes leave as
/// soon as the piece is stored; those of the blob's last piece once the digest of the whole blob holds, so that a wrong
/// blob never looks complete. An excerpt does not look like a blob, and gets them as soon as the others. Dropping it ends
/// the reader's interest.
pub struct BlobReader {
    chunks: Pin<Box<dyn Stream<Item = Result<Bytes, BlobError>> + Send>>,
}

/// Where a reader is.
struct Cursor {
    reading: Reading,
    pool: Pool,
    memory: Arc<PieceMemory>,
    range: Range<u64>,
    /// Whether it reads a part, whose pieces are demanded before others.
    part: bool,
    /// Whether that part may have the last piece before the blob is verified.
    excerpt: bool,
    file: Option<Arc<File>>,
}

impl BlobReader {
    /// A reader of `range`, which lies within the blob, or of everything. `excerpt` as in [`BlobRequest`].
    ///
    /// [`BlobRequest`]: crate::BlobRequest
    pub(crate) fn new(
        reading: Reading,
        pool: Pool,
        memory: Arc<PieceMemory>,
        range: Option<Range<u64>>,
        excerpt: bool,
    ) -> Self {
        let size = reading.blob().geometry().size();
        let part = range.as_ref().is_some_and(|range| *range != (0..size));
        let range = range.unwrap_or(0..size);
        let excerpt = excerpt && range.start > 0;
        let cursor = Cursor { reading, pool, memory, range, part, excerpt, file: None };
        let chunks = stream::unfold(Some(cursor), |cursor| async {
            let mut cursor = cursor?;
            match cursor.next().await {
                Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(cursor))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Self { chunks: Box::pin(chunks) }
    }
}

impl Cursor {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let geometry = self.reading.blob().geometry();
        let piece = geometry.piece_at(self.range.start);
        let demand = self.part.then(|| piece.0..geometry.piece_at(self.range.end - 1).0 + 1);
        self.wait_for(piece, demand).await?;
        let within = geometry.range(piece);
        let (offset, end) = (self.range.start, self.range.end.min(within.end));
        let digest = self.reading.blob().digest();
        let bytes = match self.memory.recent_part(digest, piece, offset - within.start, end - offset) {
            Some(bytes) => bytes,
            None => self.read_file(offset, (end - offset).min(CHUNK_BYTES as u64)).await?,
        };
        self.range.start += bytes.len() as u64;
        Ok(Some(bytes))
    }

    async fn read_file(&mut self, offset: u64, length: u64) -> Result<Bytes, BlobError> {
        let (blob, open, memory) = (self.reading.blob().clone(), self.file.clone(), self.memory.clone());
        let job = move || {
            let file = open.map_or_else(|| blob.file(), Ok);
            let read = file.and_then(|file| memory.read_at(&file, offset, length).map(|bytes| (file, bytes)));
            read.inspect_err(|error| blob.lose_for(error))
        };
        let read = self.pool.run(job).await.and_then(|read| read);
        // Where the blob began again meanwhile, that is the error to tell.
        let failure = |error: std::io::Error| self.reading.ended().unwrap_or(BlobError::Store(error.to_string()));
        let (file, bytes) = read.map_err(failure)?;
        self.file = Some(file);
        Ok(bytes)
    }

    /// Waits until `piece` may be read. A blob of an earlier life is checked now rather than in its turn.
    async fn wait_for(&self, piece: PieceIndex, demand: Option<Range<u32>>) -> Result<(), BlobError> {
        let blob = self.reading.blob().clone();
        let check = async {
            match blob.check_for_reader(&self.pool).await {
                Ok(()) => std::future::pending::<BlobError>().await,
                Err(error) => error,
            }
        };
        tokio::select! {
            readable = self.reading.readable(piece, demand, self.excerpt) => readable,
            error = check => Err(error),
        }
    }
}

impl Stream for BlobReader {
    type Item = Result<Bytes, BlobError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlobReader")
    }
}

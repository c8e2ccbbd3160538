//! One blob: its file, its verified pieces, and its digest.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use shoal_wire::{
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::PieceHash,
    piece_map::PieceMap,
    transfer::Voucher,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    direct::DirectFile,
    interest::{Interest, News},
    prefix::Prefix,
    pull::Stopwatch,
};
use crate::{
    engine::BlobError,
    memory::{PieceBytes, PieceMemory},
    metrics::Metrics,
};

/// Ends the names of files of unfinished blobs.
pub(super) const PARTIAL_SUFFIX: &str = ".partial";

/// Failed writes in a row after which a blob's readers are told.
const WRITE_FAILURES_MAX: u32 = 3;

/// Where a blob is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Found on disk at the start, not verified yet.
    Unchecked,
    /// Being filled, or waiting for somebody who wants it.
    Filling,
    /// Complete, with the right digest.
    Verified,
    /// Removed from the spool.
    Gone,
}

/// What came of storing a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It was not there before.
    New,
    /// It was there, or is being written by somebody else just now.
    Duplicate,
    /// The blob was removed or began again meanwhile.
    Stale,
}

pub(super) struct State {
    pub(super) phase: Phase,
    have: PieceMap,
    /// Pieces whose arrival the core has been told; the digest runs along these, so that the core learns of every piece
    /// before it learns that the blob is complete.
    pub(super) announced: PieceMap,
    writing: Vec<PieceIndex>,
    vouchers: HashMap<PieceIndex, Voucher>,
    /// Hashes of all pieces, once the blob is verified: this node vouches for them then and need not read them for it.
    /// Empty where the blob was found on disk. They take less than a hundredth of a percent of what the blob takes.
    hashes: Vec<PieceHash>,
    pub(super) file: Option<Arc<File>>,
    /// The same file, where pieces are written past the page cache.
    pub(super) direct: Option<DirectFile>,
    pub(super) prefix: Prefix,
    pub(super) stopwatch: Stopwatch,
    write_failures: u32,
    pub(super) last_used: u64,
    pub(super) interest: Interest,
}

/// One blob of the spool. Methods called blocking read or write the disk and belong on the pool.
pub(crate) struct Blob {
    digest: Digest,
    geometry: Geometry,
    path: PathBuf,
    me: Weak<Self>,
    pub(super) checking: AtomicBool,
    /// Whether a peer has asked for any of it.
    asked: AtomicBool,
    state: Mutex<State>,
    writer: Arc<Semaphore>,
    pub(super) hashing: Arc<Semaphore>,
    pub(super) news: Arc<News>,
    pub(super) memory: Arc<PieceMemory>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) link: Option<NonZeroU64>,
}

/// What all blobs of a spool share.
pub(super) struct Shared {
    pub(super) news: Arc<News>,
    pub(super) memory: Arc<PieceMemory>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) link: Option<NonZeroU64>,
}

impl Blob {
    pub(super) fn new(
        digest: Digest,
        geometry: Geometry,
        path: PathBuf,
        on_disk: bool,
        used: u64,
        shared: Shared,
    ) -> Arc<Self> {
        let Shared { news, memory, metrics, link } = shared;
        if on_disk {
            metrics.spool_bytes.add(signed(geometry.size()));
        }
        let state = State {
            phase: if on_disk { Phase::Unchecked } else { Phase::Filling },
            have: PieceMap::empty(geometry.pieces()),
            announced: PieceMap::empty(geometry.pieces()),
            writing: Vec::new(),
            vouchers: HashMap::new(),
            hashes: Vec::new(),
            file: None,
            direct: None,
            prefix: Prefix::new(&digest),
            stopwatch: Stopwatch::default(),
            write_failures: 0,
            last_used: used,
            interest: Interest::default(),
        };
        let (state, writer, hashing) = (Mutex::new(state), Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
        Arc::new_cyclic(|me| Self {
            digest,
            geometry,
            path,
            me: me.clone(),
            checking: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            state,
            writer,
            hashing,
            news,
            memory,
            metrics,
            link,
        })
    }

    /// The turn to write to the file, one at a time. The kernel lets one thread at a time write to a file anyway, and
    /// others burn their processors' time until they may. Cancel-safe.
    pub(crate) async fn turn_to_write(&self) -> OwnedSemaphorePermit {
        self.writer.clone().acquire_owned().await.expect("it is never closed")
    }

    /// This blob as its owners hold it; `None` while the last of them drops it.
    pub(super) fn me(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where the blob is once it is verified.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        crate::lock(&self.state)
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.state().phase == Phase::Verified
    }

    pub(crate) fn is_unchecked(&self) -> bool {
        self.state().phase == Phase::Unchecked
    }

    /// Whether it was removed from the disk; the index may not know yet.
    pub(super) fn is_gone(&self) -> bool {
        self.state().phase == Phase::Gone
    }

    pub(crate) fn has(&self, piece: PieceIndex) -> bool {
        self.state().has(piece)
    }

    /// Who vouches for a stored piece of an unfinished blob.
    pub(crate) fn voucher(&self, piece: PieceIndex) -> Option<Voucher> {
        self.state().vouchers.get(&piece).cloned()
    }

    /// Hash of a piece of a verified blob, where it is known.
    pub(crate) fn hash(&self, piece: PieceIndex) -> Option<PieceHash> {
        self.state().hashes.get(piece.0 as usize).copied()
    }

    /// A peer asks for a piece: more will be asked for, and are read from the page cache.
    pub(crate) fn note_asked(&self) {
        self.asked.store(true, Relaxed);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    pub(super) fn last_used(&self) -> u64 {
        self.state().last_used
    }

    pub(super) fn touch(&self, used: u64) {
        self.state().last_used = used;
    }

    /// The file to read from; what is written under this name later does not change it. Blocking.
    pub(crate) fn file(&self) -> io::Result<Arc<File>> {
        let open = self.state().file.clone();
        match open {
            Some(file) => Ok(file),
            None => File::open(&self.path).map(Arc::new),
        }
    }

    /// Makes the file of an unfinished blob where it is not there yet. Blocking.
    ///
    /// # Errors
    /// The directory cannot be written or the disk is full.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.phase == Phase::Filling {
            self.writable(&mut state)?;
        }
        Ok(())
    }

    /// Writes a verified piece. Where the disk is full, `make_room` is asked to free some, and says whether it did. Blocking.
    ///
    /// # Errors
    /// The disk. After a few errors in a row the readers are told.
    pub(crate) fn store(
        &self,
        piece: PieceIndex,
        bytes: &PieceBytes,
        voucher: &Voucher,
        make_room: &dyn Fn() -> bool,
    ) -> io::Result<Stored> {
        debug_assert_eq!(bytes.len(), self.geometry.len(piece), "a piece is whole");
        let file = {
            let mut state = self.state();
            if state.phase == Phase::Gone {
                return Ok(Stored::Stale);
            }
            if state.phase != Phase::Filling || state.have.has(piece) || state.writing.contains(&piece) {
                return Ok(Stored::Duplicate);
            }
            let file = match self.writable(&mut state) {
                Ok(file) => file,
                Err(error) => return Err(self.count_failure(state, error)),
            };
            state.writing.push(piece);
            file
        };
        let offset = self.geometry.range(piece).start;
        let written = loop {
            if self.write_directly(&file, bytes, offset) {
                break Ok(());
            }
            match bytes.write_at(&file, offset) {
                Err(error) if is_full(&error) && make_room() => {}
                written => break written,
            }
        };
        let mut state = self.state();
        if !state.is_current(&file) {
            return Ok(Stored::Stale);
        }
        state.writing.retain(|&writing| writing != piece);
        if let Err(error) = written {
            return Err(self.count_failure(state, error));
        }
        state.write_failures = 0;
        state.have.insert(piece);
        state.vouchers.insert(piece, voucher.clone());
        // Under the state's lock, so that no piece of an earlier try is kept once the blob begins again.
        self.memory.keep(&self.digest, piece, bytes);
        state.interest.wake(piece);
        self.metrics.spool_bytes.add(signed(bytes.len()));
        self.metrics.pieces_stored.increment();
        Ok(Stored::New)
    }

    /// Says that the core knows of a stored piece. Whether the digest can go on with [`Blob::run_prefix`], which must be
    /// called then: nobody else is told until it is.
    pub(crate) fn announce(&self, piece: PieceIndex) -> bool {
        let mut state = self.state();
        if state.phase != Phase::Filling || !state.have.has(piece) {
            return false;
        }
        state.announced.insert(piece);
        let next = PieceIndex(state.prefix.next);
        let can_go_on = state.prefix.hasher.is_some() && state.announced.has(next);
        can_go_on && !std::mem::replace(&mut state.prefix.awaits_run, true)
    }

    fn count_failure(&self, mut state: MutexGuard<'_, State>, error: io::Error) -> io::Error {
        state.write_failures += 1;
        tracing::warn!(digest = %self.digest, %error, failures = state.write_failures, "a piece could not be written");
        if state.write_failures >= WRITE_FAILURES_MAX {
            state.write_failures = 0;
            state.interest.end(&BlobError::Store(error.to_string()));
            drop(state);
            self.news.tell(self);
        }
        error
    }

    fn writable(&self, state: &mut State) -> io::Result<Arc<File>> {
        if let Some(file) = &state.file {
            return Ok(file.clone());
        }
        let path = self.partial_path();
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        file.set_len(self.geometry.size())?;
        let file = Arc::new(file);
        state.direct = DirectFile::open(&path);
        state.file = Some(file.clone());
        Ok(file)
    }

    pub(super) fn partial_path(&self) -> PathBuf {
        let mut path = self.path.clone();
        path.as_mut_os_string().push(PARTIAL_SUFFIX);
        path
    }

    #[cfg(test)]
    pub(crate) fn replace_file(&self, file: File) {
        let mut state = self.state();
        (state.file, state.direct) = (Some(Arc::new(file)), None);
    }
}

impl State {
    fn has(&self, piece: PieceIndex) -> bool {
        match self.phase {
            Phase::Verified => piece.0 < self.have.pieces(),
            Phase::Filling => self.have.has(piece),
            Phase::Unchecked | Phase::Gone => false,
        }
    }

    /// Whether a reader may have bytes of `piece`: the last one only once the whole digest holds, unless it reads an
    /// excerpt, which nobody takes for the blob.
    pub(super) fn is_readable(&self, piece: PieceIndex, excerpt: bool) -> bool {
        let last = piece.0 + 1 == self.have.pieces();
        self.phase == Phase::Verified || ((!last || excerpt) && self.has(piece))
    }

    /// The hash that a stored piece of an unfinished blob has.
    pub(super) fn voucher_hash(&self, piece: PieceIndex) -> Option<PieceHash> {
        self.vouchers.get(&piece).map(|voucher| voucher.hash)
    }

    pub(super) fn have(&self) -> &PieceMap {
        &self.have
    }

    /// Whether nothing began again since `file` was taken.
    pub(super) fn is_current(&self, file: &Arc<File>) -> bool {
        self.phase == Phase::Filling && self.file.as_ref().is_some_and(|current| Arc::ptr_eq(current, file))
    }

    /// Forgets all pieces, and returns the file that they were in.
    pub(super) fn forget_pieces(&mut self, digest: &Digest) -> Option<Arc<File>> {
        self.have = PieceMap::empty(self.have.pieces());
        self.announced = self.have.clone();
        self.writing.clear();
        self.vouchers.clear();
        self.prefix = Prefix::new(digest);
        self.direct = None;
        self.file.take()
    }

    pub(super) fn complete(&mut self) {
        self.phase = Phase::Verified;
        self.have = PieceMap::full(self.have.pieces());
        self.announced = PieceMap::empty(0);
        self.writing = Vec::new();
        let vouchers = std::mem::take(&mut self.vouchers);
        let hashes = (0..self.have.pieces()).map(|piece| vouchers.get(&PieceIndex(piece)).map(|voucher| voucher.hash));
        self.hashes = hashes.collect::<Option<_>>().unwrap_or_default();
        (self.file, self.direct) = (None, None);
        self.interest.wake_all();
    }
}

/// Whether more free space would help.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

//! The digest of a blob, computed along its contiguous prefix while pieces arrive in any order.

use std::{
    fs::{self, File},
    io,
    sync::Arc,
};

use sha2::{Digest as _, Sha512};
use shoal_hash::Sha256;
use shoal_wire::{digest::Digest, geometry::PieceIndex};

use super::{
    ahead::Ahead,
    blob::{Blob, Phase},
    removal::remove,
};
use crate::{
    engine::BlobError,
    memory::{CHUNK_BYTES, PieceBytes},
};

/// A digest under way.
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// A hasher of the algorithm of `digest`.
    pub(super) fn of(digest: &Digest) -> Self {
        match digest {
            Digest::Sha256(_) => Self::Sha256(Sha256::new()),
            Digest::Sha512(_) => Self::Sha512(Box::new(Sha512::new())),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(hasher.finalize()),
            Self::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

/// How far the digest has come. The hasher is away while a job runs it.
pub(super) struct Prefix {
    pub(super) hasher: Option<Hasher>,
    /// Whether somebody was told that the digest can go on, and has not run it yet: others need not wait to do it too.
    pub(super) awaits_run: bool,
    /// First piece that is not hashed.
    pub(super) next: u32,
    pub(super) ahead: Ahead,
}

impl Prefix {
    pub(super) fn new(digest: &Digest) -> Self {
        Self { hasher: Some(Hasher::of(digest)), awaits_run: false, next: 0, ahead: Ahead::default() }
    }
}

/// What came of a run along the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrefixRun {
    /// It waits for a piece, or another run is at work.
    Waiting,
    /// The whole blob has its digest.
    Verified,
    /// It has another; all pieces are discarded.
    Corrupt,
}

impl Blob {
    /// Hashes along the contiguous prefix as far as it goes. `hint` is a piece that was just stored. Blocking.
    ///
    /// # Errors
    /// The disk; the readers are told.
    pub(crate) fn run_prefix(&self, hint: Option<(PieceIndex, &PieceBytes)>) -> io::Result<PrefixRun> {
        let (mut hasher, file) = {
            let mut state = self.state();
            state.prefix.awaits_run = false;
            let (Some(file), Phase::Filling) = (state.file.clone(), state.phase) else { return Ok(PrefixRun::Waiting) };
            let Some(hasher) = state.prefix.hasher.take() else { return Ok(PrefixRun::Waiting) };
            (hasher, file)
        };
        loop {
            let (next, hash) = {
                let mut state = self.state();
                if !state.is_current(&file) {
                    return Ok(PrefixRun::Waiting);
                }
                while let Some((after, in_one_pass)) = state.hashed_ahead() {
                    hasher = Hasher::Sha256(after);
                    self.metrics.pieces_hashed_with_digest.add(u64::from(in_one_pass));
                }
                let next = PieceIndex(state.prefix.next);
                if !self.geometry().contains(next) {
                    break;
                }
                if !state.announced.has(next) {
                    state.prefix.hasher = Some(hasher);
                    return Ok(PrefixRun::Waiting);
                }
                (next, state.voucher_hash(next))
            };
            let in_memory = match hint {
                // The blob may have begun again since the hint was given.
                Some((piece, bytes)) if piece == next && bytes.hash() == hash => Some(bytes.clone()),
                _ => self.memory.recent(self.digest(), next),
            };
            match in_memory {
                Some(bytes) => bytes.chunks().iter().for_each(|chunk| hasher.update(chunk)),
                None => self.hash_piece(&file, next, &mut hasher).inspect_err(|error| self.fail_store(error))?,
            }
            self.state().prefix.next += 1;
        }
        self.conclude(&hasher.finish(), &file)
    }

    pub(super) fn hash_piece(&self, file: &File, piece: PieceIndex, hasher: &mut Hasher) -> io::Result<()> {
        let mut range = self.geometry().range(piece);
        while range.start < range.end {
            let length = (range.end - range.start).min(CHUNK_BYTES as u64);
            hasher.update(&self.memory.read_at(file, range.start, length)?);
            range.start += length;
        }
        Ok(())
    }

    /// Compares the digest of everything, and completes the blob or begins it again.
    fn conclude(&self, found: &Digest, file: &Arc<File>) -> io::Result<PrefixRun> {
        if *found != *self.digest() {
            return Ok(self.begin_again(found, file));
        }
        let renamed = fs::rename(self.partial_path(), self.path());
        let mut state = self.state();
        if !state.is_current(file) {
            return Ok(PrefixRun::Waiting);
        }
        if let Err(error) = renamed {
            drop(state);
            self.fail_store(&error);
            return Err(error);
        }
        state.complete();
        if !state.interest.is_read() {
            self.memory.forget(self.digest());
        }
        self.metrics.blobs_verified.increment();
        drop(state);
        self.news.tell(self);
        Ok(PrefixRun::Verified)
    }

    fn begin_again(&self, found: &Digest, file: &Arc<File>) -> PrefixRun {
        let mut state = self.state();
        if !state.is_current(file) {
            return PrefixRun::Waiting;
        }
        tracing::error!(digest = %self.digest(), %found, "a blob does not have its digest; its pieces are discarded");
        self.metrics.blobs_corrupt.increment();
        let garbage = self.clear(&mut state);
        state.interest.corrupt();
        drop(state);
        self.news.tell(self);
        if let Some(garbage) = garbage {
            remove(&garbage);
        }
        PrefixRun::Corrupt
    }

    /// Completes an empty blob, which nobody needs to send.
    ///
    /// # Errors
    /// The digest is not that of nothing, or the disk fails. Blocking.
    pub(crate) fn complete_empty(&self) -> Result<(), BlobError> {
        if Hasher::of(self.digest()).finish() != *self.digest() {
            return Err(BlobError::Invalid(format!("{} is not the digest of an empty blob", self.digest())));
        }
        File::create(self.path()).map_err(|error| BlobError::Store(error.to_string()))?;
        self.state().complete();
        self.news.tell(self);
        Ok(())
    }
}

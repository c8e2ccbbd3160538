//! The end of a blob: given up, lost, or begun again; and its file, which goes away under another name.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::blob::{Blob, Phase, State, signed};
use crate::engine::BlobError;

/// Ends the names of files that are about to be removed.
pub(super) const REMOVED_SUFFIX: &str = ".removed";

/// What Linux calls EIO: the device cannot give the bytes.
const INPUT_OUTPUT_ERROR: i32 = 5;

impl Blob {
    /// Gives the blob up unless somebody reads it. Returns what is left to be removed from the disk, which may take
    /// long, and is not needed before the digest can be used anew.
    pub(super) fn discard_if_unread(&self) -> Option<PathBuf> {
        let mut state = self.state();
        if state.interest.is_read() || matches!(state.phase, Phase::Unchecked | Phase::Gone) {
            return None;
        }
        let aside = if state.phase == Phase::Verified {
            self.metrics.spool_bytes.add(-signed(self.geometry().size()));
            self.move_aside(self.path(), &state)
        } else {
            self.clear(&mut state).unwrap_or_else(|| self.aside_path(&state))
        };
        self.memory.forget(self.digest());
        state.phase = Phase::Gone;
        drop(state);
        self.news.tell(self);
        Some(aside)
    }

    /// Gives a verified blob up where `error`, met while reading it, says that its bytes are lost: it would be announced
    /// and never delivered. Its readers end; who opens it next has it fetched anew. Blocking.
    pub(crate) fn lose_for(&self, error: &io::Error) {
        let mut state = self.state();
        if state.phase != Phase::Verified || !means_loss(error) {
            return;
        }
        tracing::error!(digest = %self.digest(), %error, "a blob in the spool is lost; removed");
        let aside = self.move_aside(self.path(), &state);
        self.metrics.spool_bytes.add(-signed(self.geometry().size()));
        self.memory.forget(self.digest());
        state.phase = Phase::Gone;
        state.interest.end(&BlobError::Store(error.to_string()));
        drop(state);
        self.news.tell(self);
        remove(&aside);
    }

    /// Fails the readers for an error of the disk.
    pub(crate) fn fail_store(&self, error: &io::Error) {
        tracing::error!(digest = %self.digest(), %error, "the spool failed");
        self.end_readers(&BlobError::Store(error.to_string()));
        let mut state = self.state();
        let garbage = if state.phase == Phase::Filling { self.clear(&mut state) } else { None };
        drop(state);
        if let Some(garbage) = garbage {
            remove(&garbage);
        }
    }

    /// Forgets all pieces of an unfinished blob. Who has the old file open still reads the old bytes. Returns what is
    /// left to be removed once the state is not locked any more.
    pub(super) fn clear(&self, state: &mut State) -> Option<PathBuf> {
        let stored: u64 = state.have().iter().map(|piece| self.geometry().len(piece)).sum();
        self.metrics.spool_bytes.add(-signed(stored));
        self.memory.forget(self.digest());
        let file = state.forget_pieces(self.digest());
        file.map(|_| self.move_aside(&self.partial_path(), state))
    }

    /// Renames a file, so that its name is free and its removal, which may take long, needs no lock.
    pub(super) fn move_aside(&self, path: &Path, state: &State) -> PathBuf {
        let aside = self.aside_path(state);
        if let Err(error) = fs::rename(path, &aside)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a file of the spool could not be moved");
        }
        aside
    }

    /// A name that no other blob of this digest has: no two were used at the same time.
    fn aside_path(&self, state: &State) -> PathBuf {
        let mut aside = self.path().to_owned();
        aside.as_mut_os_string().push(format!(".{}{REMOVED_SUFFIX}", state.last_used));
        aside
    }
}

/// Whether bytes that were on the disk cannot be read any more; a lack of file handles or memory passes.
pub(super) fn means_loss(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied, io::ErrorKind::UnexpectedEof];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(INPUT_OUTPUT_ERROR)
}

pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a file of the spool could not be removed");
    }
}

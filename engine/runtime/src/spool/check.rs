//! Blobs of an earlier life: verified before they are served, each by whoever comes first, its reader or the node's start.
//!
//! Only a wrong digest or an error that means loss removes a blob. Any other error, such as a lack of file handles, says
//! nothing of its bytes: it stays as it was found and is checked again, at the node's leisure for a while, and by each
//! reader a few times.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use shoal_wire::geometry::PieceIndex;

use super::{
    Spool,
    blob::{Blob, Phase, signed},
    prefix::Hasher,
    removal::{means_loss, remove},
};
use crate::{engine::BlobError, pool::Pool};

/// Rounds over what is unchecked, with doubling pauses between them: half an hour in all. Then a reader or the next start
/// checks what is left.
const ROUNDS_MAX: u32 = 13;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Checks that a reader begins before it gives up, with doubling pauses between them: about six seconds, so that its client
/// can still go elsewhere.
const READER_CHECKS_MAX: u32 = 7;
const READER_FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What came of a check.
#[derive(Debug)]
pub(crate) enum Checked {
    /// The blob is verified, or it was damaged and is removed.
    Settled,
    /// Somebody else is checking it.
    UnderWay,
    /// Something stood in the way that says nothing of the blob.
    Hindered(io::Error),
}

/// The right to check a blob, given back however the check ends.
struct Claim<'a>(&'a Blob);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.checking.store(false, Relaxed);
    }
}

impl Blob {
    /// Verifies a blob that was found on disk, unless somebody does or did; one that is damaged is removed and filled
    /// again where it is wanted. Blocking.
    pub(crate) fn check(&self) -> Checked {
        if self.checking.swap(true, Relaxed) {
            return Checked::UnderWay;
        }
        let _claim = Claim(self);
        if !self.is_unchecked() {
            return Checked::Settled;
        }
        let intact = self.file().and_then(|file| {
            let mut hasher = Hasher::of(self.digest());
            for piece in 0..self.geometry().pieces() {
                self.hash_piece(&file, PieceIndex(piece), &mut hasher)?;
            }
            Ok(hasher.finish() == *self.digest())
        });
        match intact {
            Err(error) if !means_loss(&error) => {
                tracing::debug!(digest = %self.digest(), %error, "a blob in the spool could not be checked");
                Checked::Hindered(error)
            }
            intact => {
                self.settle(&intact);
                Checked::Settled
            }
        }
    }

    fn settle(&self, intact: &io::Result<bool>) {
        let mut state = self.state();
        if state.phase != Phase::Unchecked {
            return;
        }
        let garbage = if matches!(intact, Ok(true)) {
            state.complete();
            None
        } else {
            tracing::warn!(digest = %self.digest(), ?intact, "a blob in the spool is damaged; removed");
            self.metrics.spool_bytes.add(-signed(self.geometry().size()));
            state.phase = Phase::Filling;
            state.file = None;
            Some(self.move_aside(self.path(), &state))
        };
        drop(state);
        self.news.tell(self);
        if let Some(garbage) = garbage {
            remove(&garbage);
        }
    }

    /// Checks a blob of an earlier life now rather than in its turn, for a reader that waits for it. Returns once the
    /// reader waits no more for that, or why it waits in vain.
    pub(crate) async fn check_for_reader(self: &Arc<Self>, pool: &Pool) -> Result<(), BlobError> {
        let (mut pause, mut hindered) = (READER_FIRST_PAUSE, 0);
        while self.is_unchecked() {
            let blob = self.clone();
            let error = match pool.run_long(move || blob.check()).await {
                Ok(Checked::Settled) => return Ok(()),
                Ok(Checked::UnderWay) => None,
                Ok(Checked::Hindered(error)) | Err(error) => Some(error),
            };
            if let Some(error) = error {
                hindered += 1;
                if hindered == READER_CHECKS_MAX {
                    return Err(BlobError::Store(format!("a blob that is there could not be checked: {error}")));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(READER_FIRST_PAUSE * 32);
        }
        Ok(())
    }
}

impl Spool {
    /// Verifies what an earlier life left, one blob after the other, and then keeps to the limit.
    pub(crate) async fn check_all(self: Arc<Self>, pool: Pool) {
        let mut pause = FIRST_PAUSE;
        for _ in 0..ROUNDS_MAX {
            let mut last_error = None;
            for blob in self.unchecked() {
                match pool.run_long(move || blob.check()).await {
                    Ok(Checked::Settled | Checked::UnderWay) => {}
                    Ok(Checked::Hindered(error)) | Err(error) => last_error = Some(error),
                }
            }
            let spool = self.clone();
            let _ = pool.run(move || spool.evict()).await;
            let left = self.unchecked().len();
            if left == 0 {
                return;
            }
            if let Some(error) = last_error {
                tracing::warn!(%error, blobs = left, "blobs in the spool could not be checked; they are kept for later");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

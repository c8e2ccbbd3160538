//! Who reads a blob, and what the core is told about it.
//!
//! The core is told by levels, not by edges: whatever changes, the blob is put into [`News`] once, and the pump later
//! compares what holds with what the core was told last. So no order of readers that come and go can leave the core
//! with a stale picture, and the queue has at most one entry for each blob.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex},
};

use shoal_core::event::Input;
use shoal_wire::{control::UpstreamFailure, geometry::PieceIndex};
use tokio::sync::{Notify, oneshot};

use super::{
    blob::{Blob, Phase, State},
    sources::Sources,
};
use crate::{clock, engine::BlobError, metrics::Metrics, upstream::UpstreamSource};

/// Pieces that one reader demands at once: the one under its cursor, and the next.
const DEMAND_AHEAD: u32 = 2;
/// Pieces demanded at once for one blob.
const DEMAND_MAX: usize = 16;
/// The core is told anew how far the readers are when they have come so many bytes further, or to the next piece where
/// that is larger: an eighth of what is asked for ahead of them.
const TOLD_STEP_BYTES: u64 = 4 * 1024 * 1024;

/// Blobs that may have something to tell the core.
#[derive(Default)]
pub(crate) struct News {
    queue: Mutex<VecDeque<Arc<Blob>>>,
    arrived: Notify,
}

impl News {
    /// Queues `blob` unless it is queued already.
    pub(super) fn tell(&self, blob: &Blob) {
        let queued = std::mem::replace(&mut blob.state().interest.queued, true);
        if !queued && let Some(blob) = blob.me() {
            crate::lock(&self.queue).push_back(blob);
            self.arrived.notify_one();
        }
    }

    /// Waits until a blob is queued. Cancel-safe.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Whether no blob is queued.
    pub(crate) fn is_empty(&self) -> bool {
        crate::lock(&self.queue).is_empty()
    }

    /// What the blobs have to tell, in the order in which they were queued.
    pub(crate) fn drain(&self) -> Vec<Input> {
        let blobs = std::mem::take(&mut *crate::lock(&self.queue));
        blobs.iter().flat_map(|blob| blob.untold()).collect()
    }
}

/// What the core was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Wanted {
        can_lease: bool,
    },
    Held,
}

/// The readers of a blob.
#[derive(Default)]
pub(super) struct Interest {
    /// Raised when all present readers end, so that they are told from those who come later.
    epoch: u64,
    /// Why the readers of earlier epochs ended.
    ended: Option<BlobError>,
    readers: usize,
    reader_ids: u64,
    waiters: Vec<(PieceIndex, oneshot::Sender<()>)>,
    /// For each reader of a part: pieces from its cursor to the end of its part.
    demands: BTreeMap<u64, Range<u32>>,
    /// For each reader of everything that has begun: the piece under its cursor.
    cursors: BTreeMap<u64, u32>,
    sources: Sources,
    told: Told,
    told_demand: Vec<PieceIndex>,
    /// How far the readers are, as far as the core knows; `None` where it does not want the blob.
    told_front: Option<PieceIndex>,
    corrupt_untold: bool,
    queued: bool,
}

impl Interest {
    pub(super) fn is_read(&self) -> bool {
        self.readers > 0
    }

    pub(super) fn wake(&mut self, piece: PieceIndex) {
        self.waiters.retain(|(waiting, _)| *waiting != piece);
    }

    pub(super) fn wake_all(&mut self) {
        self.waiters.clear();
    }

    /// Ends all present readers.
    pub(super) fn end(&mut self, error: &BlobError) {
        self.epoch += 1;
        self.ended = Some(error.clone());
        self.readers = 0;
        self.sources.remove_all();
        self.demands.clear();
        self.cursors.clear();
        self.wake_all();
    }

    /// Ends all present readers because what they read was wrong.
    pub(super) fn corrupt(&mut self) {
        self.end(&BlobError::Corrupt);
        self.corrupt_untold = matches!(self.told, Told::Wanted { .. });
    }

    /// Where the first of the readers is, in steps of `step` pieces, if each of them reads everything and has begun.
    fn front(&self, step: u32) -> Option<PieceIndex> {
        let first = self.cursors.values().max().filter(|_| self.cursors.len() == self.readers)?;
        Some(PieceIndex(first / step * step))
    }

    fn wait(&mut self, piece: PieceIndex) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        self.waiters.retain(|(_, waiter)| !waiter.is_closed());
        self.waiters.push((piece, wake));
        woken
    }
}

/// One reader's hold on a blob: while it lives, the blob is not evicted, and it is wanted unless it is complete.
pub(crate) struct Reading {
    blob: Arc<Blob>,
    epoch: u64,
    id: u64,
    /// What it named and is kept of that.
    source: Option<UpstreamSource>,
}

impl Reading {
    pub(crate) fn blob(&self) -> &Arc<Blob> {
        &self.blob
    }

    /// Why reading ended, if it did.
    pub(crate) fn ended(&self) -> Option<BlobError> {
        let state = self.blob.state();
        (state.interest.epoch != self.epoch).then(|| state.interest.ended.clone().unwrap_or(BlobError::Stopping))
    }

    /// Waits until bytes of `piece` may leave. A reader of a part passes `demand`, the pieces from its cursor to the
    /// end of its part, so that they are fetched before others; `excerpt` says that it does not wait for the digest of
    /// the whole blob. Cancel-safe.
    pub(crate) async fn readable(
        &self,
        piece: PieceIndex,
        demand: Option<Range<u32>>,
        excerpt: bool,
    ) -> Result<(), BlobError> {
        if demand.is_none() {
            self.move_to(piece);
        }
        loop {
            if let Some(error) = self.ended() {
                return Err(error);
            }
            let woken = {
                let mut state = self.blob.state();
                if state.interest.epoch != self.epoch {
                    continue;
                }
                if state.is_readable(piece, excerpt) {
                    return Ok(());
                }
                if state.phase == Phase::Gone {
                    // It was lost in the moment in which this reader came.
                    return Err(BlobError::Store("the blob was removed; it can be opened again".to_owned()));
                }
                if let Some(demand) = demand.clone() {
                    state.interest.demands.insert(self.id, demand);
                }
                state.interest.wait(piece)
            };
            if demand.is_some() {
                self.blob.news.tell(&self.blob);
            }
            // Dropping the other end is the signal.
            let _ = woken.await;
        }
    }

    /// Notes how far a reader of everything is, which the core may have to know.
    fn move_to(&self, piece: PieceIndex) {
        let step = self.blob.told_step();
        let mut state = self.blob.state();
        if state.interest.epoch != self.epoch || state.interest.cursors.insert(self.id, piece.0) == Some(piece.0) {
            return;
        }
        let is_news = state.phase == Phase::Filling && state.interest.front(step) != state.interest.told_front;
        drop(state);
        if is_news {
            self.blob.news.tell(&self.blob);
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.blob.state();
        if state.interest.epoch != self.epoch {
            return;
        }
        state.interest.readers -= 1;
        if let Some(source) = &self.source {
            state.interest.sources.remove(source);
        }
        state.interest.demands.remove(&self.id);
        state.interest.cursors.remove(&self.id);
        if state.interest.readers == 0 && state.phase == Phase::Verified {
            self.blob.memory.forget(self.blob.digest());
        }
        drop(state);
        self.blob.news.tell(&self.blob);
    }
}

impl Blob {
    /// Adds a reader. Its source is used where those of readers that are there already fail.
    pub(super) fn attach(self: &Arc<Self>, source: Option<UpstreamSource>) -> Reading {
        let mut state = self.state();
        state.interest.readers += 1;
        state.interest.reader_ids += 1;
        let source = source.filter(|source| state.interest.sources.add(source));
        let (epoch, id) = (state.interest.epoch, state.interest.reader_ids);
        drop(state);
        self.news.tell(self);
        Reading { blob: self.clone(), epoch, id, source }
    }

    /// Where this node may fetch the blob.
    pub(crate) fn source(&self) -> Option<UpstreamSource> {
        self.state().interest.sources.in_use().cloned()
    }

    /// Has the next source used from now on, if there is one and `failed` is the one in use.
    pub(crate) fn pass_over_source(&self, failed: &UpstreamSource) {
        self.state().interest.sources.pass_over(failed);
    }

    /// Ends all present readers.
    pub(crate) fn end_readers(&self, error: &BlobError) {
        self.state().interest.end(error);
        self.news.tell(self);
    }

    /// The core has given the blob up: its readers fail, and it is not wanted any more.
    pub(crate) fn give_up(&self, failure: UpstreamFailure) {
        let mut state = self.state();
        state.interest.end(&BlobError::Unavailable(failure));
        if matches!(state.interest.told, Told::Wanted { .. }) {
            self.metrics.blobs_wanted.add(-1);
            state.interest.told = Told::Nothing;
            state.interest.told_front = None;
            state.stopwatch.pause(clock::now());
        }
    }

    /// What the core does not know yet, in the order in which it must be told.
    fn untold(&self) -> Vec<Input> {
        let mut state = self.state();
        state.interest.queued = false;
        let mut inputs = Vec::new();
        if std::mem::take(&mut state.interest.corrupt_untold) {
            inputs.push(Input::Corrupt { digest: *self.digest() });
        }
        let before = state.interest.told;
        inputs.extend(self.next_level(&mut state));
        inputs.extend(self.next_demand(&mut state));
        inputs.extend(self.next_front(&mut state));
        let after = state.interest.told;
        count_wanted(&self.metrics, before, after);
        self.time(&mut state, before, after);
        inputs
    }

    /// Times the blob while it is wanted, and tells how it went when it is complete.
    fn time(&self, state: &mut State, before: Told, after: Told) {
        let now = clock::now();
        match (before, after) {
            (Told::Nothing, Told::Wanted { .. }) => {
                let missing = self.missing_bytes(state);
                state.stopwatch.start(now, missing);
            }
            (Told::Wanted { .. }, Told::Nothing) => state.stopwatch.pause(now),
            (Told::Wanted { .. }, Told::Held) => {
                let pull = state.stopwatch.finish(now);
                pull.log(self.digest(), pull.count(&self.metrics, self.link));
            }
            _ => {}
        }
    }

    fn missing_bytes(&self, state: &State) -> u64 {
        let pieces = (0..self.geometry().pieces()).map(PieceIndex).filter(|piece| !state.have().has(*piece));
        pieces.map(|piece| self.geometry().len(piece)).sum()
    }

    fn next_level(&self, state: &mut State) -> Option<Input> {
        let (digest, size) = (*self.digest(), self.geometry().size());
        let can_lease = state.interest.sources.in_use().is_some();
        let (told, input) = match (state.phase, state.interest.told) {
            (Phase::Verified, Told::Wanted { .. }) => (Told::Held, Input::Verified { digest }),
            (Phase::Verified, Told::Nothing) => (Told::Held, Input::Hold { digest, size }),
            (Phase::Filling, Told::Nothing | Told::Wanted { can_lease: false })
                if state.interest.is_read() && state.interest.told != (Told::Wanted { can_lease }) =>
            {
                let have = state.have().clone();
                (Told::Wanted { can_lease }, Input::Want { digest, size, have, can_lease })
            }
            (Phase::Filling | Phase::Gone, Told::Wanted { .. }) if !state.interest.is_read() => {
                (Told::Nothing, Input::Unwant { digest })
            }
            (Phase::Gone, Told::Held) => (Told::Nothing, Input::Dropped { digest }),
            _ => return None,
        };
        state.interest.told = told;
        Some(input)
    }

    fn next_demand(&self, state: &mut State) -> Option<Input> {
        if !matches!(state.interest.told, Told::Wanted { .. }) {
            state.interest.told_demand.clear();
            return None;
        }
        let ahead = state.interest.demands.values().flat_map(|range| range.clone().take(DEMAND_AHEAD as usize));
        let mut pieces: Vec<_> = ahead.map(PieceIndex).filter(|piece| !state.have().has(*piece)).collect();
        pieces.sort_unstable();
        pieces.dedup();
        pieces.truncate(DEMAND_MAX);
        if pieces == state.interest.told_demand {
            return None;
        }
        state.interest.told_demand.clone_from(&pieces);
        Some(Input::Demand { digest: *self.digest(), pieces })
    }

    fn next_front(&self, state: &mut State) -> Option<Input> {
        if !matches!(state.interest.told, Told::Wanted { .. }) {
            state.interest.told_front = None;
            return None;
        }
        let piece = state.interest.front(self.told_step());
        if piece == std::mem::replace(&mut state.interest.told_front, piece) {
            return None;
        }
        Some(Input::ReadersAt { digest: *self.digest(), piece })
    }

    /// Pieces between two reports of how far the readers are, at least one.
    fn told_step(&self) -> u32 {
        u32::try_from(TOLD_STEP_BYTES / self.geometry().piece_bytes()).unwrap_or(u32::MAX).max(1)
    }
}

fn count_wanted(metrics: &Metrics, before: Told, after: Told) {
    let wanted = |told| i64::from(matches!(told, Told::Wanted { .. }));
    metrics.blobs_wanted.add(wanted(after) - wanted(before));
}

//! What a node knows about each peer whatever the blob: how busy, how fast, how reliable.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use shoal_wire::{control::Load, ids::MemberId};
use smallvec::SmallVec;

use crate::{config::SwarmConfig, pace::Pace, time::Time};

/// What is known of a peer's pace counts for so much when it delivers again.
const PACE_KEPT: f64 = 0.8;

/// Peers by id: those with which the node had to do. Forgotten when membership forgets them, so bounded by it.
///
/// Looked up for every neighbour whenever a request may be made, so ids lie together, in order.
#[derive(Debug, Default)]
pub(super) struct Peers {
    ids: Vec<MemberId>,
    /// From when on each may be asked, of the same places as the ids.
    free_at: Vec<Time>,
    /// The rest, of the same places.
    known: Vec<Peer>,
}

/// A peer that may be changed.
pub(super) struct PeerMut<'a> {
    peer: &'a mut Peer,
    free_at: &'a mut Time,
}

impl Deref for PeerMut<'_> {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        self.peer
    }
}

impl DerefMut for PeerMut<'_> {
    fn deref_mut(&mut self) -> &mut Peer {
        self.peer
    }
}

impl Drop for PeerMut<'_> {
    fn drop(&mut self) {
        *self.free_at = self.peer.free_at();
    }
}

/// One peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Pieces requested from it now.
    pub(super) in_flight: usize,
    /// What it last said of its load.
    load: Load,
    /// Refused us until this time, unless it says that a slot is free.
    busy_until: Time,
    /// Stalled or was not reached: left alone until this time.
    resting_until: Time,
    /// Sent what does not match its voucher: left alone until this time, whatever it says.
    distrusted_until: Time,
    rests: u32,
    /// When it last was not reached or did not deliver, if nothing has come from it since.
    failed_at: Option<Time>,
    /// Transfers in a row that stalled. Its word that it is there proves nothing after more than one.
    stalls: u32,
    /// How fast it delivers.
    pace: Pace,
}

impl Peers {
    pub(super) fn get_mut(&mut self, id: MemberId) -> PeerMut<'_> {
        let place = self.place(id);
        PeerMut { peer: &mut self.known[place], free_at: &mut self.free_at[place] }
    }

    /// What it says of its load, which has nothing to do with when it may be asked. Of one that is not known it does not
    /// matter.
    pub(super) fn note_load(&mut self, id: MemberId, load: Load) {
        if let Ok(place) = self.ids.binary_search(&id) {
            self.known[place].note_load(load);
        }
    }

    fn place(&mut self, id: MemberId) -> usize {
        self.ids.binary_search(&id).unwrap_or_else(|place| {
            self.ids.insert(place, id);
            self.free_at.insert(place, Time::ZERO);
            self.known.insert(place, Peer::default());
            place
        })
    }

    /// It is back. Of one that is not known there is nothing to note: the whole cluster comes by here.
    pub(super) fn note_new_life(&mut self, id: MemberId, now: Time) {
        if self.ids.binary_search(&id).is_ok() {
            self.get_mut(id).note_new_life(now);
        }
    }

    /// Bytes of a piece came from it.
    pub(super) fn note_progress(&mut self, id: MemberId) {
        if let Ok(place) = self.ids.binary_search(&id) {
            self.known[place].note_progress();
        }
    }

    pub(super) fn get(&self, id: MemberId) -> Option<&Peer> {
        self.ids.binary_search(&id).ok().map(|place| &self.known[place])
    }

    /// A peer, and from when on it may be asked; at once where it is not known.
    pub(super) fn look_at(&self, id: MemberId) -> (Time, Option<&Peer>) {
        match self.ids.binary_search(&id) {
            Ok(place) => (self.free_at[place], Some(&self.known[place])),
            Err(_) => (Time::ZERO, None),
        }
    }

    pub(super) fn remove(&mut self, id: MemberId) {
        if let Ok(place) = self.ids.binary_search(&id) {
            self.ids.remove(place);
            self.free_at.remove(place);
            self.known.remove(place);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Median rate of the peers that have been measured, in bytes per second.
    pub(super) fn typical_rate(&self) -> Option<f64> {
        let mut rates: SmallVec<[f64; 64]> = self.known.iter().filter_map(|peer| peer.pace.rate()).collect();
        let middle = rates.len() / 2;
        if rates.is_empty() {
            return None;
        }
        Some(*rates.select_nth_unstable_by(middle, f64::total_cmp).1)
    }

    /// When the next peer that is left alone may be asked again.
    pub(super) fn next_return(&self, now: Time) -> Option<Time> {
        self.free_at.iter().copied().filter(|&until| until > now).min()
    }

    /// Whether nothing has come from `id` since it was not reached or did not deliver: within the last `period`, while it is
    /// left alone or tried again, and from then on where it stalled again.
    pub(super) fn fails(&self, now: Time, id: MemberId, period: Duration) -> bool {
        let Some(peer) = self.get(id) else { return false };
        let is_tried = peer.is_resting(now) || peer.in_flight > 0 || peer.stalls > 1;
        peer.distrusted_until > now || peer.failed_at.is_some_and(|at| is_tried || now.since(at) < period)
    }
}

impl Peer {
    /// From when on it may be asked for a piece.
    fn free_at(&self) -> Time {
        self.busy_until.max(self.resting_until).max(self.distrusted_until)
    }

    /// Whether it stalled or was not reached a moment ago.
    pub(super) fn is_resting(&self, now: Time) -> bool {
        self.resting_until.max(self.distrusted_until) > now
    }

    /// Order of preference: not slow, then few requests of ours, then little load. Slow means under a quarter of `typical`.
    pub(super) fn burden(&self, typical: Option<f64>) -> (bool, usize, u16) {
        let is_slow = matches!((self.pace.rate(), typical), (Some(rate), Some(typical)) if rate * 4.0 < typical);
        (is_slow, self.in_flight, u16::from(self.load.active) + u16::from(self.load.queued))
    }

    pub(super) fn note_load(&mut self, load: Load) {
        self.load = load;
    }

    pub(super) fn note_busy(&mut self, until: Time, load: Load) {
        self.load = load;
        self.busy_until = until;
    }

    pub(super) fn note_free(&mut self, now: Time, load: Load) {
        self.load = load;
        self.busy_until = now;
    }

    /// It delivered: a sample of its rate, and trust again.
    pub(super) fn note_delivery(&mut self, bytes: u64, elapsed: Duration) {
        self.pace.note(bytes, elapsed, PACE_KEPT);
        self.rests = 0;
        self.stalls = 0;
        self.failed_at = None;
    }

    /// Bytes came, so that it delivers, unless they turn out wrong once more.
    fn note_progress(&mut self) {
        if self.distrusted_until == Time::ZERO {
            self.failed_at = None;
        }
    }

    /// It was overtaken by another peer: at best this fast.
    pub(super) fn note_overtaken(&mut self, bytes: u64, elapsed: Duration) {
        self.pace.note(bytes / 2, elapsed, PACE_KEPT);
    }

    /// It failed: it rests, longer each time. What fails while it rests, of several requests at once, is one failure.
    pub(super) fn rest(&mut self, now: Time, config: &SwarmConfig) {
        self.failed_at = Some(now);
        if self.resting_until > now {
            return;
        }
        let rest = config.rest_min.saturating_mul(1 << self.rests.min(8)).min(config.rest_max);
        self.rests += 1;
        self.resting_until = now + rest;
    }

    /// It sent nothing of a piece for too long: it rests.
    pub(super) fn stall(&mut self, now: Time, config: &SwarmConfig) {
        self.stalls += u32::from(self.resting_until <= now);
        self.rest(now, config);
    }

    /// It sent what does not match its voucher, so its disk or memory turns bits: it rests, and no word of it ends that.
    pub(super) fn distrust(&mut self, now: Time, config: &SwarmConfig) {
        self.rest(now, config);
        self.distrusted_until = self.resting_until;
    }

    /// A message came from it. One that stalled may only have been cut off for a moment; one that stalls again, and goes on to
    /// say that it is there, does not deliver.
    pub(super) fn note_word(&mut self, now: Time) {
        if self.stalls == 0 {
            self.failed_at = None;
        }
        if self.stalls <= 1 {
            self.resting_until = self.resting_until.min(now);
        }
    }

    /// It is back, as somebody who has not been asked yet.
    fn note_new_life(&mut self, now: Time) {
        self.stalls = 0;
        self.note_word(now);
    }
}

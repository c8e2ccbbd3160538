//! Pieces on their way from peers, and which of them take too long.

use std::{collections::VecDeque, time::Duration};

use shoal_wire::{
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::MemberId,
};
use smallvec::SmallVec;

use crate::{
    config::{STRETCH_MAX, SwarmConfig},
    event::TransferId,
    pace::Pace,
    time::Time,
};

/// How many times as many pieces the configured numbers stand for already: on links of 50 Mbit/s the way is a fifth of what a piece takes.
const STRETCH_USUAL: f64 = 1.25;

/// What is known of the pace counts for so much when another piece comes.
const PACE_KEPT: f64 = 0.9;

/// The next piece is asked for so many ways there and back before the last should be here.
const FOLLOW_WAYS: f64 = 2.0;

/// The way there and back, as a share of what a piece takes, where none has been measured: peers that refuse nothing.
const WAY_UNKNOWN: f64 = 0.25;

/// Pieces whose arrivals are remembered: so many say how fast they come.
const ARRIVALS_KEPT: usize = 8;

/// One request for one piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) digest: Digest,
    pub(super) piece: PieceIndex,
    pub(super) from: MemberId,
    pub(super) bytes: u64,
    pub(super) started_at: Time,
    pub(super) progressed_at: Time,
    /// Whether it waits at its peer for another piece to be sent: it has not begun to take time, nor a place among the
    /// requests.
    pub(super) follows: bool,
}

/// All requests under way, at most a few, and what the last ones took.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// In the order in which they began, which is that of their numbers.
    open: Vec<(TransferId, Transfer)>,
    /// Those that follow others.
    following: usize,
    last: u64,
    /// How fast the last ones came.
    pace: Pace,
    /// Seconds until a refusal is here, averaged over the last ones: the way there and back, with the queues on it.
    reaction: Option<f64>,
    /// How long before a piece should be here the next one is asked for, once that has been measured.
    lead: Option<Duration>,
    /// See [`Transfers::stretch`].
    stretch: f64,
    /// When the last pieces came, from wherever, the oldest first.
    arrivals: VecDeque<Time>,
}

impl Transfers {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Requests that take a place: all that do not follow others.
    pub(super) fn leading(&self) -> usize {
        self.open.len() - self.following
    }

    /// One of `from` is over: what followed it is sent from now on.
    pub(super) fn let_follow(&mut self, from: MemberId, now: Time) {
        let of_peer = |transfer: &Transfer| transfer.from == from;
        if self.iter().any(|(_, transfer)| of_peer(transfer) && !transfer.follows) {
            return;
        }
        if let Some((_, next)) = self.open.iter_mut().find(|(_, transfer)| of_peer(transfer)) {
            *next = Transfer { follows: false, started_at: now, progressed_at: now, ..*next };
            self.following -= 1;
        }
    }

    /// When the next piece may be asked for behind this one, so that its bytes come right after it.
    pub(super) fn followed_at(&self, transfer: &Transfer) -> Option<Time> {
        let expected = self.expected(transfer.bytes).filter(|_| !transfer.follows)?;
        let lead = self.lead.unwrap_or_else(|| expected.mul_f64(WAY_UNKNOWN * FOLLOW_WAYS));
        Some(transfer.started_at + expected.saturating_sub(lead))
    }

    pub(super) fn start(&mut self, transfer: Transfer) -> TransferId {
        self.last += 1;
        let id = TransferId(self.last);
        self.following += usize::from(transfer.follows);
        self.open.push((id, transfer));
        id
    }

    pub(super) fn get_mut(&mut self, id: TransferId) -> Option<&mut Transfer> {
        self.open.iter_mut().find(|(open, _)| *open == id).map(|(_, transfer)| transfer)
    }

    pub(super) fn remove(&mut self, id: TransferId) -> Option<Transfer> {
        let place = self.open.iter().position(|(open, _)| *open == id)?;
        let (_, transfer) = self.open.remove(place);
        self.following -= usize::from(transfer.follows);
        Some(transfer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TransferId, &Transfer)> {
        self.open.iter().map(|(id, transfer)| (*id, transfer))
    }

    /// The transfers for one piece.
    pub(super) fn of_piece(&self, digest: &Digest, piece: PieceIndex) -> SmallVec<[TransferId; 8]> {
        self.matching(|transfer| transfer.piece == piece && transfer.digest == *digest)
    }

    pub(super) fn matching(&self, matches: impl Fn(&Transfer) -> bool) -> SmallVec<[TransferId; 8]> {
        self.iter().filter(|(_, transfer)| matches(transfer)).map(|(id, _)| id).collect()
    }

    /// Takes what a finished transfer took into the average.
    pub(super) fn measure(&mut self, bytes: u64, elapsed: Duration) {
        self.pace.note(bytes, elapsed, PACE_KEPT);
        self.set_stretch();
    }

    /// A piece came, from a peer or from the upstream.
    pub(super) fn note_arrival(&mut self, now: Time) {
        if self.arrivals.len() == ARRIVALS_KEPT {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
    }

    /// Requests of which all should be here within `time`, as pieces have come of late; without a limit until that is known.
    pub(super) fn requests_within(&self, time: Duration) -> usize {
        let (Some(&first), Some(&last)) = (self.arrivals.front(), self.arrivals.back()) else { return usize::MAX };
        if self.arrivals.len() < ARRIVALS_KEPT {
            return usize::MAX;
        }
        let (came, took) = (self.arrivals.len() as u128 - 1, last.since(first).as_micros().max(1));
        usize::try_from(time.as_micros() * came / took).unwrap_or(usize::MAX)
    }

    /// Takes into account how long a refusal took to come.
    pub(super) fn note_refusal(&mut self, elapsed: Duration) {
        let sample = elapsed.as_secs_f64();
        let reaction = self.reaction.map_or(sample, |mean| 0.9 * mean + 0.1 * sample);
        self.reaction = Some(reaction);
        self.lead = Some(Duration::from_secs_f64(reaction * FOLLOW_WAYS));
        self.set_stretch();
    }

    fn set_stretch(&mut self) {
        let (Some(reaction), Some(whole)) = (self.reaction, self.pace.mean_time()) else { return };
        let service = (whole.as_secs_f64() - reaction).max(reaction / (STRETCH_MAX - 1) as f64).max(0.000_1);
        self.stretch = 1.0 + reaction / service;
    }

    /// Requests at once where `count` are meant to be served at once: those that are on their way to a peer, or refused,
    /// come on top (Little 1961). 1 to [`STRETCH_MAX`] times `count`.
    pub(super) fn requests_for(&self, count: usize) -> usize {
        // From the usual part of the way on, and all of it from a third on.
        scaled(count, self.stretch.min(1.0 + 2.0 * (self.stretch - STRETCH_USUAL)))
    }

    /// Uploads at once where `count` usually are: more where the next request is long on its way. 1 to [`STRETCH_MAX`]
    /// times `count`.
    pub(super) fn uploads_for(&self, count: usize) -> usize {
        scaled(count, self.stretch / STRETCH_USUAL)
    }

    /// What a piece of `bytes` should take, where pieces of about that size have come.
    pub(super) fn expected(&self, bytes: u64) -> Option<Duration> {
        self.pace.time_of(bytes)
    }

    /// Time that a gateway of the zone has to bring in a piece of a blob.
    pub(super) fn gateway_patience(&self, geometry: Geometry, config: &SwarmConfig) -> Duration {
        config.gateway_patience(self.expected(geometry.piece_bytes()).unwrap_or_default())
    }

    /// Whether the piece of this transfer is asked for elsewhere as well.
    pub(super) fn is_repeated(&self, transfer: &Transfer) -> bool {
        let same = |other: &Transfer| other.piece == transfer.piece && other.digest == transfer.digest;
        self.open.iter().filter(|(_, other)| same(other)).nth(1).is_some()
    }

    /// When a transfer has stalled unless a byte arrives; one that follows another cannot.
    pub(super) fn stalls_at(&self, transfer: &Transfer, config: &SwarmConfig) -> Option<Time> {
        let patience =
            self.expected(transfer.bytes).map_or(config.stall_unknown, |expected| (expected * 4).max(config.stall_min));
        (!transfer.follows).then_some(transfer.progressed_at + patience)
    }

    /// When a transfer is old enough to be repeated elsewhere, by `factor` of what it should take.
    pub(super) fn hedges_at(&self, transfer: &Transfer, factor: u32, config: &SwarmConfig) -> Option<Time> {
        let expected = self.expected(transfer.bytes)?;
        Some(transfer.started_at + (expected * factor).max(config.hedge_min))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Neither is negative, and both are small.
fn scaled(count: usize, factor: f64) -> usize {
    (count as f64 * factor.clamp(1.0, STRETCH_MAX as f64)).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 1 << 20;

    /// After many pieces that took `whole` and refusals that took `reaction`, in milliseconds.
    fn after(whole: u64, reaction: u64) -> Transfers {
        let mut transfers = Transfers::default();
        for _ in 0..100 {
            transfers.measure(PIECE, Duration::from_millis(whole));
            transfers.note_refusal(Duration::from_millis(reaction));
        }
        transfers
    }

    #[test]
    fn a_long_way_takes_more_requests_and_a_short_one_none() {
        assert_eq!(Transfers::default().requests_for(6), 6, "nothing is known");
        assert_eq!(after(400, 1).requests_for(6), 6);
        assert_eq!(after(400, 200).requests_for(6), 12, "half of the time is the way");
        assert_eq!(after(400, 399).requests_for(6), 18);
        assert_eq!(after(400, 4000).requests_for(6), 18, "bounded");
    }

    #[test]
    fn requests_for_a_time_follow_the_last_arrivals() {
        let mut transfers = Transfers::default();
        let second = Duration::from_secs(1);
        let arrive = |transfers: &mut Transfers, from: Duration, every: Duration, pieces: u32| {
            (0..pieces).for_each(|piece| transfers.note_arrival(Time::ZERO + from + every * piece));
        };
        arrive(&mut transfers, Duration::ZERO, second, 7);
        assert_eq!(transfers.requests_within(second), usize::MAX, "too few to tell");
        arrive(&mut transfers, second * 7, second, 1);
        assert_eq!((transfers.requests_within(second * 2), transfers.requests_within(second / 2)), (2, 0));
        arrive(&mut transfers, second * 10, second / 10, 8);
        assert_eq!(transfers.requests_within(second * 2), 20, "those before are forgotten");
        arrive(&mut transfers, second * 20, Duration::ZERO, 1000);
        assert!(transfers.requests_within(second) > 1_000_000, "all at once");
        assert_eq!(transfers.arrivals.len(), ARRIVALS_KEPT);
    }

    #[test]
    fn a_short_last_piece_that_comes_first_lets_no_other_hang() {
        let mut transfers = Transfers::default();
        transfers.measure(376, Duration::from_millis(75));
        let transfer = Transfer {
            digest: Digest::Sha256([7; 32]),
            piece: PieceIndex(0),
            from: MemberId([1; 16]),
            bytes: PIECE,
            started_at: Time::ZERO,
            progressed_at: Time::ZERO,
            follows: false,
        };
        let config = SwarmConfig::default();
        assert_eq!(transfers.stalls_at(&transfer, &config), Some(Time::ZERO + config.stall_unknown));
        transfers.measure(PIECE, Duration::from_millis(100));
        assert_eq!(transfers.stalls_at(&transfer, &config), Some(Time::ZERO + config.stall_min));
    }

    #[test]
    fn uploads_grow_less_than_requests_and_never_shrink() {
        assert_eq!(after(400, 60).uploads_for(5), 5);
        assert_eq!(after(400, 200).uploads_for(5), 8);
        assert_eq!(after(400, 4000).uploads_for(5), 12, "bounded");
    }
}

//! Which pieces this node brings into its zone from other zones.
//!
//! Gateways take turns: piece `p` belongs to gateway `p mod gateways`, and the following ones take over, one after the
//! other, where it does nothing. Exclusivity saves the uplink and nothing relies on it: in the end anybody may fetch.

use std::time::Duration;

use shoal_wire::{geometry::PieceIndex, ids::MemberId};

use crate::time::Time;

/// Takeovers after which anybody may fetch a piece.
const TURNS_MAX: u32 = 3;

/// How much longer a gateway is waited for that is at work, as its news about other pieces show.
const AT_WORK_FACTOR: u32 = 8;

/// The gateways of this node's zone for one blob.
#[derive(Debug, Default)]
pub(super) struct Crossing {
    gateways: Vec<MemberId>,
    /// Which of them this node is.
    position: Option<usize>,
    /// When each piece was first seen in another zone.
    seen_at: Vec<Time>,
}

impl Crossing {
    /// The home names the gateways; none where anybody may ask anywhere.
    pub(super) fn set_gateways(&mut self, gateways: Vec<MemberId>, own: MemberId) {
        self.position = gateways.iter().position(|&gateway| gateway == own);
        self.gateways = gateways;
    }

    /// Whether pieces that are not in the zone are left to gateways.
    pub(super) fn is_exclusive(&self) -> bool {
        !self.gateways.is_empty()
    }

    /// A neighbour in another zone has a piece.
    pub(super) fn note_far(&mut self, now: Time, piece: PieceIndex) {
        let index = piece.0 as usize;
        if self.seen_at.len() <= index {
            self.seen_at.resize(index + 1, Time::MAX);
        }
        self.seen_at[index] = self.seen_at[index].min(now);
    }

    /// Whether this node may fetch a piece that nobody in its zone has. `patience` is the time that a gateway has for a
    /// piece, and `is_at_work` says whether a gateway got other pieces within it.
    pub(super) fn may_fetch(
        &self,
        now: Time,
        piece: PieceIndex,
        patience: Duration,
        is_at_work: impl Fn(MemberId) -> bool,
    ) -> bool {
        let count = self.gateways.len();
        if count == 0 {
            return true;
        }
        let first = piece.0 as usize % count;
        let turn = self.position.map_or(count, |position| (position + count - first) % count);
        if turn == 0 {
            return true;
        }
        let Some(&seen_at) = self.seen_at.get(piece.0 as usize) else { return false };
        let turns = u32::try_from(turn).unwrap_or(TURNS_MAX).min(TURNS_MAX);
        let before = (0..turn.min(TURNS_MAX as usize)).map(|turn| self.gateways[(first + turn) % count]);
        let factor = if before.into_iter().any(is_at_work) { AT_WORK_FACTOR } else { 1 };
        now.since(seen_at) >= patience * turns * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn member(index: u8) -> MemberId {
        MemberId([index; 16])
    }

    /// The view of gateway `own` of four; all pieces were seen at time 0.
    fn view(own: u8) -> Crossing {
        let mut crossing = Crossing::default();
        crossing.set_gateways((0..4).map(member).collect(), member(own));
        (0..8).for_each(|piece| crossing.note_far(Time::ZERO, PieceIndex(piece)));
        crossing
    }

    fn fetchers(at: Time, piece: u32, at_work: bool) -> Vec<u8> {
        let may = |&own: &u8| view(own).may_fetch(at, PieceIndex(piece), PATIENCE, |_| at_work);
        (0..5).filter(may).collect()
    }

    #[test]
    fn each_piece_has_one_gateway_and_others_take_over_in_turn() {
        let after = |seconds| Time::ZERO + PATIENCE * seconds;
        for piece in 0..8u8 {
            assert_eq!(fetchers(after(0), piece.into(), false), [piece % 4]);
        }
        assert_eq!(fetchers(after(1), 5, false), [1, 2]);
        assert_eq!(fetchers(after(2), 5, false), [1, 2, 3]);
        assert_eq!(fetchers(after(3), 5, false), [0, 1, 2, 3, 4], "in the end anybody");
    }

    #[test]
    fn a_gateway_at_work_is_waited_for_longer_and_not_for_ever() {
        let after = |seconds| Time::ZERO + PATIENCE * seconds;
        assert_eq!(fetchers(after(3), 5, true), [1]);
        assert_eq!(fetchers(after(8), 5, true), [1, 2]);
        assert_eq!(fetchers(after(24), 5, true), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_piece_that_no_other_zone_showed_is_waited_for() {
        let mut crossing = view(1);
        crossing.note_far(Time::ZERO, PieceIndex(20));
        assert!(!crossing.may_fetch(Time::ZERO + PATIENCE * 100, PieceIndex(14), PATIENCE, |_| false));
    }
}

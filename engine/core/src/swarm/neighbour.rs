//! What a node knows of another that is in a blob's swarm.

use std::time::Duration;

use shoal_wire::piece_map::PieceMap;

use crate::{progress::Progress, time::Time};

/// Time that a node must have been seen before its progress means anything.
pub(super) const PROGRESS_SEEN_MIN: Duration = Duration::from_secs(3);

/// Another node in the blob's swarm.
#[derive(Debug)]
pub(super) struct Neighbour {
    /// What it has, as far as it matters here: of pieces that this node has as well it says nothing.
    pub(super) have: PieceMap,
    /// Pieces that it said it has in all.
    pub(super) held: u32,
    pub(super) wants: bool,
    /// Whether it is in this node's zone.
    pub(super) is_near: bool,
    /// When it last said what it has.
    pub(super) heard_at: Time,
    /// When this node last told it of new pieces.
    pub(super) told_at: Time,
    /// When this node sent it its whole map last.
    pub(super) greeted_at: Option<Time>,
    /// Greetings in a row without an answer.
    pub(super) unanswered: u32,
    /// What it gets since it was heard of first.
    progress: Option<Progress>,
}

impl Neighbour {
    /// One that is greeted, and has not said what it has.
    pub(super) fn new(pieces: u32, is_near: bool) -> Self {
        Self {
            have: PieceMap::empty(pieces),
            held: 0,
            wants: true,
            is_near,
            heard_at: Time::ZERO,
            told_at: Time::ZERO,
            greeted_at: None,
            unanswered: 0,
            progress: None,
        }
    }

    /// One that said what it has; `before` is what was known of it.
    pub(super) fn heard(now: Time, have: PieceMap, wants: bool, is_near: bool, before: Option<&Self>) -> Self {
        let held = have.count();
        let progress = before.and_then(|before| before.progress).or_else(|| Some(Progress::new(now, held)));
        let greeted_at = before.and_then(|before| before.greeted_at);
        Self { have, held, wants, heard_at: now, greeted_at, progress, ..Self::new(0, is_near) }
    }

    /// Pieces that it had when this node heard of it first.
    pub(super) fn had_first(&self) -> u32 {
        self.progress.map_or(0, |progress| progress.at_first())
    }

    /// Pieces that it gets in a second, where it wants any and is known for long enough.
    pub(super) fn rate(&self, now: Time) -> Option<f64> {
        self.progress.filter(|_| self.wants)?.rate(now, self.held, PROGRESS_SEEN_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_what_came_since_the_first_word() {
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let half: PieceMap = (0..50).fold(PieceMap::empty(100), |mut have, piece| {
            have.insert(shoal_wire::geometry::PieceIndex(piece));
            have
        });
        let greeted = Neighbour::new(100, true);
        assert_eq!(greeted.rate(at(10)), None, "it said nothing");
        let mut neighbour = Neighbour::heard(at(10), half.clone(), true, true, Some(&greeted));
        neighbour.held += 8;
        assert_eq!((neighbour.rate(at(12)), neighbour.rate(at(14))), (None, Some(2.0)));
        let again = Neighbour::heard(at(18), half, true, true, Some(&neighbour));
        assert_eq!(again.rate(at(18)), Some(0.0), "counted since the first word, not the last");
        neighbour.wants = false;
        assert_eq!(neighbour.rate(at(14)), None, "it has all");
    }
}

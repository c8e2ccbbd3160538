//! Lifeguard's local health multiplier: a node that finds itself slow gives the others more time.

use std::time::Duration;

/// How unwell this node is, from 0 (well) to one below a maximum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awareness {
    score: u32,
    max: u32,
}

impl Awareness {
    /// In good health. Scores stay below `max`, which counts as at least 1.
    pub(super) fn new(max: u32) -> Self {
        Self { score: 0, max: max.max(1) }
    }

    /// Takes evidence of worse (positive) or better (negative) health.
    pub(super) fn apply(&mut self, delta: i32) {
        self.score = self.score.saturating_add_signed(delta).min(self.max - 1);
    }

    /// The score.
    pub(super) fn score(self) -> u32 {
        self.score
    }

    /// `duration` as this node should use it in its present health.
    pub(super) fn scale(self, duration: Duration) -> Duration {
        duration * (self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// memberlist's published vector (`TestAwareness`).
    #[test]
    fn scores_follow_the_published_sequence() {
        let mut awareness = Awareness::new(8);
        let steps = [
            (0, 0),
            (-1, 0),
            (-10, 0),
            (1, 1),
            (-1, 0),
            (10, 7),
            (-1, 6),
            (-1, 5),
            (-1, 4),
            (-1, 3),
            (-1, 2),
            (-1, 1),
            (-1, 0),
            (-1, 0),
        ];
        for (delta, score) in steps {
            awareness.apply(delta);
            assert_eq!(awareness.score(), score);
            assert_eq!(awareness.scale(Duration::from_secs(1)), Duration::from_secs(u64::from(score) + 1));
        }
    }

    #[test]
    fn a_maximum_of_zero_is_a_maximum_of_one() {
        let mut awareness = Awareness::new(0);
        awareness.apply(5);
        assert_eq!(awareness.score(), 0);
    }
}

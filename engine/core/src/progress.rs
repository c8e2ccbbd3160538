//! How fast a member gets the pieces of a blob, from wherever.

use std::time::Duration;

use crate::time::Time;

/// Since when a member's pieces of a blob are counted, and how many it had then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    since: Time,
    from: u32,
}

impl Progress {
    /// Counts from now on what comes beyond `held` pieces.
    pub(crate) fn new(now: Time, held: u32) -> Self {
        Self { since: now, from: held }
    }

    /// Pieces that it gets in a second, now that it has `held`, once it has been seen for at least `seen_min`.
    pub(crate) fn rate(&self, now: Time, held: u32, seen_min: Duration) -> Option<f64> {
        let seen = now.since(self.since);
        (seen >= seen_min).then(|| f64::from(held.saturating_sub(self.from)) / seen.as_secs_f64())
    }

    /// Pieces that it had at first.
    pub(crate) fn at_first(&self) -> u32 {
        self.from
    }

    /// Pieces that have come since it is counted, now that it has `held`.
    pub(crate) fn gained(&self, held: u32) -> u32 {
        held.saturating_sub(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_counts_and_not_what_was_there() {
        let progress = Progress::new(Time::ZERO, 100);
        let after = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert_eq!(progress.rate(after(10), 120, Duration::ZERO), Some(2.0));
        assert_eq!(progress.rate(after(10), 90, Duration::ZERO), Some(0.0), "it lost some");
        assert_eq!((progress.gained(120), progress.gained(90)), (20, 0));
    }

    #[test]
    fn a_moment_says_nothing() {
        let second = Duration::from_secs(1);
        let rate = |seen_min| Progress::new(Time::ZERO, 0).rate(Time::ZERO + second, 50, seen_min);
        assert_eq!((rate(second * 2), rate(second)), (None, Some(50.0)));
    }
}

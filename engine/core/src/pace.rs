//! How fast bytes come, averaged over the last transfers.

use std::time::Duration;

/// Longest time that is expected of any transfer.
const LONGEST: Duration = Duration::from_secs(600);

/// How many times as much as it is known from an expected transfer may have at most.
const REACH: f64 = 4.0;

/// A moving average of transfers, each weighed by its bytes.
///
/// A blob's last piece may have a few bytes, and a layer a few hundred. The way there and back is nearly all of the time that
/// they take, so the mean of their rates says nothing of what a whole piece takes; bytes over seconds of all together does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    bytes: f64,
    seconds: f64,
    transfers: f64,
}

impl Pace {
    /// Takes in a transfer; what was known before keeps the weight `keep`, 0.0 to 1.0.
    pub(crate) fn note(&mut self, bytes: u64, elapsed: Duration, keep: f64) {
        self.transfers = self.transfers * keep + 1.0;
        self.bytes = self.bytes * keep + bytes as f64;
        self.seconds = self.seconds * keep + elapsed.as_secs_f64().max(0.000_1);
    }

    /// Bytes per second, once there was a transfer.
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.bytes / self.seconds)
    }

    /// What a transfer took, once there was one.
    pub(crate) fn mean_time(&self) -> Option<Duration> {
        (self.transfers > 0.0).then(|| Duration::from_secs_f64(self.seconds / self.transfers))
    }

    /// What a transfer of `bytes` should take. Nothing is known of one many times as large as those that have been.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Not negative, and at most `LONGEST`.
    pub(crate) fn time_of(&self, bytes: u64) -> Option<Duration> {
        let is_known = self.bytes > 0.0 && self.bytes * REACH >= bytes as f64;
        is_known.then(|| {
            let seconds = (self.seconds / self.bytes * bytes as f64).min(LONGEST.as_secs_f64());
            // Asked of every request with nearly every input: the conversion that checks its argument is too dear.
            Duration::from_nanos((seconds * 1e9) as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 1 << 20;

    fn after(transfers: &[(u64, u64)]) -> Pace {
        let mut pace = Pace::default();
        for &(bytes, millis) in transfers {
            pace.note(bytes, Duration::from_millis(millis), 0.9);
        }
        pace
    }

    #[test]
    fn equal_transfers_take_what_they_took() {
        let pace = after(&[(PIECE, 200); 5]);
        assert_eq!(pace.time_of(PIECE).map(|time| time.as_millis()), Some(200));
        assert_eq!(pace.time_of(PIECE / 2).map(|time| time.as_millis()), Some(100));
        assert_eq!(pace.rate().map(f64::round), Some(PIECE as f64 * 5.0));
        assert_eq!(pace.mean_time().map(|time| time.as_millis()), Some(200));
    }

    #[test]
    fn what_has_a_few_bytes_says_nothing_of_what_has_many() {
        assert_eq!(after(&[]).time_of(PIECE), None);
        assert_eq!(after(&[(376, 75)]).time_of(PIECE), None, "by its rate it would be minutes");
        let time = after(&[(376, 75), (PIECE, 200)]).time_of(PIECE);
        assert!(time.is_some_and(|time| time < Duration::from_millis(300)), "{time:?}");
        let time = after(&[(PIECE, 200), (376, 75)]).time_of(PIECE);
        assert!(time.is_some_and(|time| time < Duration::from_millis(300)), "{time:?}");
    }

    #[test]
    fn newer_transfers_count_for_more() {
        let mut pace = after(&[(PIECE, 200)]);
        for _ in 0..30 {
            pace.note(PIECE, Duration::from_millis(400), 0.9);
        }
        let time = pace.time_of(PIECE).expect("pieces as large have come");
        assert!(time > Duration::from_millis(390) && time < Duration::from_millis(400), "{time:?}");
    }

    #[test]
    fn no_transfer_is_expected_to_take_for_ever() {
        assert_eq!(after(&[(1, 3_600_000)]).time_of(4), Some(LONGEST));
    }
}

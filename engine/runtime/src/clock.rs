//! The operating system's clocks. No other file of the engine reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shoal_core::time::Time;
use tokio::time::Instant;

/// Maps the monotonic clock to the core's [`Time`], whose origin is the moment of its construction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that reads [`Time::ZERO`] now.
    pub(crate) fn start() -> Self {
        Self { origin: now() }
    }

    /// The core's time now.
    pub(crate) fn now(&self) -> Time {
        let micros = now().duration_since(self.origin).as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// When the core's `time` comes on the monotonic clock. Times past the next year are brought forward to it.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.origin + time.since(Time::ZERO).min(now().duration_since(self.origin) + YEAR)
    }
}

/// The monotonic clock; follows tokio's clock where a test has paused it.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970. Zero where the system's clock is set before that.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Lets a repeated message through at most once in a while, so that hostile traffic cannot fill the log.
#[derive(Debug)]
pub(crate) struct Throttle {
    last: std::sync::Mutex<Option<Instant>>,
    every: Duration,
}

impl Throttle {
    /// Lets one message through in `every`.
    pub(crate) fn new(every: Duration) -> Self {
        Self { last: std::sync::Mutex::new(None), every }
    }

    /// Whether a message may be logged now.
    pub(crate) fn ready(&self) -> bool {
        let mut last = crate::lock(&self.last);
        let now = now();
        let ready = last.is_none_or(|last| now.duration_since(last) >= self.every);
        if ready {
            *last = Some(now);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn core_time_and_instants_agree() {
        let clock = Clock::start();
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now(), Time::from_micros(1_500_000));
        assert_eq!(clock.instant(Time::from_micros(2_000_000)), now() + Duration::from_millis(500));
        assert!(clock.instant(Time::MAX) > now(), "a time that never comes is still a point on the clock");
    }

    #[tokio::test(start_paused = true)]
    async fn throttle_lets_one_message_through_in_each_interval() {
        let throttle = Throttle::new(Duration::from_secs(5));
        assert!(throttle.ready());
        assert!(!throttle.ready());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(throttle.ready());
    }
}

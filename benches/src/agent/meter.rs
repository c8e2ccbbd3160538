//! How far a pull is. One thread reads and counts, so plain cells do.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use super::protocol::Pulled;

/// Counts the bytes of one pull and watches the time between them.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    bytes: Cell<u64>,
    first: Cell<Option<Instant>>,
    last: Cell<Option<Instant>>,
    stall: Cell<Duration>,
}

impl Meter {
    /// The pull begins now.
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
            bytes: Cell::new(0),
            first: Cell::new(None),
            last: Cell::new(None),
            stall: Cell::new(Duration::ZERO),
        }
    }

    /// So many bytes of a blob came now.
    pub(super) fn count(&self, bytes: u64) {
        self.count_at(bytes, Instant::now());
    }

    fn count_at(&self, bytes: u64, now: Instant) {
        if bytes == 0 {
            return;
        }
        self.bytes.set(self.bytes.get() + bytes);
        if self.first.get().is_none() {
            self.first.set(Some(now));
        }
        if let Some(last) = self.last.replace(Some(now)) {
            self.stall.set(self.stall.get().max(now.duration_since(last)));
        }
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// The pull ends now.
    pub(super) fn end(&self, error: Option<String>) -> Pulled {
        Pulled {
            bytes: self.bytes.get(),
            first_byte_s: self.first.get().map(|first| first.duration_since(self.start).as_secs_f64()),
            end_s: self.start.elapsed().as_secs_f64(),
            stall_max_s: self.stall.get().as_secs_f64(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_between_two_bytes_is_kept() {
        let meter = Meter::start();
        let at = |milliseconds| meter.start + Duration::from_millis(milliseconds);
        meter.count_at(0, at(5));
        meter.count_at(10, at(1000));
        meter.count_at(10, at(1100));
        meter.count_at(10, at(1900));
        meter.count_at(10, at(2000));
        let pulled = meter.end(None);
        assert_eq!((pulled.bytes, pulled.first_byte_s, pulled.stall_max_s), (40, Some(1.0), 0.8));
    }

    #[test]
    fn without_a_byte_there_is_no_first_one() {
        let pulled = Meter::start().end(Some("refused".into()));
        assert_eq!((pulled.bytes, pulled.first_byte_s, pulled.stall_max_s), (0, None, 0.0));
    }
}

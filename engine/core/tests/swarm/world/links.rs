//! A link with a rate, which serves what is sent over it in order.

use std::time::Duration;

use shoal_core::time::Time;

#[derive(Debug)]
pub(crate) struct Link {
    bytes_per_s: f64,
    free_at: Time,
}

impl Link {
    pub(crate) fn new(bytes_per_s: f64) -> Self {
        Self { bytes_per_s, free_at: Time::ZERO }
    }

    /// Sends `bytes` at `now` or when the link is free; returns when the last of them is through.
    pub(crate) fn serve(&mut self, now: Time, bytes: f64) -> Time {
        self.free_at = self.free_at.max(now) + Duration::from_secs_f64(bytes / self.bytes_per_s);
        self.free_at
    }
}

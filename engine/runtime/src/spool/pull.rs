//! How long a blob takes while it is wanted, beside the least time that the links allow.

use std::{num::NonZeroU64, time::Duration};

use shoal_core::bound::Distribution;
use shoal_wire::digest::Digest;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// Times one blob from the moment it is wanted until it is verified. Time in which nobody wants it does not count.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    /// Bytes that were missing when it was wanted first.
    bytes: u64,
    before: Duration,
    since: Option<Instant>,
}

impl Stopwatch {
    /// The blob is wanted from now on, and `missing` bytes of it are not there.
    pub(super) fn start(&mut self, now: Instant, missing: u64) {
        if self.since.is_none() && self.before.is_zero() {
            self.bytes = missing;
        }
        self.since.get_or_insert(now);
    }

    /// Nobody wants it any more.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.before += now.duration_since(since);
        }
    }

    /// It is verified.
    pub(super) fn finish(&mut self, now: Instant) -> Pull {
        self.pause(now);
        let Self { bytes, before, .. } = std::mem::take(self);
        Pull { bytes, took: before }
    }
}

/// A finished pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pull {
    bytes: u64,
    took: Duration,
}

impl Pull {
    /// The least time that it could take where every node and the upstream have a link of `link` bytes per second: the
    /// fluid bound, which with equal links is the same for any number of nodes that want the blob at once.
    fn bound(&self, link: NonZeroU64) -> Duration {
        let link = link.get() as f64;
        let distribution = Distribution {
            bytes: self.bytes as f64,
            nodes: 1,
            upstream_bytes_per_s: link,
            upload_bytes_per_s: link,
            download_bytes_per_s: link,
        };
        Duration::try_from_secs_f64(distribution.fluid_s()).unwrap_or(Duration::MAX)
    }

    /// Counts the pull, and its bound where the rate of the links is known. Returns the bound.
    pub(super) fn count(&self, metrics: &Metrics, link: Option<NonZeroU64>) -> Option<Duration> {
        metrics.pulls_milliseconds.add(milliseconds(self.took));
        let bound = self.bound(link?);
        metrics.pulls_bound_milliseconds.add(milliseconds(bound));
        Some(bound)
    }

    /// Tells the operator how it went.
    pub(super) fn log(&self, digest: &Digest, bound: Option<Duration>) {
        let (bytes, seconds) = (self.bytes, self.took.as_secs_f64());
        if let Some(bound) = bound {
            let bound_s = bound.as_secs_f64();
            let ratio_to_bound = bound_s / seconds.max(f64::MIN_POSITIVE);
            tracing::info!(%digest, bytes, seconds, bound_s, ratio_to_bound, "a blob is complete");
        } else {
            tracing::info!(%digest, bytes, seconds, "a blob is complete");
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn time_in_which_nobody_wants_the_blob_does_not_count() {
        let (start, mut stopwatch) = (clock::now(), Stopwatch::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        stopwatch.start(at(0), 8_000_000);
        stopwatch.start(at(1), 7_000_000);
        stopwatch.pause(at(3));
        stopwatch.pause(at(4));
        stopwatch.start(at(10), 2_000_000);
        let pull = stopwatch.finish(at(12));
        assert_eq!(pull, Pull { bytes: 8_000_000, took: Duration::from_secs(5) });
        stopwatch.start(at(20), 5);
        let again = stopwatch.finish(at(21));
        assert_eq!(again, Pull { bytes: 5, took: Duration::from_secs(1) }, "the next pull begins from nothing");
    }

    #[test]
    fn the_bound_is_counted_only_where_the_rate_of_the_links_is_known() {
        let pull = Pull { bytes: 8_000_000, took: Duration::from_secs(10) };
        let metrics = Metrics::default();
        assert_eq!(pull.count(&metrics, None), None);
        assert_eq!(pull.count(&metrics, NonZeroU64::new(1_000_000)), Some(Duration::from_secs(8)));
        assert_eq!((metrics.pulls_milliseconds.get(), metrics.pulls_bound_milliseconds.get()), (20_000, 8_000));
    }
}

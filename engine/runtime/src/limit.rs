//! Rate limits: a token bucket kept as a point in time (GCRA, ITU-T I.371 annex A).
//!
//! Whoever wants to move bytes reserves the next free time for them and sleeps until it comes. The average is exact
//! whatever the timer's granularity, because a late wake-up does not move anybody's reservation.

use std::{sync::Mutex, time::Duration};

use shoal_wire::transfer::Urgency;
use tokio::time::Instant;

use crate::clock;

/// Bytes that may go at once after a pause, at least.
const BURST_BYTES_MIN: u64 = 64 * 1024;
/// Time whose bytes may go at once after a pause; hides wake-ups that are late by less.
const BURST: Duration = Duration::from_millis(8);
/// Time whose bytes are moved for one reservation: few wake-ups, and still smooth.
const QUANTUM: Duration = Duration::from_millis(4);
/// Bounds of the bytes moved for one reservation.
const QUANTUM_BYTES: std::ops::RangeInclusive<u64> = 16 * 1024..=256 * 1024;

/// Limit of one direction of a node, shared by all of its transfers. Bytes for a waiting reader go before bulk bytes.
#[derive(Debug)]
pub(crate) struct Limiter {
    bucket: Option<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    bytes_per_s: u64,
    burst: Duration,
    reserved: Mutex<Reserved>,
}

/// Until when the rate is spoken for. Bulk waits for everything; on-demand waits for on-demand alone, and what it
/// takes is charged to bulk.
#[derive(Debug)]
struct Reserved {
    all: Instant,
    on_demand: Instant,
}

impl Limiter {
    /// A limit of `bytes_per_s`, at least 1; none where it is `None`.
    pub(crate) fn new(bytes_per_s: Option<u64>) -> Self {
        let bucket = bytes_per_s.map(|rate| {
            let bytes_per_s = rate.max(1);
            let now = clock::now();
            let burst = BURST.max(duration_of(BURST_BYTES_MIN, bytes_per_s));
            Bucket { bytes_per_s, burst, reserved: Mutex::new(Reserved { all: now, on_demand: now }) }
        });
        Self { bucket }
    }

    /// Bytes to move for one call of [`Limiter::take`].
    pub(crate) fn quantum(&self) -> usize {
        let bytes = match &self.bucket {
            None => *QUANTUM_BYTES.end(),
            Some(bucket) => {
                let millis = u64::try_from(QUANTUM.as_millis()).unwrap_or(1);
                (bucket.bytes_per_s.saturating_mul(millis) / 1000).clamp(*QUANTUM_BYTES.start(), *QUANTUM_BYTES.end())
            }
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Waits until `bytes` may move. A caller that gives up has used its share nevertheless.
    pub(crate) async fn take(&self, bytes: u64, urgency: Urgency) {
        let Some(bucket) = &self.bucket else { return };
        let now = clock::now();
        let due = bucket.reserve(bytes, urgency, now);
        if due > now {
            tokio::time::sleep_until(due).await;
        }
    }
}

impl Bucket {
    /// Reserves the next free time for `bytes`, and says when they may move.
    fn reserve(&self, bytes: u64, urgency: Urgency, now: Instant) -> Instant {
        let cost = duration_of(bytes, self.bytes_per_s);
        let mut reserved = crate::lock(&self.reserved);
        let queue = match urgency {
            Urgency::Bulk => reserved.all,
            Urgency::OnDemand => reserved.on_demand,
        };
        reserved.all = reserved.all.max(now) + cost;
        if urgency == Urgency::OnDemand {
            reserved.on_demand = reserved.on_demand.max(now) + cost;
        }
        drop(reserved);
        queue.checked_sub(self.burst).unwrap_or(now)
    }
}

fn duration_of(bytes: u64, bytes_per_s: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_s);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    async fn seconds_for(limiter: &Arc<Limiter>, tasks: u64, bytes_each: u64) -> f64 {
        let start = clock::now();
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..tasks {
            let limiter = limiter.clone();
            set.spawn(async move {
                let quantum = limiter.quantum() as u64;
                let mut left = bytes_each;
                while left > 0 {
                    let chunk = left.min(quantum);
                    limiter.take(chunk, Urgency::Bulk).await;
                    left -= chunk;
                }
            });
        }
        set.join_all().await;
        clock::now().duration_since(start).as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn average_rate_holds_for_one_and_for_many_transfers() {
        for (rate, tasks) in [(25_000_000, 1), (25_000_000, 5), (1_000_000, 3), (123_456_789, 4)] {
            let limiter = Arc::new(Limiter::new(Some(rate)));
            let seconds = seconds_for(&limiter, tasks, 2 * rate / tasks).await;
            assert!((1.90..=2.02).contains(&seconds), "{tasks} transfers at {rate} B/s took {seconds} s instead of 2");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn late_wake_ups_do_not_cost_rate() {
        let limiter = Limiter::new(Some(10_000_000));
        let start = clock::now();
        for _ in 0..500 {
            limiter.take(40_000, Urgency::Bulk).await;
            tokio::time::advance(Duration::from_millis(3)).await;
        }
        let seconds = clock::now().duration_since(start).as_secs_f64();
        assert!((1.95..=2.02).contains(&seconds), "20 MB at 10 MB/s took {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_earns_no_more_than_the_burst() {
        let limiter = Arc::new(Limiter::new(Some(1_000_000)));
        tokio::time::advance(Duration::from_secs(60)).await;
        let seconds = seconds_for(&limiter, 1, 1_000_000).await;
        assert!((0.90..=1.02).contains(&seconds), "1 MB at 1 MB/s after a pause took {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn on_demand_goes_before_queued_bulk_and_is_charged() {
        let limiter = Limiter::new(Some(1_000_000));
        let bucket = limiter.bucket.as_ref().expect("limited");
        let now = clock::now();
        for _ in 0..10 {
            bucket.reserve(100_000, Urgency::Bulk, now);
        }
        let urgent = bucket.reserve(100_000, Urgency::OnDemand, now);
        assert!(urgent <= now, "a waiting reader does not queue behind bulk");
        let next = bucket.reserve(1, Urgency::Bulk, now);
        let wait = next.duration_since(now).as_secs_f64();
        assert!((1.0..=1.1).contains(&wait), "bulk pays for both: waits {wait} s");
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_never_waits() {
        let start = clock::now();
        Limiter::new(None).take(u64::MAX, Urgency::Bulk).await;
        assert_eq!(clock::now(), start);
    }
}

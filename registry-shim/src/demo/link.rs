//! A link of a fixed rate that many flows share.
//!
//! Each flow reserves one small chunk at a time, and a chunk leaves when the link has carried it. So flows take turns,
//! and the average is exact: a flow that its timer woke late goes on from the moment at which its last chunk was due,
//! up to [`LATENESS`]. An idle link saves nothing up.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// How late a flow may come back for its next chunk without a gap on the link. Timers are this late on a busy machine.
const LATENESS: Duration = Duration::from_millis(25);

/// A link that carries payload bytes at a fixed rate.
#[derive(Debug)]
pub(crate) struct Link {
    bytes_per_s: u64,
    free_at: Mutex<Option<Instant>>,
}

impl Link {
    /// A link of `bytes_per_s`, which is at least 1.
    pub(crate) fn new(bytes_per_s: u64) -> Arc<Self> {
        Arc::new(Self { bytes_per_s: bytes_per_s.max(1), free_at: Mutex::new(None) })
    }

    /// A new flow over this link.
    pub(crate) fn flow(self: &Arc<Self>) -> Flow {
        Flow { link: Arc::clone(self), due: None }
    }

    /// Bytes of a chunk: 2 ms of the link, between 4 and 64 KiB.
    pub(crate) fn chunk_bytes(&self) -> usize {
        usize::try_from(self.bytes_per_s / 500).unwrap_or(usize::MAX).clamp(4 * 1024, 64 * 1024)
    }

    /// Reserves the link for `bytes` of a flow that has been ready since `ready`. Returns when they have been carried.
    fn reserve(&self, ready: Instant, bytes: usize) -> Instant {
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_s);
        let duration = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = free_at.map_or(ready, |free_at| free_at.max(ready));
        *free_at.insert(start + duration)
    }
}

/// One sender's use of a link.
#[derive(Debug)]
pub(crate) struct Flow {
    link: Arc<Link>,
    due: Option<Instant>,
}

impl Flow {
    /// Returns when the link has carried `bytes`. Cancelled, the reservation stays and the time is lost.
    pub(crate) async fn carry(&mut self, bytes: usize) {
        let due = self.reserve(Instant::now(), bytes);
        sleep_until(due).await;
    }

    fn reserve(&mut self, now: Instant, bytes: usize) -> Instant {
        let ready = match self.due {
            Some(due) if now < due + LATENESS => due.min(now),
            _ => now,
        };
        let due = self.link.reserve(ready, bytes);
        self.due = Some(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_flow_that_is_woken_late_keeps_the_exact_rate() {
        let link = Link::new(1_000_000);
        let mut flow = link.flow();
        let start = Instant::now();
        let mut now = start;
        for chunk in 1..=1000 {
            let due = flow.reserve(now, 2000);
            assert_eq!(due, start + 2 * MS * chunk);
            now = due + MS;
        }
    }

    #[test]
    fn two_flows_share_a_link_by_turns() {
        let link = Link::new(1_000_000);
        let (mut left, mut right) = (link.flow(), link.flow());
        let start = Instant::now();
        let (mut left_due, mut right_due) = (start, start);
        for turn in 0..100 {
            left_due = left.reserve(left_due, 1000);
            right_due = right.reserve(right_due, 1000);
            assert_eq!((left_due, right_due), (start + MS * (2 * turn + 1), start + MS * (2 * turn + 2)));
        }
    }

    #[test]
    fn an_idle_link_saves_nothing_up() {
        let link = Link::new(1_000_000);
        let start = Instant::now();
        link.flow().reserve(start, 1000);
        let later = start + 1000 * MS;
        assert_eq!(link.flow().reserve(later, 1000), later + MS, "a new flow after a pause waits for its own bytes");
        let mut stalled = link.flow();
        stalled.reserve(later, 1000);
        let much_later = later + 1000 * MS;
        assert_eq!(stalled.reserve(much_later, 1000), much_later + MS, "a stalled flow gets no credit");
    }

    #[test]
    fn chunks_are_short_on_slow_links_and_bounded_on_fast_ones() {
        assert_eq!(Link::new(0).chunk_bytes(), 4 * 1024);
        assert_eq!(Link::new(25_000_000).chunk_bytes(), 50_000);
        assert_eq!(Link::new(u64::MAX).chunk_bytes(), 64 * 1024);
    }

    #[tokio::test]
    async fn carrying_takes_at_least_the_time_of_the_link() {
        let link = Link::new(1_000_000);
        let start = Instant::now();
        let mut flow = link.flow();
        for _ in 0..10 {
            flow.carry(2000).await;
        }
        assert!(start.elapsed() >= 20 * MS);
    }
}

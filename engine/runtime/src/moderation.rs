//! Rests of a node's threads, as network cards moderate their interrupts.
//!
//! Over a slow link packets come a few at a time, and each few wake a thread that finds its code and data gone from the
//! caches. While pieces trickle in, nobody waits for one packet: so a thread that has nothing left to do rests for as
//! long as a batch takes to come, a few milliseconds at most, before it asks the kernel for more. How much is moderated
//! follows what comes, as in Linux's dynamic interrupt moderation (net_dim). What it saves is in docs/benchmarks.md.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use crate::{clock, metrics::Metrics};

/// What comes during a rest, in bytes: some 20 packets of usual links, of which a receive buffer that the system did not
/// enlarge (208 KiB) holds several times as many.
const BATCH_BYTES: u64 = 32 * 1024;
/// Longest rest. Each message between nodes may wait for one at either end.
const REST_MAX: Duration = Duration::from_millis(6);
/// A shorter rest saves less than it costs. Links of more than 130 Mbit/s bring a batch in less.
const REST_MIN: Duration = Duration::from_millis(2);
/// Where fewer bytes come in a second there is little to save.
const BYTES_PER_SECOND_MIN: u64 = 256 * 1024;
/// Time over which a rate is measured. Two in a row have to allow for rests, so that the first pieces of a pull, which
/// readers wait for, come without any.
const WINDOW: Duration = Duration::from_secs(1);
/// Pieces that are under way, to this node and from it. With fewer each is waited for.
const TRANSFERS_MIN: i64 = 4;

/// Lets the threads of a node rest while pieces trickle in. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Moderation {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Those of the node whose threads rest.
    metrics: OnceLock<Arc<Metrics>>,
    meter: Mutex<Meter>,
}

impl Moderation {
    /// Rests where that is useful; to be called by each thread of the node's runtime before it waits for events
    /// (`tokio::runtime::Builder::on_thread_park`). Blocks for at most 6 ms, and not at all before there is a node.
    pub fn before_park(&self) {
        let Some(metrics) = self.shared.metrics.get() else { return };
        if metrics.downloads_active.get() + metrics.uploads_active.get() < TRANSFERS_MIN {
            return;
        }
        let moved = Moved { received: metrics.peer_received_bytes.get(), sent: metrics.peer_sent_bytes.get() };
        let rest = crate::lock(&self.shared.meter).rest(clock::now(), moved);
        if let Some(rest) = rest {
            metrics.rests.increment();
            std::thread::sleep(rest);
        }
    }

    /// From now on the threads rest as the node with these metrics needs it. The first node stays.
    pub(crate) fn follow(&self, metrics: &Arc<Metrics>) {
        let _ = self.shared.metrics.set(metrics.clone());
    }
}

/// Bytes of pieces that a node has received and sent since it started.
#[derive(Clone, Copy, Debug)]
struct Moved {
    received: u64,
    sent: u64,
}

/// How long rests are, told from the rate of the last two windows.
#[derive(Debug, Default)]
struct Meter {
    window: Option<(Instant, Moved)>,
    rests: [Option<Duration>; 2],
}

impl Meter {
    /// The rest to take now, where both windows allow for one: the shorter.
    fn rest(&mut self, now: Instant, moved: Moved) -> Option<Duration> {
        let (start, before) = *self.window.get_or_insert((now, moved));
        let elapsed = now.saturating_duration_since(start);
        if elapsed >= WINDOW {
            let bytes = (moved.received - before.received).max(moved.sent - before.sent);
            let rate = u128::from(bytes) * 1_000_000 / elapsed.as_micros();
            self.rests = [self.rests[1], rest_at(u64::try_from(rate).unwrap_or(u64::MAX))];
            self.window = Some((now, moved));
        }
        let [earlier, last] = self.rests;
        Some(earlier?.min(last?))
    }
}

/// The rest of a node that receives or sends so many bytes per second.
fn rest_at(bytes_per_second: u64) -> Option<Duration> {
    if bytes_per_second < BYTES_PER_SECOND_MIN {
        return None;
    }
    let rest = Duration::from_micros(BATCH_BYTES * 1_000_000 / bytes_per_second);
    (rest >= REST_MIN).then(|| rest.min(REST_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest after each second in which so many bytes were received.
    fn rests(meter: &mut Meter, start: Instant, seconds: &[u64]) -> Vec<Option<Duration>> {
        let mut received = 0;
        meter.rest(start, Moved { received, sent: 0 });
        let after = seconds.iter().zip(1..).map(|(&bytes, second)| {
            received += bytes;
            meter.rest(start + WINDOW * second, Moved { received, sent: 0 })
        });
        after.collect()
    }

    #[test]
    fn slow_links_bring_a_batch_in_each_rest_and_others_allow_for_none() {
        let mbit = |rate: u64| rest_at(rate * 125_000);
        assert_eq!([1, 2].map(mbit), [None, None], "too little to save");
        assert_eq!([3, 25, 40].map(mbit), [Some(REST_MAX); 3]);
        let rest = mbit(100).expect("a rest");
        let batch = rest.as_secs_f64() * 12_500_000.0;
        assert!((30_000.0..=33_000.0).contains(&batch), "{batch} bytes in {rest:?}");
        assert_eq!([200, 1000, 100_000].map(mbit), [None; 3]);
    }

    #[test]
    fn the_first_second_and_the_first_after_another_rate_have_no_rest() {
        let slow = 25 * 125_000;
        let fast = 1000 * 125_000;
        let rest = Some(REST_MAX);
        let seen = rests(&mut Meter::default(), clock::now(), &[0, slow, slow, slow, fast, slow, slow, 0, 0]);
        assert_eq!(seen, [None, None, rest, rest, None, None, rest, None, None]);
    }

    #[test]
    fn who_only_sends_rests_as_well() {
        let mut meter = Meter::default();
        let start = clock::now();
        let seen = (0..4).map(|second| {
            let sent = u64::from(second) * 3_125_000;
            meter.rest(start + WINDOW * second, Moved { received: 0, sent })
        });
        assert_eq!(seen.collect::<Vec<_>>(), [None, None, Some(REST_MAX), Some(REST_MAX)]);
    }

    #[test]
    fn a_long_time_without_a_word_is_no_slow_link() {
        let mut meter = Meter::default();
        let start = clock::now();
        let moved = |received| Moved { received, sent: 0 };
        assert_eq!(meter.rest(start, moved(0)), None);
        assert_eq!(meter.rest(start + WINDOW * 100, moved(20_000_000)), None, "200 kB in a second");
        assert_eq!(meter.rest(start + WINDOW * 101, moved(23_000_000)), None, "the first window that counts");
    }

    #[test]
    fn before_there_is_a_node_and_with_few_pieces_under_way_nobody_rests() {
        let moderation = Moderation::default();
        moderation.before_park();
        let metrics = Arc::<Metrics>::default();
        moderation.follow(&metrics);
        let _transfers: Vec<_> = (1..TRANSFERS_MIN).map(|_| metrics.downloads_active.hold()).collect();
        crate::lock(&moderation.shared.meter).rests = [Some(REST_MIN); 2];
        moderation.before_park();
        assert_eq!(metrics.rests.get(), 0);
        let _one_more = metrics.uploads_active.hold();
        moderation.before_park();
        assert_eq!(metrics.rests.get(), 1);
    }
}

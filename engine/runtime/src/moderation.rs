//! Rests of a node's thread for sockets, as network cards moderate their interrupts.
//!
//! Over a slow link packets come a few at a time, and each few wake a thread that finds its code and data gone from the
//! caches. While pieces trickle in, nobody waits for one packet: so the thread, once it has nothing left to do, rests for as
//! long as a batch takes to come, a few milliseconds at most, before it asks the kernel for more. How much is moderated
//! follows what comes, as in Linux's dynamic interrupt moderation (net_dim). What it saves is in docs/benchmarks.md.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use crate::{clock, metrics::Metrics, net::uplink::Uplink, pool::Pool};

/// What comes during a rest, in bytes: some 20 packets of usual links, of which a receive buffer that the system did not
/// enlarge (208 KiB) holds several times as many.
const BATCH_BYTES: u64 = 32 * 1024;
/// Longest rest. Each message between nodes may wait for one at either end.
const REST_MAX: Duration = Duration::from_millis(6);
/// Shorter rests save little. Links of more than 65 Mbit/s bring a batch in less.
const REST_MIN: Duration = Duration::from_millis(4);
/// Where fewer bytes come in a second there is little to save.
const BYTES_PER_SECOND_MIN: u64 = 256 * 1024;
/// Where more bytes have come since a window began, a batch in each [`REST_MIN`] of a second, its end is not waited for: that
/// rate allows for no rest.
const WINDOW_BYTES_MAX: u64 = BATCH_BYTES * 250;
/// Time over which a rate is measured. Two in a row have to allow for rests, so that the first pieces of a pull, which
/// readers wait for, come without any.
const WINDOW: Duration = Duration::from_secs(1);
/// A window that lasted longer was interrupted, and says nothing.
const WINDOW_MAX: Duration = Duration::from_millis(1500);
/// Pieces that are under way from peers and to them. With fewer each is waited for.
const TRANSFERS_MIN: i64 = 4;
/// Bytes that go to each peer that pieces are sent to, in a rest. quinn (quinn-proto 0.11.19) lets ten packets go to each at
/// once, here of 1,200 bytes or more, and forgets what it did not send in the time of more: longer rests would leave the link
/// idle where there are few such peers, and what comes slower for that would make them longer still. The rest of the ten
/// packets is for threads that wake late.
const BATCH_BYTES_TO_EACH: u64 = 7 * 1024;

/// Lets the one thread that serves a node's sockets rest while pieces trickle in: for as long as 32 KiB take, or 7 KiB for each
/// peer that it sends pieces to where that is less, 4 to 6 ms, while at least four pieces come from peers or go to them, at 2
/// to 65 Mbit/s. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Moderation {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    load: OnceLock<Load>,
    meter: Mutex<Meter>,
}

/// Where a node says how much it has to do.
#[derive(Debug)]
struct Load {
    metrics: Arc<Metrics>,
    uplink: Arc<Uplink>,
    pool: Pool,
}

impl Moderation {
    /// Rests where that is useful; to be called by the thread before it waits for events
    /// (`tokio::runtime::Builder::on_thread_park`). Sleeps for 6 ms at most, and not at all before
    /// [`Engine::moderate`](crate::Engine::moderate). With several threads, others would not be woken meanwhile.
    pub fn before_park(&self) {
        let Some(load) = self.shared.load.get().filter(|load| load.transfers() >= TRANSFERS_MIN) else { return };
        let rate = {
            let mut meter = crate::lock(&self.shared.meter);
            meter.rate(clock::now(), load.moved())
        };
        // What comes from the pool is waited for, by a reader or a piece, and is here before the next packets.
        let rest = rate.filter(|_| load.pool.is_idle()).and_then(|rate| rest_at(rate, load.uplink.receivers()));
        if let Some(rest) = rest {
            load.metrics.rests.increment();
            std::thread::sleep(rest);
        }
    }

    /// From now on the thread rests as this node allows for. The first node stays.
    pub(crate) fn follow(&self, metrics: Arc<Metrics>, uplink: Arc<Uplink>, pool: Pool) {
        let _ = self.shared.load.set(Load { metrics, uplink, pool });
    }
}

impl Load {
    fn transfers(&self) -> i64 {
        self.metrics.downloads_active.get() + self.metrics.uploads_active.get()
    }

    fn moved(&self) -> Moved {
        let metrics = &self.metrics;
        let received = metrics.peer_received_bytes.get() + metrics.upstream_received_bytes.get();
        Moved { received, sent: metrics.peer_sent_bytes.get() }
    }
}

/// Bytes that a node has received and sent since it started.
#[derive(Clone, Copy, Debug)]
struct Moved {
    received: u64,
    sent: u64,
}

/// How fast pieces come or go, in the last two windows.
#[derive(Debug, Default)]
struct Meter {
    window: Option<(Instant, Moved)>,
    /// Bytes per second of either way, whichever is more.
    rates: [u64; 2],
}

impl Meter {
    /// Bytes per second in the faster of the last two windows, where there was something to save in both.
    fn rate(&mut self, now: Instant, moved: Moved) -> Option<u64> {
        let (start, before) = *self.window.get_or_insert((now, moved));
        let elapsed = now.saturating_duration_since(start);
        let bytes = moved.received.saturating_sub(before.received).max(moved.sent.saturating_sub(before.sent));
        if elapsed > WINDOW_MAX {
            *self = Self { window: Some((now, moved)), rates: [0; 2] };
        } else if elapsed >= WINDOW || bytes > WINDOW_BYTES_MAX {
            let rate = u128::from(bytes) * 1_000_000 / elapsed.as_micros().max(1);
            self.rates = [self.rates[1], u64::try_from(rate).unwrap_or(u64::MAX)];
            self.window = Some((now, moved));
        }
        let [earlier, last] = self.rates;
        (earlier.min(last) >= BYTES_PER_SECOND_MIN).then_some(earlier.max(last))
    }
}

/// The rest of a node that receives or sends so many bytes per second, the latter to so many peers.
fn rest_at(bytes_per_second: u64, receivers: u64) -> Option<Duration> {
    let batch =
        if receivers == 0 { BATCH_BYTES } else { BATCH_BYTES.min(BATCH_BYTES_TO_EACH.saturating_mul(receivers)) };
    let rest = Duration::from_micros(batch * 1_000_000 / bytes_per_second.max(1));
    (rest >= REST_MIN).then(|| rest.min(REST_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: u64 = 25 * 125_000;
    const FAST: u64 = 1000 * 125_000;

    /// The rate after each second in which so many bytes were received.
    fn rates(meter: &mut Meter, start: Instant, seconds: &[u64]) -> Vec<Option<u64>> {
        let mut received = 0;
        meter.rate(start, Moved { received, sent: 0 });
        let after = seconds.iter().zip(1..).map(|(&bytes, second)| {
            received += bytes;
            meter.rate(start + WINDOW * second, Moved { received, sent: 0 })
        });
        after.collect()
    }

    #[test]
    fn slow_links_bring_a_batch_in_each_rest_and_others_allow_for_none() {
        let mbit = |rate: u64| rest_at(rate * 125_000, 0);
        assert_eq!([3, 25, 40].map(mbit), [Some(REST_MAX); 3]);
        let rest = mbit(60).expect("a rest");
        let batch = rest.as_secs_f64() * 7_500_000.0;
        assert!((30_000.0..=33_000.0).contains(&batch), "{batch} bytes in {rest:?}");
        assert_eq!([70, 1000, 100_000].map(mbit), [None; 3]);
    }

    #[test]
    fn who_sends_to_few_rests_no_longer_than_what_goes_to_them_at_once_lasts() {
        for rate in [SLOW, 2 * SLOW, 4 * SLOW] {
            for receivers in 1..=8 {
                let Some(rest) = rest_at(rate, receivers) else { continue };
                // A thread may wake late, and has work to do between two looks.
                let needed = rate as f64 * (rest.as_secs_f64() + 0.0015);
                let at_once = (10 * 1200 * receivers) as f64;
                assert!(needed < at_once, "{needed} of {at_once} bytes to {receivers}");
            }
        }
        let rests = |receivers| [SLOW, 2 * SLOW, 4 * SLOW].map(|rate| rest_at(rate, receivers).is_some());
        assert_eq!(rests(1), [false; 3]);
        assert_eq!(rests(2), [true, false, false]);
        assert_eq!(rests(4), [true, true, false]);
        assert_eq!([4, 100, u64::MAX].map(|receivers| rest_at(SLOW, receivers)), [Some(REST_MAX); 3]);
    }

    #[test]
    fn the_faster_of_two_seconds_counts_where_there_was_something_to_save_in_both() {
        let seen =
            rates(&mut Meter::default(), clock::now(), &[0, SLOW, SLOW, 2 * SLOW, SLOW, SLOW, 0, SLOW, 1000, 1000]);
        let (slow, twice) = (Some(SLOW), Some(2 * SLOW));
        assert_eq!(seen, [None, None, slow, twice, twice, slow, None, None, None, None]);
    }

    #[test]
    fn who_only_sends_is_seen_as_well() {
        let mut meter = Meter::default();
        let start = clock::now();
        let seen = (0..4).map(|second| {
            let sent = u64::from(second) * SLOW;
            meter.rate(start + WINDOW * second, Moved { received: 0, sent })
        });
        assert_eq!(seen.collect::<Vec<_>>(), [None, None, Some(SLOW), Some(SLOW)]);
    }

    #[test]
    fn after_a_pause_a_pull_begins_anew() {
        let mut meter = Meter::default();
        let start = clock::now();
        let moved = |seconds| Moved { received: seconds * SLOW, sent: 0 };
        assert_eq!(rates(&mut meter, start, &[SLOW; 3]), [None, Some(SLOW), Some(SLOW)]);
        let later = start + WINDOW * 3 + Duration::from_secs(5);
        assert_eq!(meter.rate(later, moved(4)), None, "the rate of six seconds says nothing");
        assert_eq!(meter.rate(later + WINDOW, moved(5)), None);
        assert_eq!(meter.rate(later + WINDOW * 2, moved(6)), Some(SLOW));
    }

    #[test]
    fn a_rush_is_seen_before_the_second_is_over() {
        let mut meter = Meter::default();
        let start = clock::now();
        rates(&mut meter, start, &[SLOW; 3]);
        let soon = start + WINDOW * 3 + Duration::from_millis(200);
        let rate = meter.rate(soon, Moved { received: 3 * SLOW + FAST / 5, sent: 0 });
        assert_eq!(rate, Some(FAST));
        assert_eq!(rest_at(FAST, 0), None);
    }

    #[test]
    fn counters_that_seem_to_go_back_are_no_fault() {
        let mut meter = Meter::default();
        let start = clock::now();
        meter.rate(start, Moved { received: 9, sent: 9 });
        assert_eq!(meter.rate(start + WINDOW, Moved { received: 0, sent: 0 }), None);
    }

    /// A node whose thread rests wherever its load allows for it.
    fn resting() -> (Moderation, Arc<Metrics>, Arc<Uplink>, Pool) {
        let moderation = Moderation::default();
        let (metrics, uplink) = (Arc::<Metrics>::default(), Arc::<Uplink>::default());
        let pool = Pool::new(tokio_util::task::TaskTracker::new());
        moderation.before_park();
        moderation.follow(metrics.clone(), uplink.clone(), pool.clone());
        // However long the test takes, the rates stay as they are.
        let window = Some((clock::now() + Duration::from_secs(3600), Moved { received: 0, sent: 0 }));
        *crate::lock(&moderation.shared.meter) = Meter { window, rates: [2 * SLOW; 2] };
        (moderation, metrics, uplink, pool)
    }

    #[test]
    fn with_few_pieces_under_way_or_few_to_send_to_nobody_rests() {
        let (moderation, metrics, uplink, _) = resting();
        let rests = || {
            moderation.before_park();
            metrics.rests.get()
        };
        let _transfers: Vec<_> = (1..TRANSFERS_MIN).map(|_| metrics.downloads_active.hold()).collect();
        assert_eq!(rests(), 0);
        let _one_more = metrics.uploads_active.hold();
        assert_eq!(rests(), 1);
        let member = |index| shoal_wire::ids::MemberId([index; 16]);
        let _receivers = [1, 2, 3].map(|index| uplink.send_to(member(index)));
        assert_eq!(rests(), 1, "three would get too little at once");
        let _fourth = uplink.send_to(member(4));
        assert_eq!(rests(), 2);
    }

    #[tokio::test]
    async fn while_the_pool_is_at_work_nobody_rests() {
        let (moderation, metrics, _, pool) = resting();
        let _transfers: Vec<_> = (0..TRANSFERS_MIN).map(|_| metrics.downloads_active.hold()).collect();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let working = pool.clone();
        let job = tokio::spawn(async move {
            let wait = move || {
                let _ = begun.send(());
                let _ = finished.recv();
            };
            working.run(wait).await
        });
        has_begun.await.expect("the job begins");
        moderation.before_park();
        assert_eq!(metrics.rests.get(), 0);
        drop(finish);
        job.await.expect("no panic").expect("the job returns");
        moderation.before_park();
        assert_eq!(metrics.rests.get(), 1);
    }
}

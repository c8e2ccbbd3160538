//! How much all connections of this node may have on their way.
//!
//! A node sends pieces to several peers at once, each over a connection of its own, and each connection's congestion control looks for
//! its own limit: it fills the queues on its way until one of them overflows. Eight connections do that eight times over. What is
//! dropped at the receiver's end has then passed this node's link for nothing, and that link is what a swarm is short of: with 32
//! nodes behind shapers 4 to 6 % of all that they sent was lost after it (docs/benchmarks.md).
//!
//! So beside its own congestion window (Cubic, RFC 9438) each connection has a share of one that all have together: what this node's
//! link carries in [`QUEUE_TIME`], by the most that it has carried of late, divided among the peers that are being sent pieces. Where
//! nothing has been lost of late, or one peer alone is sent pieces, there is no such limit.
//!
//! Where other traffic keeps a queue full for longer than that time, a limit that follows the rate and a rate that follows the limit
//! would draw each other down to nothing. So each [`EPOCH`] begins with some time without a limit ([`PROBING`]), and the rate that was
//! had then counts.

use std::{
    any::Any,
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use quinn::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::RttEstimator;
use shoal_wire::ids::MemberId;

use super::endpoint::PACKETS_PER_ACK;

/// All connections together may have so much on its way as the link carries in this time, beyond what the way itself holds. Above
/// 100 ms the queues of slow links overflow, at 40 ms and less the links idle while acknowledgements are awaited.
const QUEUE_TIME: Duration = Duration::from_millis(60);
/// Time over which a rate is measured.
const WINDOW: Duration = Duration::from_millis(500);
/// The greatest rate of this time counts, and of the time before it.
const EPOCH: Duration = Duration::from_secs(30);
/// Losses count for so long; a node that has sent no pieces for this long begins anew.
const LOSS_MEMORY: Duration = Duration::from_secs(30);
/// Nothing is limited for so long at the beginning of each epoch. The first begins with a node's first pieces: it has few to send then,
/// and its rate says nothing about its link.
const PROBING: Duration = Duration::from_secs(2);
/// Bytes that a connection may have on its way before anything was acknowledged, where packets are small: ten of those that every path
/// carries (RFC 9002, section 7.2).
const INITIAL_WINDOW_BYTES: u64 = 12_000;
/// A connection may have at least what its peer acknowledges at once, and as much again, so that some is on its way while that is
/// awaited. On slow links that is more than its part of [`QUEUE_TIME`].
const PACKETS_MIN: u32 = 2 * PACKETS_PER_ACK;

/// What all connections of a node share.
#[derive(Debug, Default)]
pub(crate) struct Uplink {
    meter: Mutex<Meter>,
    /// Pieces that are being sent to each, no more in all than there are upload slots.
    receivers: Mutex<HashMap<MemberId, u32>>,
    /// Bytes per second that the link has carried at most, of late; nothing is limited while this is 0.
    rate: AtomicU64,
    /// Peers that are being sent pieces.
    sending: AtomicU64,
}

/// Keeps a peer counted among those that are being sent pieces.
pub(crate) struct Receiver {
    uplink: Arc<Uplink>,
    member: MemberId,
}

impl Uplink {
    /// Counts a peer among those that are being sent pieces.
    pub(crate) fn send_to(self: &Arc<Self>, member: MemberId) -> Receiver {
        let mut receivers = crate::lock(&self.receivers);
        *receivers.entry(member).or_default() += 1;
        self.sending.store(receivers.len() as u64, Relaxed);
        Receiver { uplink: self.clone(), member }
    }

    /// Peers that are being sent pieces.
    pub(crate) fn receivers(&self) -> u64 {
        self.sending.load(Relaxed)
    }

    /// Bytes that one connection may have on its way, which takes at least `round_trip`.
    fn share(&self, round_trip: Duration) -> u64 {
        let rate = self.rate.load(Relaxed);
        let sending = u32::try_from(self.sending.load(Relaxed)).unwrap_or(u32::MAX);
        // One connection alone finds its limit by itself. What it has been seen to carry is often less than it could: it may have had
        // little to send.
        if rate == 0 || sending < 2 {
            return u64::MAX;
        }
        let time = QUEUE_TIME / sending + round_trip;
        u64::try_from(u128::from(rate) * time.as_micros() / 1_000_000).unwrap_or(u64::MAX)
    }

    fn note_acknowledged(&self, now: Instant, bytes: u64) {
        let mut meter = crate::lock(&self.meter);
        if self.sending.load(Relaxed) == 0 {
            // Messages alone say nothing about the link.
            meter.pause();
        } else {
            meter.count(now, bytes);
        }
        self.rate.store(meter.limit(now), Relaxed);
    }

    fn note_loss(&self, now: Instant) {
        crate::lock(&self.meter).lost_at = Some(now);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut receivers = crate::lock(&self.uplink.receivers);
        if let Some(count) = receivers.get_mut(&self.member) {
            *count -= 1;
            if *count == 0 {
                receivers.remove(&self.member);
            }
        }
        self.uplink.sending.store(receivers.len() as u64, Relaxed);
    }
}

/// The most that was acknowledged in a second, of late, while pieces were being sent.
#[derive(Debug, Default)]
struct Meter {
    window_start: Option<Instant>,
    window_bytes: u64,
    epoch_start: Option<Instant>,
    most: u64,
    most_before: u64,
    counted_at: Option<Instant>,
    lost_at: Option<Instant>,
}

impl Meter {
    fn pause(&mut self) {
        (self.window_start, self.window_bytes) = (None, 0);
    }

    fn count(&mut self, now: Instant, bytes: u64) {
        if self.counted_at.is_none_or(|at| now.saturating_duration_since(at) >= LOSS_MEMORY) {
            *self = Self { lost_at: self.lost_at, ..Self::default() };
        }
        self.counted_at = Some(now);
        let epoch_start = *self.epoch_start.get_or_insert(now);
        let elapsed = now.saturating_duration_since(*self.window_start.get_or_insert(now));
        self.window_bytes += bytes;
        if elapsed < WINDOW {
            return;
        }
        let rate = u128::from(self.window_bytes) * 1_000_000 / elapsed.as_micros().max(1);
        (self.window_start, self.window_bytes) = (Some(now), 0);
        if now.saturating_duration_since(epoch_start) >= EPOCH {
            (self.epoch_start, self.most_before, self.most) = (Some(now), self.most, 0);
        }
        self.most = self.most.max(u64::try_from(rate).unwrap_or(u64::MAX));
    }

    /// The rate that limits, in bytes per second; 0 where none does.
    fn limit(&self, now: Instant) -> u64 {
        let passed = |since: Option<Instant>| since.map(|at| now.saturating_duration_since(at));
        let is_lossy = passed(self.lost_at).is_some_and(|passed| passed < LOSS_MEMORY);
        let is_probing = passed(self.epoch_start).is_none_or(|passed| passed < PROBING);
        if is_lossy && !is_probing { self.most.max(self.most_before) } else { 0 }
    }
}

/// Makes the congestion control of a connection whose packets may come to have `packet_bytes_max`.
pub(crate) struct Shares {
    pub(crate) uplink: Arc<Uplink>,
    pub(crate) packet_bytes_max: u16,
}

impl ControllerFactory for Shares {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let mut config = CubicConfig::default();
        // Two of the largest packets (RFC 9002, section 7.2). A probe for the largest would fill a window of 12,000 bytes, and a
        // connection of quinn that is closed while its window is full (quinn-proto 0.11.19) does not tell its peer.
        config.initial_window(INITIAL_WINDOW_BYTES.max(2 * u64::from(self.packet_bytes_max)));
        let cubic = Cubic::new(Arc::new(config), now, mtu);
        let uplink = self.uplink.clone();
        Box::new(Share { uplink, cubic, packet_bytes: mtu, acknowledged: 0, round_trip: Duration::ZERO })
    }
}

/// One connection's congestion control: Cubic, below its share of the node's window.
#[derive(Clone)]
struct Share {
    uplink: Arc<Uplink>,
    cubic: Cubic,
    /// Size of a full packet.
    packet_bytes: u16,
    /// Bytes since the last batch of acknowledgements ended.
    acknowledged: u64,
    /// The shortest that was seen.
    round_trip: Duration,
}

impl Share {
    /// What the share is at most.
    fn limit(&self) -> u64 {
        self.uplink.share(self.round_trip).max(u64::from(PACKETS_MIN) * u64::from(self.packet_bytes))
    }
}

impl Controller for Share {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.acknowledged += bytes;
        self.round_trip = rtt.min();
        // A window that is not used does not grow (RFC 9438, section 5.8).
        let is_unused = app_limited || self.limit() < self.cubic.window();
        self.cubic.on_ack(now, sent, bytes, is_unused, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.uplink.note_acknowledged(now, std::mem::take(&mut self.acknowledged));
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.uplink.note_loss(now);
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.packet_bytes = new_mtu;
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window().min(self.limit())
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;

    fn start() -> Instant {
        crate::clock::now().into_std()
    }

    fn member(index: u8) -> MemberId {
        MemberId([index; 16])
    }

    /// Has carried `RATE` from `start` to `start + PROBING`, to two peers; `is_lossy` says whether some of it was lost.
    fn used(start: Instant, is_lossy: bool) -> (Arc<Uplink>, [Receiver; 2]) {
        let uplink = Arc::<Uplink>::default();
        let receivers = [0, 1].map(|index| uplink.send_to(member(index)));
        if is_lossy {
            uplink.note_loss(start);
        }
        carry(&uplink, start, PROBING, RATE);
        (uplink, receivers)
    }

    fn carry(uplink: &Uplink, from: Instant, time: Duration, rate: u64) {
        for slice in 0..=u32::try_from(time.as_millis() / 100).expect("short") {
            uplink.note_acknowledged(from + Duration::from_millis(100) * slice, rate / 10);
        }
    }

    fn share(uplink: &Uplink) -> u64 {
        uplink.share(Duration::ZERO)
    }

    fn carried_in(time: Duration) -> std::ops::RangeInclusive<u64> {
        let bytes = RATE * u64::try_from(time.as_micros()).expect("short") / 1_000_000;
        bytes * 4 / 5..=bytes * 5 / 4
    }

    #[test]
    fn the_first_window_has_room_for_a_probe_and_a_close() {
        let window = |packet_bytes_max| {
            let shares = Arc::new(Shares { uplink: Arc::default(), packet_bytes_max });
            shares.build(start(), 1200).window()
        };
        assert_eq!(window(1472), INITIAL_WINDOW_BYTES, "on usual links as everywhere");
        assert_eq!(window(32_752), 2 * 32_752);
    }

    #[test]
    fn without_losses_nothing_is_limited() {
        let start = start();
        assert_eq!(share(&used(start, false).0), u64::MAX);
        let (uplink, _receivers) = used(start, true);
        assert!(carried_in(QUEUE_TIME / 2).contains(&share(&uplink)));
        carry(&uplink, start + PROBING, LOSS_MEMORY, RATE);
        assert_eq!(share(&uplink), u64::MAX, "once the last loss is long ago");
    }

    #[test]
    fn nothing_is_limited_before_the_rate_is_known() {
        let start = start();
        let uplink = Arc::<Uplink>::default();
        let _receivers = [0, 1].map(|index| uplink.send_to(member(index)));
        uplink.note_loss(start);
        carry(&uplink, start, PROBING / 2, RATE);
        assert_eq!(share(&uplink), u64::MAX, "at its beginning");
        carry(&uplink, start + PROBING / 2, PROBING / 2, RATE);
        assert!(carried_in(QUEUE_TIME / 2).contains(&share(&uplink)));
        let later = start + PROBING + LOSS_MEMORY;
        uplink.note_loss(later);
        carry(&uplink, later, PROBING / 2, RATE);
        assert_eq!(share(&uplink), u64::MAX, "after a long time without pieces");
    }

    #[test]
    fn messages_alone_say_nothing_about_the_link() {
        let start = start();
        let (uplink, receivers) = used(start, true);
        drop(receivers);
        for second in 0..60 {
            let now = start + PROBING + Duration::from_secs(1) * second;
            uplink.note_loss(now);
            uplink.note_acknowledged(now, 100);
        }
        let _receivers = [0, 1].map(|index| uplink.send_to(member(index)));
        assert!(carried_in(QUEUE_TIME / 2).contains(&share(&uplink)));
    }

    #[test]
    fn those_that_are_sent_pieces_share_one_window() {
        let (uplink, [first, second]) = used(start(), true);
        let others: Vec<_> = [2, 3, 3, 3].map(|index| uplink.send_to(member(index))).into();
        assert!(carried_in(QUEUE_TIME / 4).contains(&share(&uplink)), "four, one of which gets three pieces");
        drop(others);
        assert!(carried_in(QUEUE_TIME / 2).contains(&share(&uplink)));
        drop(first);
        assert_eq!(share(&uplink), u64::MAX, "who is alone");
        drop(second);
        assert!(crate::lock(&uplink.receivers).is_empty());
    }

    #[test]
    fn what_the_way_itself_holds_comes_on_top() {
        let (uplink, _receivers) = used(start(), true);
        let _others = [2, 3].map(|index| uplink.send_to(member(index)));
        let far = Duration::from_millis(300);
        assert!(carried_in(QUEUE_TIME / 4 + far).contains(&uplink.share(far)));
    }

    #[test]
    fn the_best_rate_counts_for_a_while() {
        let start = start();
        let (uplink, _receivers) = used(start, true);
        let slow = |from: Duration, time: Duration| {
            uplink.note_loss(start + from + time);
            carry(&uplink, start + from, time, RATE / 10);
            share(&uplink)
        };
        assert!(carried_in(QUEUE_TIME / 2).contains(&slow(PROBING, EPOCH)), "an epoch later");
        assert!(carried_in(QUEUE_TIME / 20).contains(&slow(PROBING + EPOCH, EPOCH * 2)), "three epochs later");
    }

    #[test]
    fn a_queue_that_others_keep_full_does_not_starve_it() {
        let start = start();
        let (uplink, _receivers) = used(start, true);
        let way = Duration::from_millis(10);
        // Others fill a queue of 200 ms, in which these pieces would have all of `RATE`.
        let round_trip = way + Duration::from_millis(200);
        let fair = RATE * 210 / 1000;
        let (mut now, mut sent) = (start + PROBING, 0);
        for _ in 0..5000 {
            let both = uplink.share(way).min(fair / 2) * 2;
            now += round_trip;
            uplink.note_loss(now);
            uplink.note_acknowledged(now, both);
            sent += both;
        }
        assert!(sent > fair * 5000 / 4, "{sent} of {} bytes", fair * 5000);
    }

    #[test]
    fn a_connection_has_at_least_two_batches_of_acknowledgements() {
        let start = start();
        let (uplink, _receivers) = used(start, true);
        let _others: Vec<_> = (0..100).map(|index| uplink.send_to(member(index))).collect();
        let mut share = Share {
            uplink,
            cubic: Cubic::new(Arc::new(CubicConfig::default()), start, 1200),
            packet_bytes: 1200,
            acknowledged: 0,
            round_trip: Duration::ZERO,
        };
        assert_eq!(share.limit(), u64::from(2 * PACKETS_PER_ACK) * 1200);
        share.on_mtu_update(1466);
        assert_eq!(share.limit(), u64::from(2 * PACKETS_PER_ACK) * 1466, "of packets as large as they have become");
    }
}

//! Counters and gauges of the engine. Names and help texts are part of the interface: dashboards refer to them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::engine::MetricsSnapshot;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn add(&self, amount: i64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub(crate) fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// Counts one up until the guard is dropped.
    pub(crate) fn hold(&self) -> GaugeHold<'_> {
        self.add(1);
        GaugeHold(self)
    }
}

/// Counts its gauge down again when it is dropped.
pub(crate) struct GaugeHold<'a>(&'a Gauge);

impl Drop for GaugeHold<'_> {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

macro_rules! metrics {
    (counters { $($counter:ident: $counter_help:literal,)* } gauges { $($gauge:ident: $gauge_help:literal,)* }) => {
        /// All counters and gauges of a node.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(#[doc = $counter_help] pub(crate) $counter: Counter,)*
            $(#[doc = $gauge_help] pub(crate) $gauge: Gauge,)*
        }

        impl Metrics {
            /// All values now, with names and help texts.
            pub(crate) fn snapshot(&self) -> MetricsSnapshot {
                MetricsSnapshot {
                    counters: vec![$((stringify!($counter), $counter_help, self.$counter.get()),)*],
                    gauges: vec![$((stringify!($gauge), $gauge_help, self.$gauge.get()),)*],
                }
            }
        }
    };
}

metrics! {
    counters {
        upstream_received_bytes: "Bytes of blobs and manifests received from upstream registries.",
        upstream_requests: "Fetches asked of upstream registries.",
        upstream_failures: "Fetches from upstream registries that failed or ended early.",
        peer_received_bytes: "Bytes of pieces received from peers.",
        peer_sent_bytes: "Bytes of pieces sent to peers.",
        duplicate_received_bytes: "Bytes of pieces that were received but already stored, or cancelled.",
        pieces_stored: "Pieces verified and stored.",
        pieces_hashed_with_digest: "Pieces whose hash was computed in one pass with the digest of their blob.",
        spool_direct_bytes: "Bytes of pieces written to the spool past the page cache.",
        pieces_corrupt: "Pieces refused because they do not match their voucher.",
        blobs_verified: "Blobs completed and verified against their digest.",
        pulls_milliseconds: "Time that completed blobs took while they were wanted, in milliseconds.",
        pulls_bound_milliseconds: "The least time that the links allow for the same blobs, in milliseconds; counted where the rate of the links is configured.",
        blobs_corrupt: "Blobs whose bytes did not have their digest.",
        gossip_received_packets: "Gossip datagrams received, opened and decoded.",
        gossip_sent_packets: "Gossip datagrams sent.",
        gossip_rejected_packets: "Datagrams refused: not sealed with a key of this cluster, malformed or of another version.",
        gossip_dropped_packets: "Gossip datagrams dropped because the node was too busy to read them.",
        handshakes_refused: "QUIC handshakes refused because the peer's key is not that of a known member.",
        control_malformed: "Control streams and piece requests refused as malformed.",
        control_dropped_messages: "Control messages that could not be encoded within their limit.",
        uploads_refused_busy: "Piece requests refused because all upload slots were taken.",
        rests: "Rests of a few milliseconds that a thread took while pieces trickled in.",
    }
    gauges {
        members_alive: "Members that count as alive, this one included.",
        uploads_active: "Pieces being sent to peers.",
        downloads_active: "Pieces being received from peers.",
        spool_bytes: "Bytes of verified pieces in the spool.",
        blobs_wanted: "Blobs that local readers want and that are not complete.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_shows_what_was_counted() {
        let metrics = Metrics::default();
        metrics.pieces_stored.add(3);
        let held = metrics.uploads_active.hold();
        let value = |snapshot: &MetricsSnapshot, name| {
            snapshot.gauges.iter().find(|gauge| gauge.0 == name).map(|gauge| gauge.2)
        };
        let snapshot = metrics.snapshot();
        assert!(snapshot.counters.iter().any(|(name, _, value)| *name == "pieces_stored" && *value == 3));
        assert_eq!(value(&snapshot, "uploads_active"), Some(1));
        drop(held);
        assert_eq!(value(&metrics.snapshot(), "uploads_active"), Some(0));
    }
}

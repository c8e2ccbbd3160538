//! Token buckets, as `tc` takes them.

use std::fs;

use super::{error::PreflightError, plan::Shaper};

/// A full frame as shapers count it: 1,500 bytes of packet and 14 of Ethernet header. And the part of it that is payload
/// of a TCP stream with timestamps.
const FRAME_BYTES: u64 = 1_514;
const PAYLOAD_BYTES: u64 = 1_448;
/// Least burst: a few GSO packets of QUIC.
const MIN_BURST_BYTES: u64 = 32 * 1024;
/// A queue of so long at the link's rate, beyond the burst. With 10 ms, nodes that all send to all over QUIC lost a fifth
/// of their rate at 50 Mbit/s; with 100 ms, one connection lost a quarter to the losses at its start.
const QUEUE_MS: u64 = 50;
/// Where the kernel tells whether HTB owes a burst before it waits. For the whole kernel, so the laboratory leaves it to
/// whose machine it is.
const HYSTERESIS: &str = "/sys/module/sch_htb/parameters/htb_hysteresis";

/// A token bucket's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// Bytes per second, with headers.
    rate: u64,
    /// Bytes that it saves, or with [`Shaper::Htb`] owes, at most.
    burst: u64,
    /// Bytes that wait at most.
    limit: u64,
}

impl Shaper {
    /// Lines that shape what an interface sends, from the start.
    pub(super) fn add(self, interface: &str, handle: u16, payload_bytes_per_s: u64) -> String {
        let bucket = self.bucket(payload_bytes_per_s);
        match self {
            Self::Tbf => format!("qdisc replace dev {interface} root handle {handle:x}: {}\n", bucket.tbf()),
            Self::Htb => format!(
                "qdisc replace dev {interface} root handle {handle:x}: htb default 1\n\
                 class add dev {interface} parent {handle:x}: classid {handle:x}:1 {}\n\
                 qdisc add dev {interface} parent {handle:x}:1 bfifo limit {}\n",
                bucket.htb(),
                bucket.limit
            ),
        }
    }

    /// Lines that give an interface that is shaped another rate. Queues and counters stay.
    pub(super) fn change(self, interface: &str, handle: u16, payload_bytes_per_s: u64) -> String {
        let bucket = self.bucket(payload_bytes_per_s);
        match self {
            Self::Tbf => format!("qdisc change dev {interface} root {}\n", bucket.tbf()),
            Self::Htb => format!(
                "class change dev {interface} parent {handle:x}: classid {handle:x}:1 {}\n\
                 qdisc change dev {interface} parent {handle:x}:1 bfifo limit {}\n",
                bucket.htb(),
                bucket.limit
            ),
        }
    }

    /// Whether the kernel's parameters are as this shaper needs them. After a trial, which loads its module.
    pub(super) fn check_parameters(self) -> Result<(), PreflightError> {
        if self == Self::Tbf {
            return Ok(());
        }
        let message = match fs::read_to_string(HYSTERESIS) {
            Ok(value) if value.trim() != "0" => return Ok(()),
            Ok(_) => format!("{HYSTERESIS} is 0"),
            Err(error) => format!("{HYSTERESIS}: {error}"),
        };
        Err(PreflightError::Impossible {
            what: "shapers that let bursts pass",
            remedy: "Write 1 there, which holds for all HTB queues of this kernel, or leave --shaper htb out",
            message,
        })
    }

    fn bucket(self, payload_bytes_per_s: u64) -> Bucket {
        let rate = u128::from(payload_bytes_per_s) * u128::from(FRAME_BYTES) / u128::from(PAYLOAD_BYTES);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        let lasting = |milliseconds: u64| rate.saturating_mul(milliseconds) / 1_000;
        // `tc` takes sizes of up to 32 bits.
        let burst = lasting(self.burst_ms()).clamp(MIN_BURST_BYTES, u64::from(u32::MAX) / 4);
        let limit = (burst + lasting(QUEUE_MS)).min(u64::from(u32::MAX) / 2);
        Bucket { rate: rate.max(1), burst, limit }
    }

    /// A burst lasts so long.
    fn burst_ms(self) -> u64 {
        match self {
            // The timers of a busy machine come late, and what was not sent by then is lost to the link.
            Self::Tbf => 8,
            // One timer for each burst: with 8 ms 16 nodes of 50 Mbit/s take 7 % more of the processors.
            Self::Htb => 16,
        }
    }
}

impl Bucket {
    fn tbf(self) -> String {
        format!("tbf rate {}bps burst {} limit {}", self.rate, self.burst, self.limit)
    }

    /// With one class there is nothing to share out, but without a quantum the kernel warns of the one that it takes.
    fn htb(self) -> String {
        format!("htb rate {}bps burst {} cburst {} quantum 60000", self.rate, self.burst, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shaper_counts_frames_where_a_scenario_counts_payload() {
        // 100 Mbit/s of payload.
        let bucket = Shaper::Tbf.bucket(12_500_000);
        assert_eq!(bucket.tbf(), "tbf rate 13069751bps burst 104558 limit 758045");
        assert_eq!(Shaper::Tbf.bucket(1).tbf(), "tbf rate 1bps burst 32768 limit 32768");
        assert!(Shaper::Tbf.bucket(u64::MAX).tbf().ends_with("burst 1073741823 limit 2147483647"));
        let bucket = Shaper::Htb.bucket(12_500_000);
        assert_eq!(bucket, Bucket { rate: 13_069_751, burst: 209_116, limit: 862_603 });
    }

    #[test]
    fn the_owed_burst_is_as_long_as_the_saved_one() {
        let lines = Shaper::Htb.add("eth0", 0x1f, 125_000);
        assert_eq!(
            lines.lines().collect::<Vec<_>>(),
            [
                "qdisc replace dev eth0 root handle 1f: htb default 1",
                "class add dev eth0 parent 1f: classid 1f:1 htb rate 130697bps burst 32768 cburst 32768 quantum 60000",
                "qdisc add dev eth0 parent 1f:1 bfifo limit 39302",
            ]
        );
    }
}

//! Interfaces, bridges and shapers.

use std::fmt::Write;

use shoal_sim::scenario::Link;

use super::{
    error::NetworkError,
    names::Names,
    plan::{Host, NetworkPlan},
    tools::{AfterFailure, batch},
};

/// A full frame as shapers count it: 1,500 bytes of packet and 14 of Ethernet header. And the part of it that is payload
/// of a TCP stream with timestamps.
const FRAME_BYTES: u64 = 1_514;
const PAYLOAD_BYTES: u64 = 1_448;
/// Least burst: a few GSO packets of QUIC.
const MIN_BURST_BYTES: u64 = 32 * 1024;
/// A burst lasts so long: the timers of a busy machine come late, and what was not sent by then is lost to the link.
const BURST_MS: u64 = 8;
/// A queue of so long at the link's rate, beyond the burst. With 10 ms, nodes that all send to all over QUIC lost a fifth
/// of their rate at 50 Mbit/s; with 100 ms, one connection lost a quarter to the losses at its start.
const QUEUE_MS: u64 = 50;

/// Name of the one interface in a host's namespace.
pub(super) const HOST_INTERFACE: &str = "eth0";
/// Handle of the shaper on it.
pub(super) const HOST_SHAPER: u16 = 1;

/// Handle of the shaper that sends to a host, the `index`-th of the plan, in the namespace of the switches.
pub(super) fn port_shaper(index: usize) -> u16 {
    // Plans have far fewer hosts than there are handles.
    u16::try_from(index + 1).unwrap_or(u16::MAX)
}

/// Handles of the shapers of a zone: of what leaves it, and of what enters.
pub(super) fn zone_shapers(zone: usize) -> (u16, u16) {
    let leaving = u16::try_from(0x4000 + 2 * zone).unwrap_or(u16::MAX - 1);
    (leaving, leaving + 1)
}

/// Connects all hosts of a plan, whose namespaces are there and bare. Where there is latency, the relay has made the
/// interfaces.
pub(super) fn connect(names: &Names, plan: &NetworkPlan) -> Result<(), NetworkError> {
    let (mut links, mut shapers) = (String::from("link set lo up\n"), String::new());
    add_bridge(&mut links, "core");
    for (zone, uplink) in plan.zone_uplinks.iter().enumerate() {
        add_zone(&mut links, &mut shapers, zone, *uplink);
    }
    for (index, host) in plan.hosts().enumerate() {
        if plan.latency.is_zero() {
            writeln_to(
                &mut links,
                &format!("link add {host} type veth peer name {HOST_INTERFACE} netns {}", names.host(host)),
            );
        }
        let bridge = plan.zone(host).map_or_else(|| "core".to_owned(), |zone| format!("zone{zone}"));
        writeln_to(&mut links, &format!("link set {host} master {bridge} up"));
        if let Some(link) = plan.link(host) {
            add_shaper(&mut shapers, &host.to_string(), port_shaper(index), link.down);
        }
    }
    batch("ip", Some(&names.switch()), &links, AfterFailure::Stop, "connecting hosts to bridges")?;
    batch("tc", Some(&names.switch()), &shapers, AfterFailure::Stop, "shaping links at the switches")?;
    plan.hosts().try_for_each(|host| connect_host(names, plan, host))
}

fn connect_host(names: &Names, plan: &NetworkPlan, host: Host) -> Result<(), NetworkError> {
    let (name, address) = (names.host(host), host.address());
    let lines =
        format!("link set lo up\naddress add {address}/16 dev {HOST_INTERFACE}\nlink set {HOST_INTERFACE} up\n");
    let mut shapers = String::new();
    if let Some(link) = plan.link(host) {
        add_shaper(&mut shapers, HOST_INTERFACE, HOST_SHAPER, link.up);
    }
    // The shaper first: no byte passes without it.
    batch("tc", Some(&name), &shapers, AfterFailure::Stop, &format!("shaping the link of {host}"))?;
    batch("ip", Some(&name), &lines, AfterFailure::Stop, &format!("giving {host} its address"))
}

/// Gives the link of a host other rates. Queues and counters stay.
pub(super) fn change(names: &Names, host: Host, link: Link) -> Result<(), NetworkError> {
    let doing = format!("changing the link of {host}");
    let up = format!("qdisc change dev {HOST_INTERFACE} root {}\n", shaper(link.up));
    batch("tc", Some(&names.host(host)), &up, AfterFailure::Stop, &doing)?;
    let down = format!("qdisc change dev {host} root {}\n", shaper(link.down));
    batch("tc", Some(&names.switch()), &down, AfterFailure::Stop, &doing)
}

fn add_zone(links: &mut String, shapers: &mut String, zone: usize, uplink: Link) {
    let (leaving, entering) = zone_shapers(zone);
    let bridge = format!("zone{zone}");
    add_bridge(links, &bridge);
    writeln_to(links, &format!("link add leave{zone} type veth peer name enter{zone}"));
    writeln_to(links, &format!("link set leave{zone} master {bridge} up"));
    writeln_to(links, &format!("link set enter{zone} master core up"));
    add_shaper(shapers, &format!("leave{zone}"), leaving, uplink.up);
    add_shaper(shapers, &format!("enter{zone}"), entering, uplink.down);
}

/// A bridge that passes frames on at once: there are no loops to look for, and no groups.
fn add_bridge(links: &mut String, name: &str) {
    writeln_to(links, &format!("link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"));
    writeln_to(links, &format!("link set {name} up"));
}

fn add_shaper(shapers: &mut String, interface: &str, handle: u16, payload_bytes_per_s: u64) {
    let shaper = shaper(payload_bytes_per_s);
    writeln_to(shapers, &format!("qdisc replace dev {interface} root handle {handle:x}: {shaper}"));
}

fn writeln_to(lines: &mut String, line: &str) {
    // Writing to a string does not fail.
    writeln!(lines, "{line}").ok();
}

/// A token bucket for a rate of payload, as `tc` takes it.
pub(super) fn shaper(payload_bytes_per_s: u64) -> String {
    let rate = u128::from(payload_bytes_per_s) * u128::from(FRAME_BYTES) / u128::from(PAYLOAD_BYTES);
    let rate = u64::try_from(rate).unwrap_or(u64::MAX);
    let lasting = |milliseconds: u64| rate.saturating_mul(milliseconds) / 1_000;
    // `tc` takes sizes of up to 32 bits.
    let burst = lasting(BURST_MS).clamp(MIN_BURST_BYTES, u64::from(u32::MAX) / 4);
    let limit = (burst + lasting(QUEUE_MS)).min(u64::from(u32::MAX) / 2);
    format!("tbf rate {}bps burst {burst} limit {limit}", rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shaper_counts_frames_where_a_scenario_counts_payload() {
        // 100 Mbit/s of payload.
        assert_eq!(shaper(12_500_000), "tbf rate 13069751bps burst 104558 limit 758045");
        assert_eq!(shaper(1), "tbf rate 1bps burst 32768 limit 32768");
        assert!(shaper(u64::MAX).ends_with("burst 1073741823 limit 2147483647"));
    }

    #[test]
    fn no_two_shapers_at_the_switches_share_a_handle() {
        let ports = (0..super::super::MAX_NODES + 2).map(port_shaper);
        let zones = (0..super::super::MAX_ZONES).flat_map(|zone| [zone_shapers(zone).0, zone_shapers(zone).1]);
        let handles: Vec<u16> = ports.chain(zones).collect();
        let distinct: std::collections::BTreeSet<&u16> = handles.iter().collect();
        assert_eq!(distinct.len(), handles.len());
    }
}

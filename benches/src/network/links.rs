//! Interfaces, bridges and shapers.

use std::fmt::Write;

use shoal_sim::scenario::Link;

use super::{
    error::NetworkError,
    names::Names,
    plan::{Host, NetworkPlan, Shaper},
    tools::{AfterFailure, batch},
};

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
        add_zone(&mut links, &mut shapers, zone, *uplink, plan.shaper);
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
            shapers += &plan.shaper.add(&host.to_string(), port_shaper(index), link.down);
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
        shapers += &plan.shaper.add(HOST_INTERFACE, HOST_SHAPER, link.up);
    }
    // The shaper first: no byte passes without it.
    batch("tc", Some(&name), &shapers, AfterFailure::Stop, &format!("shaping the link of {host}"))?;
    batch("ip", Some(&name), &lines, AfterFailure::Stop, &format!("giving {host} its address"))
}

/// Gives the link of a host of the plan other rates. Queues and counters stay.
pub(super) fn change(names: &Names, plan: &NetworkPlan, host: Host, link: Link) -> Result<(), NetworkError> {
    let doing = format!("changing the link of {host}");
    let up = plan.shaper.change(HOST_INTERFACE, HOST_SHAPER, link.up);
    batch("tc", Some(&names.host(host)), &up, AfterFailure::Stop, &doing)?;
    let index = plan.hosts().position(|other| other == host).unwrap_or_default();
    let down = plan.shaper.change(&host.to_string(), port_shaper(index), link.down);
    batch("tc", Some(&names.switch()), &down, AfterFailure::Stop, &doing)
}

fn add_zone(links: &mut String, shapers: &mut String, zone: usize, uplink: Link, shaper: Shaper) {
    let (leaving, entering) = zone_shapers(zone);
    let bridge = format!("zone{zone}");
    add_bridge(links, &bridge);
    writeln_to(links, &format!("link add leave{zone} type veth peer name enter{zone}"));
    writeln_to(links, &format!("link set leave{zone} master {bridge} up"));
    writeln_to(links, &format!("link set enter{zone} master core up"));
    *shapers += &shaper.add(&format!("leave{zone}"), leaving, uplink.up);
    *shapers += &shaper.add(&format!("enter{zone}"), entering, uplink.down);
}

/// A bridge that passes frames on at once: there are no loops to look for, and no groups.
fn add_bridge(links: &mut String, name: &str) {
    writeln_to(links, &format!("link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"));
    writeln_to(links, &format!("link set {name} up"));
}

fn writeln_to(lines: &mut String, line: &str) {
    // Writing to a string does not fail.
    writeln!(lines, "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_shapers_at_the_switches_share_a_handle() {
        let ports = (0..super::super::MAX_NODES + 2).map(port_shaper);
        let zones = (0..super::super::MAX_ZONES).flat_map(|zone| [zone_shapers(zone).0, zone_shapers(zone).1]);
        let handles: Vec<u16> = ports.chain(zones).collect();
        let distinct: std::collections::BTreeSet<&u16> = handles.iter().collect();
        assert_eq!(distinct.len(), handles.len());
    }
}

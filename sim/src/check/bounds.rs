//! How much there may be of everything.

use std::time::Duration;

use shoal_core::{census::Census, config::CoreConfig};
use shoal_wire::geometry::Geometry;

use super::plan::{Fault, FaultKind, Plan};

/// Leases that a node works on at once.
const LEASES_HELD_MAX: usize = 64;
/// Copies of a lease's last piece, and leases that stand still while others take their place, beside the limit.
const LEASES_SLACK: usize = 32;

/// Which of a node's tables is larger than it may be, in a cluster of so many nodes.
pub(super) fn excess(census: &Census, config: &CoreConfig, nodes: usize) -> Option<String> {
    let swarm = &config.swarm;
    // One place more for what a reader waits for, and those that a young blob leaves over.
    let waiting = swarm.upload_backlog + 1 + swarm.slots_limit().saturating_sub(swarm.upload_slots_young);
    let leases_given = usize::try_from(config.injection.leases_max).unwrap_or(usize::MAX) + LEASES_SLACK;
    let bounds = [
        ("neighbours", census.neighbours, swarm.neighbours_max),
        ("peers", census.peers, nodes),
        ("requests", census.requests, swarm.requests_limit() + 1),
        ("leases held", census.leases_held, LEASES_HELD_MAX),
        ("uploads", census.uploads_served, swarm.uploads_limit()),
        ("waiting uploads", census.uploads_waiting, waiting),
        ("refused members", census.refused, swarm.refused_max.min(nodes)),
        ("members that were served", census.served_members, nodes),
        ("questions", census.questions, config.directory.questions_max),
        ("records", census.records, config.injection.blobs_max),
        ("participants", census.participants, config.injection.participants_max.min(nodes)),
        ("leases given", census.leases_given, leases_given),
    ];
    let (what, found, most) = bounds.into_iter().find(|(_, found, most)| found > most)?;
    Some(format!("{found} {what}, of {most} at most"))
}

/// Bytes that the upstream may send.
///
/// Once for each blob; a quarter and 8 pieces for what is under way when leases are cut or repeated, which counts where
/// nodes are much slower than the upstream. A fault costs a copy at most for each node that it drives to fetch for itself, or
/// that lost what it had: one for each node that ends, stops or changes its mind; one for each node and partition, since
/// none of the cut off reaches a home until membership knows; where the upstream lies one for each node and second, since
/// readers try again, and three for what is wrong afterwards. Without ranges everything begins again when the one that
/// streams it is disturbed.
pub(super) fn upstream_bytes_max(plan: &Plan) -> u64 {
    let nodes = plan.nodes.len() as u64;
    let weight = |fault: &Fault| match &fault.what {
        FaultKind::Partition { .. } | FaultKind::UpstreamIgnoresRanges => nodes,
        FaultKind::UpstreamLies => nodes * (3 + fault.for_ms / 1000),
        FaultKind::Loss { .. } | FaultKind::Hang { .. } | FaultKind::Crash { .. } | FaultKind::Leave { .. } => 2,
        FaultKind::Pause { .. }
        | FaultKind::Slow { .. }
        | FaultKind::Corrupt { .. }
        | FaultKind::Mute { .. }
        | FaultKind::DiskFull { .. }
        | FaultKind::Evict { .. }
        | FaultKind::StopReading { .. }
        | FaultKind::UpstreamDown
        | FaultKind::UpstreamRefuses { .. }
        | FaultKind::UpstreamStalls
        | FaultKind::Denied { .. } => 1,
    };
    let of_faults: u64 = plan.faults.iter().map(weight).sum();
    let late = plan.nodes.iter().filter(|node| node.starts_ms > 0).count() as u64;
    let without_ranges = if plan.upstream.ranges { 0 } else { 1 + of_faults };
    let copies = of_faults + late + without_ranges + u64::from(plan.loss_permille > 0);
    let of_blob = |size: &u64| {
        let piece = Geometry::of(*size).map_or(0, |geometry| geometry.piece_bytes().min(*size));
        size * (1 + copies) + size / 4 + 8 * piece
    };
    plan.blobs.iter().map(of_blob).sum()
}

/// Time after everything has healed within which everybody has what it pulls: a minute for what membership, backoffs and
/// rests take, two more where the upstream lied, because wrong pieces go from node to node until each has found its whole
/// wrong, or where a node sends nothing, because each has to find that out; and several times what single-source pulls of
/// everything would take over the slowest link.
pub(super) fn finish_within(plan: &Plan) -> Duration {
    let bytes = plan.blobs.iter().sum::<u64>() as f64;
    let links = plan.nodes.iter().flat_map(|node| [node.up, node.down]).chain(plan.zone_uplinks.iter().copied());
    let slowest = links.min().unwrap_or(1).max(1) as f64;
    let from_upstream = bytes * plan.nodes.len() as f64 / plan.upstream.bytes_per_s.max(1) as f64;
    let seconds = 4.0 * (bytes / slowest + from_upstream);
    let takes_long = |fault: &Fault| matches!(fault.what, FaultKind::UpstreamLies | FaultKind::Mute { .. });
    let patience = if plan.faults.iter().any(takes_long) { 180 } else { 60 };
    Duration::from_secs(patience) + Duration::from_secs_f64(seconds.min(36_000.0))
}

/// Time after everything has healed within which all know who lives.
pub(super) const AGREED_WITHIN: Duration = Duration::from_secs(300);
/// Time after everybody has finished within which nothing is left open.
pub(super) const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// Time after everything has healed from which on nobody is told that a blob cannot be had.
pub(super) const NO_FAILURES_AFTER: Duration = Duration::from_secs(60);

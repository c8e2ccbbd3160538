//! Makes a plan that fails small, while it fails in the same way: fewer faults, nodes, blobs, pulls and pieces, and then
//! plainer paths and times (delta debugging, Zeller and Hildebrandt 2002, one at a time and in halves).

use shoal_wire::limits::PIECE_BYTES_MIN;

use super::plan::{Fault, FaultKind, Plan, Pull};

/// The smallest plan found of which `fails` says that it fails in the same way. Each call of `fails` is a run; there are at
/// most `tries_max` of them.
pub fn shrink(plan: &Plan, tries_max: usize, fails: &mut dyn FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let mut tries = 0;
    loop {
        let before = best.clone();
        for candidates in [faults, nodes, blobs, pulls, sizes, paths, times] {
            // Candidates are computed anew after each success, because they refer to the plan by position.
            let mut from = 0;
            loop {
                let list = candidates(&best);
                let Some(candidate) = list.get(from) else { break };
                if tries >= tries_max {
                    return best;
                }
                tries += 1;
                if candidate != &best && fails(candidate) {
                    best = candidate.clone();
                } else {
                    from += 1;
                }
            }
        }
        if best == before {
            return best;
        }
    }
}

fn faults(plan: &Plan) -> Vec<Plan> {
    let halves = without_halves(&plan.faults).into_iter();
    halves.map(|faults| Plan { faults, ..plan.clone() }).collect()
}

fn pulls(plan: &Plan) -> Vec<Plan> {
    let halves = without_halves(&plan.pulls).into_iter();
    halves.map(|pulls| Plan { pulls, ..plan.clone() }).collect()
}

/// The list without its halves, and then without each of its items.
fn without_halves<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    let middle = list.len() / 2;
    let mut shorter = Vec::new();
    if list.len() > 3 {
        shorter.extend([list[middle..].to_vec(), list[..middle].to_vec()]);
    }
    for place in 0..list.len() {
        let mut one_less = list.to_vec();
        one_less.remove(place);
        shorter.push(one_less);
    }
    shorter
}

/// Without the second half of the nodes, and without each of them.
fn nodes(plan: &Plan) -> Vec<Plan> {
    let count = u32::try_from(plan.nodes.len()).unwrap_or(u32::MAX);
    let mut smaller = Vec::new();
    if count > 4 {
        smaller.push((count / 2..count).rev().fold(plan.clone(), |plan, node| without_node(&plan, node)));
    }
    if count > 1 {
        smaller.extend((0..count).rev().map(|node| without_node(plan, node)));
    }
    smaller
}

fn without_node(plan: &Plan, gone: u32) -> Plan {
    let renumbered = |node: u32| (node != gone).then(|| if node > gone { node - 1 } else { node });
    let mut smaller = plan.clone();
    smaller.nodes.remove(gone as usize);
    let pull = |pull: &Pull| Some(Pull { node: renumbered(pull.node)?, ..pull.clone() });
    smaller.pulls = plan.pulls.iter().filter_map(pull).collect();
    let fault = |fault: &Fault| Some(Fault { what: on_node(&fault.what, &renumbered)?, ..fault.clone() });
    smaller.faults = plan.faults.iter().filter_map(fault).collect();
    smaller
}

/// A fault with other numbers of nodes; nothing where its node is gone.
fn on_node(what: &FaultKind, renumbered: &impl Fn(u32) -> Option<u32>) -> Option<FaultKind> {
    let mut what = what.clone();
    match &mut what {
        FaultKind::Crash { node, .. }
        | FaultKind::Leave { node, .. }
        | FaultKind::Pause { node }
        | FaultKind::Slow { node, .. }
        | FaultKind::Corrupt { node }
        | FaultKind::Mute { node }
        | FaultKind::DiskFull { node }
        | FaultKind::Evict { node, .. }
        | FaultKind::StopReading { node, .. }
        | FaultKind::Denied { node } => *node = renumbered(*node)?,
        FaultKind::Partition { group, .. } => *group = group.iter().filter_map(|node| renumbered(*node)).collect(),
        FaultKind::Loss { .. }
        | FaultKind::Hang { .. }
        | FaultKind::UpstreamDown
        | FaultKind::UpstreamRefuses { .. }
        | FaultKind::UpstreamStalls
        | FaultKind::UpstreamLies
        | FaultKind::UpstreamIgnoresRanges => {}
    }
    Some(what)
}

/// Without each of the blobs, while there are several.
fn blobs(plan: &Plan) -> Vec<Plan> {
    let count = u32::try_from(plan.blobs.len()).unwrap_or(u32::MAX);
    if count < 2 { Vec::new() } else { (0..count).rev().map(|gone| without_blob(plan, gone)).collect() }
}

fn without_blob(plan: &Plan, gone: u32) -> Plan {
    let renumbered = |blob: u32| (blob != gone).then(|| if blob > gone { blob - 1 } else { blob });
    let mut smaller = plan.clone();
    smaller.blobs.remove(gone as usize);
    let pull = |pull: &Pull| Some(Pull { blob: renumbered(pull.blob)?, ..pull.clone() });
    smaller.pulls = plan.pulls.iter().filter_map(pull).collect();
    smaller.faults.retain_mut(|fault| match &mut fault.what {
        FaultKind::Evict { blob, .. } | FaultKind::StopReading { blob, .. } => {
            renumbered(*blob).map(|number| *blob = number).is_some()
        }
        _ => true,
    });
    smaller
}

/// With each blob of one piece, of half as many, or of whole pieces.
fn sizes(plan: &Plan) -> Vec<Plan> {
    let smaller = |place: usize, size: u64| {
        let mut smaller = plan.clone();
        smaller.blobs[place] = size;
        smaller
    };
    let of_blob = |(place, size): (usize, &u64)| {
        let half = (size / 2).next_multiple_of(PIECE_BYTES_MIN);
        let sizes = [PIECE_BYTES_MIN, half, size - size % PIECE_BYTES_MIN];
        sizes.into_iter().filter(|less| less < size && *less > 0).map(move |less| (place, less)).collect::<Vec<_>>()
    };
    plan.blobs.iter().enumerate().flat_map(of_blob).map(|(place, size)| smaller(place, size)).collect()
}

/// Without losses, zones, limits, jitter, and what tells nodes apart.
fn paths(plan: &Plan) -> Vec<Plan> {
    let mut plainer = vec![
        Plan { loss_permille: 0, ..plan.clone() },
        Plan { zone_uplinks: Vec::new(), ..plan.clone() },
        Plan { jitter_us: 0, ..plan.clone() },
        Plan { latency_us: 100, ..plan.clone() },
        Plan { by_tag: false, ..plan.clone() },
    ];
    let upstream = &plan.upstream;
    plainer.push(Plan { upstream: super::UpstreamPlan { connections_max: None, ..upstream.clone() }, ..plan.clone() });
    plainer.push(Plan { upstream: super::UpstreamPlan { ranges: true, ..upstream.clone() }, ..plan.clone() });
    let changed = |change: &dyn Fn(&mut super::NodePlan)| {
        let mut nodes = plan.nodes.clone();
        nodes.iter_mut().for_each(change);
        Plan { nodes, ..plan.clone() }
    };
    plainer.push(changed(&|node| node.is_warm = false));
    plainer.push(changed(&|node| node.starts_ms = 0));
    plainer.push(changed(&|node| (node.up, node.down) = (10_000_000, 10_000_000)));
    if plan.zone_uplinks.is_empty() {
        plainer.push(changed(&|node| node.zone = 0));
    }
    plainer.retain(|plainer| plainer != plan);
    plainer
}

/// With all pulls at the start, and faults at whole seconds.
fn times(plan: &Plan) -> Vec<Plan> {
    let mut plainer = plan.clone();
    plainer.pulls.iter_mut().for_each(|pull| pull.at_ms = 0);
    let mut rounded = plan.clone();
    for fault in &mut rounded.faults {
        fault.at_ms -= fault.at_ms % 1000;
        fault.for_ms = fault.for_ms.next_multiple_of(1000);
    }
    [plainer, rounded].into_iter().filter(|plainer| plainer != plan).collect()
}

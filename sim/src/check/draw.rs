//! Plans from seeds. Each draws first which kinds of faults it may have, so that some plans have many of one kind and
//! others a mixture.

use std::time::Duration;

use shoal_core::rng::Stream;
use shoal_wire::limits::PIECE_BYTES_MIN;

use super::plan::{Fault, FaultKind, NodePlan, Plan, Pull, Refusal, UpstreamPlan, Way};

/// Pieces that all nodes of a plan get together, about: what makes a run cost so much and no more.
const PIECES_IN_ALL: u64 = 1200;
/// Most pieces of a blob.
const PIECES_MAX: u64 = 400;
/// Faults begin, and pulls begin, within this time.
const SPAN_MS: u64 = 8000;

impl Plan {
    /// The plan of a seed: equal seeds give equal plans.
    pub fn draw(seed: u64) -> Self {
        let mut draw = Draw(Stream::new(seed, "plan"));
        let nodes = if draw.chance(0.5) { draw.between(2, 8) } else { draw.between(2, 24) };
        let zones = if draw.chance(0.4) { draw.between(2, 4).min(nodes) } else { 0 };
        let count = if draw.chance(0.6) { 1 } else { draw.between(2, 3) };
        // A few are much larger than the others.
        let pieces = if draw.chance(0.1) { 8 * PIECES_IN_ALL } else { PIECES_IN_ALL };
        let blobs: Vec<u64> = (0..count).map(|_| draw.size(pieces / (nodes * count))).collect();
        let rate = draw.rate();
        let mut plan = Self {
            about: String::new(),
            seed,
            latency_us: draw.scaled(100, 20_000),
            jitter_us: draw.scaled(50, 5000),
            loss_permille: if draw.chance(0.3) { draw.number(1, 50) } else { 0 },
            by_tag: draw.chance(0.5),
            zone_uplinks: (0..zones).map(|_| rate * draw.between(1, 4)).collect(),
            blobs,
            upstream: UpstreamPlan {
                bytes_per_s: draw.rate(),
                ranges: !draw.chance(0.1),
                connections_max: draw.chance(0.1).then(|| draw.number(1, 4)),
            },
            nodes: draw.nodes(nodes, zones, rate),
            pulls: Vec::new(),
            faults: Vec::new(),
        };
        plan.pulls = draw.pulls(&plan);
        plan.faults = draw.faults(&plan);
        plan.faults.extend(draw.mute(&plan));
        plan.faults.sort_by_key(|fault| fault.at_ms);
        plan
    }
}

struct Draw(Stream);

impl Draw {
    fn chance(&mut self, probability: f64) -> bool {
        self.0.chance(probability)
    }

    /// A number of `low..=high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = usize::try_from(high.saturating_sub(low) + 1).unwrap_or(usize::MAX);
        low + self.0.below(span) as u64
    }

    /// The same for smaller numbers.
    fn number(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.between(low.into(), high.into())).unwrap_or(high)
    }

    /// A number of `low..=high`, each order of magnitude as probable as the others.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two whole numbers")]
    fn scaled(&mut self, low: u64, high: u64) -> u64 {
        let (low_log, high_log) = ((low as f64).ln(), (high as f64).ln());
        let drawn = (low_log + (high_log - low_log) * self.0.unit()).exp();
        (drawn.round() as u64).clamp(low, high)
    }

    fn rate(&mut self) -> u64 {
        self.scaled(2_000_000, 60_000_000)
    }

    fn size(&mut self, most: u64) -> u64 {
        let pieces = self.scaled(1, most.clamp(1, PIECES_MAX));
        (pieces * PIECE_BYTES_MIN).saturating_sub(self.between(0, PIECE_BYTES_MIN - 1)).max(1)
    }

    fn nodes(&mut self, count: u64, zones: u64, rate: u64) -> Vec<NodePlan> {
        let are_unequal = self.chance(0.25);
        let warm = if self.chance(0.25) { 0.3 } else { 0.0 };
        let late = if self.chance(0.25) { 0.4 } else { 0.0 };
        (0..count)
            .map(|node| {
                let (up, down) = if are_unequal { (self.rate(), self.rate()) } else { (rate, rate) };
                NodePlan {
                    up,
                    down,
                    zone: u32::try_from(node * zones / count).unwrap_or(0),
                    // The first nodes are those that others join through.
                    starts_ms: if node > 1 && self.chance(late) { self.between(1, SPAN_MS) } else { 0 },
                    is_warm: self.chance(warm),
                }
            })
            .collect()
    }

    fn pulls(&mut self, plan: &Plan) -> Vec<Pull> {
        let spread = if self.chance(0.5) { 100 } else { SPAN_MS };
        let again = if self.chance(0.15) { 0.3 } else { 0.0 };
        let mut pulls = Vec::new();
        for (node, blob) in (0..plan.nodes.len()).flat_map(|node| (0..plan.blobs.len()).map(move |blob| (node, blob))) {
            let at_ms = plan.nodes[node].starts_ms + self.between(0, spread);
            let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
            let pull = |at_ms| Pull { at_ms, node: number(node), blob: number(blob) };
            if !plan.nodes[node].is_warm && !self.chance(0.1) {
                pulls.push(pull(at_ms));
            }
            // Later, when it may have been dropped.
            if self.chance(again) {
                pulls.push(pull(at_ms + SPAN_MS + self.between(0, SPAN_MS)));
            }
        }
        pulls
    }

    fn faults(&mut self, plan: &Plan) -> Vec<Fault> {
        if self.chance(0.12) {
            return Vec::new();
        }
        let kinds: Vec<usize> = (0..self.between(1, 5)).map(|_| self.0.below(KINDS)).collect();
        let count = if self.chance(0.15) { self.between(8, 20) } else { self.between(1, 7) };
        let faults: Vec<Fault> = (0..count)
            .map(|_| {
                let kind = kinds[self.0.below(kinds.len())];
                let (at_ms, for_ms) = (self.between(0, SPAN_MS), self.scaled(100, 20_000));
                let what = self.fault(kind, plan);
                Fault { at_ms, for_ms: self.duration(&what, for_ms), what }
            })
            .collect();
        faults
    }

    /// Nodes that send nothing, in one of eight plans. Drawn after all else, so that the other plans are what they were
    /// before there was this fault.
    fn mute(&mut self, plan: &Plan) -> Vec<Fault> {
        if !self.chance(0.125) {
            return Vec::new();
        }
        let nodes = u32::try_from(plan.nodes.len()).unwrap_or(u32::MAX);
        let mut fault = |_| {
            let what = FaultKind::Mute { node: self.number(0, nodes - 1) };
            Fault { at_ms: self.between(0, SPAN_MS), for_ms: 0, what }
        };
        (0..=nodes / 8).map(&mut fault).collect()
    }

    /// How long a fault lasts. Some who end do not come back; the first node does, because others join through it.
    fn duration(&mut self, what: &FaultKind, for_ms: u64) -> u64 {
        match what {
            FaultKind::Crash { node, .. } | FaultKind::Leave { node, .. } => {
                let is_final = *node > 0 && self.chance(0.3);
                let shortest = u64::try_from(RESTART_MIN.as_millis()).unwrap_or(u64::MAX);
                if is_final { 0 } else { for_ms.max(shortest) }
            }
            FaultKind::Corrupt { .. } | FaultKind::Mute { .. } | FaultKind::Evict { .. } => 0,
            _ => for_ms,
        }
    }

    fn fault(&mut self, kind: usize, plan: &Plan) -> FaultKind {
        let nodes = u32::try_from(plan.nodes.len()).unwrap_or(u32::MAX);
        let node = self.number(0, nodes - 1);
        let blob = self.number(0, u32::try_from(plan.blobs.len()).unwrap_or(1) - 1);
        let keeps_spool = self.chance(0.5);
        match kind {
            0 | 1 => FaultKind::Crash { node, keeps_spool },
            2 => FaultKind::Leave { node, keeps_spool },
            3 | 4 => FaultKind::Pause { node },
            5 | 6 => self.partition(plan, nodes),
            7 => FaultKind::Slow { node, divisor: self.number(5, 50) },
            8 => FaultKind::Corrupt { node },
            9 => FaultKind::Loss { permille: self.number(50, 300) },
            10 => FaultKind::Hang { permille: self.number(10, 300) },
            11 => FaultKind::DiskFull { node },
            12 => FaultKind::Evict { node, blob },
            13 => FaultKind::StopReading { node, blob },
            14 => FaultKind::UpstreamDown,
            15 => {
                let all = [Refusal::Denied, Refusal::NotFound, Refusal::RateLimited, Refusal::Unavailable];
                FaultKind::UpstreamRefuses { refusal: all[self.0.below(all.len())] }
            }
            16 => FaultKind::UpstreamStalls,
            17 => FaultKind::UpstreamLies,
            18 => FaultKind::UpstreamIgnoresRanges,
            _ => FaultKind::Denied { node },
        }
    }

    /// One node, a zone, or any part of the cluster is cut off.
    fn partition(&mut self, plan: &Plan, nodes: u32) -> FaultKind {
        let way = if self.chance(0.6) {
            Way::Both
        } else if self.chance(0.5) {
            Way::Out
        } else {
            Way::In
        };
        let group = match self.0.below(3) {
            0 => vec![self.number(0, nodes - 1)],
            1 if !plan.zone_uplinks.is_empty() => {
                let zone = self.number(0, u32::try_from(plan.zone_uplinks.len()).unwrap_or(1) - 1);
                (0..nodes).filter(|node| plan.nodes[*node as usize].zone == zone).collect()
            }
            _ => (0..nodes).filter(|_| self.chance(0.5)).collect(),
        };
        FaultKind::Partition { group, way }
    }
}

/// Kinds of faults that [`Draw::fault`] knows.
const KINDS: usize = 20;
/// A process does not begin again sooner than this.
const RESTART_MIN: Duration = Duration::from_millis(500);

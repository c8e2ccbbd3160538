//! A plan's faults as they begin and end in a world.

use super::plan::{Fault, FaultKind, Plan, Way};
use crate::{
    check::clients::Clients,
    world::{BlobId, UpstreamMood, World, setting::LinkSetting},
};

/// Nodes that everybody joins through.
pub(super) const SEEDS: [u32; 3] = [0, 1, 2];

/// Makes faults happen and end.
#[derive(Debug)]
pub(super) struct Faults<'a> {
    plan: &'a Plan,
    /// Whether the process of each node that leaves keeps its spool, until it begins again.
    keeps_spool: Vec<bool>,
    /// Nodes that have ended for ever.
    is_gone: Vec<bool>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let nodes = plan.nodes.len();
        Self { plan, keeps_spool: vec![true; nodes], is_gone: vec![false; nodes] }
    }

    /// A fault begins.
    pub(super) fn begin(&mut self, world: &mut World, clients: &mut Clients, fault: &Fault) {
        match &fault.what {
            FaultKind::Crash { node, keeps_spool } => {
                self.note_end(world, fault, *node, *keeps_spool);
                world.kill(*node);
                clients.ended(world.now(), *node);
            }
            FaultKind::Leave { node, keeps_spool } => {
                self.note_end(world, fault, *node, *keeps_spool);
                if world.is_up(*node) {
                    world.leave(*node);
                }
            }
            FaultKind::Pause { node } => world.pause(*node),
            FaultKind::Partition { group, way } => self.for_each_way(group, *way, |from, to| world.sever(from, to)),
            FaultKind::Slow { node, divisor } => {
                let link = link(self.plan, *node);
                let by = f64::from((*divisor).max(1));
                world.set_link(*node, LinkSetting { up: link.up / by, down: link.down / by });
            }
            FaultKind::Corrupt { node } => world.corrupt(*node),
            FaultKind::Mute { node } => world.mute(*node),
            FaultKind::Loss { permille } => world.set_loss(f64::from(*permille) / 1000.0),
            FaultKind::Hang { permille } => world.set_hanging(f64::from(*permille) / 1000.0),
            FaultKind::DiskFull { node } => world.fill_disk(*node, true),
            FaultKind::Evict { node, blob } => world.evict(*node, BlobId(*blob)),
            FaultKind::StopReading { node, blob } => clients.go_away(world, *node, *blob),
            FaultKind::UpstreamDown => world.kill_upstream(),
            FaultKind::UpstreamRefuses { refusal } => {
                world.set_upstream_mood(UpstreamMood::Refuses((*refusal).into()));
            }
            FaultKind::UpstreamStalls => world.set_upstream_mood(UpstreamMood::Stalls),
            FaultKind::UpstreamLies => world.set_upstream_mood(UpstreamMood::Lies),
            FaultKind::UpstreamIgnoresRanges => world.set_upstream_mood(UpstreamMood::IgnoresRanges),
            FaultKind::Denied { node } => {
                world.deny(*node, Some(shoal_wire::control::UpstreamFailure::Denied));
            }
        }
    }

    /// A fault is over.
    pub(super) fn end(&mut self, world: &mut World, clients: &mut Clients, fault: &Fault) {
        match &fault.what {
            FaultKind::Crash { node, .. } | FaultKind::Leave { node, .. } => {
                self.start(world, *node);
            }
            FaultKind::Pause { node } => world.resume(*node),
            FaultKind::Partition { group, way } => self.for_each_way(group, *way, |from, to| world.mend(from, to)),
            FaultKind::Slow { node, .. } => world.set_link(*node, link(self.plan, *node)),
            FaultKind::Loss { .. } => world.set_loss(f64::from(self.plan.loss_permille) / 1000.0),
            FaultKind::Hang { .. } => world.set_hanging(0.0),
            FaultKind::DiskFull { node } => world.fill_disk(*node, false),
            FaultKind::StopReading { node, blob } => clients.come_back(world.now(), *node, *blob),
            FaultKind::UpstreamDown => world.revive_upstream(),
            FaultKind::UpstreamRefuses { .. }
            | FaultKind::UpstreamStalls
            | FaultKind::UpstreamLies
            | FaultKind::UpstreamIgnoresRanges => world.set_upstream_mood(UpstreamMood::Serves),
            FaultKind::Denied { node } => world.deny(*node, None),
            FaultKind::Corrupt { .. } | FaultKind::Mute { .. } | FaultKind::Evict { .. } => {}
        }
    }

    /// Everything is well again, but for those who have ended for ever, disks that turn bits, and those who send nothing.
    pub(super) fn heal(&mut self, world: &mut World, clients: &mut Clients) {
        let faults = self.plan.faults.iter().filter(|fault| !fault.is_final());
        for fault in faults.cloned().collect::<Vec<_>>() {
            self.end(world, clients, &fault);
        }
        world.set_loss(0.0);
    }

    fn note_end(&mut self, world: &World, fault: &Fault, node: u32, keeps_spool: bool) {
        self.keeps_spool[node as usize] = keeps_spool;
        self.is_gone[node as usize] |= fault.is_final() && world.is_up(node);
    }

    /// Whether a node is to live in the end.
    pub(super) fn is_to_live(&self, node: u32) -> bool {
        !self.is_gone[node as usize]
    }

    /// A node begins, for the first time or again, unless it is there or has ended for ever.
    pub(super) fn start(&mut self, world: &mut World, node: u32) {
        if world.is_up(node) || !self.is_to_live(node) {
            return;
        }
        world.restart(node, self.keeps_spool[node as usize]);
        world.join_through(node, &SEEDS);
    }

    fn for_each_way(&self, group: &[u32], way: Way, mut act: impl FnMut(u32, u32)) {
        let nodes = u32::try_from(self.plan.nodes.len()).unwrap_or(u32::MAX);
        for inside in group.iter().copied() {
            for outside in (0..nodes).filter(|node| !group.contains(node)) {
                if way != Way::In {
                    act(inside, outside);
                }
                if way != Way::Out {
                    act(outside, inside);
                }
            }
        }
    }
}

/// A node's link as planned.
pub(super) fn link(plan: &Plan, node: u32) -> LinkSetting {
    let node = &plan.nodes[node as usize];
    LinkSetting { up: node.up as f64, down: node.down as f64 }
}

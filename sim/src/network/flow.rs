//! Flows in a slab: small numbers that are used again, told apart by generations.

use std::ops::{Index, IndexMut};

use super::LinkId;
use crate::time::Nanos;

/// Links of a path at most: a sender's processor and uplink, two zones' uplinks, a receiver's downlink, processor and
/// disk.
pub const LINKS_MAX: usize = 7;

/// A flow, for as long as it lasts; afterwards the number stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    pub(super) index: u32,
    generation: u32,
}

impl FlowId {
    /// A small number that no other flow has at the same time, to keep something beside each flow.
    pub fn slot(self) -> usize {
        self.index as usize
    }
}

/// One flow.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    generation: u32,
    count: u8,
    pub(super) is_touched: bool,
    links: [u32; LINKS_MAX],
    /// Its place among the flows of each of these links.
    pub(super) places: [u32; LINKS_MAX],
    pub(super) cap: f64,
    /// What its links' shares and its cap allow, in bytes per second.
    pub(super) target: f64,
    /// What is in effect: the target, give or take half of the tolerance.
    pub(super) rate: f64,
    /// Bytes left at `moved_at`.
    pub(super) left: f64,
    pub(super) moved_at: Nanos,
}

impl Flow {
    pub(super) fn new(now: Nanos, links: &[LinkId], bytes: f64, cap: f64) -> Self {
        assert!(links.len() <= LINKS_MAX, "a path has at most {LINKS_MAX} links");
        let mut flow = Self {
            generation: 0,
            count: 0,
            is_touched: false,
            links: [0; LINKS_MAX],
            places: [0; LINKS_MAX],
            cap,
            target: 0.0,
            rate: 0.0,
            left: bytes.max(0.0),
            moved_at: now,
        };
        for link in links {
            flow.links[usize::from(flow.count)] = link.0;
            flow.count += 1;
        }
        flow
    }

    pub(super) fn links(&self) -> &[u32] {
        &self.links[..usize::from(self.count)]
    }
}

/// All flows.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows {
    slots: Vec<Flow>,
    free: Vec<u32>,
}

impl Flows {
    pub(super) fn insert(&mut self, mut flow: Flow) -> FlowId {
        if let Some(index) = self.free.pop() {
            flow.generation = self.slots[index as usize].generation;
            let generation = flow.generation;
            self.slots[index as usize] = flow;
            return FlowId { index, generation };
        }
        let index = u32::try_from(self.slots.len()).expect("a few flows for each node");
        self.slots.push(flow);
        FlowId { index, generation: 0 }
    }

    pub(super) fn remove(&mut self, id: FlowId) -> Flow {
        let slot = &mut self.slots[id.index as usize];
        let flow = slot.clone();
        slot.generation += 1;
        // Nothing is left to put into effect.
        slot.count = 0;
        slot.left = 0.0;
        self.free.push(id.index);
        flow
    }

    /// Whether the flow is under way.
    pub(super) fn has(&self, id: FlowId) -> bool {
        self.slots.get(id.index as usize).is_some_and(|flow| flow.generation == id.generation)
    }

    /// The flow that has this number now.
    pub(super) fn id(&self, index: u32) -> FlowId {
        FlowId { index, generation: self.slots[index as usize].generation }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Numbers that are or were in use.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
}

impl Index<u32> for Flows {
    type Output = Flow;

    fn index(&self, index: u32) -> &Flow {
        &self.slots[index as usize]
    }
}

impl IndexMut<u32> for Flows {
    fn index_mut(&mut self, index: u32) -> &mut Flow {
        &mut self.slots[index as usize]
    }
}

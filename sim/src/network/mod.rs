//! Links with rates, and flows over them at max-min fair rates, as TCP and QUIC share links roughly.
//!
//! Fluid: a flow has a rate and bytes left, no packets. Rates are kept by advertised shares (Charny, Clark and Jain 1995):
//! each link has the share that it gives to whoever has no tighter limit elsewhere, a flow has the least of its links'
//! shares and its own cap, and a change spreads only as far as shares move by more than the tolerance. Shares settle when
//! somebody asks for a result, so that all changes of one moment are worked off together.
//!
//! Order of calls: changes at a time that never runs backwards; then [`Network::next_completion`]; when that time has
//! come, [`Network::pop_completed`] until it is empty, and for each flow [`Network::extend`] or [`Network::stop`].

pub mod exact;
mod flow;
mod heap;
mod share;

use crate::time::Nanos;
use flow::{Flow, Flows};
use heap::Deadlines;
use share::Worklist;

pub use flow::{FlowId, LINKS_MAX};

/// Number of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u32);

impl LinkId {
    /// Its number, from 0 in the order in which links were added.
    pub fn number(self) -> u64 {
        u64::from(self.0)
    }
}

/// One link.
#[derive(Clone, Debug)]
struct Link {
    /// Bytes per second that it carries.
    rate: f64,
    /// Bytes per second for a flow that has no tighter limit elsewhere; infinite where all flows have one, so that the
    /// link is not full.
    share: f64,
    /// Bytes that it has carried, up to the last time that each of its flows was brought up to date.
    carried: f64,
    /// Its flows, and the place of this link among the links of each.
    flows: Vec<(u32, u8)>,
    is_queued: bool,
}

/// All links and flows.
#[derive(Clone, Debug)]
pub struct Network {
    links: Vec<Link>,
    flows: Flows,
    deadlines: Deadlines,
    work: Worklist,
    /// Relative change of a share below which nobody is told.
    tolerance: f64,
    /// Flows whose rate may have to be put into effect.
    touched: Vec<u32>,
    now: Nanos,
}

impl Network {
    /// A network without links. `tolerance` is the relative error that shares may have, 0.0 to 0.1: 0.01 is quick and
    /// hardly to be told from 0.0 in results.
    pub fn new(tolerance: f64) -> Self {
        Self {
            links: Vec::new(),
            flows: Flows::default(),
            deadlines: Deadlines::default(),
            work: Worklist::default(),
            tolerance: tolerance.clamp(0.0, 0.1),
            touched: Vec::new(),
            now: Nanos::ZERO,
        }
    }

    /// Adds a link of so many bytes per second.
    pub fn add_link(&mut self, bytes_per_s: f64) -> LinkId {
        let id = LinkId(u32::try_from(self.links.len()).expect("links of at most 100,000 nodes"));
        let rate = bytes_per_s.max(0.0);
        self.links.push(Link { rate, share: f64::INFINITY, carried: 0.0, flows: Vec::new(), is_queued: false });
        id
    }

    /// Gives a link another rate from `now` on.
    pub fn set_rate(&mut self, now: Nanos, link: LinkId, bytes_per_s: f64) {
        self.move_to(now);
        self.links[link.0 as usize].rate = bytes_per_s.max(0.0);
        self.queue(link.0);
    }

    /// Bytes per second that a link carries at most.
    pub fn rate_of_link(&self, link: LinkId) -> f64 {
        self.links[link.0 as usize].rate
    }

    /// Starts a flow of `bytes` over `links`, each named once, at most [`LINKS_MAX`] of them; it takes at most
    /// `cap_bytes_per_s`, which may be infinite.
    ///
    /// # Panics
    /// With more links.
    pub fn start(&mut self, now: Nanos, links: &[LinkId], bytes: f64, cap_bytes_per_s: f64) -> FlowId {
        self.move_to(now);
        let id = self.flows.insert(Flow::new(now, links, bytes, cap_bytes_per_s));
        for (place, link) in (0_u8..).zip(links) {
            let flows = &mut self.links[link.0 as usize].flows;
            self.flows[id.index].places[usize::from(place)] = u32::try_from(flows.len()).expect("flows are u32");
            flows.push((id.index, place));
            self.queue(link.0);
        }
        self.touch(id.index);
        id
    }

    /// Adds bytes to a flow, which keeps its rate. One that has completed goes on with them.
    pub fn extend(&mut self, now: Nanos, flow: FlowId, bytes: f64) {
        let left = self.left(now, flow);
        self.refill(now, flow, left + bytes);
    }

    /// Puts `bytes` in the place of what a flow has left; says how much that was.
    pub fn refill(&mut self, now: Nanos, flow: FlowId, bytes: f64) -> f64 {
        self.move_to(now);
        if !self.flows.has(flow) {
            return 0.0;
        }
        self.bring_up_to_date(flow.index);
        let left = std::mem::replace(&mut self.flows[flow.index].left, bytes.max(0.0));
        self.plan(flow.index);
        left
    }

    /// Gives a flow another cap.
    pub fn set_cap(&mut self, now: Nanos, flow: FlowId, cap_bytes_per_s: f64) {
        self.move_to(now);
        if !self.flows.has(flow) {
            return;
        }
        self.flows[flow.index].cap = cap_bytes_per_s;
        for place in 0..self.flows[flow.index].links().len() {
            self.queue(self.flows[flow.index].links()[place]);
        }
        self.touch(flow.index);
    }

    /// Ends a flow; says how many of its bytes had not arrived.
    pub fn stop(&mut self, now: Nanos, flow: FlowId) -> f64 {
        self.move_to(now);
        if !self.flows.has(flow) {
            return 0.0;
        }
        self.bring_up_to_date(flow.index);
        self.deadlines.remove(flow.index);
        let ended = self.flows.remove(flow);
        for (place, link) in ended.links().iter().enumerate() {
            self.unlink(*link, ended.places[place]);
            self.queue(*link);
        }
        ended.left
    }

    /// When the next flow completes, if nothing changes.
    pub fn next_completion(&mut self) -> Option<Nanos> {
        self.settle();
        self.deadlines.first().map(|(at, _)| at).filter(|at| *at != Nanos::NEVER)
    }

    /// A flow that has completed by `now`. It keeps its place on its links until it is extended or stopped.
    pub fn pop_completed(&mut self, now: Nanos) -> Option<FlowId> {
        self.settle();
        let (_, index) = self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.move_to(now);
        self.deadlines.remove(index);
        self.bring_up_to_date(index);
        let rest = std::mem::take(&mut self.flows[index].left);
        self.carry(index, rest);
        Some(self.flows.id(index))
    }

    /// Bytes per second of a flow at this moment; 0.0 of one that is over.
    pub fn rate(&mut self, flow: FlowId) -> f64 {
        self.settle();
        if self.flows.has(flow) { self.flows[flow.index].rate } else { 0.0 }
    }

    /// Bytes that a flow still has to carry at `now`.
    pub fn left(&mut self, now: Nanos, flow: FlowId) -> f64 {
        self.move_to(now);
        if !self.flows.has(flow) {
            return 0.0;
        }
        self.bring_up_to_date(flow.index);
        self.flows[flow.index].left
    }

    /// Bytes that a link has carried up to `now`.
    pub fn carried(&mut self, now: Nanos, link: LinkId) -> f64 {
        self.move_to(now);
        for place in 0..self.links[link.0 as usize].flows.len() {
            self.bring_up_to_date(self.links[link.0 as usize].flows[place].0);
        }
        self.links[link.0 as usize].carried
    }

    /// Bytes per second that all flows of a link take at this moment.
    pub fn load(&mut self, link: LinkId) -> f64 {
        self.settle();
        let flows = &self.links[link.0 as usize].flows;
        flows.iter().map(|(flow, _)| self.flows[*flow].rate).sum()
    }

    /// Whether a link carries all that it can, so that what else comes has to queue. As of the last change that was worked
    /// off.
    pub fn is_full(&self, link: LinkId) -> bool {
        self.links[link.0 as usize].share.is_finite()
    }

    /// Number of flows under way.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.flows.len() == 0
    }

    /// Rates in effect count up to now: changes of one moment are put into effect before time moves on.
    fn move_to(&mut self, now: Nanos) {
        if now > self.now {
            self.settle();
            self.now = now;
        }
    }

    fn unlink(&mut self, link: u32, place: u32) {
        let flows = &mut self.links[link as usize].flows;
        flows.swap_remove(place as usize);
        if let Some((moved, among)) = flows.get(place as usize) {
            self.flows[*moved].places[usize::from(*among)] = place;
        }
    }

    /// Moves a flow's bytes up to now at its rate.
    fn bring_up_to_date(&mut self, index: u32) {
        let flow = &mut self.flows[index];
        let seconds = self.now.seconds_since(flow.moved_at);
        flow.moved_at = self.now;
        if seconds > 0.0 && flow.rate > 0.0 && flow.left > 0.0 {
            let moved = (flow.rate * seconds).min(flow.left);
            flow.left -= moved;
            self.carry(index, moved);
        }
    }

    fn carry(&mut self, index: u32, bytes: f64) {
        for link in self.flows[index].links() {
            self.links[*link as usize].carried += bytes;
        }
    }

    /// Plans the completion of a flow that is up to date.
    fn plan(&mut self, index: u32) {
        let flow = &self.flows[index];
        let at = if flow.left <= 0.0 {
            self.now
        } else if flow.rate > 0.0 {
            self.now.after(flow.left / flow.rate)
        } else {
            Nanos::NEVER
        };
        self.deadlines.set(index, at);
    }
}

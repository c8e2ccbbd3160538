//! Advertised shares, and how a change spreads.
//!
//! At the fixpoint each full link's flows without a tighter limit have its share, which is the most that any of its flows
//! has, so rates are max-min fair. A share that is told differs from the one that would be right by at most the
//! tolerance, so no link is overloaded by more.

use std::collections::VecDeque;

use super::{
    Network,
    exact::{Demand, max_min_rates},
};

/// Relative change of a share that counts even without tolerance: below it there is only noise of the last bits.
const NOISE: f64 = 1e-10;
/// Shares computed for one change, for each link on the list at its beginning, before everything is solved at once.
const PATIENCE: usize = 2000;

/// Links whose share has to be computed again, first come, first served.
#[derive(Clone, Debug, Default)]
pub(super) struct Worklist {
    links: VecDeque<u32>,
    /// The limits that the flows of one link have elsewhere, kept to save an allocation.
    limits: Vec<f64>,
    /// How often everything was solved at once.
    pub(super) solved: u64,
}

impl Network {
    /// Computes the share of a link again before the next result.
    pub(super) fn queue(&mut self, link: u32) {
        let entry = &mut self.links[link as usize];
        if !std::mem::replace(&mut entry.is_queued, true) {
            self.work.links.push_back(link);
        }
    }

    /// Puts the target of a flow into effect before the next result.
    pub(super) fn touch(&mut self, flow: u32) {
        if !std::mem::replace(&mut self.flows[flow].is_touched, true) {
            self.touched.push(flow);
        }
    }

    /// Works off all changes.
    pub(super) fn settle(&mut self) {
        if !self.work.links.is_empty() {
            self.spread();
        }
        while let Some(flow) = self.touched.pop() {
            self.flows[flow].is_touched = false;
            self.put_into_effect(flow);
        }
    }

    /// How often advertised shares did not settle, so that everything was solved at once.
    pub fn solved_at_once(&self) -> u64 {
        self.work.solved
    }

    fn spread(&mut self) {
        let mut patience = PATIENCE.saturating_mul(self.work.links.len()).max(PATIENCE);
        while let Some(link) = self.work.links.pop_front() {
            self.links[link as usize].is_queued = false;
            let share = self.share_of(link);
            if self.is_moved(self.links[link as usize].share, share) {
                self.links[link as usize].share = share;
                self.tell_flows(link);
            }
            patience -= 1;
            if patience == 0 {
                return self.solve_at_once();
            }
        }
    }

    fn is_moved(&self, from: f64, to: f64) -> bool {
        if from.is_infinite() || to.is_infinite() {
            return from.to_bits() != to.to_bits();
        }
        (to - from).abs() > self.tolerance.max(NOISE) * from.max(to)
    }

    /// The share of a link, given what its flows are limited to elsewhere.
    fn share_of(&mut self, link: u32) -> f64 {
        let mut limits = std::mem::take(&mut self.work.limits);
        limits.clear();
        let entry = &self.links[link as usize];
        limits.extend(entry.flows.iter().map(|(flow, _)| self.limit_elsewhere(*flow, link)));
        let share = fill(entry.rate, &mut limits);
        self.work.limits = limits;
        share
    }

    fn limit_elsewhere(&self, flow: u32, link: u32) -> f64 {
        let flow = &self.flows[flow];
        let others = flow.links().iter().filter(|other| **other != link);
        others.fold(flow.cap, |limit, other| limit.min(self.links[*other as usize].share))
    }

    /// The share of a link has changed: other links of those flows whose rate that changes look again.
    fn tell_flows(&mut self, link: u32) {
        for place in 0..self.links[link as usize].flows.len() {
            let (index, _) = self.links[link as usize].flows[place];
            let flow = &self.flows[index];
            let target = flow.links().iter().fold(flow.cap, |limit, link| limit.min(self.links[*link as usize].share));
            if target.to_bits() == flow.target.to_bits() {
                continue;
            }
            self.flows[index].target = target;
            self.touch(index);
            for other in 0..self.flows[index].links().len() {
                let other = self.flows[index].links()[other];
                if other != link {
                    self.queue(other);
                }
            }
        }
    }

    fn put_into_effect(&mut self, index: u32) {
        let flow = &self.flows[index];
        if flow.links().is_empty() && flow.left <= 0.0 {
            return;
        }
        let target = flow.links().iter().fold(flow.cap, |limit, link| limit.min(self.links[*link as usize].share));
        let is_near = (target - flow.rate).abs() <= (self.tolerance / 2.0).max(NOISE) * flow.rate.max(target);
        let is_moving = flow.rate > 0.0;
        self.flows[index].target = target;
        if is_moving && is_near {
            return;
        }
        self.bring_up_to_date(index);
        self.flows[index].rate = target;
        self.plan(index);
    }

    /// Solves everything by progressive filling, and sets the shares that follow from it.
    fn solve_at_once(&mut self) {
        self.work.solved += 1;
        for link in std::mem::take(&mut self.work.links) {
            self.links[link as usize].is_queued = false;
        }
        let slots = u32::try_from(self.flows.slots()).expect("numbers of flows are u32");
        let demand = |index| {
            let flow = &self.flows[index];
            Demand { links: flow.links().iter().map(|link| *link as usize).collect(), cap: flow.cap }
        };
        let demands: Vec<Demand> = (0..slots).map(demand).collect();
        let capacities: Vec<f64> = self.links.iter().map(|link| link.rate).collect();
        let rates = max_min_rates(&capacities, &demands);
        for link in &mut self.links {
            let taken: f64 = link.flows.iter().map(|(flow, _)| rates[*flow as usize]).sum();
            let most = link.flows.iter().map(|(flow, _)| rates[*flow as usize]).fold(0.0, f64::max);
            let is_full = !link.flows.is_empty() && taken >= link.rate * (1.0 - 1e-9);
            link.share = if is_full { most } else { f64::INFINITY };
        }
        (0..slots).filter(|flow| !demands[*flow as usize].links.is_empty()).for_each(|flow| self.touch(flow));
    }
}

/// The level up to which flows with these limits fill a link of `rate`; infinite where they do not. `limits` is used up.
fn fill(rate: f64, limits: &mut Vec<f64>) -> f64 {
    let mut room = rate;
    loop {
        if limits.is_empty() {
            return f64::INFINITY;
        }
        let share = room.max(0.0) / limits.len() as f64;
        let before = limits.len();
        limits.retain(|limit| {
            let is_tighter = *limit < share;
            if is_tighter {
                room -= limit;
            }
            !is_tighter
        });
        if limits.len() == before {
            return share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_filled_up_to_a_level() {
        let fill = |rate, limits: &[f64]| fill(rate, &mut limits.to_vec());
        let near = |value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-12, "{value} is not {wanted}");
        near(fill(10.0, &[f64::INFINITY, 2.0, 1.0]), 7.0);
        near(fill(9.0, &[f64::INFINITY; 3]), 3.0);
        near(fill(9.0, &[3.0; 3]), 3.0);
        assert!(fill(10.0, &[2.0, 1.0]).is_infinite() && fill(10.0, &[]).is_infinite());
        near(fill(0.0, &[5.0]), 0.0);
    }
}

//! Max-min fair rates, all at once, by progressive filling (Bertsekas and Gallager, "Data Networks", section 6.5.2).
//!
//! All rates rise together until a link is full or a flow is at its cap; those flows stay there, the others rise on. The
//! oracle of the incremental solver, and its way out where that does not settle.

use std::{cmp::Reverse, collections::BinaryHeap};

/// A flow as the solver sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// Indexes of the links that it crosses, each once.
    pub links: Vec<usize>,
    /// Most bytes per second that it takes; infinite for one without a limit of its own.
    pub cap: f64,
}

/// The max-min fair rate of each flow over links of these rates, all in bytes per second. Infinite for a flow that
/// nothing limits.
pub fn max_min_rates(links: &[f64], flows: &[Demand]) -> Vec<f64> {
    let mut filling = Filling::new(links, flows);
    filling.run();
    filling.rates
}

struct Filling<'a> {
    flows: &'a [Demand],
    rates: Vec<f64>,
    is_set: Vec<bool>,
    /// Bytes per second of each link that are not given away.
    room: Vec<f64>,
    /// Flows of each link whose rates still rise.
    rising: Vec<u32>,
    crossing: Vec<Vec<usize>>,
    /// Links by the level at which they are full if nothing changes. Levels only rise, so a stale entry is too early.
    by_level: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<'a> Filling<'a> {
    fn new(links: &[f64], flows: &'a [Demand]) -> Self {
        let mut crossing = vec![Vec::new(); links.len()];
        for (index, flow) in flows.iter().enumerate() {
            flow.links.iter().for_each(|link| crossing[*link].push(index));
        }
        let rising: Vec<u32> =
            crossing.iter().map(|flows: &Vec<usize>| u32::try_from(flows.len()).unwrap_or(u32::MAX)).collect();
        let mut filling = Self {
            flows,
            rates: vec![f64::INFINITY; flows.len()],
            is_set: vec![false; flows.len()],
            room: links.to_vec(),
            rising,
            crossing,
            by_level: BinaryHeap::new(),
        };
        (0..links.len()).for_each(|link| filling.plan(link));
        filling
    }

    fn level(&self, link: usize) -> f64 {
        (self.room[link] / f64::from(self.rising[link])).max(0.0)
    }

    fn plan(&mut self, link: usize) {
        if self.rising[link] > 0 {
            // Bits of non-negative floats have the order of the numbers.
            self.by_level.push(Reverse((self.level(link).to_bits(), link)));
        }
    }

    fn run(&mut self) {
        let mut caps: Vec<usize> = (0..self.flows.len()).filter(|flow| self.flows[*flow].cap.is_finite()).collect();
        caps.sort_by(|one, other| self.flows[*one].cap.total_cmp(&self.flows[*other].cap));
        let mut caps = caps.into_iter().peekable();
        loop {
            let full = self.next_full();
            let level = full.map_or(f64::INFINITY, |link| self.level(link));
            if let Some(flow) = caps.next_if(|flow| self.flows[*flow].cap <= level) {
                self.set(flow, self.flows[flow].cap);
            } else if let Some(link) = full {
                self.by_level.pop();
                for index in 0..self.crossing[link].len() {
                    self.set(self.crossing[link][index], level);
                }
            } else {
                return;
            }
        }
    }

    /// The link that is full next.
    fn next_full(&mut self) -> Option<usize> {
        while let Some(&Reverse((level, link))) = self.by_level.peek() {
            if self.rising[link] > 0 && self.level(link).to_bits() == level {
                return Some(link);
            }
            self.by_level.pop();
            self.plan(link);
        }
        None
    }

    fn set(&mut self, flow: usize, rate: f64) {
        if std::mem::replace(&mut self.is_set[flow], true) {
            return;
        }
        self.rates[flow] = rate;
        for link in &self.flows[flow].links {
            self.room[*link] -= rate;
            self.rising[*link] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(links: &[usize], cap: f64) -> Demand {
        Demand { links: links.to_vec(), cap }
    }

    #[test]
    fn rates_computed_by_hand() {
        let none = f64::INFINITY;
        // Links of 10 and 4; two flows over the first alone, one over both, one over the second alone.
        let flows = [flow(&[0], none), flow(&[0], none), flow(&[0, 1], none), flow(&[1], none)];
        assert_eq!(max_min_rates(&[10.0, 4.0], &flows), [4.0, 4.0, 2.0, 2.0]);
        // What a capped flow leaves goes to the others.
        let flows = [flow(&[0], 1.0), flow(&[0], none), flow(&[0], none)];
        assert_eq!(max_min_rates(&[10.0], &flows), [1.0, 4.5, 4.5]);
        assert_eq!(max_min_rates(&[0.0], &[flow(&[0], none), flow(&[], 3.0), flow(&[], none)]), [0.0, 3.0, none]);
    }
}

//! The network of flows against the exact solver, and against arithmetic.

use proptest::prelude::*;
use shoal_sim::{
    network::{
        FlowId, LinkId, Network,
        exact::{Demand, max_min_rates},
    },
    time::Nanos,
};

/// One change of a network with so many links.
#[derive(Clone, Debug)]
enum Step {
    Start { links: Vec<usize>, cap: f64 },
    Stop { which: usize },
    Rate { link: usize, rate: f64 },
    Cap { which: usize, cap: f64 },
}

const LINKS: usize = 12;

fn cap() -> impl Strategy<Value = f64> {
    prop_oneof![3 => Just(f64::INFINITY), 1 => 0.5..200.0]
}

fn step() -> impl Strategy<Value = Step> {
    let links = prop::sample::subsequence((0..LINKS).collect::<Vec<_>>(), 1..=4);
    prop_oneof![
        6 => (links, cap()).prop_map(|(links, cap)| Step::Start { links, cap }),
        3 => any::<prop::sample::Index>().prop_map(|index| Step::Stop { which: index.index(1000) }),
        1 => (0..LINKS, 0.0..300.0).prop_map(|(link, rate)| Step::Rate { link, rate }),
        1 => (any::<prop::sample::Index>(), cap()).prop_map(|(index, cap)| Step::Cap { which: index.index(1000), cap }),
    ]
}

/// A network and what it should be.
struct Pair {
    network: Network,
    links: Vec<LinkId>,
    rates: Vec<f64>,
    flows: Vec<(FlowId, Demand)>,
}

impl Pair {
    fn new(tolerance: f64, rates: &[f64]) -> Self {
        let mut network = Network::new(tolerance);
        let links = rates.iter().map(|rate| network.add_link(*rate)).collect();
        Self { network, links, rates: rates.to_vec(), flows: Vec::new() }
    }

    fn take(&mut self, now: Nanos, step: &Step) {
        match step {
            Step::Start { links, cap } => {
                let path: Vec<LinkId> = links.iter().map(|link| self.links[*link]).collect();
                let flow = self.network.start(now, &path, 1e12, *cap);
                self.flows.push((flow, Demand { links: links.clone(), cap: *cap }));
            }
            Step::Stop { which } if !self.flows.is_empty() => {
                let (flow, _) = self.flows.swap_remove(which % self.flows.len());
                self.network.stop(now, flow);
            }
            Step::Rate { link, rate } => {
                self.network.set_rate(now, self.links[*link], *rate);
                self.rates[*link] = *rate;
            }
            Step::Cap { which, cap } if !self.flows.is_empty() => {
                let which = which % self.flows.len();
                self.network.set_cap(now, self.flows[which].0, *cap);
                self.flows[which].1.cap = *cap;
            }
            Step::Stop { .. } | Step::Cap { .. } => {}
        }
    }

    fn wanted(&self) -> Vec<f64> {
        let demands: Vec<Demand> = self.flows.iter().map(|(_, demand)| demand.clone()).collect();
        max_min_rates(&self.rates, &demands)
    }

    fn given(&mut self) -> Vec<f64> {
        let network = &mut self.network;
        self.flows.iter().map(|(flow, _)| network.rate(*flow)).collect()
    }

    /// Each link's flows together, as a share of what it carries; 1.0 is full.
    fn loads(&self, given: &[f64]) -> Vec<f64> {
        let load = |link: usize| {
            let crossing = self.flows.iter().zip(given).filter(|((_, demand), _)| demand.links.contains(&link));
            let sum: f64 = crossing.map(|(_, rate)| rate).sum();
            if sum == 0.0 { f64::from(self.rates[link] == 0.0) } else { sum / self.rates[link] }
        };
        (0..LINKS).map(load).collect()
    }
}

fn networks() -> impl Strategy<Value = (Vec<f64>, Vec<Step>)> {
    (prop::collection::vec(1.0..200.0, LINKS), prop::collection::vec(step(), 1..120))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn without_tolerance_rates_are_those_of_the_exact_solver((rates, steps) in networks()) {
        let mut pair = Pair::new(0.0, &rates);
        for (at, step) in steps.iter().enumerate() {
            pair.take(Nanos(at as u64 * 1000), step);
            let (wanted, given) = (pair.wanted(), pair.given());
            for (wanted, given) in wanted.iter().zip(&given) {
                prop_assert!((wanted - given).abs() <= 1e-6 * wanted.max(1e-3), "{given} is not {wanted}");
            }
        }
    }

    #[test]
    fn with_a_tolerance_no_link_is_overloaded_and_every_flow_has_a_reason_for_its_rate((rates, steps) in networks()) {
        let mut pair = Pair::new(0.01, &rates);
        let (mut off, mut all) = (0.0, 0.0);
        for (at, step) in steps.iter().enumerate() {
            pair.take(Nanos(at as u64 * 1000), step);
            let (wanted, given) = (pair.wanted(), pair.given());
            let loads = pair.loads(&given);
            prop_assert!(loads.iter().all(|load| *load <= 1.03), "{loads:?}");
            for (index, (_, demand)) in pair.flows.iter().enumerate() {
                let full = demand.links.iter().any(|link| loads[*link] > 0.97);
                prop_assert!(full || given[index] >= 0.97 * demand.cap, "{demand:?} has {} of {loads:?}", given[index]);
            }
            off += wanted.iter().zip(&given).map(|(wanted, given)| (wanted - given).abs()).sum::<f64>();
            all += wanted.iter().sum::<f64>();
        }
        prop_assert!(off <= 0.02 * all, "rates are off by {}", off / all);
    }

    #[test]
    fn links_carry_what_flows_bring_and_nothing_is_lost(
        rates in prop::collection::vec(10.0..200.0, LINKS),
        flows in prop::collection::vec((prop::sample::subsequence((0..LINKS).collect::<Vec<_>>(), 1..=4), 1.0..1000.0, 0_u64..20), 1..40),
        stopped in 0_usize..40,
    ) {
        let mut network = Network::new(0.01);
        let links: Vec<LinkId> = rates.iter().map(|rate| network.add_link(*rate)).collect();
        let mut expected = vec![0.0; LINKS];
        let mut flows = flows;
        flows.sort_by_key(|(_, _, at)| *at);
        let (mut now, mut open) = (Nanos::ZERO, Vec::new());
        for (index, (path, bytes, at)) in flows.iter().enumerate() {
            let at = Nanos(at * 1_000_000_000);
            while let Some(next) = network.next_completion().filter(|next| *next <= at) {
                prop_assert!(next >= now);
                now = next;
                while let Some(flow) = network.pop_completed(now) {
                    prop_assert!(network.stop(now, flow) <= 0.0);
                }
            }
            now = at;
            let path_ids: Vec<LinkId> = path.iter().map(|link| links[*link]).collect();
            let flow = network.start(now, &path_ids, *bytes, f64::INFINITY);
            for link in path {
                expected[*link] += bytes;
            }
            open.push((flow, path.clone()));
            if index == stopped {
                let (flow, path) = open.swap_remove(0);
                let left = network.stop(now, flow);
                for link in path {
                    expected[link] -= left;
                }
            }
        }
        while let Some(next) = network.next_completion() {
            now = next;
            while let Some(flow) = network.pop_completed(now) {
                network.stop(now, flow);
            }
        }
        prop_assert!(network.is_empty());
        for (link, expected) in links.iter().zip(expected) {
            let carried = network.carried(now, *link);
            prop_assert!((carried - expected).abs() < 1e-6 * expected.max(1.0), "{carried} is not {expected}");
        }
    }
}

#[test]
fn pieces_of_one_flow_follow_each_other_at_the_rate_of_the_link() {
    let mut network = Network::new(0.01);
    let link = network.add_link(1000.0);
    let flow = network.start(Nanos::ZERO, &[link], 500.0, f64::INFINITY);
    let second = |tenths: u64| Nanos(tenths * 100_000_000);
    assert_eq!(network.next_completion(), Some(second(5)));
    assert_eq!(network.pop_completed(second(5)), Some(flow));
    assert_eq!(network.pop_completed(second(5)), None);
    network.extend(second(5), flow, 1000.0);
    assert_eq!(network.next_completion(), Some(second(15)));
    // A second flow halves the rate; what is cut off from the first goes on with what comes after it.
    let other = network.start(second(10), &[link], 1e6, 250.0);
    assert!((network.left(second(10), flow) - 500.0).abs() < 1e-6);
    assert!((network.rate(flow) - 750.0).abs() < 1e-9);
    assert!((network.refill(second(10), flow, 750.0) - 500.0).abs() < 1e-6);
    assert_eq!(network.next_completion(), Some(second(20)));
    assert!((network.stop(second(20), other) - (1e6 - 250.0)).abs() < 1e-6);
    assert!((network.load(link) - 1000.0).abs() < 1e-9);
    network.stop(second(20), flow);
    assert!((network.carried(second(30), link) - (1000.0 + 750.0 + 250.0)).abs() < 1e-6);
    assert!(network.is_empty() && network.next_completion().is_none());
    assert!(network.rate(flow).abs() < 1e-12 && network.stop(second(30), flow).abs() < 1e-12, "it is over");
}

#[test]
fn a_link_without_rate_holds_its_flows_until_it_has_one() {
    let mut network = Network::new(0.01);
    let link = network.add_link(0.0);
    let flow = network.start(Nanos::ZERO, &[link], 100.0, f64::INFINITY);
    assert_eq!(network.next_completion(), None);
    assert!(network.is_full(link));
    network.set_rate(Nanos(1_000_000_000), link, 50.0);
    assert_eq!(network.next_completion(), Some(Nanos(3_000_000_000)));
    assert_eq!(network.pop_completed(Nanos(3_000_000_000)), Some(flow));
}

//! What a change of a flow costs: many nodes with some flows each, one of which ends while another begins.
//!
//! `cargo run --release -p shoal-sim --example flow_change [NODES] [FLOWS_OF_EACH] [CHANGES]`

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures the time that the network takes")]

use std::time::Instant;

use shoal_core::rng::Stream;
use shoal_sim::{
    network::{FlowId, LinkId, Network},
    time::Nanos,
};

const RATE: f64 = 12.5e6;

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let nodes: usize = arguments.next().unwrap_or(10_000);
    let each: usize = arguments.next().unwrap_or(8);
    let changes: usize = arguments.next().unwrap_or(200_000);

    let mut random = Stream::new(1, "flow_change");
    let mut network = Network::new(0.01);
    let links: Vec<(LinkId, LinkId)> = (0..nodes).map(|_| (network.add_link(RATE), network.add_link(RATE))).collect();
    let mut start = |network: &mut Network, now, from: usize| -> FlowId {
        let path = [links[from].0, links[random.below(nodes)].1];
        network.start(now, &path, 1e15, f64::INFINITY)
    };
    let began = Instant::now();
    let mut flows: Vec<FlowId> =
        (0..nodes * each).map(|index| start(&mut network, Nanos::ZERO, index % nodes)).collect();
    network.next_completion();
    println!("{} flows at once: {:.3} s", flows.len(), began.elapsed().as_secs_f64());

    let mut choices = Stream::new(2, "flow_change");
    let began = Instant::now();
    for change in 0..changes {
        let now = Nanos(change as u64 * 1000);
        let which = choices.below(flows.len());
        network.stop(now, flows[which]);
        flows[which] = start(&mut network, now, which % nodes);
        network.next_completion();
    }
    let each = began.elapsed().as_secs_f64() / changes as f64;
    println!(
        "one flow ends and another begins: {:.2} us; all solved at once: {}",
        each * 1e6,
        network.solved_at_once()
    );
}

//! How long a run of a scenario takes on this machine. Memory is measured from outside.
//!
//! `cargo build --release -p shoal-sim --example scale`, then
//! `/usr/bin/time -v target/release/examples/scale SCENARIO [NODES] [SIZE] [SEED]`

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it reads a scenario and measures the time that its run takes"
)]

use std::time::Instant;

use shoal_core::units::Size;
use shoal_sim::{
    run::{Options, Outcome, run},
    scenario::{Overrides, Scenario, by_name},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("cold-start", String::as_str);
    let text = match by_name(name) {
        Some(text) => text.to_owned(),
        None => std::fs::read_to_string(name)?,
    };
    let overrides = Overrides {
        nodes: arguments.get(1).map(|nodes| nodes.parse()).transpose()?,
        size: arguments.get(2).map(|size| size.parse::<Size>().map(|size| size.0)).transpose()?,
        seed: arguments.get(3).map(|seed| seed.parse()).transpose()?,
        ..Overrides::default()
    };
    let scenario = Scenario::parse_with(&text, name, &overrides)?;
    let began = Instant::now();
    let mut told = began;
    let outcome = run(&scenario, &Options::default(), &mut |progress| {
        if told.elapsed().as_secs_f64() > 10.0 {
            told = Instant::now();
            println!(
                "  {:7.1} s virtual, {:5.1} %, {} of {} done, {} events",
                progress.at_s,
                progress.share * 100.0,
                progress.done,
                progress.pulls,
                progress.events
            );
        }
    })?;
    show(&scenario, &outcome, began.elapsed().as_secs_f64());
    Ok(())
}

fn show(scenario: &Scenario, outcome: &Outcome, wall_s: f64) {
    let bound = scenario.bound();
    let times = outcome.completions_s();
    let quantile = |of: usize| times.get((times.len() * of / 100).min(times.len().saturating_sub(1))).copied();
    let sum = |of: fn(&shoal_sim::run::NodeOutcome) -> u64| outcome.nodes.iter().map(of).sum::<u64>();
    println!("{}: {} nodes, seed {}", scenario.name, scenario.nodes, outcome.seed);
    println!("wall {wall_s:.2} s, {} events, {:.2} us each", outcome.events, wall_s * 1e6 / outcome.events as f64);
    println!(
        "makespan {:.2} s, bound {:.2} s, ratio {:.3}; p50 {:.2?} p99 {:.2?}; failures {}",
        outcome.makespan_s,
        bound.makespan_s(),
        outcome.makespan_s / bound.makespan_s(),
        quantile(50),
        quantile(99),
        outcome.failures()
    );
    let firsts: Vec<f64> = outcome.nodes.iter().filter_map(|node| node.first_byte_s).collect();
    println!(
        "first byte {:.2} s in the mean; upstream {:.3} copies, {} requests, {} questions; duplicates {:.2} %; zones {:.2}",
        firsts.iter().sum::<f64>() / firsts.len().max(1) as f64,
        outcome.upstream_copies(),
        outcome.upstream.blob_requests,
        outcome.upstream.manifest_requests,
        outcome.duplicate_ratio() * 100.0,
        outcome.cross_zone_copies()
    );
    println!(
        "control {} messages, {} MB; gossip {} datagrams, {} MB; requests {}, busy {}",
        outcome.control.messages,
        outcome.control.message_bytes / 1_000_000,
        outcome.control.datagrams,
        outcome.control.datagram_bytes / 1_000_000,
        sum(|node| node.requests),
        sum(|node| node.busy)
    );
    println!("hash {}", outcome.event_hash);
}

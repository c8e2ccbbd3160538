//! The same seed gives the same events on every machine: the hashes were recorded on one, and are compared on all others.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write;

use shoal_sim::{
    run::{Options, run},
    scenario::{Overrides, Scenario, by_name},
};

/// Scenarios that between them draw on all that the simulator has: links, zones, faults, latency, images.
const SCENARIOS: [&str; 6] = ["cold-start", "zones", "churn", "kill", "image-4", "latency-20ms"];

/// The hashes, a line for each scenario.
const RECORDED: &str = include_str!("golden/event-hashes.txt");

/// Bytes of each scenario's content; enough for some hundred pieces.
const SIZE: u64 = 24 << 20;

fn hashes() -> String {
    let mut lines = String::new();
    for name in SCENARIOS {
        let overrides = Overrides { size: Some(SIZE), seed: Some(11), ..Overrides::default() };
        let scenario = Scenario::parse_with(by_name(name).unwrap(), name, &overrides).unwrap();
        let outcome = run(&scenario, &Options::default(), &mut |_| {}).unwrap();
        writeln!(lines, "{name} {}", outcome.event_hash).unwrap();
    }
    lines
}

#[test]
fn events_are_those_that_were_recorded_on_another_machine() {
    let now = hashes();
    assert_eq!(
        now, RECORDED,
        "other events than recorded. Where the engine or the simulator was changed on purpose, sim/tests/golden/event-hashes.txt \
         must have:\n{now}where not, runs depend on the machine"
    );
}

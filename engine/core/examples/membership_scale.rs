//! Membership of a large cluster in virtual time: what it believes wrongly, how soon it notices crashes, how it forms,
//! and what it costs.
//!
//! `cargo run --release -p shoal-core --example membership_scale [members] [minutes]`; 10,000 members and 6 minutes
//! unless told otherwise. 1 % of all datagrams are lost, and 1 % of the nodes stall for 2 s about twice a minute.

#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // It measures, so it reads the clock.

#[path = "../tests/membership/crowd.rs"]
mod crowd;

use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use shoal_core::{membership::Membership, time::Time};

use crowd::{Crowd, Tally, Weather};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const WEATHER: Weather =
    Weather { loss: 0.01, staller_each: 100, stall: Duration::from_secs(2), between_stalls: Duration::from_secs(30) };

/// Crashes that are timed.
const CRASHES: usize = 5;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let members = usize::try_from(arguments.next().unwrap_or(10_000)).expect("few members");
    let minutes = arguments.next().unwrap_or(6);
    if minutes > 0 {
        live_and_crash(members, minutes);
    }
    form(members);
}

/// A cluster that is there: false deaths, and how soon crashes are known.
fn live_and_crash(members: usize, minutes: u64) {
    let begin = Instant::now();
    let mut crowd = Crowd::acquainted(1, members, WEATHER);
    println!("{members} members that know each other: {:?}, {}", begin.elapsed(), memory());
    let period = Duration::from_secs(60 * minutes);
    crowd.run_for(period);
    let node_hours = members as f64 * period.as_secs_f64() / 3600.0;
    println!("{minutes} minutes, {node_hours:.0} node-hours: {:?} wall time, {}", begin.elapsed(), memory());
    report(&crowd.tally, members, period);
    let refuted: u64 = crowd.running().map(|membership| membership.stats().refutations).sum();
    println!(
        "  {:.4} false deaths, {:.1} suspicions, {:.3} refutations per node-hour",
        crowd.tally.false_deaths as f64 / node_hours,
        crowd.tally.suspicions as f64 / node_hours,
        refuted as f64 / node_hours
    );
    for crash in 0..CRASHES {
        crowd.tally = Tally::default();
        crowd.crash(crash * members / CRASHES + 7);
        crowd.run_for(Duration::from_secs(60));
        let mut known = std::mem::take(&mut crowd.tally.crashes_known);
        known.sort_unstable();
        let after = |share: usize| known.get(members * share / 100);
        println!(
            "a crash is known to half after {:?}, to 99 % after {:?}, to {} in a minute; {} false deaths",
            after(50),
            after(99),
            known.len(),
            crowd.tally.false_deaths
        );
    }
    println!("  {:?} wall time, {}", begin.elapsed(), memory());
}

/// A cluster that forms: all members join within a minute.
fn form(members: usize) {
    let begin = Instant::now();
    ALLOCATOR.reset_peak_usage();
    let mut crowd = Crowd::new(2, members, WEATHER);
    let period = Duration::from_secs(60);
    let start = crowd.now;
    for node in 0..members {
        crowd.join(node, &[0, 1, 2]);
        if node % 100 == 99 {
            crowd.run_for((start + period.mul_f64((node + 1) as f64 / members as f64)).since(crowd.now));
        }
        if node % 1000 == 999 {
            progress(&crowd, start, begin);
        }
    }
    for _ in 0..24 {
        if crowd.run_until_all_agree(Duration::from_secs(5)).is_some() {
            break;
        }
        progress(&crowd, start, begin);
    }
    let took = crowd.now.since(start);
    println!("{members} members joined within {period:?}; all agree: {} after {took:?}", crowd.all_agree());
    report(&crowd.tally, members, took);
    println!("  {} false deaths; {:?} wall time, {}", crowd.tally.false_deaths, begin.elapsed(), memory());
}

fn progress(crowd: &Crowd, start: Time, begin: Instant) {
    let mut known: Vec<_> = crowd.running().map(Membership::alive_count).collect();
    known.sort_unstable();
    let queued: usize = crowd.running().map(|membership| membership.stats().queued_updates).sum();
    let dropped: u64 = crowd.running().map(|membership| membership.stats().updates_dropped).sum();
    println!(
        "  after {:?} ({:?} wall): {} run; known to each: least {}, 1 % {}, half {}, most {}; queued {} each, {} dropped each",
        crowd.now.since(start),
        begin.elapsed(),
        known.len(),
        known[0],
        known[known.len() / 100],
        known[known.len() / 2],
        known[known.len() - 1],
        queued / known.len(),
        dropped / known.len() as u64
    );
}

fn report(tally: &Tally, members: usize, period: Duration) {
    let each = |count: u64| count as f64 / members as f64 / period.as_secs_f64();
    println!(
        "  each node sends {:.2} packets/s, {:.0} bytes/s; {:.3} stream messages/s, {:.0} bytes/s",
        each(tally.packets),
        each(tally.packet_bytes),
        each(tally.reliable),
        each(tally.reliable_bytes)
    );
}

fn memory() -> String {
    format!("{:.0} MB, at most {:.0} MB", ALLOCATOR.current_usage_as_mb(), ALLOCATOR.peak_usage_as_mb())
}

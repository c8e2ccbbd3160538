//! The tables of docs/tuning.md: what parameters do to cold starts, zones and images, in virtual time on fair links.
//!
//! `SHOAL_TUNING=1 cargo test -p shoal-core --test swarm tuning -- --nocapture`

use std::time::Duration;

use shoal_core::config::CoreConfig;

use crate::{
    image::image,
    pull::{LINK, MIB, Pull, median, setting},
    world::Setting,
};

const SEEDS: u64 = 5;

/// One way to set the parameters.
type Variation = (&'static str, fn(&mut CoreConfig));

const COLD_STARTS: &[Variation] = &[
    ("the defaults", |_| {}),
    ("1 lease at work", |config| (config.injection.leases_start, config.injection.leases_max) = (1, 1)),
    ("2 leases", |config| (config.injection.leases_start, config.injection.leases_max) = (2, 2)),
    ("8 leases", |config| (config.injection.leases_start, config.injection.leases_max) = (8, 8)),
    ("32 leases", |config| (config.injection.leases_start, config.injection.leases_max) = (32, 32)),
    ("the first piece together with others", |config| config.injection.opening_max = Duration::ZERO),
    ("the first pieces to 4 at once", |config| config.swarm.upload_slots_young = 4),
    ("2 upload slots", |config| config.swarm.upload_slots = 2),
    ("8 upload slots", |config| config.swarm.upload_slots = 8),
    ("1 request waits", |config| config.swarm.upload_backlog = 1),
    ("unbounded queue", |config| config.swarm.upload_backlog = 1000),
    ("2 requests at once", |config| config.swarm.requests_max = 2),
    ("6 requests at once", |config| config.swarm.requests_max = 6),
    ("8 requests at once", |config| config.swarm.requests_max = 8),
    ("8 neighbours", |config| config.swarm.neighbours = 8),
    ("32 neighbours", |config| config.swarm.neighbours = 32),
    ("window of 8 pieces", |config| config.swarm.window_pieces = 8),
    ("window of 128 pieces", |config| config.swarm.window_pieces = 128),
    ("have-maps every 5 ms", |config| config.swarm.have_interval = Duration::from_millis(5)),
    ("have-maps every 100 ms", |config| config.swarm.have_interval = Duration::from_millis(100)),
];

const ZONES: &[Variation] = &[
    ("the defaults", |_| {}),
    ("1 request to other zones", |config| config.swarm.requests_far_max = 1),
    ("4 requests to other zones", |config| config.swarm.requests_far_max = 4),
    ("gateways have 0.3 s", |config| config.swarm.gateway_patience_min = Duration::from_millis(300)),
    ("gateways have 5 s", |config| config.swarm.gateway_patience_min = Duration::from_secs(5)),
    ("4 far neighbours", |config| config.swarm.neighbours_far = 4),
    ("24 far neighbours", |config| config.swarm.neighbours_far = 24),
];

const IMAGES: &[Variation] = &[
    ("the defaults", |_| {}),
    ("2 leases", |config| config.injection.leases_start = 2),
    ("the first piece together with others", |config| config.injection.opening_max = Duration::ZERO),
    ("1 request waits", |config| config.swarm.upload_backlog = 1),
    ("6 requests at once", |config| config.swarm.requests_max = 6),
];

/// One pull for each seed.
fn pulls(setting: &Setting, size: u64, seeds: u64) -> Vec<Pull> {
    (0..seeds).map(|seed| Pull::finish(setting.clone(), size, seed)).collect()
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

/// Median time over the granular bound, and the latest first piece.
fn cold_start(nodes: usize, mib: u64, change: fn(&mut CoreConfig)) -> String {
    let mut setting = setting(nodes);
    change(&mut setting.config);
    let pulls = pulls(&setting, mib * MIB, SEEDS);
    let ratio = median(pulls.iter().map(|pull| pull.makespan() / pull.granular_s()).collect());
    format!("{ratio:.3} ({:.2} s)", most(pulls.iter().map(Pull::first_byte)))
}

/// Median time over the fluid bound, and the most copies that entered a zone.
fn zones(zones: usize, each: usize, uplink: f64, mib: u64, change: fn(&mut CoreConfig)) -> String {
    let mut setting = Setting { zones, zone_uplink: uplink * LINK, ..setting(zones * each) };
    change(&mut setting.config);
    let pulls = pulls(&setting, mib * MIB, SEEDS);
    let ratio = median(pulls.iter().map(|pull| pull.makespan() / pull.link_s()).collect());
    format!("{ratio:.3} ({:.3})", most(pulls.iter().map(Pull::crossed)))
}

fn tables_are_wanted() -> bool {
    std::env::var_os("SHOAL_TUNING").is_some()
}

#[test]
fn the_table_of_cold_starts() {
    if !tables_are_wanted() {
        return;
    }
    println!("| parameter | 2 nodes | 8 nodes | 16 nodes | 50 nodes |\n|---|---|---|---|---|");
    for &(name, change) in COLD_STARTS {
        let cells = [(2, 256), (8, 256), (16, 256), (50, 50)].map(|(nodes, mib)| cold_start(nodes, mib, change));
        println!("| {name} | {} |", cells.join(" | "));
    }
}

#[test]
fn the_table_of_zones() {
    if !tables_are_wanted() {
        return;
    }
    println!("| parameter | 4 zones of 4, uplink 2 | the same, uplink 1 | 5 of 3, 1 |\n|---|---|---|---|");
    for &(name, change) in ZONES {
        let settings = [(4, 4, 2.0, 256), (4, 4, 1.0, 256), (5, 3, 1.0, 256)];
        let cells = settings.map(|(count, each, uplink, mib)| zones(count, each, uplink, mib, change));
        println!("| {name} | {} |", cells.join(" | "));
    }
}

#[test]
fn the_table_of_images() {
    if !tables_are_wanted() {
        return;
    }
    println!("| parameter | 20 layers, 8 nodes |\n|---|---|");
    for &(name, change) in IMAGES {
        let ratios = (0..SEEDS).map(|seed| image(change, seed).0).collect();
        println!("| {name} | {:.3} |", median(ratios));
    }
}

//! What the policies are worth on links that are shared fairly: cold starts by number of nodes, zones, images.
//!
//! `SHOAL_TUNING=1 cargo test -p shoal-core --test swarm policies -- --nocapture` prints the tables of docs/tuning.md.

use std::time::Duration;

use shoal_core::config::CoreConfig;

use crate::{
    image::image,
    pull::{LINK, MIB, Pull, median, setting},
    world::Setting,
};

fn tables() -> bool {
    std::env::var_os("SHOAL_TUNING").is_some()
}

const SEEDS: u64 = 5;

/// One way to set the parameters.
type Variation = (&'static str, fn(&mut CoreConfig));

/// `SHOAL_ROWS=<n>` takes the first n rows only.
const COLD_STARTS: &[Variation] = &[
    ("the defaults", |_| {}),
    ("4 slots, 1 waits", |config| config.swarm.upload_backlog = 1),
    ("the first pieces to 4 at once", |config| config.swarm.upload_slots_young = 4),
    ("the first piece with the others", |config| config.injection.opening_max = Duration::ZERO),
    ("2 slots, 3 wait", |config| (config.swarm.upload_slots, config.swarm.upload_backlog) = (2, 3)),
    ("2 slots, 2 wait", |config| (config.swarm.upload_slots, config.swarm.upload_backlog) = (2, 2)),
    ("3 slots, 2 wait", |config| (config.swarm.upload_slots, config.swarm.upload_backlog) = (3, 2)),
    ("1 slot, 3 wait", |config| (config.swarm.upload_slots, config.swarm.upload_backlog) = (1, 3)),
    ("3 slots, 1 waits, 3 requests", |config| {
        (config.swarm.upload_slots, config.swarm.upload_backlog, config.swarm.requests_max) = (3, 1, 3);
    }),
    ("2 leases", |config| (config.injection.leases_start, config.injection.leases_max) = (2, 2)),
    ("6 leases", |config| (config.injection.leases_start, config.injection.leases_max) = (6, 6)),
    ("runs of 0.25 s", |config| config.injection.run_time = Duration::from_millis(250)),
    ("have-maps every 5 ms", |config| config.swarm.have_interval = Duration::from_millis(5)),
    ("window of 8 pieces", |config| config.swarm.window_pieces = 8),
    ("window of 128 pieces", |config| config.swarm.window_pieces = 128),
];

#[test]
fn cold_starts() {
    if !tables() {
        return;
    }
    let rows = std::env::var("SHOAL_ROWS").map_or(usize::MAX, |rows| rows.parse().expect("SHOAL_ROWS is a number"));
    for &(name, change) in COLD_STARTS.iter().take(rows) {
        let mut cells = vec![name.to_owned()];
        for (nodes, mib) in [(2, 256), (4, 256), (8, 256), (16, 256), (32, 256), (50, 50)] {
            let mut runs = Vec::new();
            for seed in 0..SEEDS {
                let mut setting = setting(nodes);
                change(&mut setting.config);
                let pull = Pull::finish(setting, mib * MIB, seed);
                runs.push((pull.makespan() / pull.granular_s(), pull.first_byte()));
            }
            let first = runs.iter().map(|run| run.1).fold(0.0, f64::max);
            cells.push(format!("{:.3} ({first:.2})", median(runs.into_iter().map(|run| run.0).collect())));
        }
        println!("| {} |", cells.join(" | "));
    }
}

const ZONES: &[Variation] = &[
    ("the defaults", |_| {}),
    ("1 request to other zones", |config| config.swarm.requests_far_max = 1),
    ("3 requests to other zones", |config| config.swarm.requests_far_max = 3),
    ("4 requests to other zones", |config| config.swarm.requests_far_max = 4),
    ("gateways have 0.3 s", |config| config.swarm.gateway_patience_min = Duration::from_millis(300)),
    ("gateways have 5 s", |config| config.swarm.gateway_patience_min = Duration::from_secs(5)),
    ("4 far neighbours", |config| config.swarm.neighbours_far = 4),
    ("24 far neighbours", |config| config.swarm.neighbours_far = 24),
];

#[test]
fn zones() {
    if !tables() {
        return;
    }
    for &(name, change) in ZONES {
        let mut cells = vec![name.to_owned()];
        for (zones, each, uplink, mib, seeds) in [
            (4, 4, 2.0, 256, SEEDS),
            (4, 4, 1.0, 256, SEEDS),
            (8, 2, 1.0, 128, SEEDS),
            (5, 3, 1.0, 128, SEEDS),
            (16, 16, 2.0, 32, 1),
        ] {
            let mut runs = Vec::new();
            for seed in 0..seeds {
                let mut setting = Setting { zones, zone_uplink: uplink * LINK, ..setting(zones * each) };
                change(&mut setting.config);
                let pull = Pull::finish(setting, mib * MIB, seed);
                runs.push((pull.makespan() / pull.link_s(), pull.crossed()));
            }
            let crossed = runs.iter().map(|run| run.1).fold(0.0, f64::max);
            cells.push(format!("{:.3} ({crossed:.3})", median(runs.into_iter().map(|run| run.0).collect())));
        }
        println!("| {} |", cells.join(" | "));
    }
}

#[test]
fn images() {
    if !tables() {
        return;
    }
    const IMAGES: &[Variation] = &[
        ("the defaults", |_| {}),
        ("1 waits", |config| config.swarm.upload_backlog = 1),
        ("the first piece with the others", |config| config.injection.opening_max = Duration::ZERO),
        ("6 requests at once", |config| config.swarm.requests_max = 6),
        ("2 leases", |config| config.injection.leases_start = 2),
    ];
    for &(name, change) in IMAGES {
        let runs: Vec<_> = (0..SEEDS).map(|seed| image(change, seed)).collect();
        let copies = runs.iter().map(|run| run.1).fold(0.0, f64::max);
        println!("| {name} | {:.3} ({copies:.3}) |", median(runs.into_iter().map(|run| run.0).collect()));
    }
}

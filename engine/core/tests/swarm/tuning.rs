//! The table of docs/tuning.md: what each parameter does to a cold start in virtual time.
//!
//! `SHOAL_TUNING=1 cargo test -p shoal-core --test swarm tuning -- --nocapture`

use std::time::Duration;

use crate::world::{Setting, World};
use shoal_core::config::CoreConfig;

const SIZE: u64 = 50 * 1024 * 1024;

/// One way to set the parameters.
type Variation = (&'static str, fn(&mut CoreConfig));

const VARIATIONS: &[Variation] = &[
    ("the defaults", |_| {}),
    ("1 lease at work", |config| (config.injection.leases_start, config.injection.leases_max) = (1, 1)),
    ("2 leases", |config| (config.injection.leases_start, config.injection.leases_max) = (2, 2)),
    ("8 leases", |config| (config.injection.leases_start, config.injection.leases_max) = (8, 8)),
    ("32 leases", |config| (config.injection.leases_start, config.injection.leases_max) = (32, 32)),
    ("2 upload slots", |config| config.swarm.upload_slots = 2),
    ("8 upload slots", |config| config.swarm.upload_slots = 8),
    ("unbounded queue", |config| config.swarm.upload_backlog = 1000),
    ("no queue", |config| config.swarm.upload_backlog = 0),
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

/// Time of the last node over what one node alone would need, and upstream copies.
fn cold_start(nodes: usize, config: CoreConfig, seed: u64) -> Option<(f64, f64)> {
    let setting = Setting { nodes, config, ..Setting::default() };
    let bound = SIZE as f64 / setting.link;
    let mut world = World::new(setting, seed);
    world.form();
    let digest = world.blob(SIZE);
    let start = world.now;
    (0..nodes).for_each(|node| world.want(node, digest));
    let done = world.run_until(Duration::from_secs(60), |world| world.finished(&digest) == nodes);
    done.then(|| (world.now.since(start).as_secs_f64() / bound, world.upstream_bytes as f64 / SIZE as f64))
}

/// The median ratio and the largest number of copies over some seeds; `None` where a run does not finish.
fn median(nodes: usize, change: fn(&mut CoreConfig)) -> Option<(f64, f64)> {
    let mut runs = Vec::new();
    for seed in 0..5 {
        let mut config = CoreConfig::default();
        change(&mut config);
        runs.push(cold_start(nodes, config, seed)?);
    }
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    Some((runs[2].0, runs.iter().map(|run| run.1).fold(0.0, f64::max)))
}

#[test]
fn the_table_of_the_tuning_document() {
    if std::env::var_os("SHOAL_TUNING").is_none() {
        return;
    }
    println!("| parameter | 8 nodes: time / bound (copies) | 50 nodes |\n|---|---|---|");
    for &(name, change) in VARIATIONS {
        let cell = |nodes| match median(nodes, change) {
            Some((ratio, copies)) => format!("{ratio:.3} ({copies:.2})"),
            None => "not within 60 s".to_owned(),
        };
        println!("| {name} | {} | {} |", cell(8), cell(50));
    }
}

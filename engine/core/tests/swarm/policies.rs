//! What the policies are worth on links that are shared fairly: cold starts by number of nodes, zones, slow nodes,
//! roll-outs, crashes and images of many layers.
//!
//! `SHOAL_TUNING=1 cargo test -p shoal-core --test swarm policies -- --nocapture` prints the tables of docs/tuning.md.

use std::time::Duration;

use shoal_core::config::CoreConfig;

use crate::{
    pull::{LINK, MIB, Pull, setting},
    world::{Setting, World},
};

fn tables() -> bool {
    std::env::var_os("SHOAL_TUNING").is_some()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const SEEDS: u64 = 5;

#[test]
fn cold_starts_by_number_of_nodes() {
    if !tables() {
        return;
    }
    for (nodes, mib) in [(2, 256), (4, 256), (8, 256), (16, 256), (32, 256), (8, 50), (50, 50)] {
        let mut ratios = Vec::new();
        let (mut first, mut copies, mut duplicates) = (0.0f64, 0.0f64, 0);
        for seed in 0..SEEDS {
            let pull = Pull::finish(setting(nodes), mib * MIB, seed);
            let pieces = f64::from(pull.world.geometry(&pull.digest).pieces());
            let granular = pull.link_s() * (1.0 + f64::from(nodes.ilog2()) / pieces);
            ratios.push(pull.makespan() / granular);
            first = first.max(pull.first_byte());
            copies = copies.max(pull.copies());
            duplicates = duplicates.max(pull.world.duplicates);
        }
        println!(
            "{nodes} nodes {mib} MiB: {:.3} x granular {ratios:.3?}, first byte {first:.2} s, copies {copies:.3}, duplicates {duplicates}",
            median(ratios.clone())
        );
    }
}

/// One way to set the parameters.
type Variation = (&'static str, fn(&mut CoreConfig));

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
fn stragglers() {
    if !tables() {
        return;
    }
    let mut fast = Vec::new();
    let mut slow = Vec::new();
    for seed in 0..SEEDS {
        let pull = Pull::finish(Setting { slow: 2, ..setting(16) }, 256 * MIB, seed);
        let seconds = pull.seconds();
        fast.push(median(seconds[..14].to_vec()) / pull.link_s());
        slow.push(seconds[14].max(seconds[15]) / (10.0 * pull.link_s()));
    }
    println!("2 of 16 at a tenth: fast {:.3} {fast:.3?}, slow {slow:.3?}", median(fast.clone()));
}

#[test]
fn kills() {
    if !tables() {
        return;
    }
    let mut ratios = Vec::new();
    for seed in 0..SEEDS {
        let quiet = Pull::finish(setting(16), 256 * MIB, seed).makespan();
        let mut pull = Pull::start(setting(16), 256 * MIB, seed);
        let digest = pull.digest;
        let half = pull.world.geometry(&digest).pieces() * 8;
        let is_half =
            |world: &World| world.members.iter().map(|member| member.store[&digest].count()).sum::<u32>() >= half;
        assert!(pull.world.run_until(Duration::from_secs(300), is_half));
        let home = pull.world.home_of(&digest);
        for node in [home, (home + 5) % 16, (home + 11) % 16] {
            pull.world.crash(node);
        }
        pull.end(seed);
        ratios.push(pull.makespan() / quiet);
    }
    println!("home and 2 of 16 crash at 50 %: {:.3} {ratios:.3?}", median(ratios.clone()));
}

#[test]
fn rolling() {
    if !tables() {
        return;
    }
    for seed in 0..SEEDS {
        let mut world = World::new(setting(10), seed);
        world.form();
        let digest = world.blob(256 * MIB);
        let mut pulls = Vec::new();
        for pair in 0..5 {
            let start = world.now;
            for node in [2 * pair, 2 * pair + 1] {
                world.want(node, digest);
            }
            assert!(world.run_until(Duration::from_secs(300), |world| world.finished(&digest) == 2 * pair + 2));
            pulls.push(world.now.since(start).as_secs_f64());
        }
        println!("rolling: {pulls:.2?}, last / first {:.3}", pulls[4] / pulls[0]);
    }
}

#[test]
fn images() {
    if !tables() {
        return;
    }
    let kib =
        [32, 64, 4, 120, 500, 2_000, 40, 12, 8_000, 300, 1_500, 30_000, 90, 700, 20, 60_000, 250, 4_000, 16, 25_000];
    let mut ratios = Vec::new();
    for seed in 0..SEEDS {
        let mut world = World::new(setting(8), seed);
        world.form();
        let layers: Vec<_> = kib.iter().map(|kib| world.blob(kib * 1024)).collect();
        let start = world.now;
        let mut next = [0; 8];
        loop {
            for node in 0..8 {
                let done = |world: &World, layer: usize| world.members[node].finished.contains_key(&layers[layer]);
                while next[node] < 20 && (0..next[node]).filter(|&layer| !done(&world, layer)).count() < 3 {
                    world.want(node, layers[next[node]]);
                    next[node] += 1;
                }
            }
            let all = |world: &World| world.members.iter().map(|member| member.finished.len()).sum::<usize>();
            let before = all(&world);
            if before == 160 {
                break;
            }
            assert!(
                world.run_until(Duration::from_secs(60), |world| all(world) > before),
                "seed {seed}: stuck at {before}"
            );
        }
        let bytes = kib.iter().sum::<u64>() * 1024;
        ratios.push(world.now.since(start).as_secs_f64() / (bytes as f64 / LINK));
        if seed == 0 {
            println!("copies {:.3}, duplicates {}", world.upstream_bytes as f64 / bytes as f64, world.duplicates);
        }
    }
    println!("20 layers, 8 nodes: {:.3} {ratios:.3?}", median(ratios.clone()));
}

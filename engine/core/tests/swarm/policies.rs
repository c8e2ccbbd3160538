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

/// One way to set the parameters.
type Variation = (&'static str, fn(&mut CoreConfig));

/// `SHOAL_ROWS=<n>` takes the first n rows only.
const COLD_STARTS: &[Variation] = &[
    ("the defaults", |_| {}),
    ("4 slots, 1 waits", |config| config.swarm.upload_backlog = 1),
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

/// Layers of an image in KiB, most of them small.
const LAYERS: [u64; 20] =
    [32, 64, 4, 120, 500, 2_000, 40, 12, 8_000, 300, 1_500, 30_000, 90, 700, 20, 60_000, 250, 4_000, 16, 25_000];

/// Eight nodes pull the image, three layers at a time: time over the bound, and upstream copies.
fn image(change: fn(&mut CoreConfig), seed: u64) -> (f64, f64) {
    let mut setting = setting(8);
    change(&mut setting.config);
    let mut world = World::new(setting, seed);
    world.form();
    let layers: Vec<_> = LAYERS.iter().map(|kib| world.blob(kib * 1024)).collect();
    let start = world.now;
    let mut next = [0; 8];
    let all = |world: &World| world.members.iter().map(|member| member.finished.len()).sum::<usize>();
    while all(&world) < 8 * layers.len() {
        for (node, next) in next.iter_mut().enumerate() {
            while *next < layers.len() && *next - world.members[node].finished.len() < 3 {
                world.want(node, layers[*next]);
                *next += 1;
            }
        }
        let before = all(&world);
        let more = world.run_until(Duration::from_secs(60), |world| all(world) > before);
        assert!(more, "seed {seed}: nothing happens after {before} layers");
    }
    let bytes = (LAYERS.iter().sum::<u64>() * 1024) as f64;
    (world.now.since(start).as_secs_f64() / (bytes / LINK), world.upstream_bytes as f64 / bytes)
}

#[test]
fn images() {
    if !tables() {
        return;
    }
    const IMAGES: &[Variation] = &[
        ("the defaults", |_| {}),
        ("1 waits", |config| config.swarm.upload_backlog = 1),
        ("no opening", |config| config.injection.opening_max = Duration::ZERO),
        ("1 waits, no opening", |config| (config.swarm.upload_backlog, config.injection.opening_max) = (1, Duration::ZERO)),
        ("requests 6", |config| config.swarm.requests_max = 6),
        ("requests 8", |config| config.swarm.requests_max = 8),
        ("runs .5", |config| config.injection.run_time = Duration::from_millis(500)),
        ("leases 2", |config| config.injection.leases_start = 2),
    ];
    for &(name, change) in IMAGES {
        let runs: Vec<_> = (0..SEEDS).map(|seed| image(change, seed)).collect();
        let copies = runs.iter().map(|run| run.1).fold(0.0, f64::max);
        println!("| {name} | {:.3} ({copies:.3}) |", median(runs.into_iter().map(|run| run.0).collect()));
    }
}

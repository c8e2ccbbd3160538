//! What the policies are worth on links that are shared fairly: cold starts by number of nodes, zones, slow nodes,
//! roll-outs, crashes and images of many layers.
//!
//! `SHOAL_TUNING=1 cargo test -p shoal-core --test swarm policies -- --nocapture` prints the tables of docs/tuning.md.

use std::time::Duration;

use shoal_wire::digest::Digest;

use crate::world::{Setting, World, network::Sharing};

const MIB: u64 = 1024 * 1024;
/// 50 Mbit/s.
const LINK: f64 = 6.25e6;

fn setting(nodes: usize) -> Setting {
    Setting { nodes, link: LINK, upstream: LINK, zone_uplink: 2.0 * LINK, sharing: Sharing::Fair, ..Setting::default() }
}

/// All nodes want one blob at once.
struct Pull {
    world: World,
    digest: Digest,
    size: u64,
    start: shoal_core::time::Time,
}

impl Pull {
    fn start(setting: Setting, size: u64, seed: u64) -> Self {
        let mut world = World::new(setting, seed);
        world.form();
        let digest = world.blob(size);
        let start = world.now;
        (0..world.members.len()).for_each(|node| world.want(node, digest));
        Self { world, digest, size, start }
    }

    fn finish(setting: Setting, size: u64, seed: u64) -> Self {
        let mut pull = Self::start(setting, size, seed);
        pull.end(seed);
        pull
    }

    fn end(&mut self, seed: u64) {
        let digest = self.digest;
        let done = self.world.run_until(Duration::from_secs(3000), |world| world.finished(&digest) == world.up());
        assert!(done, "seed {seed}: {} of {} nodes finished", self.world.finished(&digest), self.world.up());
    }

    /// Seconds that each node that is up needed.
    fn seconds(&self) -> Vec<f64> {
        let up = self.world.members.iter().filter(|member| member.is_up);
        up.map(|member| member.finished[&self.digest].since(self.start).as_secs_f64()).collect()
    }

    fn makespan(&self) -> f64 {
        self.seconds().into_iter().fold(0.0, f64::max)
    }

    /// The time that one link needs for the blob: the fluid bound where upstream and nodes have equal links.
    fn link_s(&self) -> f64 {
        self.size as f64 / LINK
    }

    fn first_byte(&self) -> f64 {
        let begun = self.world.members.iter().map(|member| member.begun[&self.digest]);
        begun.map(|at| at.since(self.start).as_secs_f64()).fold(0.0, f64::max)
    }

    fn copies(&self) -> f64 {
        self.world.upstream_bytes as f64 / self.size as f64
    }
}

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
            let granular = pull.link_s() * (1.0 + f64::from((nodes as u32).ilog2()) / pieces);
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

#[test]
fn zones() {
    if !tables() {
        return;
    }
    for (zones, each, uplink, mib) in [(4, 4, 2.0, 256), (4, 4, 1.0, 256), (16, 16, 2.0, 32)] {
        let mut ratios = Vec::new();
        let mut crossed: Vec<f64> = Vec::new();
        for seed in 0..if zones == 16 { 1 } else { SEEDS } {
            let setting = Setting { zones, zone_uplink: uplink * LINK, ..setting(zones * each) };
            let pull = Pull::finish(setting, mib * MIB, seed);
            ratios.push(pull.makespan() / pull.link_s());
            crossed.push((0..zones).map(|zone| pull.world.entered(zone)).fold(0.0, f64::max) / pull.size as f64);
        }
        println!(
            "{zones} zones of {each}, uplink {uplink}: {:.3} x fluid {ratios:.3?}, crossed {crossed:.3?}",
            median(ratios.clone())
        );
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

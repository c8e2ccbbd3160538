//! Storms: every wanter that lives gets its blob, whatever the network does.
//!
//! `SHOAL_SEED=<seed> cargo test -p shoal-core --test swarm replay -- --nocapture` replays one seed and prints what
//! became of it; `SHOAL_SEEDS=<first>..<last>` changes the range of the storms.

use std::time::Duration;

use crate::world::{Setting, World};

const MIB: u64 = 1024 * 1024;

/// What a storm does to a swarm, drawn from its seed.
struct Storm {
    setting: Setting,
    size: u64,
    /// When whom to crash, and whether it comes back, in order.
    crashes: Vec<(Duration, usize, bool)>,
    /// When each node begins to want the blob.
    arrivals: Vec<Duration>,
}

impl Storm {
    fn draw(seed: u64) -> Self {
        let mut random = shoal_core::rng::Stream::new(seed, "storm");
        let nodes = 50;
        let setting = Setting {
            nodes,
            gossip_loss: random.unit() * 0.10,
            control_loss: random.unit() * 0.05,
            hanging_transfers: random.unit() * 0.01,
            ranges: !random.chance(0.1),
            ..Setting::default()
        };
        let spread = if random.chance(0.5) { Duration::ZERO } else { Duration::from_secs(3) };
        let arrivals = (0..nodes).map(|_| random.between(Duration::ZERO, spread)).collect();
        let count = random.below(11);
        let mut crashes: Vec<_> = (0..count)
            .map(|_| {
                let at = random.between(Duration::ZERO, Duration::from_secs(4));
                // Node 0 stays: it is the seed through which others come back.
                (at, 1 + random.below(nodes - 1), random.chance(0.3))
            })
            .collect();
        crashes.sort_unstable();
        let zones = if random.chance(0.4) { 2 + random.below(9) } else { 0 };
        let setting = Setting { zones, ..setting };
        // 200 pieces of 256 KiB.
        Self { setting, size: 50 * MIB, crashes, arrivals }
    }

    /// Runs the storm; every survivor must finish. Returns the world for further questions.
    fn run(self, seed: u64, traced: bool, tells: bool) -> World {
        let replay =
            format!("replay with: SHOAL_SEED={seed} cargo test -p shoal-core --test swarm replay -- --nocapture");
        let mut world = if traced { World::traced(self.setting, seed) } else { World::new(self.setting, seed) };
        world.form();
        world.tells = tells;
        let digest = world.blob(self.size);
        let start = world.now;
        let mut plan: Vec<_> = self.arrivals.into_iter().enumerate().map(|(node, at)| (at, node, None)).collect();
        plan.extend(self.crashes.iter().map(|&(at, node, returns)| (at, node, Some(returns))));
        plan.sort_unstable();
        let crashes = self.crashes.len();
        let victims: Vec<_> = self.crashes.iter().map(|&(_, node, _)| node).collect();
        let homes = world.homes_of(&digest);
        let mut returning = Vec::new();
        for (at, node, crash) in plan {
            world.run_for((start + at).since(world.now));
            match crash {
                None if world.members[node].is_up => world.want(node, digest),
                None => {}
                Some(returns) => {
                    world.crash(node);
                    if returns && !returning.contains(&node) {
                        returning.push(node);
                    }
                }
            }
        }
        let returned = returning.len();
        for node in returning {
            world.restart(node);
            world.want(node, digest);
        }
        let done = world.run_until(Duration::from_secs(120), |world| world.finished(&digest) == world.up());
        let stuck: Vec<_> = (0..world.members.len())
            .filter(|&node| world.members[node].is_up && !world.members[node].finished.contains_key(&digest))
            .map(|node| (node, world.members[node].store[&digest].count(), world.members[node].failed.get(&digest)))
            .collect();
        assert!(done, "seed {seed}: nodes that did not finish (node, pieces, failure): {stuck:?}\n{replay}");
        let copies = world.upstream_bytes as f64 / self.size as f64;
        let copies_max = if !world.setting.ranges {
            // It starts again from byte 0 whenever the one that streams it crashes.
            2.0 + crashes as f64
        } else if homes.iter().all(|home| victims.contains(home)) {
            // Until membership finds out, whoever comes back meets no home and fetches for itself.
            1.6 + returned as f64
        } else {
            1.6
        };
        assert!(copies <= copies_max, "seed {seed}: {copies:.2} upstream copies\n{replay}");
        world
    }
}

/// `SHOAL_SEEDS=first..last`, or the default range.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("SHOAL_SEEDS") else { return 0..1000 };
    let (first, last) = text.split_once("..").expect("SHOAL_SEEDS is written first..last");
    first.parse().expect("a number")..last.parse().expect("a number")
}

#[test]
fn every_survivor_of_a_storm_finishes() {
    let seeds = seeds();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let mine = seeds.clone().skip(thread).step_by(threads);
            scope.spawn(move || mine.for_each(|seed| drop(Storm::draw(seed).run(seed, false, false))));
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 14] {
        let first = Storm::draw(seed).run(seed, true, false).trace();
        let second = Storm::draw(seed).run(seed, true, false).trace();
        assert!(first.is_some() && first == second, "seed {seed} gave two traces");
    }
    let (one, other) = (Storm::draw(3).run(3, true, false).trace(), Storm::draw(4).run(4, true, false).trace());
    assert_ne!(one, other, "different seeds give different runs");
}

#[test]
fn replay() {
    let Some(seed) = std::env::var("SHOAL_SEED").ok().and_then(|text| text.parse().ok()) else { return };
    let world = Storm::draw(seed).run(seed, false, true);
    let copies = world.upstream_bytes as f64 / (50 * MIB) as f64;
    println!("seed {seed}: all {} survivors finished, {copies:.3} upstream copies", world.up());
}

//! What users notice: pulls near their bound, on links that are shared fairly.

use std::time::Duration;

use crate::{
    image::image,
    pull::{MIB, Pull, median, setting},
    world::{Setting, World},
};

const SEEDS: u64 = 3;

#[test]
fn a_cold_start_is_near_its_bound_whatever_the_number_of_nodes() {
    for nodes in [1, 2, 4, 8, 16, 32] {
        for seed in 0..SEEDS {
            let pull = Pull::finish(setting(nodes), 256 * MIB, seed);
            let (ratio, first_byte) = (pull.makespan() / pull.granular_s(), pull.first_byte());
            println!("seed {seed}, {nodes} nodes: {ratio:.3} x the bound, first byte {first_byte:.2} s");
            assert!(ratio <= 1.08, "seed {seed}, {nodes} nodes: {ratio:.3} x the bound");
            assert!(pull.copies() <= 1.01, "seed {seed}, {nodes} nodes: {:.3} upstream copies", pull.copies());
            let opening = if nodes <= 16 { 1.0 } else { 1.25 };
            assert!(first_byte <= opening, "seed {seed}, {nodes} nodes: first byte after {first_byte:.2} s");
        }
    }
}

#[test]
fn slow_nodes_do_not_hold_up_the_others() {
    for seed in 0..SEEDS {
        let pull = Pull::finish(Setting { slow: 2, ..setting(16) }, 256 * MIB, seed);
        let seconds = pull.seconds();
        let fast = median(seconds[..14].to_vec()) / pull.link_s();
        let slow = seconds[14].max(seconds[15]) / (10.0 * pull.link_s());
        println!("seed {seed}: fast {fast:.3}, slow {slow:.3} x their bound");
        assert!(fast <= 1.25, "seed {seed}: the fast nodes took {fast:.3} x their bound");
        assert!(slow <= 1.05, "seed {seed}: the slow nodes took {slow:.3} x their bound");
    }
}

#[test]
fn crashes_of_the_home_and_two_more_in_mid_pull_cost_little() {
    for seed in 0..SEEDS {
        let quiet = Pull::finish(setting(16), 256 * MIB, seed).makespan();
        let mut pull = Pull::start(setting(16), 256 * MIB, seed);
        let digest = pull.digest;
        let half = pull.world.geometry(&digest).pieces() * 8;
        let pieces = |world: &World| world.members.iter().map(|member| member.store[&digest].count()).sum::<u32>();
        assert!(pull.world.run_until(Duration::from_secs(300), |world| pieces(world) >= half), "seed {seed}");
        let home = pull.world.home_of(&digest);
        for node in [home, (home + 5) % 16, (home + 11) % 16] {
            pull.world.crash(node);
        }
        pull.end(seed);
        let ratio = pull.makespan() / quiet;
        println!("seed {seed}: {ratio:.3} x the run without crashes, {:.3} upstream copies", pull.copies());
        assert!(ratio <= 1.3, "seed {seed}: {ratio:.3} x the run without crashes");
    }
}

#[test]
fn the_last_nodes_of_a_roll_out_are_as_fast_as_the_first() {
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
            let both = |world: &World| world.finished(&digest) == 2 * pair + 2;
            assert!(world.run_until(Duration::from_secs(300), both), "seed {seed}: pair {pair}");
            pulls.push(world.now.since(start).as_secs_f64());
        }
        println!("seed {seed}: {pulls:.2?} s");
        assert!(pulls[4] <= 1.1 * pulls[0], "seed {seed}: {pulls:.2?}");
        assert!(world.upstream_bytes <= 257 * MIB, "seed {seed}: {} bytes", world.upstream_bytes);
    }
}

#[test]
fn nodes_that_come_one_after_the_other_each_take_little_more_than_their_link_needs() {
    for seed in 0..SEEDS {
        let mut world = World::new(setting(10), seed);
        world.form();
        let digest = world.blob(256 * MIB);
        let mut starts = Vec::new();
        for node in 0..10 {
            starts.push(world.now);
            world.want(node, digest);
            world.run_for(Duration::from_secs(4));
        }
        let all = |world: &World| world.finished(&digest) == 10;
        assert!(world.run_until(Duration::from_secs(300), all), "seed {seed}");
        let link_s = (256 * MIB) as f64 / world.setting.link;
        let needed = |node: usize| world.members[node].finished[&digest].since(starts[node]).as_secs_f64() / link_s;
        let ratios: Vec<_> = (0..10).map(needed).collect();
        println!("seed {seed}: {ratios:.3?}");
        assert!(ratios.iter().all(|&ratio| ratio <= 1.15), "seed {seed}: {ratios:.3?}");
    }
}

#[test]
fn an_image_of_many_layers_is_near_its_bound() {
    for seed in 0..SEEDS {
        let (ratio, copies) = image(|_| {}, seed);
        println!("seed {seed}: {ratio:.3} x the bound, {copies:.3} upstream copies");
        assert!(ratio <= 1.15, "seed {seed}: {ratio:.3} x the bound");
        assert!(copies <= 1.02, "seed {seed}: {copies:.3} upstream copies");
    }
}

#[test]
fn leases_that_share_a_thin_upstream_are_left_to_their_holders() {
    for seed in 0..SEEDS {
        // 32 leases of one upstream: a piece takes as long as a lease may stand still at the rate of the first one.
        let mut setting = setting(2);
        (setting.config.injection.leases_start, setting.config.injection.leases_max) = (32, 32);
        let pull = Pull::finish(setting, 256 * MIB, seed);
        println!(
            "seed {seed}: {:.3} x the bound, {:.3} upstream copies",
            pull.makespan() / pull.link_s(),
            pull.copies()
        );
        assert!(pull.copies() <= 1.3, "seed {seed}: {:.3} upstream copies", pull.copies());
    }
}

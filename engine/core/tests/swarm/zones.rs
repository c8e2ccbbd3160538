//! Zones whose uplinks are scarce: each piece crosses them about once, whatever dies.

use std::time::Duration;

use crate::{
    pull::{LINK, MIB, Pull, setting},
    world::Setting,
};

/// Four zones of four nodes; each zone's uplink is as fast as two nodes.
fn four_zones() -> Setting {
    Setting { zones: 4, ..setting(16) }
}

/// Nodes crash, and their work is done by others.
fn crash(pull: &mut Pull, nodes: &[usize]) {
    for &node in nodes {
        pull.world.crash(node);
    }
}

#[test]
fn each_piece_enters_each_zone_about_once() {
    for seed in 0..3 {
        let pull = Pull::finish(four_zones(), 128 * MIB, seed);
        let (ratio, crossed) = (pull.makespan() / pull.link_s(), pull.crossed());
        assert!(ratio <= 1.2, "seed {seed}: {ratio:.3} x the bound");
        assert!(crossed <= 1.05, "seed {seed}: {crossed:.3} copies entered a zone");
        assert!(pull.copies() <= 1.02, "seed {seed}: {:.3} upstream copies", pull.copies());
    }
}

#[test]
fn an_uplink_as_fast_as_one_node_is_enough() {
    for seed in 0..3 {
        let pull = Pull::finish(Setting { zone_uplink: LINK, ..four_zones() }, 128 * MIB, seed);
        let (ratio, crossed) = (pull.makespan() / pull.link_s(), pull.crossed());
        assert!(ratio <= 1.35, "seed {seed}: {ratio:.3} x the bound");
        assert!(crossed <= 1.1, "seed {seed}: {crossed:.3} copies entered a zone");
    }
}

#[test]
fn gateways_that_die_are_replaced() {
    for seed in 0..3 {
        let quiet = Pull::finish(four_zones(), 128 * MIB, seed).makespan();
        let mut pull = Pull::start(four_zones(), 128 * MIB, seed);
        pull.world.run_for(Duration::from_secs_f64(quiet / 3.0));
        crash(&mut pull, &[1, 6, 7]);
        pull.end(seed);
        let (ratio, crossed) = (pull.makespan() / quiet, pull.crossed());
        assert!(ratio <= 1.3, "seed {seed}: {ratio:.3} x the run without crashes");
        assert!(crossed <= 1.3, "seed {seed}: {crossed:.3} copies entered a zone");
    }
}

#[test]
fn a_zone_that_is_cut_off_goes_on_when_the_uplink_is_back() {
    for seed in 0..3 {
        let mut pull = Pull::start(four_zones(), 64 * MIB, seed);
        pull.world.run_for(Duration::from_secs(4));
        pull.world.cut_off(2);
        let digest = pull.digest;
        let outside = |world: &crate::world::World| world.finished(&digest) >= 12;
        assert!(pull.world.run_until(Duration::from_secs(40), outside), "seed {seed}: the others do not finish");
        pull.world.heal(2);
        let healed = pull.world.now;
        pull.end(seed);
        let after = pull.world.now.since(healed);
        assert!(after <= Duration::from_secs(60), "seed {seed}: {after:?} after the uplink was back");
    }
}

#[test]
fn a_zone_of_one_node_pulls_as_well() {
    for seed in 0..3 {
        let pull = Pull::finish(Setting { zones: 9, ..setting(9) }, 32 * MIB, seed);
        let ratio = pull.makespan() / pull.link_s();
        assert!(ratio <= 1.3, "seed {seed}: {ratio:.3} x the bound");
    }
}

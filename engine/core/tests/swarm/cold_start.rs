//! Cold starts: nobody has the blob, and all nodes want it at once.

use std::{cell::Cell, time::Duration};

use shoal_wire::geometry::PieceIndex;

use crate::{
    pull::setting,
    world::{Setting, World},
};

const MIB: u64 = 1024 * 1024;

/// All nodes want one blob at once; returns the time that the last one needed, over what one node alone would need.
fn cold_start(setting: Setting, size: u64, seed: u64) -> (f64, World) {
    let mut world = World::new(setting, seed);
    world.form();
    let digest = world.blob(size);
    let start = world.now;
    for index in 0..world.members.len() {
        world.want(index, digest);
    }
    let all = world.members.len();
    assert!(
        world.run_until(Duration::from_secs(300), |world| world.finished(&digest) == all),
        "seed {seed}: only {} of {all} nodes finished",
        world.finished(&digest)
    );
    let bound = size as f64 / world.setting.link.min(world.setting.upstream);
    (world.now.since(start).as_secs_f64() / bound, world)
}

#[test]
fn a_cold_start_takes_little_more_than_one_node_needs() {
    for nodes in [1, 2, 4, 8, 16, 50] {
        let (ratio, world) = cold_start(Setting { nodes, ..Setting::default() }, 50 * MIB, 1);
        let copies = world.upstream_bytes as f64 / (50 * MIB) as f64;
        println!(
            "{nodes} nodes: {ratio:.3} x the bound, {copies:.3} upstream copies, {} duplicates, {} messages",
            world.duplicates, world.control_messages
        );
        assert!(ratio < 1.25, "{nodes} nodes took {ratio:.3} x the bound");
        assert!(copies <= 1.02, "{nodes} nodes took {copies:.3} copies");
    }
}

#[test]
fn more_nodes_than_a_home_has_room_for_take_one_copy() {
    let mut setting = Setting { nodes: 50, ..Setting::default() };
    setting.config.injection.participants_max = 10;
    let (ratio, world) = cold_start(setting, 50 * MIB, 1);
    let copies = world.upstream_bytes as f64 / (50 * MIB) as f64;
    println!("{ratio:.3} x the bound, {copies:.3} upstream copies");
    assert!(ratio < 2.0, "took {ratio:.3} x the bound");
    assert!(copies <= 1.02, "took {copies:.3} copies");
}

#[test]
fn a_late_comer_takes_nothing_from_the_upstream() {
    let mut world = World::new(Setting { nodes: 6, ..Setting::default() }, 5);
    world.form();
    let digest = world.blob(20 * MIB);
    (0..5).for_each(|node| world.want(node, digest));
    assert!(world.run_until(Duration::from_secs(60), |world| world.finished(&digest) == 5));
    let before = world.upstream_bytes;
    world.want(5, digest);
    assert!(world.run_until(Duration::from_secs(60), |world| world.finished(&digest) == 6));
    assert_eq!(world.upstream_bytes, before);
}

#[test]
fn several_blobs_at_once_share_the_links() {
    let mut world = World::new(Setting::default(), 6);
    world.form();
    let digests: Vec<_> = [32, 16, 8].map(|mib| world.blob(mib * MIB)).into();
    let start = world.now;
    for node in 0..8 {
        for &digest in &digests {
            world.want(node, digest);
        }
    }
    let all_done = |world: &World| digests.iter().all(|digest| world.finished(digest) == 8);
    assert!(world.run_until(Duration::from_secs(60), all_done));
    let ratio = world.now.since(start).as_secs_f64() / ((56 * MIB) as f64 / world.setting.link);
    assert!(ratio < 1.25, "{ratio:.3} x the bound");
    assert!(world.upstream_bytes as f64 <= 1.05 * (56 * MIB) as f64);
}

#[test]
fn a_blob_of_one_piece_reaches_everybody_from_one_fetch() {
    let mut world = World::new(Setting::default(), 7);
    world.form();
    let digest = world.blob(4000);
    (0..8).for_each(|node| world.want(node, digest));
    assert!(world.run_until(Duration::from_secs(5), |world| world.finished(&digest) == 8));
    assert_eq!(world.upstream_bytes, 4000);
}

#[test]
fn an_empty_blob_is_a_blob() {
    let mut world = World::new(Setting { nodes: 2, ..Setting::default() }, 8);
    world.form();
    let digest = world.blob(0);
    (0..2).for_each(|node| world.want(node, digest));
    assert!(world.run_until(Duration::from_secs(5), |world| world.finished(&digest) == 2));
}

#[test]
fn a_late_comer_among_holders_takes_the_pieces_in_order() {
    for seed in 1..=5 {
        let mut world = World::new(setting(4), seed);
        world.form();
        let digest = world.blob(64 * MIB);
        (0..3).for_each(|node| world.want(node, digest));
        assert!(world.run_until(Duration::from_secs(120), |world| world.finished(&digest) == 3));
        // Those that have finished say so.
        world.run_for(Duration::from_secs(1));
        world.want(3, digest);
        let most_ahead = Cell::new(0);
        let done = world.run_until(Duration::from_secs(120), |world| {
            let have = &world.members[3].store[&digest];
            let cursor = have.first_missing(PieceIndex(0)).map_or(have.pieces(), |piece| piece.0);
            most_ahead.set(most_ahead.get().max(have.count() - cursor));
            world.finished(&digest) == 4
        });
        assert!(done, "seed {seed}");
        assert!(most_ahead.get() < 16, "seed {seed}: {} pieces were ahead of a reader", most_ahead.get());
    }
}

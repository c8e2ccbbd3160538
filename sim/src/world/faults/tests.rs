//! What faults do to a few nodes, looked at from inside.

use std::time::Duration;

use crate::{
    time::Nanos,
    world::{BlobId, Happening, UpstreamMood, World, setting::Setting},
};

const RATE: f64 = 1e6;
const MIB: u64 = 1 << 20;

fn run_until(world: &mut World, seconds: u64, done: impl Fn(&World) -> bool) -> bool {
    let until = world.now + Duration::from_secs(seconds);
    while !done(world) {
        if !world.step(until) {
            return done(world);
        }
    }
    true
}

fn run_for(world: &mut World, seconds: u64) {
    run_until(world, seconds, |_| false);
}

/// Nodes that know each other, of which the last has a blob; the first begins to read it.
fn with_a_holder(nodes: u32, bytes: u64) -> (World, BlobId) {
    let mut world = World::new(Setting::equal(nodes, RATE, 1), true);
    let blob = world.add_blob(bytes, true);
    world.hold(nodes - 1, blob);
    run_for(&mut world, 2);
    world.want(0, blob);
    assert!(run_until(&mut world, 10, |world| world.pieces_at(0, blob) > 0));
    (world, blob)
}

fn counts(world: &World, viewer: u32, node: u32) -> bool {
    world.engine(viewer).membership().alive(world.id_of(node)).is_some()
}

#[test]
fn a_stopped_process_does_nothing_and_goes_on_with_what_came_meanwhile() {
    let (mut world, blob) = with_a_holder(3, 8 * MIB);
    world.pause(0);
    let before = world.pieces_at(0, blob);
    run_for(&mut world, 4);
    assert_eq!(world.pieces_at(0, blob), before);
    assert!(!world.members[0].held_back.is_empty(), "its peers talk to it");
    world.resume(0);
    assert!(world.members[0].held_back.is_empty());
    assert!(run_until(&mut world, 60, |world| world.has_verified(0, blob)));
    assert!(counts(&world, 1, 0) && counts(&world, 0, 1), "a pause of 4 s is no death");
}

#[test]
fn a_process_that_stops_while_it_computes_the_digest_goes_on_with_it() {
    let mut setting = Setting::equal(2, RATE, 1);
    setting.costs.digest_bytes_per_s = 1e6;
    let mut world = World::new(setting, true);
    let blob = world.add_blob(2 * MIB, true);
    world.want(0, blob);
    assert!(run_until(&mut world, 20, |world| world.pieces_at(0, blob) == 8));
    assert!(!world.has_verified(0, blob));
    world.pause(0);
    run_for(&mut world, 4);
    assert!(!world.has_verified(0, blob));
    world.resume(0);
    assert!(run_until(&mut world, 1, |world| world.has_verified(0, blob)));
}

#[test]
fn a_process_that_stops_for_long_loses_its_connections() {
    let (mut world, _) = with_a_holder(3, 16 * MIB);
    assert!(!world.connected_peers(0).is_empty());
    world.pause(0);
    run_for(&mut world, 11);
    assert!(world.connected_peers(0).is_empty());
    world.resume(0);
    assert!(run_until(&mut world, 60, |world| world.has_verified(0, BlobId(0))));
}

#[test]
fn a_new_life_has_what_its_spool_kept_and_peers_meet_it_anew() {
    for keeps_spool in [true, false] {
        let (mut world, blob) = with_a_holder(3, MIB);
        assert!(run_until(&mut world, 60, |world| world.has_verified(0, blob)));
        world.kill(2);
        run_for(&mut world, 1);
        world.restart(2, keeps_spool);
        world.join_through(2, &[0]);
        assert_eq!(world.has_verified(2, blob), keeps_spool);
        assert!(world.is_orphan(0, 2), "the first node still has its old connection");
        assert!(run_until(&mut world, 20, |world| !world.is_orphan(0, 2)));
        assert!(run_until(&mut world, 60, |world| (0..3).all(|viewer| counts(world, viewer, 2))));
        world.want(1, blob);
        assert!(run_until(&mut world, 60, |world| world.has_verified(1, blob)));
    }
}

#[test]
fn what_is_sent_into_a_short_cut_comes_afterwards_and_into_a_long_one_never() {
    let (mut world, blob) = with_a_holder(2, 8 * MIB);
    let before = world.pieces_at(0, blob);
    world.sever(1, 0);
    run_for(&mut world, 3);
    assert!(world.pieces_at(0, blob) <= before + 1, "at most what was verified already");
    assert!(!world.troubles.withheld.is_empty() && !world.connected_peers(0).is_empty());
    world.mend(1, 0);
    assert!(world.troubles.withheld.is_empty());
    world.sever(0, 1);
    run_for(&mut world, 11);
    assert!(world.connected_peers(0).is_empty(), "one way is enough");
    world.mend(0, 1);
    assert!(run_until(&mut world, 120, |world| world.has_verified(0, blob)));
}

#[test]
fn a_full_disk_ends_the_readers_and_the_pieces_before_stay() {
    let (mut world, blob) = with_a_holder(2, 8 * MIB);
    world.fill_disk(0, true);
    let broken = |world: &World| world.happenings.contains(&Happening::Broken { node: 0, blob });
    assert!(run_until(&mut world, 20, broken));
    let before = world.pieces_at(0, blob);
    assert!(before > 0);
    world.fill_disk(0, false);
    world.want(0, blob);
    assert!(run_until(&mut world, 60, |world| world.has_verified(0, blob)));
}

#[test]
fn wrong_bytes_of_the_upstream_are_found_at_the_end_and_discarded() {
    let mut world = World::new(Setting::equal(2, RATE, 1), true);
    let blob = world.add_blob(2 * MIB, true);
    world.set_upstream_mood(UpstreamMood::Lies);
    world.want(0, blob);
    let is_found = |world: &World| world.happenings.contains(&Happening::Corrupt { node: 0, blob });
    assert!(run_until(&mut world, 20, is_found));
    assert_eq!((world.pieces_at(0, blob), world.has_verified(0, blob)), (0, false));
    world.set_upstream_mood(UpstreamMood::Serves);
    world.want(0, blob);
    assert!(run_until(&mut world, 60, |world| world.has_verified(0, blob)));
}

#[test]
fn a_stalled_upstream_is_given_up_after_the_runtimes_patience() {
    let mut world = World::new(Setting::equal(2, RATE, 1), true);
    let blob = world.add_blob(2 * MIB, true);
    world.set_upstream_mood(UpstreamMood::Stalls);
    world.want(0, blob);
    run_for(&mut world, 5);
    assert!(world.open_at(0).2 > 0, "it waits");
    world.set_upstream_mood(UpstreamMood::Serves);
    assert!(run_until(&mut world, 60, |world| world.has_verified(0, blob)));
}

#[test]
fn who_leaves_is_known_to_have_left_and_its_process_ends() {
    let mut world = World::new(Setting::equal(3, RATE, 1), true);
    run_for(&mut world, 1);
    world.leave(2);
    assert!(run_until(&mut world, 1, |world| !world.is_up(2)));
    assert!(world.happenings.contains(&Happening::Stopped { node: 2 }));
    assert!(run_until(&mut world, 2, |world| !counts(world, 0, 2) && !counts(world, 1, 2)), "sooner than a death");
    assert!(world.now < Nanos::from(Duration::from_secs(4)));
}

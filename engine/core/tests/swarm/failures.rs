//! What fails, and what a user notices of it.

use std::time::Duration;

use shoal_core::event::Input;
use shoal_wire::{control::UpstreamFailure, digest::Digest};

use crate::world::{Setting, World, network::Sharing};

const MIB: u64 = 1024 * 1024;

/// Eight nodes in the middle of a pull of 50 MiB.
fn mid_pull(setting: Setting, seed: u64) -> (World, Digest) {
    let mut world = World::new(setting, seed);
    world.form();
    let digest = world.blob(50 * MIB);
    (0..world.members.len()).for_each(|node| world.want(node, digest));
    let half = world.geometry(&digest).pieces() / 2;
    let is_half = |world: &World| world.members[0].store[&digest].count() >= half;
    assert!(world.run_until(Duration::from_secs(30), is_half), "seed {seed}");
    (world, digest)
}

fn all_finish(world: &mut World, digest: Digest, within: Duration) -> bool {
    world.run_until(within, |world| world.finished(&digest) == world.up())
}

fn copies(world: &World) -> f64 {
    world.upstream_bytes as f64 / (50 * MIB) as f64
}

#[test]
fn the_coordinating_home_dies_in_mid_pull() {
    for seed in 0..10 {
        let (mut world, digest) = mid_pull(Setting::default(), seed);
        let home = world.home_of(&digest);
        world.crash(home);
        assert!(all_finish(&mut world, digest, Duration::from_secs(30)), "seed {seed}");
        assert!(copies(&world) < 1.3, "seed {seed}: {} copies", copies(&world));
    }
}

#[test]
fn all_homes_die_at_once() {
    for seed in 0..5 {
        let (mut world, digest) = mid_pull(Setting { nodes: 12, ..Setting::default() }, seed);
        for _ in 0..3 {
            let home = world.home_of(&digest);
            world.crash(home);
        }
        assert!(all_finish(&mut world, digest, Duration::from_secs(60)), "seed {seed}");
    }
}

#[test]
fn the_node_that_serves_most_dies_in_mid_pull() {
    for seed in 0..10 {
        let (mut world, digest) = mid_pull(Setting::default(), seed);
        let busiest = (0..8).max_by_key(|&node| world.members[node].served).expect("eight nodes");
        world.crash(busiest);
        assert!(all_finish(&mut world, digest, Duration::from_secs(30)), "seed {seed}");
        assert!(copies(&world) < 1.3, "seed {seed}: {} copies", copies(&world));
    }
}

#[test]
fn an_upstream_without_ranges_is_read_about_once() {
    let mut world = World::new(Setting { ranges: false, ..Setting::default() }, 1);
    world.form();
    let digest = world.blob(50 * MIB);
    (0..8).for_each(|node| world.want(node, digest));
    assert!(all_finish(&mut world, digest, Duration::from_secs(30)));
    assert!(copies(&world) <= 1.02, "{} copies", copies(&world));
}

/// Nobody has the blob, and the upstream answers with `failure`: what each node's reader is told, and when.
fn upstream_fails(failure: UpstreamFailure) -> (Vec<UpstreamFailure>, Duration) {
    let mut world = World::new(Setting { nodes: 4, ..Setting::default() }, 2);
    world.form();
    let digest = world.blob(50 * MIB);
    world.upstream_failure = Some(failure);
    let start = world.now;
    (0..4).for_each(|node| world.want(node, digest));
    let all_failed = |world: &World| world.members.iter().all(|member| member.failed.contains_key(&digest));
    assert!(world.run_until(Duration::from_secs(15), all_failed), "{failure:?}: not told within 15 s");
    let told = world.members.iter().map(|member| member.failed[&digest]).collect();
    (told, world.now.since(start))
}

#[test]
fn readers_are_told_why_the_upstream_fails_and_soon() {
    let final_at_once = [UpstreamFailure::NotFound, UpstreamFailure::Denied, UpstreamFailure::NoUpstream];
    for failure in final_at_once {
        let (told, after) = upstream_fails(failure);
        assert_eq!(told, [failure; 4]);
        assert!(after < Duration::from_secs(2), "{failure:?} took {after:?}");
    }
    for failure in [UpstreamFailure::Unavailable, UpstreamFailure::RateLimited { retry_after_s: 30 }] {
        let (told, after) = upstream_fails(failure);
        assert_eq!(told, [failure; 4]);
        assert!(after < Duration::from_secs(10), "{failure:?} took {after:?}");
    }
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let (mut world, digest) = mid_pull(Setting::default(), 3);
    world.upstream_failure = Some(UpstreamFailure::Unavailable);
    world.run_for(Duration::from_secs(4));
    world.upstream_failure = None;
    assert!(all_finish(&mut world, digest, Duration::from_secs(30)));
}

#[test]
fn a_blob_whose_whole_is_wrong_is_fetched_again_and_given_up_in_the_end() {
    let mut world = World::new(Setting { nodes: 1, ..Setting::default() }, 4);
    world.form();
    let digest = world.blob(2 * MIB);
    world.corrupt = true;
    world.want(0, digest);
    let given_up = |world: &World| world.members[0].failed.contains_key(&digest);
    assert!(world.run_until(Duration::from_secs(30), given_up));
    assert_eq!(world.members[0].failed[&digest], UpstreamFailure::WrongContent);
    assert_eq!(world.upstream_bytes, 3 * 2 * MIB, "tried three times");
}

#[test]
fn a_reader_that_goes_away_gives_back_its_leases() {
    let mut world = World::new(Setting { nodes: 3, ..Setting::default() }, 5);
    world.form();
    let digest = world.blob(20 * MIB);
    world.want(0, digest);
    world.run_for(Duration::from_millis(200));
    world.want(1, digest);
    world.run_for(Duration::from_millis(100));
    world.input(0, Input::Unwant { digest });
    let done = |world: &World| world.members[1].finished.contains_key(&digest);
    assert!(world.run_until(Duration::from_secs(20), done));
    assert!(!world.members[0].finished.contains_key(&digest));
}

#[test]
fn holders_that_come_back_empty_before_anybody_notices_do_not_stop_later_pulls() {
    for seed in 0..5 {
        let mut world = World::new(Setting { nodes: 4, ..Setting::default() }, seed);
        world.form();
        let digest = world.blob(5 * MIB);
        (0..3).for_each(|node| world.want(node, digest));
        let three = |world: &World| world.finished(&digest) == 3;
        assert!(world.run_until(Duration::from_secs(20), three), "seed {seed}");
        for node in 0..3 {
            world.crash(node);
            world.restart(node);
        }
        world.run_for(Duration::from_secs(2));
        world.want(3, digest);
        let done = |world: &World| world.members[3].finished.contains_key(&digest);
        assert!(world.run_until(Duration::from_secs(20), done), "seed {seed}");
    }
}

#[test]
fn a_holder_whose_word_of_dropping_the_blob_is_lost_does_not_stop_later_pulls() {
    let mut world = World::new(Setting { nodes: 4, ..Setting::default() }, 6);
    world.form();
    let digest = world.blob(5 * MIB);
    world.want(0, digest);
    let first = |world: &World| world.finished(&digest) == 1;
    assert!(world.run_until(Duration::from_secs(20), first));
    world.run_for(Duration::from_secs(1));
    // Every control message is lost while the holder says that it dropped the blob.
    world.setting.control_loss = 1.0;
    world.input(0, Input::Dropped { digest });
    world.run_for(Duration::from_millis(10));
    world.setting.control_loss = 0.0;
    world.want(3, digest);
    let done = |world: &World| world.members[3].finished.contains_key(&digest);
    assert!(world.run_until(Duration::from_secs(20), done));
}

/// 29 nodes whose upstream gives a piece in four seconds, and have met as many others as they look for.
fn hungry(setting: Setting, seed: u64) -> (World, Digest) {
    let mut world = World::new(Setting { nodes: 30, upstream: 6e4, ..setting }, seed);
    world.form();
    let digest = world.blob(50 * MIB);
    (0..29).for_each(|node| world.want(node, digest));
    world.run_for(Duration::from_secs(20));
    assert!(world.members.iter().all(|member| member.failed.is_empty()), "seed {seed}: they wait for the upstream");
    (world, digest)
}

#[test]
fn who_comes_late_with_everything_is_found_by_nodes_that_look_for_nobody_else() {
    for seed in 0..5 {
        let (mut world, digest) = hungry(Setting::default(), seed);
        world.hold(29, digest);
        let all = |world: &World| world.finished(&digest) == 29;
        assert!(world.run_until(Duration::from_secs(300), all), "seed {seed}: {} of 29", world.finished(&digest));
    }
}

#[test]
fn whoever_has_what_is_missing_takes_the_place_of_neighbours_that_do_not() {
    // As many neighbours as are ever accepted have nothing, either.
    let mut setting = Setting::default();
    setting.config.swarm.neighbours_max = setting.config.swarm.neighbours;
    for seed in 0..5 {
        let (mut world, digest) = hungry(setting.clone(), seed);
        world.hold(29, digest);
        let all = |world: &World| world.finished(&digest) == 29;
        assert!(world.run_until(Duration::from_secs(300), all), "seed {seed}: {} of 29", world.finished(&digest));
    }
}

/// Seven nodes that pull 10 MiB over links of `rate` bytes per second, beside one that has all of it and delivers nothing;
/// says how many seconds more than a link needs they take, and how many it needs.
fn beside_a_mute_holder(rate: f64, seed: u64) -> (f64, f64) {
    let setting = Setting { link: rate, upstream: rate, sharing: Sharing::Fair, ..Setting::default() };
    let mut world = World::new(setting, seed);
    world.form();
    let digest = world.blob(10 * MIB);
    world.mute.insert(7);
    world.hold(7, digest);
    world.run_for(Duration::from_secs(1));
    let start = world.now;
    (0..7).for_each(|node| world.want(node, digest));
    let all = |world: &World| world.finished(&digest) == 7;
    let link_s = (10 * MIB) as f64 / rate;
    let limit = Duration::from_secs_f64(100.0 + 10.0 * link_s);
    assert!(world.run_until(limit, all), "seed {seed}, {rate} bytes/s: {} of 7", world.finished(&digest));
    (world.now.since(start).as_secs_f64() - link_s, link_s)
}

#[test]
fn a_holder_that_answers_and_delivers_nothing_is_found_out_however_slow_the_links_are() {
    for rate in [25e6, 1e6, 1e5, 2e4] {
        for seed in 0..4 {
            let (more_s, link_s) = beside_a_mute_holder(rate, seed);
            assert!(more_s <= 30.0 + link_s, "seed {seed}, {rate} bytes/s: {more_s:.0} s more than {link_s:.0}");
        }
    }
}

#[test]
fn a_holder_that_comes_back_ends_what_was_said_while_it_was_away() {
    for seed in 0..5 {
        let mut world = World::new(Setting { nodes: 4, ..Setting::default() }, seed);
        world.form();
        let digest = world.blob(5 * MIB);
        world.upstream_failure = Some(UpstreamFailure::NotFound);
        world.want(0, digest);
        world.run_for(Duration::from_secs(2));
        assert!(world.members[0].failed.contains_key(&digest), "seed {seed}: nobody has it");
        world.hold(3, digest);
        world.run_for(Duration::from_secs(1));
        world.want(1, digest);
        let done = |world: &World| world.members[1].finished.contains_key(&digest);
        assert!(world.run_until(Duration::from_secs(3), done), "seed {seed}: {:?}", world.members[1].failed);
    }
}

#[test]
fn an_upstream_that_takes_many_seconds_for_a_piece_is_waited_for() {
    for rate in [1e5, 5e4, 2e4, 1e4] {
        for seed in 0..4 {
            let setting = Setting { upstream: rate, sharing: Sharing::Fair, ..Setting::default() };
            let mut world = World::new(setting, seed);
            world.form();
            let digest = world.blob(10 * MIB);
            let start = world.now;
            (0..8).for_each(|node| world.want(node, digest));
            let link_s = (10 * MIB) as f64 / rate;
            assert!(
                all_finish(&mut world, digest, Duration::from_secs_f64(link_s * 1.5)),
                "seed {seed}, {rate} bytes/s: {} of 8 within {:.0} s",
                world.finished(&digest),
                world.now.since(start).as_secs_f64(),
            );
        }
    }
}

#[test]
fn one_on_a_slow_link_whom_only_the_upstream_serves_gets_all_of_it() {
    for seed in 0..4 {
        let setting =
            Setting { nodes: 2, link: 5e6, slow: 1, slow_by: 50.0, sharing: Sharing::Fair, ..Setting::default() };
        let slow_rate = setting.link / setting.slow_by;
        let mut world = World::new(setting, seed);
        world.form();
        let digest = world.blob(10 * MIB);
        world.want(0, digest);
        let first = |world: &World| world.finished(&digest) == 1;
        assert!(world.run_until(Duration::from_secs(60), first), "seed {seed}");
        world.mute.insert(0);
        world.want(1, digest);
        let link_s = (10 * MIB) as f64 / slow_rate;
        let done = all_finish(&mut world, digest, Duration::from_secs_f64(30.0 + 4.0 * link_s));
        assert!(done, "seed {seed}: {} of 2", world.finished(&digest));
    }
}

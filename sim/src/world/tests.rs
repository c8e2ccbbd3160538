//! Messages, connections and pieces between a few nodes, looked at from inside.

use std::time::Duration;

use super::{Event, World, event::Happening, setting::Setting};
use crate::time::Nanos;

const RATE: f64 = 1e6;

fn world(nodes: u32) -> World {
    World::new(Setting::equal(nodes, RATE, 1), true)
}

/// Steps for so long, or until `done`.
fn run_until(world: &mut World, seconds: u64, done: impl Fn(&World) -> bool) -> bool {
    let until = world.now + Duration::from_secs(seconds);
    while !done(world) {
        if !world.step(until) {
            return done(world);
        }
    }
    true
}

/// A world of two in which the second node has a blob, as is known, and the first wants it now.
fn with_a_holder(setting: Setting, bytes: u64) -> World {
    let mut world = World::new(setting, true);
    let blob = world.add_blob(bytes, true);
    world.hold(1, blob);
    run_until(&mut world, 2, |_| false);
    world.want(0, blob);
    world
}

fn has_finished(world: &World, node: u32) -> bool {
    world.happenings.iter().any(|happening| matches!(happening, Happening::Finished { node: at, .. } if *at == node))
}

#[test]
fn the_first_message_waits_for_the_connection_and_messages_keep_their_order() {
    let mut world = world(2);
    let round_trip = world.base_round_trip();
    let first = world.arrival(0, 1, 100).unwrap();
    assert!(first - world.now >= round_trip + Nanos::from(world.setting.paths.latency), "{first:?}");
    assert!(
        world.arrival(1, 0, 100).unwrap() >= Nanos::ZERO + round_trip,
        "the same connection carries both directions"
    );
    // Full links, whose queues get longer and shorter.
    let (up, down) = (world.members[0].links.up, world.members[1].links.down);
    world.network.start(world.now, &[up, down], 1e12, f64::INFINITY);
    world.network.next_completion();
    assert!(world.network.is_full(up) && !world.network.is_full(world.members[0].links.down));
    let (mut last, mut waits) = (first, Vec::new());
    for step in 1..200_u64 {
        world.now = Nanos(step * 7_000_000);
        let arrival = world.arrival(0, 1, 100).unwrap();
        assert!(arrival >= last, "in order");
        waits.push((arrival - world.now).0);
        last = arrival;
    }
    let longest = 2 * 50_000_000 + 2 * 100_000 + 1_000_000;
    assert!(waits.iter().all(|wait| *wait <= longest), "two queues of at most 50 ms");
    assert!(waits.iter().max().unwrap() > &60_000_000 && waits.iter().min().unwrap() < &20_000_000, "{waits:?}");
}

#[test]
fn bytes_and_losses_of_gossip_and_control_messages_are_counted() {
    let lossy = |loss| {
        let mut setting = Setting::equal(8, RATE, 3);
        setting.paths.loss = loss;
        let mut world = World::new(setting, true);
        run_until(&mut world, 20, |_| false);
        let down: u64 = (0..8).map(|node| world.counters(node).control_down_bytes).sum();
        (world.messages(), down)
    };
    let (said, received) = lossy(0.0);
    assert!(said.datagrams > 8 * 20, "each node probes once a second: {said:?}");
    assert_eq!(received, said.datagram_bytes + said.message_bytes);
    let (said, received) = lossy(0.2);
    let share = received as f64 / (said.datagram_bytes + said.message_bytes) as f64;
    assert!((0.7..0.95).contains(&share), "a fifth of the datagrams is lost, {share} arrived");
}

#[test]
fn a_host_that_is_gone_is_not_reached_and_a_connection_to_it_ends() {
    let mut world = world(3);
    world.arrival(0, 1, 10).unwrap();
    world.kill(1);
    assert!(world.arrival(0, 1, 10).is_none(), "an old connection swallows it");
    assert!(world.arrival(2, 1, 10).is_none(), "a new one is not made");
    assert_eq!(world.connected_peers(1), [0]);
    let lost = |world: &World| world.connected_peers(1).is_empty();
    assert!(!run_until(&mut world, 1, lost), "nobody knows yet");
    assert!(run_until(&mut world, 10, lost), "membership or the idle timeout tells");
}

#[test]
fn what_was_sent_of_a_piece_that_is_given_up_is_counted_and_the_next_piece_follows() {
    let mut world = with_a_holder(Setting::equal(2, RATE, 1), 4 << 20);
    let is_sending = |world: &World| world.pairs.iter().any(|pair| pair.directions[1].queue.len() > 1);
    assert!(run_until(&mut world, 5, is_sending), "several pieces are on their way");
    let later = world.now + Duration::from_millis(50);
    while world.step(later) {}
    let (pair, direction) = world.pair(1, 0);
    let head = world.pairs[pair as usize].directions[usize::from(direction)].queue[0];
    let upload = *world.members[1].uploads.iter().find(|upload| upload.id == head).unwrap();
    let duplicates = world.counters(0).duplicate_bytes;
    world.given_up(1, 0, upload.transfer);
    let wasted = world.counters(0).duplicate_bytes - duplicates;
    assert!(wasted > 0 && wasted < 256 << 10, "{wasted} bytes of a piece");
    assert!(!world.members[1].uploads.iter().any(|open| open.id == head));
    assert!(world.pairs[pair as usize].directions[usize::from(direction)].flow.is_some(), "the next one is on its way");
    assert!(run_until(&mut world, 60, |world| has_finished(world, 0)), "the piece is asked for again");
    let (_, down) = world.carried_by(0);
    assert_eq!(down, (4 << 20) + world.counters(0).duplicate_bytes);
}

#[test]
fn a_slow_start_doubles_until_the_path_is_full() {
    let mut setting = Setting::equal(2, 100e6, 1);
    setting.paths.latency = Duration::from_millis(20);
    setting.paths.jitter = Duration::ZERO;
    let mut world = with_a_holder(setting, 256 << 20);
    assert!(run_until(&mut world, 5, |world| !world.network.is_empty()));
    let (first, ceiling) = (14_720.0 / 0.04, 100e6);
    let mut caps = Vec::new();
    let limit = world.now + Duration::from_secs(10);
    while caps.len() < 12 && world.step(limit) {
        let (pair, direction) = world.pair(1, 0);
        let cap = world.pairs[pair as usize].directions[usize::from(direction)].cap;
        if caps.last() != Some(&cap) {
            caps.push(cap);
        }
        if cap.is_infinite() {
            break;
        }
    }
    let wanted: Vec<f64> = (0..9).map(|round| first * f64::from(1 << round)).filter(|cap| *cap < ceiling).collect();
    assert!(caps.last().unwrap().is_infinite(), "{caps:?}");
    assert_eq!(caps.len() - 1, wanted.len(), "{caps:?}");
    assert!(caps.iter().zip(&wanted).all(|(cap, wanted)| (cap / wanted - 1.0).abs() < 1e-9), "{caps:?}");
}

#[test]
fn a_false_death_ends_the_connection_at_both_ends() {
    let mut world = with_a_holder(Setting::equal(2, RATE, 1), 4 << 20);
    assert!(run_until(&mut world, 5, |world| !world.members[1].uploads.is_empty()));
    world.schedule.push(world.now, Event::Lost { node: 0, peer: 1 });
    let is_over = |world: &World| world.members[1].uploads.is_empty() && world.members[0].transfers.is_empty();
    assert!(run_until(&mut world, 1, is_over));
    assert!(run_until(&mut world, 60, |world| has_finished(world, 0)), "they connect again");
}

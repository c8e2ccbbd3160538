//! Whole clusters of membership machines in virtual time.

use std::time::Duration;

use super::network::{Network, address, record, seeds};
use shoal_core::{event::MemberEvent, membership::State};

const MEMBERS: u16 = 200;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn is_dead(event: &MemberEvent) -> bool {
    matches!(event, MemberEvent::Dead(_))
}

#[test]
fn two_hundred_that_join_through_one_seed_within_a_second_agree_within_20_s() {
    for seed in seeds(3) {
        let mut network = Network::new(seed);
        for number in 0..MEMBERS {
            network.start(number, if number == 0 { vec![] } else { vec![address(0)] });
            network.run_for(seconds(1) / u32::from(MEMBERS));
        }
        let took = network.run_until(seconds(60), Network::all_agree);
        assert!(took <= seconds(20), "agreed after {took:?}");
        assert_eq!(network.count_events(is_dead), 0);
    }
}

#[test]
fn a_crash_is_known_to_all_within_15_s() {
    for seed in seeds(5) {
        let mut network = Network::cluster(seed, MEMBERS);
        network.run_for(seconds(10));
        network.crash(77);
        let took = network.run_until(seconds(60), |network| network.all_see(77, State::Dead));
        assert!(took <= seconds(15), "known to all after {took:?}");
        let others = usize::from(MEMBERS) - 1;
        assert_eq!(network.count_events(is_dead), others, "one death each, and of nobody else");
    }
}

#[test]
fn a_fifth_of_all_datagrams_lost_kills_nobody_in_10_minutes() {
    for seed in seeds(1) {
        let mut network = Network::cluster(seed, MEMBERS);
        network.loss = 0.2;
        network.run_for(seconds(600));
        assert_eq!(network.count_events(is_dead), 0);
        let reliable_only: u64 =
            network.running().map(|(_, membership)| membership.stats().probes_answered_reliably_only).sum();
        assert!(reliable_only > 0, "the loss must have been felt");
        assert!(network.all_agree());
        network.crash(5);
        let took = network.run_until(seconds(120), |network| network.all_see(5, State::Dead));
        assert!(took <= seconds(30), "a real death is still found, after {took:?}");
    }
}

#[test]
fn a_healed_partition_becomes_one_cluster_again() {
    for seed in seeds(2) {
        let mut network = Network::cluster(seed, MEMBERS);
        let half = usize::from(MEMBERS) / 2;
        network.partition(|node| u8::from(node < half));
        let split = network.run_until(seconds(300), |network| {
            network.running().all(|(_, membership)| membership.alive_count() == half)
        });
        assert!(split < seconds(300), "each half must notice that the other is gone");
        network.run_for(seconds(60));
        network.heal();
        let took = network.run_until(seconds(300), Network::all_agree);
        assert!(took < seconds(120), "one cluster after {took:?}");
    }
}

#[test]
fn a_node_that_was_paused_for_3_s_accuses_nobody() {
    for seed in seeds(5) {
        let mut network = Network::cluster(seed, 50);
        network.run_for(seconds(5));
        network.clear_events();
        network.pause(7);
        network.run_for(seconds(3));
        network.resume(7);
        network.run_for(seconds(30));
        let membership = network.nodes[7].membership.as_ref().unwrap();
        assert_eq!(membership.stats().accusations, 0);
        assert_eq!(membership.stats().stalls, 1);
        let own_view = &network.nodes[7].events;
        assert!(own_view.is_empty(), "the paused node saw {own_view:?}");
        assert_eq!(network.count_events(is_dead), 0);
        assert!(network.all_agree());
    }
}

#[test]
fn a_departure_is_known_to_all_within_3_s() {
    for seed in seeds(3) {
        let mut network = Network::cluster(seed, MEMBERS);
        network.leave(42);
        let took = network.run_until(seconds(30), |network| network.all_see(42, State::Left));
        assert!(took + Duration::from_millis(300) <= seconds(3), "known to all after {took:?}");
        network.run_for(seconds(30));
        assert_eq!(network.count_events(is_dead), 0, "who left is not also dead");
    }
}

#[test]
fn a_crashed_node_rejoins_at_once_at_another_address() {
    for seed in seeds(3) {
        let mut network = Network::cluster(seed, 50);
        // Once before the others notice, once when they believe it dead.
        for (wait, new_address) in [(seconds(1), address(1001)), (seconds(60), address(1002))] {
            network.crash(9);
            network.run_for(wait);
            network.restart(9, 9, new_address, vec![address(0)]);
            let took = network.run_until(seconds(30), |network| {
                network.all_agree()
                    && network.running().all(|(_, m)| m.alive(record(9, 1).id()).unwrap().address == new_address)
            });
            assert!(took <= seconds(5), "back after {took:?}");
        }
    }
}

#[test]
fn a_seed_that_is_down_at_first_is_tried_until_it_answers() {
    for seed in seeds(1) {
        let mut network = Network::new(seed);
        let late = network.start(1, vec![address(0), address(99)]);
        network.run_for(seconds(300));
        let unanswered: Vec<_> = network.nodes[late].membership.as_ref().unwrap().unanswered_seeds().collect();
        assert_eq!(unanswered, [address(0), address(99)]);
        assert_eq!(network.nodes[late].membership.as_ref().unwrap().alive_count(), 1, "alone, it is healthy");
        network.start(0, vec![]);
        let took = network.run_until(seconds(60), Network::all_agree);
        assert!(took <= seconds(40), "joined after {took:?}");
        let unanswered: Vec<_> = network.nodes[late].membership.as_ref().unwrap().unanswered_seeds().collect();
        assert_eq!(unanswered, [address(99)]);
    }
}

#[test]
fn one_deaf_direction_kills_nobody() {
    for seed in seeds(3) {
        let mut network = Network::cluster(seed, 50);
        network.clear_events();
        // Node 3 hears nobody's datagrams, but its own get out.
        network.blocked = (0..50).filter(|&node| node != 3).map(|node| (node, 3)).collect();
        network.run_for(seconds(300));
        assert_eq!(network.count_events(is_dead), 0);
        network.blocked.clear();
        network.run_until(seconds(60), Network::all_agree);
        assert!(network.all_agree());
    }
}

#[test]
fn a_few_that_were_cut_off_come_back() {
    for seed in seeds(2) {
        let mut network = Network::cluster(seed, 100);
        network.partition(|node| u8::from(node % 20 == 3));
        network.run_for(seconds(120));
        assert!(!network.all_agree());
        network.heal();
        let took = network.run_until(seconds(300), Network::all_agree);
        assert!(took < seconds(120), "one cluster after {took:?}");
    }
}

#[test]
fn two_clusters_that_never_knew_each_other_become_one_through_a_seed() {
    for seed in seeds(2) {
        let mut network = Network::new(seed);
        network.partition(|_| 0);
        for number in 0..20 {
            // The last one joins the other half by its second seed.
            let first = address(if number < 10 { 0 } else { 10 });
            let seeds = if number == 19 { vec![first, address(0)] } else { vec![first] };
            network.start(number, seeds);
        }
        let took = network.run_until(seconds(120), Network::all_agree);
        assert!(took < seconds(30), "one cluster after {took:?}");
    }
}

#[test]
fn joiners_that_nobody_serves_a_snapshot_learn_by_digests() {
    for seed in seeds(2) {
        let mut network = Network::new(seed);
        network.config.snapshots_max = 0;
        for number in 0..100 {
            network.start(number, if number == 0 { vec![] } else { vec![address(0)] });
        }
        let took = network.run_until(seconds(300), Network::all_agree);
        assert!(took < seconds(120), "agreed after {took:?}");
        assert!(network.running().all(|(_, membership)| membership.stats().snapshots_served == 0));
    }
}

#[test]
fn a_quiet_cluster_costs_each_node_two_packets_a_second() {
    let mut network = Network::cluster(1, 100);
    network.run_for(seconds(30));
    let (packets, bytes) = (network.packets, network.packet_bytes);
    network.run_for(seconds(100));
    // A ping and an ack for each node and second.
    assert!(network.packets - packets <= 2 * 100 * 101);
    assert!(network.packet_bytes - bytes <= 40 * 2 * 100 * 101);
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let run = |seed| {
        let mut network = Network::cluster(seed, 30);
        network.loss = 0.1;
        network.crash(5);
        network.run_for(seconds(60));
        network.trace()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

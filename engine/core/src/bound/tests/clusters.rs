//! Nodes that differ, zones, late starts.

use proptest::prelude::*;

use super::{
    super::{Cluster, Distribution, Peer, Role, ZoneLink, zones},
    assert_close, oracle,
};

const PLAIN: Peer = Peer { up_bytes_per_s: 100.0, down_bytes_per_s: 100.0, zone: 0, role: Role::Pulls, starts_s: 0.0 };

/// 1000 bytes from an upstream of 100 bytes per second.
fn cluster(peers: Vec<Peer>) -> Cluster {
    Cluster { bytes: 1000.0, upstream_bytes_per_s: 100.0, peers, zones: Vec::new() }
}

/// `count` zones of `size` plain nodes.
fn zoned(count: usize, size: usize, uplink: f64) -> Cluster {
    let peers = (0..count * size).map(|node| Peer { zone: node / size, ..PLAIN }).collect();
    let zones = vec![ZoneLink { up_bytes_per_s: uplink, down_bytes_per_s: uplink }; count];
    Cluster { zones, ..cluster(peers) }
}

#[test]
fn a_cluster_of_equal_nodes_is_a_distribution() {
    for nodes in [1, 2, 9, 64] {
        let equal = cluster(vec![PLAIN; nodes as usize]);
        let distribution = Distribution {
            bytes: 1000.0,
            nodes,
            upstream_bytes_per_s: 100.0,
            upload_bytes_per_s: 100.0,
            download_bytes_per_s: 100.0,
        };
        assert!(equal.has_equal_links());
        assert_close(equal.fluid_s(), distribution.fluid_s());
        assert_close(equal.granular_s(10.0), distribution.granular_s(100));
        assert_close(equal.single_source_s(), distribution.single_source_s());
    }
}

#[test]
fn the_slowest_link_decides_the_whole_but_not_the_others() {
    let slow = Peer { up_bytes_per_s: 10.0, down_bytes_per_s: 10.0, ..PLAIN };
    let stragglers = cluster(vec![PLAIN, PLAIN, slow]);
    assert!(!stragglers.has_equal_links());
    assert_close(stragglers.fluid_s(), 100.0);
    assert_close(stragglers.nodes_s()[0], 10.0);
    assert_close(stragglers.nodes_s()[2], 100.0);
    let finishers = stragglers.finishers_s();
    assert_close(finishers[0], 10.0);
    assert_close(finishers[2], 100.0);
}

#[test]
fn slow_uplinks_delay_one_finisher_after_the_other() {
    let narrow = cluster(vec![Peer { up_bytes_per_s: 25.0, ..PLAIN }; 12]);
    assert_close(narrow.fluid_s(), 12.0 * 1000.0 / (100.0 + 12.0 * 25.0));
    let finishers = narrow.finishers_s();
    // Four copies fit into the time in which the upstream sends one.
    assert_close(finishers[3], 10.0);
    assert_close(finishers[11], 30.0);
}

#[test]
fn holders_are_sources_and_helpers_only_send() {
    let holder = Peer { role: Role::Holds, ..PLAIN };
    let fast = Peer { down_bytes_per_s: 1000.0, ..PLAIN };
    let warm = cluster(vec![holder, holder, fast]);
    assert_close(warm.fluid_s(), 1000.0 / 300.0);
    assert_close(warm.nodes_s()[2], 1000.0 / 300.0);
    assert_close(warm.single_source_s(), 10.0);
    let narrow = Peer { up_bytes_per_s: 20.0, ..PLAIN };
    let helper = Peer { role: Role::Helps, ..PLAIN };
    assert_close(cluster(vec![narrow; 3]).fluid_s(), 3000.0 / 160.0);
    assert_close(cluster(vec![narrow, narrow, narrow, helper]).fluid_s(), 3000.0 / 260.0);
}

#[test]
fn late_starts_add_what_is_wanted_from_then_on() {
    let late = |starts_s| Peer { starts_s, ..PLAIN };
    let staggered = cluster(vec![late(0.0), late(4.0), late(8.0)]);
    assert_close(staggered.fluid_s(), 18.0);
    assert_close(staggered.nodes_s()[2], 10.0);
    // The last two need 20 s of the upstream after the second started.
    assert_close(staggered.single_source_s(), 30.0);
    let slow_upstream = Cluster { upstream_bytes_per_s: 50.0, ..staggered };
    assert_close(slow_upstream.nodes_s()[0], 20.0);
    assert_close(slow_upstream.nodes_s()[1], 16.0);
    assert_close(slow_upstream.fluid_s(), 20.0);
}

#[test]
fn zones_computed_by_hand() {
    // Wide uplinks change nothing.
    assert_close(zoned(4, 4, 1e6).fluid_s(), 10.0);
    // Half a node link into each zone.
    assert_close(zoned(4, 4, 50.0).fluid_s(), 20.0);
    // One node link into each zone, and none of it is left over: everything enters each zone once.
    assert_close(zoned(4, 4, 100.0).fluid_s(), 10.0);
    assert_close(zoned(4, 4, 50.0).nodes_s()[0], 20.0);
    assert_close(zoned(4, 4, 50.0).single_source_s(), 160.0);
    assert_close(zoned(2, 4, 20.0).single_source_s(), 200.0);
    assert_close(zoned(1, 1, 30.0).fluid_s(), 1000.0 / 30.0);
}

#[test]
fn a_holder_in_the_zone_saves_its_uplink() {
    let mut warm = zoned(2, 2, 10.0);
    warm.peers[0].role = Role::Holds;
    warm.peers[2].role = Role::Holds;
    assert_close(warm.fluid_s(), 10.0);
    assert_close(warm.nodes_s()[1], 1000.0 / 110.0_f64.min(100.0));
}

/// `r* = min { u_up, d, D, o / Z + U, u + o / (Z n) }` with `o = min(u_up, Z D)`; the fourth term only for several zones.
fn equal_zones_rate(upstream: f64, node: ZoneLink, zone: ZoneLink, zones: f64, nodes: f64) -> f64 {
    let injected = upstream.min(zones * zone.down_bytes_per_s);
    let fed = injected / zones + if zones > 1.0 { zone.up_bytes_per_s } else { f64::INFINITY };
    let spread = node.up_bytes_per_s + injected / (zones * nodes);
    upstream.min(node.down_bytes_per_s).min(zone.down_bytes_per_s).min(fed).min(spread)
}

fn rates() -> impl Strategy<Value = f64> {
    (1_u32..=12).prop_map(f64::from)
}

fn links() -> impl Strategy<Value = ZoneLink> {
    (rates(), rates()).prop_map(|(up_bytes_per_s, down_bytes_per_s)| ZoneLink { up_bytes_per_s, down_bytes_per_s })
}

fn peers(zones: usize, roles: &'static [Role]) -> impl Strategy<Value = Vec<Peer>> {
    let peer = (links(), 0..zones.max(1), proptest::sample::select(roles)).prop_map(|(link, zone, role)| Peer {
        up_bytes_per_s: link.up_bytes_per_s,
        down_bytes_per_s: link.down_bytes_per_s,
        zone,
        role,
        starts_s: 0.0,
    });
    // The first always pulls.
    proptest::collection::vec(peer, 1..=5).prop_map(|mut peers| {
        peers[0].role = Role::Pulls;
        peers
    })
}

fn clusters(zones: std::ops::RangeInclusive<usize>, roles: &'static [Role]) -> impl Strategy<Value = Cluster> {
    (zones, rates()).prop_flat_map(move |(count, upstream_bytes_per_s)| {
        let zones = proptest::collection::vec(links(), count);
        (peers(count, roles), zones).prop_map(move |(peers, zones)| Cluster {
            bytes: 1000.0,
            upstream_bytes_per_s,
            peers,
            zones,
        })
    })
}

const ALL: &[Role] = &[Role::Pulls, Role::Pulls, Role::Holds, Role::Helps];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn equal_zones_have_a_closed_form(
        upstream in rates(), node in links(), zone in links(), zones in 1_u32..=8, nodes in 1_u32..=8,
    ) {
        let peer = |index: u32| Peer {
            up_bytes_per_s: node.up_bytes_per_s,
            down_bytes_per_s: node.down_bytes_per_s,
            zone: (index / nodes) as usize,
            ..PLAIN
        };
        let cluster = Cluster {
            upstream_bytes_per_s: upstream,
            zones: vec![zone; zones as usize],
            ..cluster((0..zones * nodes).map(peer).collect())
        };
        let closed = equal_zones_rate(upstream, node, zone, f64::from(zones), f64::from(nodes));
        let found = zones::rate(&cluster);
        prop_assert!((found - closed).abs() < 1e-9, "{found} is not {closed}");
    }

    #[test]
    fn zones_agree_with_the_whole_linear_program(cluster in clusters(1..=3, &[Role::Pulls])) {
        let (found, exact) = (zones::rate(&cluster), oracle::rate(&cluster));
        prop_assert!((found - exact).abs() < 1e-6, "{found} is not {exact}");
    }

    #[test]
    fn one_switch_agrees_with_the_whole_linear_program(cluster in clusters(0..=0, &[Role::Pulls, Role::Holds])) {
        let (found, exact) = (1000.0 / cluster.fluid_s(), oracle::rate(&cluster));
        prop_assert!((found - exact).abs() < 1e-6, "{found} is not {exact}");
    }

    #[test]
    fn nothing_beats_the_bound(cluster in clusters(0..=3, ALL)) {
        let least_s = 1000.0 / oracle::rate(&cluster);
        let bound_s = cluster.fluid_s();
        prop_assert!(bound_s <= least_s + 1e-6, "{bound_s} is above {least_s}");
        let last = cluster.finishers_s().last().copied().unwrap_or(0.0);
        prop_assert!(last <= least_s + 1e-6, "the last finisher, {last}, is above {least_s}");
        for index in 0..cluster.peers.len() {
            let mut alone = cluster.clone();
            for (other, peer) in alone.peers.iter_mut().enumerate() {
                if other != index && peer.role == Role::Pulls {
                    peer.role = Role::Helps;
                }
            }
            if alone.peers[index].role == Role::Pulls {
                let (bound_s, least_s) = (cluster.nodes_s()[index], 1000.0 / oracle::rate(&alone));
                prop_assert!(bound_s <= least_s + 1e-6, "node {index}: {bound_s} is above {least_s}");
            }
        }
    }

    #[test]
    fn more_to_move_or_slower_links_never_help(
        cluster in clusters(0..=3, ALL), factor in 0.1_f64..1.0, which in 0_usize..5,
    ) {
        let before = cluster.fluid_s();
        let is_not_less = |changed: &Cluster| changed.fluid_s() >= before - 1e-9;
        let larger = Cluster { bytes: cluster.bytes / factor, ..cluster.clone() };
        prop_assert!((larger.fluid_s() * factor - before).abs() < 1e-6);
        let slower = Cluster { upstream_bytes_per_s: cluster.upstream_bytes_per_s * factor, ..cluster.clone() };
        prop_assert!(is_not_less(&slower));
        let mut narrower = cluster.clone();
        let peer = which % narrower.peers.len();
        narrower.peers[peer].up_bytes_per_s *= factor;
        narrower.peers[peer].down_bytes_per_s *= factor;
        prop_assert!(is_not_less(&narrower));
        if let Some(zone) = narrower.zones.first_mut() {
            zone.up_bytes_per_s *= factor;
            zone.down_bytes_per_s *= factor;
            prop_assert!(is_not_less(&narrower));
        }
        let mut later = cluster.clone();
        later.peers[peer].starts_s = 3.0;
        prop_assert!(is_not_less(&later));
        prop_assert!(cluster.granular_s(1.0) >= before);
        prop_assert!(cluster.single_source_s() >= 1000.0 / cluster.upstream_bytes_per_s - 1e-9);
    }
}

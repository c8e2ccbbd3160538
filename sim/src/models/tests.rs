//! Cases that were computed by hand, and what holds in any cluster.

use std::time::Duration;

use super::Model;
use crate::{
    baseline::{Baseline, BaselineOutcome},
    scenario::{Arrival, Content, Link, Overrides, Scenario, by_name},
};

const MB: u64 = 1_000_000;
const PIECE: u64 = 4 << 20;

/// A blob at links of 10 MB/s.
fn scenario(name: &str, nodes: u32, bytes: u64) -> Scenario {
    let link = Link { up: 10 * MB, down: 10 * MB };
    let overrides = Overrides {
        nodes: Some(nodes),
        size: Some(bytes),
        link: Some(link),
        latency: Some(Duration::ZERO),
        ..Overrides::default()
    };
    Scenario::parse_with(by_name(name).unwrap(), name, &overrides).unwrap()
}

/// So many pieces of 4 MiB, in seconds at 10 MB/s.
fn pieces_s(pieces: f64) -> f64 {
    pieces * PIECE as f64 / 1e7
}

/// Within 1 % and 30 ms, which is what lookups and round trips take here.
fn near(left: f64, right: f64) {
    assert!((left - right).abs() < 0.03 + right * 0.01, "{left} is not {right}");
}

fn upstream(outcome: &BaselineOutcome) -> (u64, u64) {
    (outcome.upstream_bytes, outcome.upstream_requests)
}

#[test]
fn spegel_all_at_once_is_a_single_source() {
    let scenario = scenario("cold-start", 4, 100 * MB);
    let outcome = Model::Spegel.run(&scenario);
    near(outcome.makespan_s, 40.0);
    assert!(outcome.makespan_s > 40.0 + 0.02, "a lookup that finds nobody takes 20 ms: {}", outcome.makespan_s);
    assert_eq!(upstream(&outcome), (400 * MB, 8));
}

#[test]
fn spegel_takes_from_whoever_has_all_of_it() {
    let mut one_by_one = scenario("cold-start", 3, 100 * MB);
    one_by_one.arrival = Arrival::Rolling { share: 0.34 };
    one_by_one.upstream.rate = 5 * MB;
    // Groups of two and one: two from the upstream at half its rate each, then one from one of them.
    let outcome = Model::Spegel.run(&one_by_one);
    near(outcome.makespan_s, 40.0 + 10.0);
    near(outcome.node_s[0], 10.0);
    assert_eq!(upstream(&outcome), (200 * MB, 4));
    // The second begins when the first has half of it, which nobody knows of.
    let arrival = Arrival::Staggered { over: Duration::from_secs(5) };
    let early = Model::Spegel.run(&Scenario { arrival, ..scenario("cold-start", 2, 100 * MB) });
    assert_eq!(early.upstream_bytes, 200 * MB);
    let arrival = Arrival::Staggered { over: Duration::from_secs(11) };
    let late = Model::Spegel.run(&Scenario { arrival, ..scenario("cold-start", 2, 100 * MB) });
    assert_eq!(upstream(&late), (100 * MB, 2));
    near(late.makespan_s, 11.0 + 10.0);
}

#[test]
fn kraken_moves_nothing_before_its_origin_has_all() {
    // 24 pieces: the origin has them after 10.07 s, which the agent hears of at its eleventh second.
    let outcome = Model::Kraken.run(&scenario("cold-start", 1, 24 * PIECE));
    near(outcome.makespan_s, 11.0 + pieces_s(24.0));
    assert_eq!(upstream(&outcome), (24 * PIECE, 2));
    // Where it has them, nobody waits; and the upstream is asked for nothing.
    let mut warm = scenario("cold-start", 2, 24 * PIECE);
    warm.warm_share = 0.5;
    let outcome = Model::Kraken.run(&warm);
    near(outcome.makespan_s, pieces_s(24.0));
    assert_eq!((upstream(&outcome), outcome.node_s.len()), ((0, 0), 1));
}

#[test]
fn kraken_exchanges_pieces_and_hears_of_newcomers_by_announcements() {
    let two = Model::Kraken.run(&scenario("cold-start", 2, 100 * PIECE));
    // The origin has all after 41.94 s, and both hear of it at 42 s. It sends each half of its rate; what one gets, rarest
    // first, the other takes from it.
    assert!(two.makespan_s > 42.0 + pieces_s(100.0) && two.makespan_s < 42.0 + pieces_s(130.0), "{}", two.makespan_s);
    assert_eq!(upstream(&two), (100 * PIECE, 2));
}

#[test]
fn dragonfly_streams_through_its_seed_peer() {
    // 24 pieces to the seed peer, one behind the other, and the last one on to the node.
    let one = Model::Dragonfly.run(&scenario("cold-start", 1, 24 * PIECE));
    near(one.makespan_s, pieces_s(25.0));
    assert_eq!(upstream(&one), (24 * PIECE, 2));
    // Pieces of 8 MiB from 2 GiB on.
    let large = Model::Dragonfly.run(&scenario("cold-start", 1, 600 * PIECE));
    near(large.makespan_s, pieces_s(602.0));
}

#[test]
fn dragonfly_leaves_small_blobs_and_manifests_to_the_upstream() {
    let mut image = scenario("cold-start", 4, 24 * PIECE);
    image.content = Content::Image(vec![PIECE, PIECE / 2, 8 * PIECE]);
    let outcome = Model::Dragonfly.run(&image);
    assert_eq!(outcome.upstream_bytes, 4 * (PIECE + PIECE / 2) + 8 * PIECE);
    assert_eq!(outcome.upstream_requests, 4 + 2 * 4 + 1);
}

#[test]
fn no_model_beats_the_bound_and_all_nodes_end() {
    for name in ["cold-start", "zones", "staggered", "rolling", "stragglers", "image-4", "asymmetric"] {
        for nodes in [8, 50] {
            let scenario = scenario(name, nodes, 64 * PIECE);
            let bound = scenario.bound().fluid_s;
            for model in Model::ALL {
                let outcome = model.run(&scenario);
                assert_eq!(outcome.node_s.len(), nodes as usize, "{name} {model:?}");
                assert!(outcome.makespan_s >= bound * 0.999, "{name} {model:?}: {} < {bound}", outcome.makespan_s);
                assert!(outcome.upstream_bytes >= 64 * PIECE, "{name} {model:?}");
                assert!(outcome.node_s.windows(2).all(|pair| pair[0] <= pair[1]));
            }
        }
    }
}

#[test]
fn swarms_beat_a_single_source_and_repeat() {
    let scenario = scenario("cold-start", 60, 64 * PIECE);
    let single = Baseline::SingleSource.run(&scenario).makespan_s;
    for model in [Model::Kraken, Model::Dragonfly] {
        let outcome = model.run(&scenario);
        assert!(outcome.makespan_s < single / 5.0, "{model:?}: {}", outcome.makespan_s);
        assert_eq!(outcome.upstream_bytes, 64 * PIECE, "one copy");
        assert_eq!(model.run(&scenario), outcome);
        let other = model.run(&Scenario { seed: 2, ..scenario.clone() });
        assert_ne!(other, outcome, "the seed decides");
    }
}

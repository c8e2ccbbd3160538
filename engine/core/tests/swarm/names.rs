//! Names: one question to the upstream, however many nodes ask.

use std::time::Duration;

use shoal_core::event::Input;
use shoal_wire::{
    control::{NameOutcome, UpstreamFailure},
    ids::QueryId,
    name::{ContentKind, Name, Reference},
};

use crate::world::{Setting, World};

fn tag(repository: &str) -> Name {
    Name {
        registry: "registry.example".into(),
        repository: repository.into(),
        kind: ContentKind::Manifest,
        reference: Reference::Tag("v1".into()),
    }
}

fn ask(world: &mut World, node: usize, name: Name) {
    world.input(node, Input::Resolve { query: QueryId(1), name });
}

fn answered(world: &World, nodes: std::ops::Range<usize>) -> bool {
    nodes.into_iter().all(|node| !world.members[node].answers.is_empty())
}

fn formed(nodes: usize, seed: u64) -> World {
    let mut world = World::new(Setting { nodes, ..Setting::default() }, seed);
    world.form();
    world.blob(1000);
    world
}

#[test]
fn fifty_nodes_ask_at_once_and_the_upstream_is_asked_once() {
    let mut world = formed(50, 1);
    (0..50).for_each(|node| ask(&mut world, node, tag("known")));
    assert!(world.run_until(Duration::from_secs(2), |world| answered(world, 0..50)));
    assert!(world.members.iter().all(|member| matches!(member.answers[0], NameOutcome::Found(_))));
    assert_eq!(world.upstream_questions, 1);
}

#[test]
fn what_is_not_found_is_not_found_for_all_by_one_question() {
    let mut world = formed(10, 2);
    (0..10).for_each(|node| ask(&mut world, node, tag("unknown")));
    assert!(world.run_until(Duration::from_secs(2), |world| answered(world, 0..10)));
    let not_found = NameOutcome::Failed(UpstreamFailure::NotFound);
    assert!(world.members.iter().all(|member| member.answers[0] == not_found));
    assert_eq!(world.upstream_questions, 1);
}

#[test]
fn a_tag_that_was_known_is_answered_while_the_upstream_is_down() {
    for seed in 0..10 {
        let mut world = formed(5, seed);
        world.crash(4);
        (0..4).for_each(|node| ask(&mut world, node, tag("known")));
        assert!(world.run_until(Duration::from_secs(20), |world| answered(world, 0..4)), "seed {seed}");
        // Long after the answer is no longer fresh, a new member asks, which may be a home of the tag itself.
        world.upstream_failure = Some(UpstreamFailure::Unavailable);
        world.run_for(Duration::from_secs(60));
        world.restart(4);
        let joined = |world: &World| world.members[4].node.membership().alive_count() == 5;
        assert!(world.run_until(Duration::from_secs(60), joined), "seed {seed}");
        world.run_for(Duration::from_secs(1));
        ask(&mut world, 4, tag("known"));
        assert!(world.run_until(Duration::from_secs(5), |world| answered(world, 4..5)), "seed {seed}");
        assert!(matches!(world.members[4].answers[0], NameOutcome::Found(_)), "seed {seed}");
    }
}

#[test]
fn the_asker_dies_and_another_one_asks() {
    let mut world = formed(6, 3);
    world.answers_take = Duration::from_secs(2);
    (0..6).for_each(|node| ask(&mut world, node, tag("known")));
    world.run_for(Duration::from_millis(100));
    let asker = world.asked_by.expect("somebody asked");
    world.crash(asker);
    let others: Vec<_> = (0..6).filter(|&node| node != asker).collect();
    let all_answered = |world: &World| others.iter().all(|&node| !world.members[node].answers.is_empty());
    assert!(world.run_until(Duration::from_secs(15), all_answered));
    assert!(others.iter().all(|&node| matches!(world.members[node].answers[0], NameOutcome::Found(_))));
}

#[test]
fn without_a_registry_only_what_the_cluster_knows_is_found_and_at_once() {
    let mut world = formed(4, 4);
    let name = Name { registry: String::new(), repository: String::new(), ..tag("known") };
    ask(&mut world, 0, name);
    assert!(world.run_until(Duration::from_millis(50), |world| answered(world, 0..1)));
    assert_eq!(world.members[0].answers[0], NameOutcome::Failed(UpstreamFailure::NotFound));
    assert_eq!(world.upstream_questions, 0);
}

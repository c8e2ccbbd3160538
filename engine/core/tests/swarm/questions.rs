//! A home that asks a node whether it is there.

use std::time::Duration;

use shoal_core::{
    config::CoreConfig,
    event::{Input, Output},
    node::Node,
    time::Time,
};
use shoal_wire::{
    control::{Announcement, ControlMessage},
    digest::Digest,
    ids::MemberId,
    piece_map::PieceMap,
};

use crate::careful::node;

const DIGEST: Digest = Digest::Sha256([2; 32]);
const HOME: MemberId = MemberId([9; 16]);

/// What the node announces to the home once it has this input.
fn announced(node: &mut Node, now: Time, input: Input) -> Vec<Announcement> {
    node.handle(now, input);
    let outputs = std::iter::from_fn(|| node.poll_output());
    let to_home = outputs.filter_map(|output| match output {
        Output::Control { to: HOME, message: ControlMessage::Announce(announcement) } => Some(*announcement),
        _ => None,
    });
    to_home.collect()
}

fn question() -> Input {
    let (peers, gateways) = (Vec::new(), Vec::new());
    let message = ControlMessage::Peers { digest: DIGEST, peers, gateways, coordinates: true, refresh_ms: 0 };
    Input::Control { from: HOME, message }
}

#[test]
fn it_is_told_at_once_what_the_node_has_even_where_another_home_acts() {
    let mut node = node();
    let mut have = PieceMap::empty(4);
    have.insert_range(1..3);
    let want = Input::Want { digest: DIGEST, size: 1024 * 1024, have: have.clone(), can_lease: false };
    assert!(announced(&mut node, Time::ZERO, want).is_empty(), "alone, it is its own home");
    let answer = announced(&mut node, Time::ZERO, question());
    assert_eq!(answer.len(), 1);
    assert_eq!((&answer[0].have, answer[0].wants, answer[0].takeover), (&have, true, false));
}

#[test]
fn who_asks_again_and_again_is_answered_now_and_then() {
    let mut node = node();
    let want = Input::Want { digest: DIGEST, size: 1024 * 1024, have: PieceMap::empty(4), can_lease: false };
    announced(&mut node, Time::ZERO, want);
    let at = |step: u64| Time::ZERO + Duration::from_millis(10 * step);
    let answers: usize = (0..500).map(|step| announced(&mut node, at(step), question()).len()).sum();
    let often = Duration::from_secs(5).as_millis() / CoreConfig::default().swarm.announce_timeout.as_millis();
    assert_eq!(answers as u128, often);
}

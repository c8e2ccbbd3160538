//! Nodes that begin with a cluster that their driver knows already.

use std::{sync::Arc, time::Duration};

use shoal_core::{
    config::{CoreConfig, MembershipConfig},
    event::{Input, Output},
    membership::{KnownMembers, Membership, State},
    node::Node,
    time::Time,
};
use shoal_wire::{
    control::ControlMessage,
    digest::Digest,
    gossip::{GossipBody, MemberState, MemberUpdate, ReliableMessage, Standing},
    ids::MemberId,
    member::MemberRecord,
    piece_map::PieceMap,
};

use super::{
    network::{address, record},
    subject::{GENERATION, Subject, dead, id, life_of, packet, state},
};

/// More than fit into one page of the table.
const OTHERS: u16 = 300;

fn records(numbers: impl IntoIterator<Item = u16>) -> Vec<Arc<MemberRecord>> {
    numbers.into_iter().map(|number| Arc::new(record(number, GENERATION))).collect()
}

fn others() -> KnownMembers {
    KnownMembers::new(records(1..=OTHERS))
}

fn begun_with(members: &KnownMembers) -> Subject {
    let now = Time::from_micros(1_000_000);
    let own = record(0, GENERATION);
    Subject { membership: Membership::with_members(MembershipConfig::default(), own, members, 1, now), now }
}

/// A page that has all of `numbers`.
fn page(numbers: impl IntoIterator<Item = u16>) -> ReliableMessage {
    let mut members: Vec<MemberState> =
        records(numbers).into_iter().map(|record| state(record, Standing::Alive)).collect();
    members.sort_by_key(|state| state.record.id());
    ReliableMessage::SnapshotPage { members, next: None }
}

/// The introduction to member 1 and its answer, which bring a node to ask for a snapshot where it needs one.
fn meet(subject: &mut Subject) -> Vec<(MemberId, ReliableMessage)> {
    subject.membership.set_seeds(subject.now, vec![address(1)]);
    let joins = subject.done().packets;
    let sequence = joins.iter().find_map(|(_, packet)| match packet.body {
        GossipBody::Join { sequence, .. } => Some(sequence),
        _ => None,
    });
    let record = Arc::new(record(1, GENERATION));
    let done = subject.receive(1, GossipBody::JoinReply { sequence: sequence.unwrap_or(0), record }, vec![]);
    done.reliable
}

fn joined() -> Subject {
    let mut subject = Subject::new();
    assert!(!meet(&mut subject).is_empty(), "it asks for a snapshot");
    subject.receive_reliable(1, page(1..=OTHERS));
    subject
}

fn digests(subject: &mut Subject) -> Vec<u64> {
    let done = subject.run_answered(Duration::from_secs(400));
    let mut digests = done.reliable.into_iter().filter_map(|(_, message)| match message {
        ReliableMessage::SyncDigests { digests } => Some(digests),
        _ => None,
    });
    digests.next().expect("it compares digests now and then")
}

#[test]
fn a_node_that_begins_with_others_is_as_one_that_joined() {
    let (mut begun, mut joined) = (begun_with(&others()), joined());
    assert!(begun.membership.alive_members().eq(joined.membership.alive_members()));
    assert_eq!(begun.membership.alive_count(), usize::from(OTHERS) + 1);
    for number in 0..=OTHERS {
        let who = id(number);
        assert_eq!(begun.state(number), joined.state(number));
        assert_eq!(begun.membership.record(who), joined.membership.record(who));
        assert_eq!(begun.membership.member_at(address(number)), Some(who));
    }
    assert_eq!(begun.membership.own(), joined.membership.own());
    assert_eq!(digests(&mut begun), digests(&mut joined));
}

#[test]
fn it_says_nothing_at_first_and_joins_nobody() {
    let mut begun = begun_with(&others());
    let done = begun.done();
    assert!(done.events.is_empty() && done.packets.is_empty() && done.reliable.is_empty());
    assert_eq!(begun.membership.stats().queued_updates, 0);
    assert!(meet(&mut begun).is_empty(), "no snapshot, and its seeds are members");
    let probed = begun.run_answered(Duration::from_secs(3)).packets;
    assert!(probed.iter().any(|(_, packet)| matches!(packet.body, GossipBody::Ping { .. })));
    assert!(probed.iter().all(|(_, packet)| packet.updates.is_empty()));
}

#[test]
fn each_is_probed_once_in_a_round() {
    let mut begun = begun_with(&others());
    let mut probed: Vec<_> = (0..OTHERS)
        .map(|_| {
            let (sequence, target) = begun.next_ping();
            begun.membership.handle_packet(begun.now, address(1), packet(target, GossipBody::Ack { sequence }));
            target
        })
        .collect();
    probed.sort_unstable();
    probed.dedup();
    assert_eq!(probed.len(), usize::from(OTHERS));
    assert!(!probed.contains(&id(0)), "and not itself");
}

#[test]
fn what_happens_to_one_view_happens_to_no_other() {
    let members = others();
    let (mut one, other) = (begun_with(&members), begun_with(&members));
    one.hear(1, dead(7, life_of(0)));
    one.hear(1, MemberUpdate::Record(Arc::new(record(999, GENERATION))));
    let moved = MemberRecord { address: address(70), ..record(8, GENERATION + 1) };
    one.hear(1, MemberUpdate::Record(Arc::new(moved)));
    assert_eq!((one.state(7), other.state(7)), (Some(State::Dead), Some(State::Alive)));
    assert_eq!((one.state(999), other.state(999)), (Some(State::Alive), None));
    assert_eq!(one.membership.alive(id(8)).unwrap().address, address(70));
    assert_eq!(other.membership.alive(id(8)).unwrap().address, address(8));
    let third = begun_with(&members);
    assert!(third.membership.alive_members().eq(other.membership.alive_members()));
}

#[test]
fn its_own_record_counts_and_of_others_the_latest_usable_one() {
    let mut all = records(0..=3);
    all.push(Arc::new(record(0, GENERATION - 1)));
    all.push(Arc::new(record(2, GENERATION + 1)));
    all.push(Arc::new(record(2, GENERATION)));
    all.push(Arc::new(MemberRecord { address: "0.0.0.0:5001".parse().unwrap(), ..record(4, GENERATION) }));
    let known = KnownMembers::new(all);
    let own = MemberRecord { zone: "here".to_owned(), ..record(0, GENERATION) };
    let now = Time::from_micros(1);
    let membership = Membership::with_members(MembershipConfig::default(), own.clone(), &known, 1, now);
    assert_eq!(membership.alive_count(), 4);
    assert_eq!(membership.alive(id(0)).as_deref(), Some(&own));
    assert_eq!(membership.alive(id(2)).unwrap().generation, record(2, GENERATION + 1).generation);
    assert_eq!(membership.state(id(4)), None);
}

fn outputs(node: &mut Node) -> Vec<Output> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

fn announced_to(node: &mut Node, now: Time, digest: Digest) -> Vec<MemberId> {
    node.handle(now, Input::Want { digest, size: 1000, have: PieceMap::empty(1), can_lease: true });
    node.handle(now, Input::Timeout);
    let to = outputs(node).into_iter().filter_map(|output| match output {
        Output::Control { to, message: ControlMessage::Announce(_) } => Some(to),
        _ => None,
    });
    to.collect()
}

#[test]
fn a_whole_node_finds_the_homes_that_one_that_joined_finds() {
    let now = Time::from_micros(1);
    let own = || record(0, GENERATION);
    let mut begun = Node::with_members(CoreConfig::default(), own(), &others(), 1, now);
    assert!(outputs(&mut begun).is_empty(), "there are no events about what the driver knows");
    let mut joined = Node::new(CoreConfig::default(), own(), 1, now);
    for record in records(1..=OTHERS) {
        let join = packet(record.id(), GossipBody::Join { sequence: 1, record: Arc::clone(&record) });
        joined.handle(now, Input::Gossip { from: record.address, packet: join });
    }
    outputs(&mut joined);
    for blob in 0..50 {
        let digest = Digest::Sha256([blob * 5; 32]);
        let homes = announced_to(&mut begun, now, digest);
        assert!(!homes.is_empty());
        assert_eq!(homes, announced_to(&mut joined, now, digest));
    }
}

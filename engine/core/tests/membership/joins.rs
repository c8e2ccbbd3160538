//! Records on request, introductions and snapshots.

use std::{sync::Arc, time::Duration};

use shoal_core::{config::MembershipConfig, event::MemberEvent, membership::State};
use shoal_wire::{
    gossip::{GossipBody, GossipPacket, MemberUpdate, ReliableMessage, Standing},
    ids::MemberId,
    member::MemberRecord,
};

use super::{
    network::{address, record},
    subject::{Done, GENERATION, Subject, dead, id, life, life_of, ms, packet, records_wanted, state, suspect, told},
};

#[test]
fn an_unknown_sender_is_asked_for_its_record_once_a_second() {
    let mut subject = Subject::knowing(1);
    assert_eq!(records_wanted(&subject.receive(9, GossipBody::Gossip, vec![])), [id(9)]);
    assert!(records_wanted(&subject.receive(9, GossipBody::Gossip, vec![])).is_empty());
    subject.run(ms(1100));
    assert_eq!(records_wanted(&subject.receive(9, GossipBody::Gossip, vec![])), [id(9)]);
}

#[test]
fn record_requests_are_answered_within_bounds() {
    let mut subject = Subject::knowing(200);
    subject.hear(1, suspect(3, life_of(0), 1));
    subject.run(Duration::from_millis(900));
    let ids = (1..=200).map(id).collect();
    let done = subject.receive(1, GossipBody::RecordRequest { ids }, vec![]);
    let updates = told(&done, address(1));
    let records = updates.iter().filter(|update| matches!(update, MemberUpdate::Record(_))).count();
    assert_eq!(records, 32, "no more than a request may name");
    assert!(updates.contains(&suspect(3, life_of(0), 1)), "with what is doubted");
    assert!(done.packets.len() <= 3);
    let done = subject.receive(1, GossipBody::RecordRequest { ids: vec![id(999)] }, vec![]);
    assert!(done.packets.is_empty());
}

fn join(subject: &mut Subject, record: MemberRecord) -> GossipPacket {
    let from = record.id();
    let at = record.address;
    let body = GossipBody::Join { sequence: 3, record: Arc::new(record) };
    subject.membership.handle_packet(subject.now, at, packet(from, body));
    let done = subject.done();
    let reply =
        done.packets.into_iter().find(|(to, packet)| *to == at && matches!(packet.body, GossipBody::JoinReply { .. }));
    reply.expect("an answer").1
}

#[test]
fn a_joiner_gets_our_record_some_members_and_what_is_believed_of_it() {
    let mut subject = Subject::knowing(20);
    let reply = join(&mut subject, record(50, GENERATION));
    let own = Arc::new(subject.membership.own().clone());
    assert_eq!(reply.body, GossipBody::JoinReply { sequence: 3, record: own });
    assert_eq!(reply.updates.len(), 8);
    assert_eq!(subject.state(50), Some(State::Alive));

    subject.hear(1, dead(50, life_of(4)));
    let reply = join(&mut subject, record(50, GENERATION));
    assert_eq!(reply.updates[0], dead(50, life_of(4)), "so that it can say a later word");
    let reply = join(&mut subject, record(50, GENERATION - 1));
    assert_eq!(reply.updates[0], dead(50, life_of(4)), "also where its clock went back");
    assert_eq!(subject.state(50), Some(State::Dead));
    join(&mut subject, record(50, GENERATION + 1));
    assert_eq!(subject.state(50), Some(State::Alive), "a new generation needs no word");
}

#[test]
fn a_node_whose_clock_went_back_overrules_its_past() {
    let mut subject = Subject::new();
    subject.membership.set_seeds(subject.now, vec![address(1)]);
    let done = subject.done();
    let GossipBody::Join { sequence, .. } = done.packets[0].1.body else { panic!("{done:?}") };
    let reply = GossipBody::JoinReply { sequence, record: Arc::new(record(1, 1)) };
    subject.receive(1, reply, vec![dead(0, life(GENERATION + 7, 2))]);
    assert_eq!(subject.membership.own().life(), life(GENERATION + 8, 0));
}

#[test]
fn a_record_under_another_senders_id_is_refused() {
    let mut subject = Subject::knowing(1);
    let body = GossipBody::Join { sequence: 1, record: Arc::new(record(5, 1)) };
    assert!(subject.receive(1, body, vec![]).packets.is_empty());
    assert_eq!(subject.state(5), None);
    assert_eq!(subject.membership.stats().malformed, 1);
}

#[test]
fn seeds_are_bounded_and_our_own_address_among_them_does_no_harm() {
    let mut subject = Subject::new();
    let seeds = (0..1000).map(address).chain([address(0)]).collect();
    subject.membership.set_seeds(subject.now, seeds);
    let joins = subject.done().packets;
    assert_eq!(joins.len(), 64);
    assert_eq!(subject.membership.unanswered_seeds().count(), 64);
    let (_, own) = joins.into_iter().find(|(to, _)| *to == address(0)).expect("its own address is among them");
    subject.membership.handle_packet(subject.now, address(0), own);
    assert_eq!(subject.membership.unanswered_seeds().count(), 63);
    assert_eq!(subject.membership.own().life(), life_of(0));
    assert_eq!(subject.membership.alive_count(), 1);
}

#[test]
fn a_seed_behind_a_name_for_many_counts_as_answered() {
    let mut subject = Subject::new();
    subject.membership.set_seeds(subject.now, vec![address(500)]);
    let GossipBody::Join { sequence, .. } = subject.done().packets[0].1.body else { panic!() };
    subject.receive(1, GossipBody::JoinReply { sequence, record: Arc::new(record(1, 1)) }, vec![]);
    assert_eq!(subject.membership.unanswered_seeds().count(), 0);
}

#[test]
fn a_seed_behind_an_address_for_many_that_led_to_the_node_itself_is_tried_again() {
    let mut subject = Subject::new();
    subject.membership.set_seeds(subject.now, vec![address(500)]);
    let (_, own) = subject.done().packets.remove(0);
    subject.membership.handle_packet(subject.now, address(0), own);
    let tries = subject.run(Duration::from_secs(120)).packets;
    let again = tries.into_iter().filter(|(to, _)| *to == address(500)).map(|(_, packet)| packet.body);
    let Some(GossipBody::Join { sequence, .. }) = again.last() else { panic!("it is not tried again") };
    assert_eq!(subject.membership.unanswered_seeds().count(), 0, "it is nobody who is down");
    subject.receive(1, GossipBody::JoinReply { sequence, record: Arc::new(record(1, 1)) }, vec![]);
    assert_eq!(subject.membership.alive_count(), 2, "this time it led to another");
}

/// Joins a subject through member 1. Returns the request that follows.
fn joined(config: MembershipConfig) -> (Subject, Vec<(MemberId, ReliableMessage)>) {
    let mut subject = Subject::with(config);
    subject.membership.set_seeds(subject.now, vec![address(1)]);
    let GossipBody::Join { sequence, .. } = subject.done().packets[0].1.body else { panic!() };
    let done = subject.receive(1, GossipBody::JoinReply { sequence, record: Arc::new(record(1, 1)) }, vec![]);
    (subject, done.reliable)
}

#[test]
fn a_snapshot_comes_in_pages_and_the_gone_with_their_keys() {
    let (mut subject, asked) = joined(MembershipConfig::default());
    assert_eq!(asked, [(id(1), ReliableMessage::SnapshotRequest { after: None })]);
    let page = |members, next| ReliableMessage::SnapshotPage { members, next };
    let first = vec![state(Arc::new(record(2, 1)), Standing::Alive)];
    let done = subject.receive_reliable(1, page(first, Some(id(2))));
    assert_eq!(done.reliable, [(id(1), ReliableMessage::SnapshotRequest { after: Some(id(2)) })]);
    let second = vec![
        state(Arc::new(record(3, 1)), Standing::Dead { since_s: 3000 }),
        state(Arc::new(record(4, 1)), Standing::Left { since_s: 10 }),
        state(Arc::new(record(5, 1)), Standing::Suspect),
        state(Arc::new(record(6, 1)), Standing::Dead { since_s: 4000 }),
    ];
    let done = subject.receive_reliable(1, page(second, None));
    let up = |number| MemberEvent::Up(Arc::new(record(number, 1)));
    let expected =
        [up(3), MemberEvent::Dead(id(3)), up(4), MemberEvent::Left(id(4)), up(5), MemberEvent::Suspected(id(5))];
    assert_eq!(done.events, expected, "the gone that others have forgotten are not remembered here either");
    assert_eq!(subject.membership.record(id(3)).as_deref(), Some(&record(3, 1)));
    assert!(subject.membership.alive(id(3)).is_none());
    let done = subject.run(Duration::from_secs(601));
    assert!(done.events.contains(&MemberEvent::Forgotten(id(3))), "at the same time as elsewhere");
    assert!(subject.membership.record(id(4)).is_some());
    assert!(done.reliable.iter().any(|(_, message)| matches!(message, ReliableMessage::SyncDigests { .. })));
}

#[test]
fn a_snapshot_that_nobody_asked_for_is_ignored() {
    let (mut subject, _) = joined(MembershipConfig::default());
    let members = vec![state(Arc::new(record(2, 1)), Standing::Alive)];
    subject.receive_reliable(9, ReliableMessage::SnapshotPage { members: members.clone(), next: None });
    assert_eq!(subject.state(2), None);
    // Pages that do not advance would never end.
    subject.receive_reliable(1, ReliableMessage::SnapshotPage { members: vec![], next: Some(id(2)) });
    let done = subject.receive_reliable(1, ReliableMessage::SnapshotPage { members, next: Some(id(2)) });
    assert!(done.reliable.is_empty());
    assert_eq!(subject.membership.stats().malformed, 1);
}

#[test]
fn a_snapshot_is_retried_while_the_control_stream_is_not_there() {
    let (mut subject, _) = joined(MembershipConfig::default());
    let mut waits = Vec::new();
    for _ in 0..6 {
        subject.membership.handle_unreachable(subject.now, id(1));
        let begin = subject.now;
        let requests = |done: &Done| {
            done.reliable.iter().any(|(_, message)| matches!(message, ReliableMessage::SnapshotRequest { .. }))
        };
        while !requests(&subject.run(ms(10))) {
            assert!(subject.now.since(begin) < Duration::from_mins(1));
            // The member stays alive meanwhile.
            subject.hear(1, MemberUpdate::Record(Arc::new(record(1, 1 + subject.now.as_micros()))));
        }
        waits.push(subject.now.since(begin));
    }
    assert!(waits[0] <= ms(650) && waits[5] >= Duration::from_secs(10), "{waits:?}");
}

#[test]
fn a_busy_member_is_left_for_the_others_it_names() {
    let (mut subject, _) = joined(MembershipConfig::default());
    let others = (2..20).map(|number| Arc::new(record(number, 1))).collect();
    let done = subject.receive_reliable(1, ReliableMessage::SnapshotBusy { others });
    let joins: Vec<_> =
        done.packets.iter().filter(|(_, packet)| matches!(packet.body, GossipBody::Join { .. })).collect();
    assert_eq!(joins.len(), 3);
    let GossipBody::Join { sequence, .. } = joins[0].1.body else { panic!() };
    let reply = GossipBody::JoinReply { sequence, record: Arc::new(record(2, 1)) };
    let done = subject.receive(2, reply, vec![]);
    assert_eq!(done.reliable, [(id(2), ReliableMessage::SnapshotRequest { after: None })]);
}

#[test]
fn only_so_many_snapshots_are_served_at_once() {
    let config = MembershipConfig { snapshots_max: 2, ..MembershipConfig::default() };
    let mut subject = Subject::with(config);
    for number in 1..=2000 {
        subject.hear(1, MemberUpdate::Record(Arc::new(record(number, 1))));
    }
    let mut ask = |number, after| {
        let done = subject.receive_reliable(number, ReliableMessage::SnapshotRequest { after });
        done.reliable.into_iter().next().expect("an answer").1
    };
    let mut pages = 0;
    let mut seen = 0;
    let mut after = None;
    loop {
        let ReliableMessage::SnapshotPage { members, next } = ask(1, after) else { panic!("served") };
        if pages == 0 {
            assert!(matches!(ask(2, None), ReliableMessage::SnapshotPage { .. }));
            let ReliableMessage::SnapshotBusy { others } = ask(3, None) else { panic!("a third must wait") };
            assert_eq!(others.len(), 16);
        }
        seen += members.len();
        pages += 1;
        after = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(seen, 2001, "all, this node included");
    assert!(pages > 1);
    assert!(matches!(ask(3, None), ReliableMessage::SnapshotPage { .. }), "there is room again");
    assert_eq!(subject.membership.stats().snapshots_refused, 1);
}

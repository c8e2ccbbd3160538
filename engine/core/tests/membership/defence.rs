//! What a node does about news of itself, and of its departure.

use std::{sync::Arc, time::Duration};

use shoal_core::{event::MemberEvent, membership::State};
use shoal_wire::{
    gossip::{GossipBody, MemberUpdate, ReliableMessage},
    ids::Generation,
    member::MemberRecord,
};

use super::{
    network::{address, record},
    subject::{GENERATION, Subject, alive, dead, id, left, life, life_of, ms, record_at, suspect, told},
};

#[test]
fn a_suspected_node_refutes_with_a_later_word() {
    let mut subject = Subject::knowing(3);
    let done = subject.hear(2, suspect(0, life(GENERATION, 0), 3));
    let own = life(GENERATION, 1);
    assert_eq!(subject.membership.own().life(), own);
    assert_eq!(told(&done, address(2)), [MemberUpdate::Record(record_at(0, own))], "who passed it on hears at once");
    let gossip = subject.run(ms(300)).packets;
    assert!(gossip.iter().any(|(_, packet)| packet.updates.contains(&alive(0, own))), "all others by gossip");
    assert_eq!(subject.health(), 1, "being suspected is a sign of bad health");
    assert_eq!(subject.membership.stats().refutations, 1);
    assert!(done.events.is_empty());
}

#[test]
fn an_accusation_that_was_refuted_changes_nothing_but_is_answered() {
    let mut subject = Subject::knowing(3);
    subject.hear(2, dead(0, life(GENERATION, 4)));
    let done = subject.hear(3, suspect(0, life(GENERATION, 2), 2));
    assert_eq!(subject.membership.own().life(), life(GENERATION, 5));
    assert_eq!(told(&done, address(3)), [MemberUpdate::Record(record_at(0, life(GENERATION, 5)))]);
    assert_eq!(subject.membership.stats().refutations, 1);
}

#[test]
fn a_ping_tells_a_suspect_and_its_ack_refutes() {
    let mut subject = Subject::knowing(3);
    subject.hear(1, suspect(2, life(GENERATION, 0), 3));
    let at = subject.membership.next_timeout().unwrap();
    assert!(at > subject.now);
    let mut accused = None;
    for _ in 0..60 {
        for (to, packet) in subject.run(ms(100)).packets {
            if to == address(2) && matches!(packet.body, GossipBody::Ping { .. }) {
                accused.get_or_insert(packet.updates[0].clone());
            }
        }
    }
    assert_eq!(accused, Some(suspect(2, life(GENERATION, 0), 3)), "first of all news");

    let mut other = Subject::knowing(3);
    let ping = GossipBody::Ping { sequence: 7, target: id(0) };
    let done = other.receive(1, ping, vec![suspect(0, life(GENERATION, 0), 1)]);
    let [(to, ack)] = &done.packets[..] else { panic!("{done:?}") };
    assert_eq!((*to, &ack.body), (address(1), &GossipBody::Ack { sequence: 7 }));
    assert!(ack.updates.contains(&alive(0, life(GENERATION, 1))));
}

#[test]
fn the_reliable_probe_tells_a_suspect_too() {
    let mut subject = Subject::knowing(2);
    let probe = ReliableMessage::Probe { sequence: 9, suspected: Some(life(GENERATION, 0)) };
    let done = subject.receive_reliable(1, probe);
    let life = life(GENERATION, 1);
    assert_eq!(done.reliable, [(id(1), ReliableMessage::ProbeAck { sequence: 9, life })]);

    let mut prober = Subject::knowing(2);
    prober.hear(1, suspect(2, life_of(0), 1));
    let done = prober.receive_reliable(2, ReliableMessage::ProbeAck { sequence: 1, life });
    assert_eq!(prober.state(2), Some(State::Alive));
    assert!(matches!(done.events[..], [MemberEvent::Up(_)]));
}

#[test]
fn nobody_takes_over_an_identity() {
    let mut subject = Subject::knowing(3);
    let forged = MemberRecord { address: address(666), ..record(0, GENERATION + 5) };
    let done = subject.hear(2, MemberUpdate::Record(Arc::new(forged)));
    let own = subject.membership.own().clone();
    assert_eq!(own.life(), life(GENERATION + 6, 0), "overruled by a later generation");
    assert_eq!(own.address, address(0));
    assert_eq!(told(&done, address(2)), [MemberUpdate::Record(Arc::new(own.clone()))]);
    let gossip = subject.run(ms(100)).packets;
    let full = MemberUpdate::Record(Arc::new(own.clone()));
    assert!(gossip.iter().any(|(_, packet)| packet.updates.contains(&full)), "others need the address");
    assert_eq!(subject.membership.alive(id(0)).as_deref(), Some(&own));
    assert_eq!(subject.membership.stats().identity_conflicts, 1);
}

#[test]
fn a_changed_address_at_the_same_word_is_overruled() {
    let mut subject = Subject::knowing(3);
    let forged = MemberRecord { address: address(666), ..record(0, GENERATION) };
    subject.hear(2, MemberUpdate::Record(Arc::new(forged)));
    assert_eq!(subject.membership.own().life(), life(GENERATION, 1));
    assert_eq!(subject.membership.own().address, address(0));
}

#[test]
fn two_copies_of_a_node_do_not_flood_the_cluster() {
    let mut subject = Subject::knowing(3);
    for claimed in 1..=100 {
        subject.hear(2, MemberUpdate::Record(Arc::new(record(0, GENERATION + 1000 * claimed))));
    }
    assert_eq!(subject.membership.own().generation, Generation(GENERATION + 1001));
    subject.run(ms(1100));
    assert_eq!(subject.membership.own().generation, Generation(GENERATION + 100_001));
}

#[test]
fn words_at_the_end_of_their_range_are_overruled_by_a_generation() {
    let mut subject = Subject::knowing(3);
    subject.hear(2, dead(0, life(GENERATION, u32::MAX)));
    assert_eq!(subject.membership.own().life(), life(GENERATION + 1, 0));
    subject.hear(2, dead(0, life(u64::MAX, 0)));
    assert_eq!(subject.membership.own().generation, Generation(u64::MAX));
    subject.hear(2, dead(0, life(u64::MAX, u32::MAX)));
    assert_eq!(subject.membership.own().generation, Generation(u64::MAX), "there is nothing later; it lives on");
}

#[test]
fn who_is_believed_gone_and_speaks_is_told() {
    let mut subject = Subject::knowing(3);
    subject.hear(1, dead(2, life_of(0)));
    let done = subject.receive(2, GossipBody::Gossip, vec![]);
    assert_eq!(told(&done, address(2)), [dead(2, life_of(0))]);
    let done = subject.receive(2, GossipBody::Tell, vec![]);
    assert!(done.packets.is_empty(), "an answer is not answered");
    let done = subject.receive(2, GossipBody::Tell, vec![alive(2, life_of(1))]);
    assert!(matches!(done.events[..], [MemberEvent::Up(_)]));
}

#[test]
fn who_passes_on_an_accusation_that_was_refuted_is_told() {
    for accusation in [suspect(2, life_of(0), 3), dead(2, life_of(0)), left(2, life_of(0))] {
        let mut subject = Subject::knowing(3);
        subject.hear(1, alive(2, life_of(1)));
        let done = subject.hear(3, accusation);
        assert_eq!(told(&done, address(3)), [MemberUpdate::Record(record_at(2, life_of(1)))]);
        assert!(done.events.is_empty());
    }
}

#[test]
fn after_it_left_a_node_does_nothing_but_spread_that() {
    let mut subject = Subject::knowing(30);
    subject.membership.leave(subject.now);
    let done = subject.done();
    assert_eq!(done.packets.len(), 16, "a burst at once");
    let farewell = left(0, life_of(0));
    assert!(done.packets.iter().all(|(_, packet)| packet.updates == [farewell.clone()]));
    let done = subject.hear(2, farewell.clone());
    assert!(done.packets.is_empty(), "no refutation");
    assert_eq!(subject.membership.own().life(), life_of(0));
    let later = subject.run(Duration::from_mins(1)).packets;
    assert!(!later.is_empty() && later.iter().all(|(_, packet)| packet.body == GossipBody::Gossip));
    assert_eq!(subject.membership.next_timeout(), None);
}

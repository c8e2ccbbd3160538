//! Probes, direct, indirect and relayed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use shoal_core::{config::MembershipConfig, event::MemberEvent, membership::State};
use shoal_wire::{
    gossip::{GossipBody, MemberUpdate, ReliableMessage},
    ids::MemberId,
    member::MemberRecord,
};

use super::{
    network::{address, record},
    subject::{Done, GENERATION, Subject, dead, id, life_of, ms, packet, suspect},
};

#[test]
fn an_ack_ends_a_probe_and_improves_health_once() {
    let mut subject = Subject::knowing(3);
    for _ in 0..3 {
        let word = subject.membership.own().life();
        subject.hear(1, suspect(0, word, 1));
    }
    assert_eq!(subject.health(), 3);
    let (sequence, target) = subject.next_ping();
    let ack = |subject: &mut Subject, from, sequence| {
        subject.membership.handle_packet(subject.now, address(1), packet(from, GossipBody::Ack { sequence }));
    };
    ack(&mut subject, target, sequence.wrapping_add(1));
    ack(&mut subject, target, sequence.wrapping_sub(1));
    assert_eq!(subject.health(), 3, "wrong numbers");
    let stranger = if target == id(1) { id(2) } else { id(1) };
    ack(&mut subject, stranger, sequence);
    assert_eq!(subject.health(), 3, "not the target, and no helper");
    for _ in 0..3 {
        ack(&mut subject, target, sequence);
    }
    assert_eq!(subject.health(), 2, "repeated acks count once");
    subject.run(ms(3000));
    assert_ne!(subject.membership.state(target), Some(State::Suspect));
}

/// Runs a probe of member 2 until its helpers are asked. Returns its number and the helpers.
fn until_indirect(subject: &mut Subject) -> (u32, Vec<u16>) {
    let sequence = subject.next_ping_of(2);
    let done = subject.run(ms(500));
    let asked = GossipBody::PingRequest { sequence, target: id(2) };
    let asked_at: Vec<SocketAddr> =
        done.packets.iter().filter(|(_, packet)| packet.body == asked).map(|&(to, _)| to).collect();
    let helpers: Vec<u16> = (1..20).filter(|&number| asked_at.contains(&address(number))).collect();
    assert_eq!(done.reliable, [(id(2), ReliableMessage::Probe { sequence, suspected: None })]);
    (sequence, helpers)
}

#[test]
fn without_any_answer_the_target_is_suspected_and_missing_nacks_are_our_fault() {
    for (nacks, health) in [(3, 0), (2, 1), (0, 3)] {
        let mut subject = Subject::knowing(10);
        let (sequence, helpers) = until_indirect(&mut subject);
        assert_eq!(helpers.len(), 3);
        assert!(!helpers.contains(&2));
        for &helper in &helpers[..nacks] {
            subject.receive(helper, GossipBody::Nack { sequence }, vec![]);
            subject.receive(helper, GossipBody::Nack { sequence }, vec![]);
        }
        subject.membership.handle_unreachable(subject.now, id(2));
        let done = subject.run(ms(500));
        assert_eq!(done.events, [MemberEvent::Suspected(id(2))]);
        assert_eq!(subject.health(), health, "{nacks} nacks");
    }
}

#[test]
fn a_helpers_ack_is_an_answer() {
    let mut subject = Subject::knowing(10);
    let (sequence, helpers) = until_indirect(&mut subject);
    subject.receive(helpers[1], GossipBody::Ack { sequence }, vec![]);
    assert!(subject.run(ms(500)).events.is_empty());
    assert_eq!(subject.state(2), Some(State::Alive));
}

#[test]
fn when_only_the_control_stream_answers_nobody_is_suspected() {
    let mut subject = Subject::knowing(10);
    let (sequence, _) = until_indirect(&mut subject);
    subject.receive_reliable(3, ReliableMessage::ProbeAck { sequence, life: life_of(0) });
    subject.receive_reliable(2, ReliableMessage::ProbeAck { sequence, life: life_of(0) });
    assert!(subject.run(ms(500)).events.is_empty());
    assert_eq!(subject.state(2), Some(State::Alive));
    assert_eq!(subject.membership.stats().probes_answered_reliably_only, 1);
    assert_eq!(subject.health(), 3, "but the missing nacks were noticed");
}

#[test]
fn bad_health_slows_probes_down() {
    let mut subject = Subject::knowing(3);
    for _ in 0..20 {
        let word = subject.membership.own().life();
        subject.hear(1, suspect(0, word, 1));
    }
    assert_eq!(subject.health(), 7);
    subject.next_ping();
    let begin = subject.now;
    subject.next_ping();
    assert_eq!(subject.now.since(begin), Duration::from_secs(8));
}

#[test]
fn each_member_is_probed_once_a_round_whoever_comes_and_goes() {
    let mut subject = Subject::knowing(20);
    for round in 0..5 {
        let mut probed = Vec::new();
        for _ in 0..20 {
            let (sequence, target) = subject.next_ping();
            subject.membership.handle_packet(subject.now, address(1), packet(target, GossipBody::Ack { sequence }));
            probed.push(target);
        }
        probed.sort_unstable();
        probed.dedup();
        assert_eq!(probed.len(), 20, "round {round}");
    }
    let mut late: Vec<MemberId> = Vec::new();
    subject.hear(1, dead(5, life_of(0)));
    subject.hear(1, MemberUpdate::Record(Arc::new(record(30, GENERATION))));
    for _ in 0..20 {
        let (sequence, target) = subject.next_ping();
        subject.membership.handle_packet(subject.now, address(1), packet(target, GossipBody::Ack { sequence }));
        late.push(target);
    }
    assert!(late.contains(&id(30)) && !late.contains(&id(5)));
}

#[test]
fn who_was_probed_and_goes_takes_nobodys_turn() {
    for gone in 0..5 {
        let mut subject = Subject::knowing(10);
        let probe = |subject: &mut Subject| {
            let (sequence, target) = subject.next_ping();
            subject.membership.handle_packet(subject.now, address(1), packet(target, GossipBody::Ack { sequence }));
            target
        };
        let mut probed: Vec<_> = (0..5).map(|_| probe(&mut subject)).collect();
        let word = subject.membership.record(probed[gone]).unwrap().life();
        subject.hear(1, MemberUpdate::Dead { id: probed[gone], life: word });
        probed.extend((0..5).map(|_| probe(&mut subject)));
        probed.sort_unstable();
        probed.dedup();
        assert_eq!(probed.len(), 10, "each of the ten had its turn");
    }
}

#[test]
fn who_restarts_elsewhere_during_a_probe_is_not_suspected() {
    let mut subject = Subject::knowing(3);
    subject.next_ping_of(2);
    let moved = MemberRecord { address: address(70), ..record(2, GENERATION + 1) };
    subject.hear(1, MemberUpdate::Record(Arc::new(moved)));
    subject.run(ms(1000));
    assert_eq!(subject.state(2), Some(State::Alive));
}

#[test]
fn a_relayed_ping_returns_the_ack_or_a_nack() {
    let mut subject = Subject::knowing(3);
    let request = GossipBody::PingRequest { sequence: 5, target: id(2) };
    let done = subject.receive(1, request.clone(), vec![]);
    let [(to, relayed)] = &done.packets[..] else { panic!("{done:?}") };
    let GossipBody::Ping { sequence, target } = relayed.body else { panic!("{relayed:?}") };
    assert_eq!((*to, target), (address(2), id(2)));
    let done = subject.receive(3, GossipBody::Ack { sequence }, vec![]);
    assert!(done.packets.is_empty(), "not from the target");
    let done = subject.receive(2, GossipBody::Ack { sequence }, vec![]);
    assert!(
        matches!(&done.packets[..], [(to, packet)] if *to == address(1) && packet.body == GossipBody::Ack { sequence: 5 })
    );

    subject.receive(1, request, vec![]);
    let nack = |done: &Done| {
        done.packets.iter().any(|(to, packet)| *to == address(1) && packet.body == GossipBody::Nack { sequence: 5 })
    };
    assert!(!nack(&subject.run(ms(399))));
    assert!(nack(&subject.run(ms(2))));
}

#[test]
fn a_relay_that_cannot_be_made_is_refused_at_once() {
    let mut subject = Subject::with(MembershipConfig { relays_max: 2, ..MembershipConfig::default() });
    for number in 1..=3 {
        subject.hear(1, MemberUpdate::Record(Arc::new(record(number, GENERATION))));
    }
    let mut refused = |target: u16| {
        let done = subject.receive(1, GossipBody::PingRequest { sequence: 5, target: id(target) }, vec![]);
        done.packets.iter().any(|(_, packet)| packet.body == GossipBody::Nack { sequence: 5 })
    };
    assert!(refused(99), "unknown");
    assert!(!refused(2));
    assert!(!refused(2));
    assert!(refused(2), "too many");
    assert_eq!(subject.membership.stats().relays_refused, 1);
}

#[test]
fn a_ping_for_another_is_not_answered() {
    let mut subject = Subject::knowing(2);
    let done = subject.receive(1, GossipBody::Ping { sequence: 1, target: id(2) }, vec![]);
    assert!(done.packets.is_empty());
    assert_eq!(subject.membership.stats().pings_misdirected, 1);
}

#[test]
fn a_stall_gives_suspects_as_much_more_time() {
    let mut subject = Subject::knowing(3);
    for accuser in 1..=3 {
        subject.hear(1, suspect(2, life_of(0), accuser));
    }
    subject.run(ms(500));
    subject.now = subject.now + Duration::from_mins(1);
    subject.membership.handle_timeout(subject.now);
    assert_eq!(subject.state(2), Some(State::Suspect), "60 s late is not the suspect's fault");
    assert_eq!(subject.health(), 1);
    subject.run(Duration::from_secs(4));
    assert_eq!(subject.state(2), Some(State::Dead));
}

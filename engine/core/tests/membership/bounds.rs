//! Every bound, and what happens at it; and what the table answers.

use std::{sync::Arc, time::Duration};

use shoal_core::{config::MembershipConfig, event::MemberEvent, membership::State};
use shoal_wire::{
    gossip::{GossipBody, MemberUpdate},
    ids::MemberId,
    member::MemberRecord,
};

use super::{
    network::{address, record},
    subject::{GENERATION, Subject, dead, id, left, life, life_of, ms},
};

#[test]
fn a_full_table_refuses_new_members_and_keeps_the_old() {
    let mut subject = Subject::with(MembershipConfig { members_max: 3, ..MembershipConfig::default() });
    for number in 1..=5 {
        subject.hear(1, MemberUpdate::Record(Arc::new(record(number, GENERATION))));
    }
    assert_eq!(subject.membership.alive_count(), 3);
    assert_eq!(subject.membership.stats().members_refused, 3);
    let moved = MemberRecord { address: address(70), ..record(2, GENERATION + 1) };
    subject.hear(1, MemberUpdate::Record(Arc::new(moved)));
    assert_eq!(subject.membership.alive(id(2)).unwrap().address, address(70));
    subject.hear(1, dead(2, life(GENERATION + 1, 0)));
    subject.hear(1, MemberUpdate::Record(Arc::new(record(4, GENERATION))));
    assert_eq!(subject.state(4), Some(State::Alive), "there is room again");
}

#[test]
fn the_gone_are_remembered_for_an_hour_and_the_oldest_make_room() {
    let mut subject = Subject::with(MembershipConfig { remembered_max: 2, ..MembershipConfig::default() });
    for number in 1..=5 {
        subject.hear(1, MemberUpdate::Record(Arc::new(record(number, GENERATION))));
    }
    for number in 2..=4 {
        subject.run(ms(1));
        let done = subject.hear(1, left(number, life_of(0)));
        assert_eq!(done.events.contains(&MemberEvent::Forgotten(id(2))), number == 4);
    }
    assert!(subject.membership.record(id(2)).is_none() && subject.membership.record(id(3)).is_some());
    let done = subject.run_answered(Duration::from_secs(3599));
    assert!(!done.events.contains(&MemberEvent::Forgotten(id(3))));
    let done = subject.run_answered(Duration::from_secs(2));
    assert_eq!(done.events, [MemberEvent::Forgotten(id(3)), MemberEvent::Forgotten(id(4))]);
    assert_eq!(subject.membership.stats().remembered, 0);
}

#[test]
fn a_full_queue_drops_news_and_counts() {
    let mut subject = Subject::with(MembershipConfig { queue_max: 10, ..MembershipConfig::default() });
    for number in 1..=50 {
        subject.hear(1, MemberUpdate::Record(Arc::new(record(number, GENERATION))));
    }
    assert_eq!(subject.membership.stats().queued_updates, 10);
    assert_eq!(subject.membership.stats().updates_dropped, 40);
    assert_eq!(subject.membership.alive_count(), 51);
}

#[test]
fn gossip_takes_more_packets_while_news_do_not_fit() {
    let packets_per_round = |others: u16| {
        let mut subject = Subject::knowing(others);
        loop {
            let at = subject.membership.next_timeout().unwrap();
            subject.now = at;
            subject.membership.handle_timeout(at);
            let done = subject.done();
            let gossip = done.packets.iter().filter(|(_, packet)| packet.body == GossipBody::Gossip).count();
            if gossip > 0 {
                return gossip;
            }
        }
    };
    assert_eq!(packets_per_round(5), 3);
    let some = packets_per_round(120);
    assert!((4..16).contains(&some), "{some}");
    assert_eq!(packets_per_round(2000), 16);
}

#[test]
fn without_news_there_is_no_gossip() {
    let mut subject = Subject::knowing(5);
    subject.run_answered(Duration::from_secs(5));
    let done = subject.run_answered(Duration::from_mins(1));
    assert!(done.packets.iter().all(|(_, packet)| packet.body != GossipBody::Gossip));
}

#[test]
fn of_two_members_at_one_address_the_newest_generation_is_met() {
    let mut subject = Subject::knowing(2);
    let newer = MemberRecord { address: address(2), ..record(3, GENERATION + 1) };
    subject.hear(1, MemberUpdate::Record(Arc::new(newer)));
    assert_eq!(subject.membership.member_at(address(2)), Some(id(3)));
    let older = MemberRecord { address: address(2), ..record(4, GENERATION - 1) };
    subject.hear(1, MemberUpdate::Record(Arc::new(older)));
    assert_eq!(subject.membership.member_at(address(2)), Some(id(3)));
    assert_eq!(subject.membership.stats().record_conflicts, 2);
}

#[test]
fn members_are_ordered_by_id_and_include_this_node() {
    let subject = Subject::knowing(50);
    let ids: Vec<MemberId> = subject.membership.alive_members().map(|record| record.id()).collect();
    assert_eq!(ids.len(), 51);
    assert!(ids.is_sorted());
    assert!(ids.contains(&id(0)));
    assert_eq!(subject.membership.alive_count(), 51);
    assert_eq!(subject.membership.alive(id(0)).as_deref(), Some(subject.membership.own()));
}

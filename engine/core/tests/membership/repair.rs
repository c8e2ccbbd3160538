//! Repair by digests, and what is learned in bulk.

use std::{sync::Arc, time::Duration};

use shoal_core::{config::MembershipConfig, event::MemberEvent, membership::Membership};
use shoal_wire::gossip::{MemberUpdate, ReliableMessage, Standing};

use super::{
    network::{address, record},
    subject::{Done, GENERATION, Subject, id, life_of, ms, state, suspect, told},
};

#[test]
fn only_buckets_that_differ_are_sent_and_only_news_are_answered() {
    let mut one = Subject::knowing(50);
    let mut two = Subject::with(MembershipConfig::default());
    two.membership = Membership::new(MembershipConfig::default(), record(50, GENERATION), 2, two.now);
    for number in 0..50 {
        two.hear(1, MemberUpdate::Record(Arc::new(record(number, GENERATION))));
    }
    one.hear(1, MemberUpdate::Record(Arc::new(record(60, GENERATION))));
    two.hear(1, MemberUpdate::Record(Arc::new(record(61, GENERATION))));
    let digests = loop {
        let done = one.run(ms(1000));
        let sent = done.reliable.into_iter().find_map(|(_, message)| match message {
            ReliableMessage::SyncDigests { digests } => Some(digests),
            _ => None,
        });
        if let Some(digests) = sent {
            break digests;
        }
    };
    let done = two.receive_reliable(0, ReliableMessage::SyncDigests { digests: digests.clone() });
    let [(_, ReliableMessage::SyncBuckets { buckets, members })] = &done.reliable[..] else { panic!("{done:?}") };
    assert!(buckets.len() <= 2 && members.len() < 10, "of 52 members: {}", members.len());
    let done = one.receive_reliable(50, done.reliable[0].1.clone());
    assert_eq!(done.events, [MemberEvent::Up(Arc::new(record(61, GENERATION)))]);
    let news = ReliableMessage::SyncNews { members: vec![state(Arc::new(record(60, GENERATION)), Standing::Alive)] };
    assert_eq!(done.reliable, [(id(50), news.clone())]);
    let done = two.receive_reliable(0, news);
    assert_eq!(done.events, [MemberEvent::Up(Arc::new(record(60, GENERATION)))]);
    let digests = vec![0; 255];
    assert!(two.receive_reliable(0, ReliableMessage::SyncDigests { digests }).reliable.is_empty());
    assert_eq!(two.membership.stats().malformed, 1);
}

#[test]
fn the_dead_of_others_become_suspects_that_are_told() {
    let mut subject = Subject::knowing(5);
    let members = vec![
        state(Arc::new(record(2, GENERATION)), Standing::Dead { since_s: 1 }),
        state(Arc::new(record(3, GENERATION)), Standing::Left { since_s: 1 }),
        state(Arc::new(record(0, GENERATION)), Standing::Dead { since_s: 1 }),
        state(Arc::new(record(9, GENERATION)), Standing::Dead { since_s: 1 }),
    ];
    let done = subject.receive_reliable(1, ReliableMessage::SyncNews { members });
    assert_eq!(done.events, [MemberEvent::Suspected(id(2)), MemberEvent::Left(id(3))]);
    assert_eq!(told(&done, address(2)), [suspect(2, life_of(0), 1)]);
    assert_eq!(subject.membership.own().life(), life_of(1), "not me");
    assert_eq!(subject.state(9), None, "the gone that nobody here knew stay unknown");
    let (_, target) = subject.next_ping();
    assert_eq!(target, id(2), "and probed next");
}

#[test]
fn bulk_news_are_not_gossiped_on() {
    let bulk =
        |count: u16| (100..100 + count).map(|number| state(Arc::new(record(number, 1)), Standing::Alive)).collect();
    for (count, queued) in [(64, 64), (65, 0)] {
        let mut subject = Subject::knowing(1);
        subject.run(Duration::from_secs(5));
        subject.receive_reliable(1, ReliableMessage::SyncNews { members: bulk(count) });
        assert_eq!(subject.membership.stats().queued_updates, queued, "{count} members");
    }
}

#[test]
fn digests_that_did_not_arrive_are_sent_again_soon() {
    let mut subject = Subject::knowing(5);
    let digests_to = |done: &Done| {
        let sent = done.reliable.iter().find(|(_, message)| matches!(message, ReliableMessage::SyncDigests { .. }));
        sent.map(|&(to, _)| to)
    };
    let mut first = None;
    while first.is_none() {
        first = digests_to(&subject.run_answered(ms(100)));
    }
    subject.membership.handle_unreachable(subject.now, first.unwrap());
    assert!(digests_to(&subject.run_answered(ms(5000))).is_some(), "well before the interval of 30 s");
}

/// Seconds at which the subject sends digests, while members come every `comes_each` seconds until second `until`.
fn exchanges(subject: &mut Subject, until: u16, comes_each: u16, seconds: u16) -> Vec<u16> {
    let mut at = Vec::new();
    for second in 0..seconds {
        if second < until && second % comes_each == 0 {
            subject.hear(1, MemberUpdate::Record(Arc::new(record(1000 + second, GENERATION))));
        }
        let done = subject.run_answered(ms(1000));
        let is_exchange = |(_, message): &(_, ReliableMessage)| matches!(message, ReliableMessage::SyncDigests { .. });
        at.extend(done.reliable.iter().filter(|message| is_exchange(message)).map(|_| second));
    }
    at
}

/// A subject whose usual exchanges are hours apart.
fn patient() -> Subject {
    let mut subject =
        Subject::with(MembershipConfig { sync_interval: Duration::from_hours(10), ..MembershipConfig::default() });
    for number in 1..=40 {
        subject.hear(1, MemberUpdate::Record(Arc::new(record(number, GENERATION))));
    }
    subject.run_answered(Duration::from_mins(2));
    subject
}

#[test]
fn when_it_is_calm_again_after_members_came_or_went_digests_are_exchanged_once() {
    let mut subject = patient();
    assert_eq!(exchanges(&mut subject, 0, 1, 300), [0; 0], "nobody came");
    let after_one = exchanges(&mut subject, 1, 1, 300);
    assert!(matches!(after_one[..], [5..=10]), "{after_one:?}");
    subject.hear(1, MemberUpdate::Left { id: id(7), life: life_of(0) });
    let after_departure = exchanges(&mut subject, 0, 1, 300);
    assert!(matches!(after_departure[..], [5..=10]), "{after_departure:?}");
}

#[test]
fn while_members_come_all_the_time_digests_are_exchanged_each_half_a_minute() {
    let mut subject = patient();
    let during = exchanges(&mut subject, 300, 2, 300);
    let gaps: Vec<_> = during.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((7..=10).contains(&during.len()), "{during:?}");
    assert!(gaps.iter().all(|gap| (29..=42).contains(gap)), "{during:?}");
}

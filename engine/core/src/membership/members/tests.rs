use shoal_wire::{ids::PublicKey, member::Life};

use super::*;

fn record(number: u8, generation: u64, incarnation: u32) -> Arc<MemberRecord> {
    Arc::new(MemberRecord {
        public_key: PublicKey([number; 32]),
        generation: Generation(generation),
        incarnation: Incarnation(incarnation),
        address: ([10, 0, 0, number], 5001).into(),
        zone: String::new(),
        version: 1,
        upload_bytes_per_s: 0,
    })
}

fn id(number: u8) -> MemberId {
    record(number, 1, 0).id()
}

/// A table of member 0 that knows 1 to `others`.
fn table(others: u8) -> Members {
    let mut members = Members::default().with_own(record(0, 1, 0));
    (1..=others).for_each(|number| drop(put(&mut members, number, 1, 0, Health::Alive)));
    members
}

fn put(members: &mut Members, number: u8, generation: u64, incarnation: u32, health: Health) -> Arc<MemberRecord> {
    let record = record(number, generation, incarnation);
    members.put(id(number), Arc::clone(&record), health);
    record
}

fn dead(at: u64) -> Health {
    Health::Dead { forget_at: Time::from_micros(at) }
}

#[test]
fn a_later_word_is_kept_beside_the_shared_record() {
    let mut members = table(3);
    let shared = Arc::clone(members.get(id(2)).expect("it is known").description);
    put(&mut members, 2, 1, 5, Health::Alive);
    let member = members.get(id(2)).expect("it is known");
    assert!(Arc::ptr_eq(member.description, &shared), "another copy would be this node's alone");
    assert_eq!(member.life(), Life { generation: Generation(1), incarnation: Incarnation(5) });
    assert_eq!(*member.record(), *record(2, 1, 5));
    put(&mut members, 2, 2, 0, Health::Alive);
    assert_eq!(*members.get(id(2)).expect("it is known").record(), *record(2, 2, 0));
    assert!(members.words.is_empty());
}

#[test]
fn the_way_back_to_a_state_is_the_way_to_equal_digests() {
    let (before, mut members) = (table(9), table(9));
    put(&mut members, 4, 1, 3, Health::Alive);
    put(&mut members, 5, 1, 0, dead(7));
    assert_ne!(members.digests(), before.digests());
    put(&mut members, 4, 1, 0, Health::Alive);
    put(&mut members, 5, 1, 0, Health::Alive);
    assert_eq!(members.digests(), before.digests());
    assert_eq!((members.alive_count(), members.gone_count()), (10, 0));
    assert!(members.first_to_forget().is_none() && members.troubled.is_empty());
}

#[test]
fn a_forgotten_member_keeps_its_place_until_its_owner_has_heard_of_it() {
    let mut members = table(3);
    let handle = members.roster().find(id(2)).expect("it is known");
    put(&mut members, 2, 1, 0, dead(7));
    members.forget(id(2));
    assert!(members.get(id(2)).is_none() && members.after(None).all(|(other, _)| other != id(2)));
    assert_eq!(members.roster().find(id(2)), Some(handle), "for the news of its death");
    put(&mut members, 9, 1, 0, Health::Alive);
    assert_ne!(members.roster().find(id(9)), Some(handle));
    members.settle();
    assert_eq!(members.roster().find(id(2)), None);
    put(&mut members, 8, 1, 0, Health::Alive);
    assert_eq!(members.roster().find(id(8)), Some(handle), "its place is used again");
}

#[test]
fn a_member_that_was_forgotten_and_comes_at_once_is_as_new() {
    let mut members = table(3);
    put(&mut members, 2, 1, 4, dead(7));
    members.forget(id(2));
    put(&mut members, 2, 1, 0, Health::Alive);
    members.settle();
    let member = members.get(id(2)).expect("it is known");
    assert_eq!(member.life(), record(2, 1, 0).life());
    assert!(matches!(member.health, Health::Alive));
    assert_eq!(members.digests(), table(3).digests());
}

#[test]
fn another_life_of_one_that_counts_as_alive_is_told_once() {
    let mut members = table(3);
    put(&mut members, 1, 2, 0, Health::Alive);
    assert!(!members.take_reborn(id(1), Generation(1)));
    assert!(members.take_reborn(id(1), Generation(2)));
    assert!(!members.take_reborn(id(1), Generation(2)));
    put(&mut members, 2, 1, 0, dead(7));
    put(&mut members, 2, 2, 0, Health::Alive);
    assert!(!members.take_reborn(id(2), Generation(2)), "the end of its last life was noticed");
    put(&mut members, 3, 1, 1, Health::Alive);
    assert!(!members.take_reborn(id(3), Generation(1)), "a later word is no other life");
}

#[test]
fn buckets_part_the_table() {
    let members = table(200);
    let parts = (0..=u8::MAX).flat_map(|bucket| members.bucket(bucket).map(|(id, _)| id).collect::<Vec<_>>());
    assert!(parts.eq(members.after(None).map(|(id, _)| id)));
    assert_eq!(members.after(None).count(), 201);
    let middle = members.after(None).nth(100).map(|(id, _)| id);
    assert_eq!(members.after(middle).count(), 100);
}

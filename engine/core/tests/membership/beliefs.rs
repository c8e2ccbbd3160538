//! Which news are believed, and what the owner hears of them.

use std::sync::Arc;

use shoal_core::{event::MemberEvent, membership::State};
use shoal_wire::{
    gossip::MemberUpdate,
    ids::Incarnation,
    member::{Life, MemberRecord},
};

use super::{
    network::{address, record},
    subject::{GENERATION, Subject, alive, dead, id, left, life, record_at, records_wanted, suspect},
};

/// Brings member 2 into a state at word (10, 5).
fn knows_two_as(state: State) -> Subject {
    let mut subject = Subject::knowing(1);
    let word = life(GENERATION, 5);
    subject.hear(1, MemberUpdate::Record(record_at(2, word)));
    match state {
        State::Alive => {}
        State::Suspect => drop(subject.hear(1, suspect(2, word, 1))),
        State::Dead => drop(subject.hear(1, dead(2, word))),
        State::Left => drop(subject.hear(1, left(2, word))),
    }
    assert_eq!(subject.state(2), Some(state));
    subject
}

fn news(kind: &str, word: Life) -> MemberUpdate {
    match kind {
        "record" => MemberUpdate::Record(record_at(2, word)),
        "alive" => alive(2, word),
        "suspect" => suspect(2, word, 1),
        "dead" => dead(2, word),
        "left" => left(2, word),
        other => panic!("{other}"),
    }
}

fn letter(state: Option<State>) -> char {
    match state {
        Some(State::Alive) => 'A',
        Some(State::Suspect) => 'S',
        Some(State::Dead) => 'D',
        Some(State::Left) => 'L',
        None => '-',
    }
}

/// For each kind of news, and its word compared with the known one (earlier generation, earlier, same and later
/// incarnation, later generation): what becomes of a member known as alive, suspect, dead and left; `?` where its
/// record is asked for.
#[test]
fn transitions_follow_the_table() {
    let table = [
        ("record", ["ASDL", "ASDL", "ASDL", "AAAA", "AAAA"]),
        ("alive", ["ASDL", "ASDL", "ASDL", "AAAA", "ASDL?"]),
        ("suspect", ["ASDL", "ASDL", "SSDL", "SSSS", "ASDL?"]),
        ("dead", ["ASDL", "ASDL", "DDDL", "DDDL", "DDDL"]),
        ("left", ["ASDL", "ASDL", "LLDL", "LLDL", "LLDL"]),
    ];
    let words = [
        life(GENERATION - 1, 9),
        life(GENERATION, 4),
        life(GENERATION, 5),
        life(GENERATION, 6),
        life(GENERATION + 1, 0),
    ];
    for (kind, columns) in table {
        for (word, expected) in words.into_iter().zip(columns) {
            let mut result = String::new();
            let mut asked = false;
            for known in [State::Alive, State::Suspect, State::Dead, State::Left] {
                let mut subject = knows_two_as(known);
                let done = subject.hear(1, news(kind, word));
                result.push(letter(subject.state(2)));
                asked |= records_wanted(&done).contains(&id(2));
            }
            if asked {
                result.push('?');
            }
            assert_eq!(result, expected, "{kind} {word:?}");
        }
    }
}

#[test]
fn of_an_unknown_member_only_its_record_is_believed() {
    for (kind, expected, asks) in [
        ("record", 'A', false),
        ("alive", '-', true),
        ("suspect", '-', true),
        ("dead", '-', false),
        ("left", '-', false),
    ] {
        let mut subject = Subject::knowing(1);
        let done = subject.hear(1, news(kind, life(GENERATION, 0)));
        assert_eq!(letter(subject.state(2)), expected, "{kind}");
        assert_eq!(records_wanted(&done).contains(&id(2)), asks, "{kind}");
    }
}

#[test]
fn a_dead_members_late_news_do_not_revive_it() {
    let mut subject = knows_two_as(State::Dead);
    subject.hear(1, dead(2, life(GENERATION, 8)));
    subject.hear(1, alive(2, life(GENERATION, 7)));
    assert_eq!(subject.state(2), Some(State::Dead));
    subject.hear(1, alive(2, life(GENERATION, 9)));
    assert_eq!(subject.state(2), Some(State::Alive));
}

#[test]
fn the_death_of_a_later_life_does_not_lend_it_the_earlier_lifes_address() {
    let mut subject = knows_two_as(State::Alive);
    subject.hear(1, dead(2, life(GENERATION + 1, 0)));
    let done = subject.hear(1, alive(2, life(GENERATION + 1, 1)));
    assert_eq!(subject.state(2), Some(State::Dead));
    assert_eq!(records_wanted(&done), [id(2)], "its address may be another");
}

#[test]
fn the_owner_hears_of_changes_once_and_of_no_flapping() {
    let mut subject = Subject::knowing(1);
    let word = |incarnation| life(GENERATION, incarnation);
    let first = record_at(2, word(0));
    let up = |record: &MemberRecord| vec![MemberEvent::Up(Arc::new(record.clone()))];
    assert_eq!(subject.hear(1, MemberUpdate::Record(Arc::clone(&first))).events, up(&first));
    assert_eq!(subject.hear(1, MemberUpdate::Record(Arc::clone(&first))).events, []);
    assert_eq!(subject.hear(1, alive(2, word(1))).events, [], "nothing but a later word");
    assert_eq!(subject.hear(1, suspect(2, word(1), 1)).events, [MemberEvent::Suspected(id(2))]);
    assert_eq!(subject.hear(1, suspect(2, word(1), 3)).events, []);
    assert_eq!(subject.hear(1, alive(2, word(2))).events, up(&record_at(2, word(2))), "refuted");
    let moved = Arc::new(MemberRecord { address: address(77), ..record(2, GENERATION + 1) });
    assert_eq!(subject.hear(1, MemberUpdate::Record(Arc::clone(&moved))).events, up(&moved));
    assert_eq!(subject.hear(1, left(2, moved.life())).events, [MemberEvent::Left(id(2))]);
    assert_eq!(subject.hear(1, dead(2, moved.life())).events, []);
}

#[test]
fn a_changed_record_is_told_to_the_owner() {
    let mut subject = Subject::knowing(2);
    let changed = MemberRecord { zone: "b".to_owned(), incarnation: Incarnation(1), ..record(2, GENERATION) };
    let done = subject.hear(1, MemberUpdate::Record(Arc::new(changed.clone())));
    assert_eq!(done.events, [MemberEvent::Up(Arc::new(changed))]);
    let other = MemberRecord { zone: "c".to_owned(), incarnation: Incarnation(1), ..record(2, GENERATION) };
    assert_eq!(subject.hear(1, MemberUpdate::Record(Arc::new(other))).events, []);
    assert_eq!(subject.membership.stats().record_conflicts, 1, "one word, two contents");
}

#[test]
fn unusable_records_are_refused_and_counted() {
    let mut subject = Subject::knowing(1);
    let unusable = [
        MemberRecord { zone: "z".repeat(64), ..record(2, 1) },
        MemberRecord { address: "10.0.0.2:0".parse().unwrap(), ..record(2, 1) },
        MemberRecord { address: "0.0.0.0:5001".parse().unwrap(), ..record(2, 1) },
    ];
    for record in unusable {
        subject.hear(1, MemberUpdate::Record(Arc::new(record)));
        assert_eq!(subject.state(2), None);
    }
    assert_eq!(subject.membership.stats().malformed, 3);
}

//! A home's records, leases and disputes, by the messages that it gets and sends.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shoal_wire::{
    control::{LeaseEnd, LeaseSpan},
    ids::{Generation, Incarnation, PublicKey},
    member::MemberRecord,
    piece_map::PieceMap,
};

use super::*;
use crate::{
    directory::{members::AliveSet, rendezvous::Key},
    event::Output,
    roster::Roster,
};

const OWN: MemberId = MemberId([0; 16]);

fn member(index: u32) -> MemberId {
    MemberId(u128::from(index + 1).to_be_bytes())
}

fn digest(index: u32) -> Digest {
    Digest::Sha256(*blake3_of(index).first_chunk().expect("32 bytes"))
}

fn blake3_of(index: u32) -> [u8; 32] {
    *blake3::hash(&index.to_be_bytes()).as_bytes()
}

fn announcement(digest: Digest) -> Announcement {
    Announcement {
        digest,
        size: 1 << 20,
        have: PieceMap::empty(4),
        wants: true,
        can_lease: true,
        takeover: false,
        leases: Vec::new(),
        unreachable: Vec::new(),
    }
}

fn bench() -> (Injection, Outbox) {
    let config = InjectionConfig { blobs_max: 5, participants_max: 3, ..InjectionConfig::default() };
    (Injection::new(config, 1), Outbox::new(OWN))
}

/// A table of this node alone.
fn alone() -> Roster {
    let own = MemberRecord {
        public_key: PublicKey([0; 32]),
        generation: Generation(1),
        incarnation: Incarnation(0),
        address: ([10, 0, 0, 1], 5001).into(),
        zone: String::new(),
        version: 1,
        upload_bytes_per_s: 0,
    };
    let mut roster = Roster::default();
    roster.add(OWN, Arc::new(own));
    roster
}

fn announce(injection: &mut Injection, outbox: &mut Outbox, at: u32, from: MemberId, blob: Digest) {
    let now = Time::from_micros(u64::from(at));
    let roster = alone();
    let alive = AliveSet::all(&roster, OWN);
    injection.handle_announce(now, outbox, from, &announcement(blob), alive.with(&roster));
}

fn sent(outbox: &mut Outbox) -> Vec<(MemberId, ControlMessage)> {
    std::iter::from_fn(|| outbox.pop())
        .filter_map(|output| match output {
            Output::Control { to, message } => Some((to, message)),
            _ => None,
        })
        .collect()
}

#[test]
fn blobs_and_participants_are_bounded() {
    let (mut injection, mut outbox) = bench();
    for index in 0..50 {
        announce(&mut injection, &mut outbox, 2 * index, member(index), digest(index));
        announce(&mut injection, &mut outbox, 2 * index + 1, member(index), digest(0));
    }
    assert_eq!(injection.records.len(), 5);
    let known = (0..50).filter(|&index| injection.records[&digest(0)].knows(member(index))).count();
    assert_eq!(known, 3);
}

#[test]
fn who_finds_no_room_at_a_home_is_introduced_all_the_same() {
    let (mut injection, mut outbox) = bench();
    for index in 0..3 {
        announce(&mut injection, &mut outbox, index, member(index), digest(0));
    }
    sent(&mut outbox);
    announce(&mut injection, &mut outbox, 3, member(9), digest(0));
    let answers = sent(&mut outbox);
    assert_eq!(answers.len(), 1, "no lease");
    let (to, ControlMessage::Peers { peers, refresh_ms, .. }) = &answers[0] else { panic!("it is answered") };
    assert_eq!(*to, member(9));
    assert!(*refresh_ms > 0);
    let mut peers = peers.clone();
    peers.sort_unstable();
    let mut known = vec![member(0), member(1), member(2)];
    known.sort_unstable();
    assert_eq!(peers, known);
}

/// A table of this node and one more.
fn pair() -> Roster {
    let mut roster = alone();
    let own = roster.record(roster.find(OWN).expect("it is there")).clone();
    let other = MemberRecord { public_key: PublicKey([1; 32]), ..(*own).clone() };
    roster.add(other.id(), Arc::new(other));
    roster
}

#[test]
fn one_of_many_that_misses_the_home_makes_no_second_coordinator() {
    let config = InjectionConfig::default();
    let (mut injection, mut outbox) = (Injection::new(config, 1), Outbox::new(OWN));
    let roster = pair();
    let alive = AliveSet::all(&roster, OWN);
    let is_second = |index: &u32| alive.with(&roster).homes(Key::of_digest(&digest(*index))).rank_of(OWN) == Some(1);
    let blob = digest((0..100).find(is_second).expect("chance is fair"));
    let mut announce = |from, takeover| {
        let announcement = Announcement { takeover, ..announcement(blob) };
        injection.handle_announce(Time::ZERO, &mut outbox, member(from), &announcement, alive.with(&roster));
        injection.records[&blob].is_coordinated()
    };
    for plain in 0..62 {
        assert!(!announce(plain, false), "this home is the second");
    }
    assert!(!announce(62, true), "one of 63 may have a bad way to the first home");
    assert!(announce(63, true), "two of 64 are no chance");
}

#[test]
fn a_map_that_does_not_fit_the_size_is_ignored() {
    let (mut injection, mut outbox) = bench();
    let wrong = Announcement { have: PieceMap::empty(5), ..announcement(digest(1)) };
    let roster = alone();
    let alive = AliveSet::all(&roster, OWN);
    injection.handle_announce(Time::ZERO, &mut outbox, member(1), &wrong, alive.with(&roster));
    assert!(sent(&mut outbox).is_empty() && injection.records.is_empty());
}

#[test]
fn the_failure_of_one_that_has_no_lease_counts_for_nothing() {
    let (mut injection, mut outbox) = bench();
    announce(&mut injection, &mut outbox, 0, member(1), digest(1));
    let liar = member(2);
    let end = (PieceIndex(0), LeaseEnd::Failed(shoal_wire::control::UpstreamFailure::NotFound));
    sent(&mut outbox);
    injection.handle_returned(Time::ZERO, &mut outbox, liar, &digest(1), LeaseId(7), end);
    let failed = |(_, message): &(MemberId, ControlMessage)| matches!(message, ControlMessage::SwarmFailed { .. });
    assert!(!sent(&mut outbox).iter().any(failed));
}

/// What the one that wants the blob alone gets, so many milliseconds after the upstream did not let it.
fn after_a_denial(at_ms: u64) -> Vec<ControlMessage> {
    let (mut injection, mut outbox) = bench();
    announce_as(&mut injection, &mut outbox, 0, member(1), &announcement(digest(1)));
    let lease = sent(&mut outbox).into_iter().find_map(|(_, message)| match message {
        ControlMessage::Lease { lease, .. } => Some(lease),
        _ => None,
    });
    announce_as(&mut injection, &mut outbox, 1, member(2), &announcement(digest(1)));
    let end = (PieceIndex(0), LeaseEnd::Failed(shoal_wire::control::UpstreamFailure::Denied));
    let lease = lease.expect("whoever comes first brings in the first piece");
    injection.handle_returned(Time::from_micros(2000), &mut outbox, member(1), &digest(1), lease, end);
    announce_as(&mut injection, &mut outbox, at_ms, member(1), &announcement(digest(1)));
    announce_as(&mut injection, &mut outbox, at_ms, member(2), &announcement(digest(1)));
    sent(&mut outbox);
    injection.handle_withdraw(Time::from_micros(at_ms * 1000), &mut outbox, member(2), &digest(1));
    let mut messages = sent(&mut outbox);
    messages.retain(|(to, _)| *to == member(1));
    messages.into_iter().map(|(_, message)| message).collect()
}

#[test]
fn who_was_denied_is_asked_again_where_nobody_else_is_left() {
    let soon = after_a_denial(1000);
    assert!(matches!(soon[..], [ControlMessage::SwarmFailed { .. }]), "{soon:?}");
    let later = after_a_denial(9000);
    let is_lease = |message: &ControlMessage| matches!(message, ControlMessage::Lease { .. });
    assert!(!later.is_empty() && later.iter().all(is_lease), "{later:?}");
}

#[test]
fn the_first_piece_is_leased_alone_and_then_disjoint_ascending_runs_cover_the_blob() {
    let (mut injection, mut outbox) = bench();
    announce(&mut injection, &mut outbox, 0, member(1), digest(1));
    let leases = |outbox: &mut Outbox| -> Vec<_> {
        let lease = |(to, message)| match message {
            ControlMessage::Lease { lease, first, count, .. } => Some((to, lease, first.0, count)),
            _ => None,
        };
        sent(outbox).into_iter().filter_map(lease).collect()
    };
    let opening = leases(&mut outbox);
    assert_eq!(opening.len(), 1);
    let (holder, lease, first, count) = opening[0];
    assert_eq!((holder, first, count), (member(1), 0, 1));
    injection.handle_progress(Time::ZERO, &mut outbox, holder, &digest(1), lease, PieceIndex(1));
    let mut next = 1;
    for (to, _, first, count) in leases(&mut outbox) {
        assert_eq!((to, first), (member(1), next));
        next += count;
    }
    assert_eq!(next, 4);
}

fn first_pieces(of: u32, count: u32) -> PieceMap {
    let mut have = PieceMap::empty(of);
    have.insert_range(0..count);
    have
}

/// Announces at a time in milliseconds.
fn announce_as(
    injection: &mut Injection,
    outbox: &mut Outbox,
    at_ms: u64,
    from: MemberId,
    announcement: &Announcement,
) {
    let roster = alone();
    let alive = AliveSet::all(&roster, OWN);
    let now = Time::from_micros(at_ms * 1000);
    injection.handle_announce(now, outbox, from, announcement, alive.with(&roster));
}

fn leases(outbox: &mut Outbox) -> Vec<(LeaseId, u32, u32)> {
    let lease = |(_, message)| match message {
        ControlMessage::Lease { lease, first, count, .. } => Some((lease, first.0, count)),
        _ => None,
    };
    sent(outbox).into_iter().filter_map(lease).collect()
}

#[test]
fn what_a_member_has_that_answers_and_does_not_deliver_is_fetched_again() {
    for complains in [true, false] {
        let (mut injection, mut outbox) = bench();
        let (holder, wanter) = (member(1), member(2));
        let holding = Announcement { have: PieceMap::full(4), wants: false, ..announcement(digest(1)) };
        let unreachable = if complains { vec![holder] } else { Vec::new() };
        let wanting = Announcement { unreachable, ..announcement(digest(1)) };
        let mut given_at = None;
        for at_ms in (0..10_000).step_by(500) {
            announce_as(&mut injection, &mut outbox, at_ms, holder, &holding);
            announce_as(&mut injection, &mut outbox, at_ms, wanter, &wanting);
            if !leases(&mut outbox).is_empty() {
                given_at.get_or_insert(at_ms);
            }
        }
        assert_eq!(given_at, complains.then_some(6000));
    }
}

/// When a wanter that cannot fetch is told that nobody has the blob, in milliseconds. A holder has announced itself before,
/// or nobody has, and is not reached.
fn refused_at(is_held: bool) -> Option<u64> {
    let (mut injection, mut outbox) = bench();
    let holding = Announcement { have: PieceMap::full(4), wants: false, ..announcement(digest(1)) };
    if is_held {
        announce_as(&mut injection, &mut outbox, 0, member(1), &holding);
    }
    let wanting = Announcement { unreachable: vec![member(1)], can_lease: false, ..announcement(digest(1)) };
    for at_ms in (500..20_000).step_by(250) {
        announce_as(&mut injection, &mut outbox, at_ms, member(2), &wanting);
        injection.handle_timeout(Time::from_micros(at_ms * 1000 + 1), &mut outbox);
        if sent(&mut outbox).iter().any(|(_, message)| matches!(message, ControlMessage::SwarmFailed { .. })) {
            return Some(at_ms);
        }
    }
    None
}

#[test]
fn the_only_holder_may_be_away_for_a_moment_and_nobody_waits_for_one_that_never_was() {
    let config = InjectionConfig::default();
    let millis = |time: Duration| u64::try_from(time.as_millis()).expect("a short time");
    let never_held = refused_at(false).expect("nobody has it");
    assert!(never_held <= 1000 + millis(config.stuck_patience), "{never_held}");
    let held = refused_at(true).expect("it never comes back");
    assert!(held >= millis(config.give_up_after), "{held}");
    assert!(held <= 12_000, "{held}: a client wants an answer");
}

#[test]
fn a_member_that_names_ever_other_leases_holds_nothing_up_for_long() {
    let (mut injection, mut outbox) = bench();
    let mut leased = BTreeSet::new();
    for at_ms in (0..20_000).step_by(500) {
        let next = PieceIndex(u32::try_from(at_ms / 500 % 2).expect("0 or 1"));
        let span = LeaseSpan { lease: LeaseId(1_000_000 + at_ms), next, end: PieceIndex(4) };
        let busy = Announcement { leases: vec![span], can_lease: false, ..announcement(digest(1)) };
        announce_as(&mut injection, &mut outbox, at_ms, member(1), &busy);
        announce_as(&mut injection, &mut outbox, at_ms, member(2), &announcement(digest(1)));
        leased.extend(leases(&mut outbox).into_iter().flat_map(|(_, first, count)| first..first + count));
        injection.handle_timeout(Time::from_micros(at_ms * 1000 + 1), &mut outbox);
        leased.extend(leases(&mut outbox).into_iter().flat_map(|(_, first, count)| first..first + count));
    }
    assert_eq!(leased, (0..4).collect(), "all pieces are given out to the one that fetches them");
}

#[test]
fn one_stall_is_no_dispute_and_a_disputed_member_gets_no_lease_for_what_it_has() {
    let (mut injection, mut outbox) = bench();
    let (holder, wanter) = (member(1), member(2));
    let half = first_pieces(4, 2);
    let holding = Announcement { have: half, can_lease: true, ..announcement(digest(1)) };
    let wanting = |complains: bool| Announcement {
        unreachable: if complains { vec![holder] } else { Vec::new() },
        can_lease: false,
        ..announcement(digest(1))
    };
    let mut given = Vec::new();
    for at_ms in (0..20_000).step_by(500) {
        announce_as(&mut injection, &mut outbox, at_ms, holder, &holding);
        // Five seconds, a pause, and then without a break.
        let complains = !(5000..11_000).contains(&at_ms);
        announce_as(&mut injection, &mut outbox, at_ms, wanter, &wanting(complains));
        given.extend(leases(&mut outbox).into_iter().map(|(_, first, _)| (at_ms, first)));
        injection.handle_timeout(Time::from_micros(at_ms * 1000 + 1), &mut outbox);
    }
    assert!(given.iter().any(|(at_ms, _)| *at_ms < 11_000) && given.iter().any(|(at_ms, _)| *at_ms > 17_000));
    assert!(given.iter().all(|(_, first)| *first >= 2), "{given:?}");
}

#[test]
fn an_upstream_that_stands_still_is_not_asked_for_every_piece_at_once() {
    let (mut injection, mut outbox) = bench();
    let wanting = |have: u32, leases: &[(LeaseId, u32, u32)]| Announcement {
        size: 100 << 20,
        have: first_pieces(400, have),
        leases: leases
            .iter()
            .map(|(lease, first, count)| shoal_wire::control::LeaseSpan {
                lease: *lease,
                next: PieceIndex(*first),
                end: PieceIndex(first + count),
            })
            .collect(),
        ..announcement(digest(1))
    };
    announce_as(&mut injection, &mut outbox, 0, member(1), &wanting(0, &[]));
    let mut open = leases(&mut outbox);
    let (lease, first, _) = open[0];
    let soon = Time::from_micros(50_000);
    injection.handle_progress(soon, &mut outbox, member(1), &digest(1), lease, PieceIndex(first + 1));
    open = leases(&mut outbox);
    for (lease, first, _) in &open {
        let soon = Time::from_micros(100_000);
        injection.handle_progress(soon, &mut outbox, member(1), &digest(1), *lease, PieceIndex(first + 1));
    }
    for at_ms in (150..3000).step_by(250) {
        announce_as(&mut injection, &mut outbox, at_ms, member(1), &wanting(1, &open));
        injection.handle_timeout(Time::from_micros(at_ms * 1000), &mut outbox);
        open.extend(leases(&mut outbox));
    }
    let config = InjectionConfig::default();
    let most = (config.leases_start + config.leases_max + 2) as usize;
    assert!(open.len() > config.leases_start as usize, "late ones do not keep others from working");
    assert!(open.len() <= most, "{} leases", open.len());
}

/// A holder of several leases brings one piece of each in `piece_ms`, and is not heard of any more, or announces itself without
/// its leases. Milliseconds after which they are taken from it.
fn taken_back_after(piece_ms: u64, is_heard: bool) -> u64 {
    let (mut injection, mut outbox) = bench();
    let wanting =
        |have: u32| Announcement { size: 100 << 20, have: first_pieces(400, have), ..announcement(digest(1)) };
    announce_as(&mut injection, &mut outbox, 0, member(1), &wanting(0));
    let (opening, ..) = leases(&mut outbox)[0];
    let time = |at_ms: u64| Time::from_micros(at_ms * 1000);
    injection.handle_progress(time(50), &mut outbox, member(1), &digest(1), opening, PieceIndex(1));
    let held = leases(&mut outbox);
    for (lease, first, _) in &held {
        let brought = PieceIndex(first + 1);
        injection.handle_progress(time(50 + piece_ms), &mut outbox, member(1), &digest(1), *lease, brought);
    }
    let is_taken = |(_, message): &(MemberId, ControlMessage)| match message {
        ControlMessage::LeaseCut { lease, .. } => held.iter().any(|(own, ..)| own == lease),
        ControlMessage::Lease { first, .. } => held.iter().any(|(_, start, _)| start + 1 == first.0),
        _ => false,
    };
    injection.handle_timeout(time(50 + piece_ms), &mut outbox);
    sent(&mut outbox);
    let mut checks = (1..400).map(|round| round * 50);
    let taken = checks.find(|after_ms| {
        let at_ms = 50 + piece_ms + after_ms;
        if is_heard {
            announce_as(&mut injection, &mut outbox, at_ms, member(1), &wanting(1));
        }
        injection.handle_timeout(time(at_ms), &mut outbox);
        sent(&mut outbox).iter().any(is_taken)
    });
    taken.expect("they are taken back in the end")
}

#[test]
fn where_pieces_take_long_messages_may_take_long() {
    let config = InjectionConfig::default();
    let is_about = |after_ms: u64, time: Duration| {
        (time..time + Duration::from_secs(1)).contains(&Duration::from_millis(after_ms))
    };
    for piece_ms in [100, 1500] {
        let piece = Duration::from_millis(piece_ms);
        let silent = taken_back_after(piece_ms, false);
        assert!(is_about(silent, config.lease_silence.max(piece * 4)), "silent for {silent} ms, pieces of {piece_ms}");
        let lost = taken_back_after(piece_ms, true) + piece_ms;
        assert!(is_about(lost, config.lease_lost_after.max(piece * 4)), "lost after {lost} ms, pieces of {piece_ms}");
    }
}

#[test]
fn two_that_complain_about_each_other_are_asked_once_in_a_while() {
    let (mut injection, mut outbox) = bench();
    let roster = alone();
    let alive = AliveSet::all(&roster, OWN);
    let complain = |injection: &mut Injection, outbox: &mut Outbox, at, from, about| {
        let announcement = Announcement { unreachable: vec![about], ..announcement(digest(0)) };
        injection.handle_announce(Time::from_micros(at), outbox, from, &announcement, alive.with(&roster));
        let is_question = |message: &ControlMessage| matches!(message, ControlMessage::Peers { refresh_ms: 0, .. });
        sent(outbox).into_iter().filter(|(_, message)| is_question(message)).map(|(to, _)| to).collect::<Vec<_>>()
    };
    // Each answers its question at once, with its complaint about the other.
    let mut questions = complain(&mut injection, &mut outbox, 0, member(1), member(2));
    questions.extend(complain(&mut injection, &mut outbox, 1, member(2), member(1)));
    let mut asked = 0;
    let mut at = 2;
    while let Some(to) = questions.pop() {
        asked += 1;
        assert!(asked <= 2, "each is asked once within the time that it has to answer");
        let other = if to == member(1) { member(2) } else { member(1) };
        questions.extend(complain(&mut injection, &mut outbox, at, to, other));
        at += 1;
    }
    assert!(asked > 0, "a complaint leads to a question");
    let later = u64::try_from(InjectionConfig::default().question_patience.as_micros()).expect("it is short") + at;
    assert_eq!(complain(&mut injection, &mut outbox, later, member(1), member(2)), [member(2)]);
}

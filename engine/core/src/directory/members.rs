//! The members that count as alive, as the directory and the swarm need them.

use std::time::Duration;

use shoal_wire::ids::MemberId;

use super::rendezvous::{Homes, Key};
use crate::{
    roster::{Handle, Roster},
    time::Time,
};

/// Views of membership converge within a few seconds of a change.
const SETTLING: Duration = Duration::from_secs(3);

/// A node that was told whom to join waits this long for the cluster before it takes itself for alone.
const JOINING: Duration = Duration::from_secs(3);

/// How far a node's view of the cluster can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settling {
    /// It was told whom to join, and knows nobody yet.
    Joining,
    /// It changed lately: others may see it differently.
    Changed,
    /// It has been the same for a while, or there is nobody to differ with.
    Settled,
}

/// Which members count as alive, this node included: a bit for each member of the roster. It follows the events of
/// membership, and changes with each of them, while the roster may be ahead.
#[derive(Clone, Debug)]
pub(crate) struct AliveSet {
    own: Handle,
    words: Vec<u64>,
    count: usize,
    changes: u64,
    changed_at: Option<Time>,
    joining_since: Option<Time>,
}

impl AliveSet {
    /// All of `roster`, in which none is vacant.
    ///
    /// # Panics
    ///
    /// Where `own` is not in it.
    pub(crate) fn all(roster: &Roster, own: MemberId) -> Self {
        let own = roster.find(own).expect("a node is in its own table");
        let mut set = Self { own, words: Vec::new(), count: 0, changes: 0, changed_at: None, joining_since: None };
        for member in roster.after(None) {
            set.flip(member);
        }
        set
    }

    /// Adds a member; says whether it is new.
    pub(crate) fn insert(&mut self, now: Time, member: Handle) -> bool {
        let is_new = !self.contains(member);
        if is_new {
            self.flip(member);
            self.changed_at = Some(now);
        }
        is_new
    }

    /// Removes a member; says whether it was there.
    pub(crate) fn remove(&mut self, now: Time, member: Handle) -> bool {
        let was_there = self.contains(member);
        if was_there {
            self.flip(member);
            self.changed_at = Some(now);
        }
        was_there
    }

    /// The node was told whom to join.
    pub(crate) fn note_seeds(&mut self, now: Time) {
        self.joining_since.get_or_insert(now);
    }

    /// The members with what is known of them.
    pub(crate) fn with<'a>(&'a self, roster: &'a Roster) -> AliveMembers<'a> {
        AliveMembers { set: self, roster }
    }

    fn contains(&self, member: Handle) -> bool {
        self.words.get(member.index() / 64).is_some_and(|word| word >> (member.index() % 64) & 1 == 1)
    }

    fn flip(&mut self, member: Handle) {
        let (word, bit) = (member.index() / 64, member.index() % 64);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] ^= 1 << bit;
        self.changes += 1;
        if self.words[word] >> bit & 1 == 1 {
            self.count += 1;
        } else {
            self.count -= 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = Handle> {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let next = |&rest: &u64| Some(rest & (rest - 1)).filter(|&rest| rest != 0);
            let rests = std::iter::successors(Some(word).filter(|&word| word != 0), next);
            rests.map(move |rest| Handle::new(index * 64 + rest.trailing_zeros() as usize))
        })
    }
}

/// Alive members, this node included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AliveMembers<'a> {
    set: &'a AliveSet,
    roster: &'a Roster,
}

impl<'a> AliveMembers<'a> {
    pub(crate) fn contains(&self, member: MemberId) -> bool {
        self.find(member).is_some()
    }

    /// Number of members.
    pub(crate) fn count(&self) -> usize {
        self.set.count
    }

    /// How often a member came or went. While it is the same, so are the members.
    pub(crate) fn changes(&self) -> u64 {
        self.set.changes
    }

    /// The zone that a member announces; empty for one that announces none or is not known.
    pub(crate) fn zone(&self, member: MemberId) -> &'a str {
        self.find(member).map_or("", |handle| &self.roster.record(handle).zone)
    }

    /// Whether a member is in the same zone as this node.
    pub(crate) fn is_near(&self, member: MemberId) -> bool {
        self.zone(member) == self.roster.record(self.set.own).zone
    }

    /// Homes of `key`, best first. Goes through all members.
    pub(crate) fn homes(&self, key: Key) -> Homes {
        Homes::rank(key, self.set.iter().map(|handle| self.roster.id(handle)))
    }

    /// How far the view can be relied on.
    pub(crate) fn settling(&self, now: Time) -> Settling {
        if self.set.count == 1 {
            let is_joining = self.set.joining_since.is_some_and(|since| now.since(since) < JOINING);
            return if is_joining { Settling::Joining } else { Settling::Settled };
        }
        let is_settled = self.set.changed_at.is_none_or(|at| now.since(at) >= SETTLING);
        if is_settled { Settling::Settled } else { Settling::Changed }
    }

    fn find(&self, member: MemberId) -> Option<Handle> {
        self.roster.find(member).filter(|&handle| self.set.contains(handle))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shoal_wire::{
        ids::{Generation, Incarnation, PublicKey},
        member::MemberRecord,
    };

    use super::*;

    fn id(index: u8) -> MemberId {
        MemberId([index; 16])
    }

    /// Members of zones `0`, `1` and `2` in turn; the first is this node.
    fn roster(count: u8) -> Roster {
        let mut roster = Roster::default();
        for index in 0..count {
            let record = MemberRecord {
                public_key: PublicKey([index; 32]),
                generation: Generation(1),
                incarnation: Incarnation(0),
                address: ([10, 0, 0, index], 5001).into(),
                zone: (index % 3).to_string(),
                version: 1,
                upload_bytes_per_s: 0,
            };
            roster.add(id(index), Arc::new(record));
        }
        roster
    }

    #[test]
    fn only_members_of_the_set_are_seen() {
        let roster = roster(130);
        let mut set = AliveSet::all(&roster, id(0));
        let gone = roster.find(id(64)).expect("it is in the table");
        assert!(set.remove(Time::ZERO, gone) && !set.remove(Time::ZERO, gone));
        let alive = set.with(&roster);
        assert!(alive.contains(id(65)) && !alive.contains(id(64)) && !alive.contains(id(200)));
        assert_eq!((alive.zone(id(65)), alive.zone(id(64)), alive.zone(id(200))), ("2", "", ""));
        assert!(alive.is_near(id(63)) && !alive.is_near(id(65)));
        assert!(set.insert(Time::ZERO, gone) && !set.insert(Time::ZERO, gone));
        assert!(set.with(&roster).contains(id(64)));
    }

    #[test]
    fn homes_are_ranked_among_the_members_of_the_set() {
        let roster = roster(130);
        let mut set = AliveSet::all(&roster, id(0));
        for index in (1..130).step_by(2) {
            set.remove(Time::ZERO, roster.find(id(index)).expect("it is in the table"));
        }
        for key in (0..50).map(|byte| Key::of_digest(&shoal_wire::digest::Digest::Sha256([byte; 32]))) {
            let even = Homes::rank(key, (0..130).step_by(2).map(id));
            assert!(set.with(&roster).homes(key).iter().eq(even.iter()));
        }
    }

    #[test]
    fn a_view_settles_after_a_change_and_a_node_alone_waits_for_those_it_joins() {
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let roster = roster(2);
        let mut set = AliveSet::all(&roster, id(0));
        assert_eq!(set.with(&roster).settling(at(0)), Settling::Settled, "it begins with what its driver knows");
        let other = roster.find(id(1)).expect("it is in the table");
        set.remove(at(1), other);
        assert_eq!(set.with(&roster).settling(at(1)), Settling::Settled, "there is nobody to differ with");
        set.note_seeds(at(2));
        assert_eq!(set.with(&roster).settling(at(4)), Settling::Joining);
        set.insert(at(4), other);
        assert_eq!(set.with(&roster).settling(at(6)), Settling::Changed);
        assert_eq!(set.with(&roster).settling(at(7)), Settling::Settled);
    }
}

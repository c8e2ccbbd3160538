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
        let mut set = Self { own, words: Vec::new(), count: 0, changed_at: None, joining_since: None };
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

    /// The zone that a member announces; empty for one that announces none or is not known.
    pub(crate) fn zone(&self, member: MemberId) -> &'a str {
        self.find(member).map_or("", |handle| &self.roster.record(handle).zone)
    }

    /// Whether a member is in the same zone as this node.
    pub(crate) fn is_near(&self, member: MemberId) -> bool {
        self.zone(member) == self.roster.record(self.set.own).zone
    }

    /// Homes of `key`, best first.
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

//! The members that count as alive, as the directory and the swarm need them.

use std::{collections::BTreeMap, time::Duration};

use shoal_wire::ids::{Generation, MemberId};

use super::rendezvous::{Homes, Key};
use crate::time::Time;

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

/// One alive member.
#[derive(Debug)]
struct Alive {
    generation: Generation,
    zone: Box<str>,
}

/// Alive members, this node included.
#[derive(Debug)]
pub(crate) struct AliveMembers {
    own: MemberId,
    ids: BTreeMap<MemberId, Alive>,
    changed_at: Time,
    joining_since: Option<Time>,
}

impl AliveMembers {
    /// A cluster of one.
    pub(crate) fn new(own: MemberId, generation: Generation, zone: &str, now: Time) -> Self {
        let ids = BTreeMap::from([(own, Alive { generation, zone: zone.into() })]);
        Self { own, ids, changed_at: now, joining_since: None }
    }

    /// Whether this is another life of a member that counts as alive: the last one ended without anybody noticing.
    pub(crate) fn is_reborn(&self, member: MemberId, generation: Generation) -> bool {
        self.ids.get(&member).is_some_and(|known| known.generation < generation)
    }

    /// Adds a member; says whether it is new.
    pub(crate) fn insert(&mut self, now: Time, member: MemberId, generation: Generation, zone: &str) -> bool {
        let added = self.ids.insert(member, Alive { generation, zone: zone.into() }).is_none();
        if added {
            self.changed_at = now;
        }
        added
    }

    /// Removes a member; says whether it was there.
    pub(crate) fn remove(&mut self, now: Time, member: MemberId) -> bool {
        let removed = self.ids.remove(&member).is_some();
        if removed {
            self.changed_at = now;
        }
        removed
    }

    pub(crate) fn contains(&self, member: MemberId) -> bool {
        self.ids.contains_key(&member)
    }

    /// The zone that a member announces; empty for one that announces none or is not known.
    pub(crate) fn zone(&self, member: MemberId) -> &str {
        self.ids.get(&member).map_or("", |alive| &alive.zone)
    }

    /// Whether a member is in the same zone as this node.
    pub(crate) fn is_near(&self, member: MemberId) -> bool {
        self.zone(member) == self.zone(self.own)
    }

    /// Homes of `key`, best first.
    pub(crate) fn homes(&self, key: Key) -> Homes {
        Homes::rank(key, self.ids.keys().copied())
    }

    /// The node was told whom to join.
    pub(crate) fn note_seeds(&mut self, now: Time) {
        self.joining_since.get_or_insert(now);
    }

    /// How far the view can be relied on.
    pub(crate) fn settling(&self, now: Time) -> Settling {
        if self.ids.len() == 1 {
            let is_joining = self.joining_since.is_some_and(|since| now.since(since) < JOINING);
            return if is_joining { Settling::Joining } else { Settling::Settled };
        }
        if now.since(self.changed_at) < SETTLING { Settling::Changed } else { Settling::Settled }
    }
}

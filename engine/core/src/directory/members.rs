//! The members that count as alive, as the directory and the swarm need them.

use std::{collections::BTreeSet, time::Duration};

use shoal_wire::ids::MemberId;

use super::rendezvous::{Homes, Key};
use crate::time::Time;

/// Views of membership converge within a few seconds of a change.
const SETTLING: Duration = Duration::from_secs(3);

/// Alive members, this node included.
#[derive(Debug)]
pub(crate) struct AliveMembers {
    ids: BTreeSet<MemberId>,
    changed_at: Time,
}

impl AliveMembers {
    /// A cluster of one.
    pub(crate) fn new(own: MemberId, now: Time) -> Self {
        Self { ids: BTreeSet::from([own]), changed_at: now }
    }

    /// Adds a member; says whether it is new.
    pub(crate) fn insert(&mut self, now: Time, member: MemberId) -> bool {
        let added = self.ids.insert(member);
        if added {
            self.changed_at = now;
        }
        added
    }

    /// Removes a member; says whether it was there.
    pub(crate) fn remove(&mut self, now: Time, member: MemberId) -> bool {
        let removed = self.ids.remove(&member);
        if removed {
            self.changed_at = now;
        }
        removed
    }

    pub(crate) fn contains(&self, member: MemberId) -> bool {
        self.ids.contains(&member)
    }

    /// Homes of `key`, best first.
    pub(crate) fn homes(&self, key: Key) -> Homes {
        Homes::rank(key, self.ids.iter().copied())
    }

    /// Whether membership has been the same long enough that other members see the same. A cluster of one always is.
    pub(crate) fn is_settled(&self, now: Time) -> bool {
        self.ids.len() == 1 || now.since(self.changed_at) >= SETTLING
    }
}

//! The others that count as alive, in an order that only chance knows.
//!
//! Picking one of them and the next one to probe are O(1). Each round of probes walks the ring in a random order that a
//! lazy Fisher-Yates shuffle makes as it goes, so that each member is probed once a round and no step is longer than
//! others. A member takes eight bytes.

use crate::{
    rng::Stream,
    roster::{Handle, paged::Paged},
};

/// The ring.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    /// Those before `cursor` were probed in this round.
    members: Paged<Handle>,
    cursor: usize,
    /// By handle, where a member is in `members`; meaningless for those that are not.
    slots: Paged<u32>,
}

impl Ring {
    /// Number of members.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Anybody.
    ///
    /// # Panics
    ///
    /// On an empty ring.
    pub(super) fn any(&self, random: &mut Stream) -> Handle {
        *self.members.get(random.below(self.members.len()))
    }

    /// The next one to probe.
    pub(super) fn next_to_probe(&mut self, random: &mut Stream) -> Option<Handle> {
        if self.cursor >= self.members.len() {
            self.cursor = 0;
        }
        let left = self.members.len() - self.cursor;
        if left == 0 {
            return None;
        }
        let chosen = self.cursor + random.below(left);
        self.swap(self.cursor, chosen);
        self.cursor += 1;
        Some(*self.members.get(self.cursor - 1))
    }

    /// Adds a member that is not in it.
    pub(super) fn push(&mut self, member: Handle) {
        while self.slots.len() <= member.index() {
            self.slots.push(0);
        }
        self.members.push(member);
        self.note(self.members.len() - 1);
    }

    /// Removes a member that is in it.
    pub(super) fn remove(&mut self, member: Handle) {
        let mut hole = *self.slots.get(member.index()) as usize;
        if hole < self.cursor {
            // The last member may not have been probed yet: it must not move among those who were.
            self.cursor -= 1;
            self.swap(hole, self.cursor);
            hole = self.cursor;
        }
        self.members.swap_remove(hole);
        if hole < self.members.len() {
            self.note(hole);
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a != b {
            self.members.swap(a, b);
            self.note(a);
            self.note(b);
        }
    }

    /// Notes where the member in this place is.
    fn note(&mut self, place: usize) {
        let member = *self.members.get(place);
        self.slots.set(member.index(), Handle::new(place).number());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ring_of(count: usize) -> Ring {
        let mut ring = Ring::default();
        for index in 0..count {
            ring.push(Handle::new(index));
        }
        ring
    }

    #[test]
    fn each_is_probed_once_a_round_while_others_come_and_go() {
        let mut random = Stream::new(1, "ring");
        let mut ring = ring_of(200);
        let probed: BTreeSet<_> = (0..120).filter_map(|_| ring.next_to_probe(&mut random)).collect();
        assert_eq!(probed.len(), 120);
        let leaving: Vec<_> = (0..200).step_by(5).map(Handle::new).collect();
        for &member in &leaving {
            ring.remove(member);
        }
        let rest: BTreeSet<_> = (0..ring.len() - ring.cursor).filter_map(|_| ring.next_to_probe(&mut random)).collect();
        assert!(probed.is_disjoint(&rest), "nobody twice");
        let all: BTreeSet<_> = probed.union(&rest).copied().chain(leaving).collect();
        assert_eq!(all.len(), 200, "and nobody left out");
        assert_eq!(ring.len(), 160);
        let again: BTreeSet<_> = (0..160).filter_map(|_| ring.next_to_probe(&mut random)).collect();
        assert_eq!(again.len(), 160);
    }

    #[test]
    fn an_empty_ring_has_nobody_to_probe() {
        let mut ring = ring_of(1);
        ring.remove(Handle::new(0));
        assert!(ring.is_empty());
        assert_eq!(ring.next_to_probe(&mut Stream::new(1, "ring")), None);
    }
}

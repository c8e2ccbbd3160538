//! Members that wait at a home for what a name stands for, the longest-waiting first.

use std::collections::BTreeMap;

use shoal_wire::ids::{MemberId, QueryId};

/// One question of each member: that of a member that asks again takes the place of the one before.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By the order in which they came.
    queue: BTreeMap<u64, (MemberId, QueryId)>,
    /// The place of each in the queue: thousands may wait, and each is looked up when it asks.
    places: BTreeMap<MemberId, u64>,
    arrived: u64,
}

impl Waiting {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Has a member wait, where it waits already or there are fewer than `max`.
    pub(super) fn add(&mut self, member: MemberId, query: QueryId, max: usize) {
        if let Some(place) = self.places.get(&member) {
            self.queue.insert(*place, (member, query));
        } else if self.queue.len() < max {
            self.arrived += 1;
            self.queue.insert(self.arrived, (member, query));
            self.places.insert(member, self.arrived);
        }
    }

    /// Takes out the one that has waited longest.
    pub(super) fn pop(&mut self) -> Option<(MemberId, QueryId)> {
        let (_, (member, query)) = self.queue.pop_first()?;
        self.places.remove(&member);
        Some((member, query))
    }

    /// Takes out all, the longest-waiting first.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (MemberId, QueryId)> + use<> {
        self.places.clear();
        std::mem::take(&mut self.queue).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(index: u8) -> MemberId {
        MemberId([index; 16])
    }

    #[test]
    fn who_came_first_is_first_and_who_asks_again_keeps_its_place() {
        let mut waiting = Waiting::default();
        for (index, query) in [(3, 1), (1, 1), (2, 1), (3, 2), (4, 1)] {
            waiting.add(member(index), QueryId(query), 3);
        }
        assert_eq!(waiting.len(), 3, "there is no room for a fourth");
        assert_eq!(waiting.pop(), Some((member(3), QueryId(2))));
        waiting.add(member(4), QueryId(1), 3);
        let rest: Vec<_> = waiting.take_all().map(|(member, _)| member).collect();
        assert_eq!(rest, [member(1), member(2), member(4)]);
        waiting.add(member(1), QueryId(7), 3);
        assert_eq!((waiting.pop(), waiting.pop()), (Some((member(1), QueryId(7))), None));
    }
}

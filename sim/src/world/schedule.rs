//! What is to happen, in the order of time; at equal times in the order in which it was planned.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::time::Nanos;

/// Events to come. They lie in a slab, so that only small keys move in the heap.
#[derive(Debug)]
pub(super) struct Schedule<E> {
    keys: BinaryHeap<Reverse<(Nanos, u64, u32)>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    planned: u64,
}

impl<E> Schedule<E> {
    pub(super) fn new() -> Self {
        Self { keys: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), planned: 0 }
    }

    pub(super) fn push(&mut self, at: Nanos, event: E) {
        let slot = if let Some(slot) = self.free.pop() {
            self.events[slot as usize] = Some(event);
            slot
        } else {
            self.events.push(Some(event));
            u32::try_from(self.events.len() - 1).expect("events fit into memory")
        };
        self.planned += 1;
        self.keys.push(Reverse((at, self.planned, slot)));
    }

    pub(super) fn next_time(&self) -> Option<Nanos> {
        self.keys.peek().map(|Reverse((at, _, _))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(Nanos, E)> {
        let Reverse((at, _, slot)) = self.keys.pop()?;
        self.free.push(slot);
        let event = self.events[slot as usize].take()?;
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_planned() {
        let mut schedule = Schedule::new();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            schedule.push(Nanos(at), event);
        }
        assert_eq!(schedule.next_time(), Some(Nanos(3)));
        assert_eq!(schedule.pop(), Some((Nanos(3), 'a')));
        schedule.push(Nanos(3), 'z');
        let rest: Vec<char> = std::iter::from_fn(|| schedule.pop()).map(|(_, event)| event).collect();
        assert_eq!(rest, ['b', 'z', 'c', 'd']);
        assert_eq!(schedule.next_time(), None);
    }
}

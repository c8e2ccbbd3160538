//! What is to happen, in the order of time; at equal times in the order in which it was planned.
//!
//! A calendar (Brown 1988): the near future lies in a ring of short days, unsorted, and only the day that has come is
//! sorted, in a heap that fits into the cache. What is further away waits in a heap of its own. Events lie in a slab, so
//! that only small keys move.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::time::Nanos;

/// A day is this power of two of nanoseconds: 65.5 us.
const DAY_BITS: u32 = 16;
/// Days in the ring: 268 ms, which covers latencies, queues and most timers of a pull.
const DAYS: u64 = 4096;

/// When, after how many others, and where the event lies.
type Key = Reverse<(Nanos, u64, u32)>;

/// Events to come.
#[derive(Debug)]
pub(super) struct Schedule<E> {
    /// Keys of today and of days before.
    today: BinaryHeap<Key>,
    day: u64,
    /// Keys of the days after it, as many as the ring has.
    ring: Vec<Vec<Key>>,
    in_ring: usize,
    /// Keys of all days after those.
    later: BinaryHeap<Key>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    planned: u64,
}

impl<E> Schedule<E> {
    pub(super) fn new() -> Self {
        Self {
            today: BinaryHeap::new(),
            day: 0,
            ring: (0..DAYS).map(|_| Vec::new()).collect(),
            in_ring: 0,
            later: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            planned: 0,
        }
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
        self.put(Reverse((at, self.planned, slot)));
    }

    /// When the next event is due.
    pub(super) fn next_time(&mut self) -> Option<Nanos> {
        self.turn_to_next_day();
        self.today.peek().map(|Reverse((at, _, _))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(Nanos, E)> {
        self.turn_to_next_day();
        let Reverse((at, _, slot)) = self.today.pop()?;
        self.free.push(slot);
        let event = self.events[slot as usize].take()?;
        Some((at, event))
    }

    fn put(&mut self, key: Key) {
        let day = day_of(key);
        if day <= self.day {
            self.today.push(key);
        } else if day < self.day + DAYS {
            self.ring[place(day)].push(key);
            self.in_ring += 1;
        } else {
            self.later.push(key);
        }
    }

    /// Where nothing is left of today, goes on to the next day that has something.
    fn turn_to_next_day(&mut self) {
        while self.today.is_empty() {
            if self.in_ring > 0 {
                self.day += 1;
            } else if let Some(next) = self.later.peek() {
                self.day = day_of(*next);
            } else {
                return;
            }
            while let Some(key) = self.later.peek().copied().filter(|key| day_of(*key) < self.day + DAYS) {
                self.later.pop();
                self.put(key);
            }
            let keys = &mut self.ring[place(self.day)];
            self.in_ring -= keys.len();
            self.today.extend(keys.drain(..));
        }
    }
}

fn day_of(Reverse((at, _, _)): Key) -> u64 {
    at.0 >> DAY_BITS
}

/// Place of a day in the ring.
fn place(day: u64) -> usize {
    usize::try_from(day % DAYS).expect("the ring is small")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn near_and_far_events_come_in_one_order(
            steps in prop::collection::vec(prop::option::weighted(0.6, (0_u32..40, 0_u64..1000)), 1..300),
        ) {
            let (mut schedule, mut model, mut now) = (Schedule::new(), std::collections::BTreeMap::new(), 0);
            for (number, step) in steps.into_iter().enumerate() {
                if let Some((magnitude, mantissa)) = step {
                    let at = now + (mantissa << magnitude) / 1000;
                    schedule.push(Nanos(at), number);
                    model.insert((at, number), number);
                } else {
                    let expected = model.pop_first();
                    prop_assert_eq!(schedule.next_time(), expected.map(|((at, _), _)| Nanos(at)));
                    prop_assert_eq!(schedule.pop(), expected.map(|((at, _), event)| (Nanos(at), event)));
                    now = expected.map_or(now, |((at, _), _)| at);
                }
            }
        }
    }
}

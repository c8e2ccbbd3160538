//! Deadlines of numbered things, of which any can be moved, and the earliest of them.
//!
//! A 4-ary heap with the place of each number in it (Johnson 1975). Equal deadlines come in the order of the numbers, so
//! that runs repeat.

use crate::time::Nanos;

const ARITY: usize = 4;
const ABSENT: u32 = u32::MAX;

/// At most one deadline for each number.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    heap: Vec<(Nanos, u32)>,
    /// Place of each number in `heap`.
    places: Vec<u32>,
}

impl Deadlines {
    /// The earliest deadline and whose it is.
    pub(super) fn first(&self) -> Option<(Nanos, u32)> {
        self.heap.first().copied()
    }

    /// Sets the deadline of `number`, in place of any other.
    pub(super) fn set(&mut self, number: u32, at: Nanos) {
        let index = number as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, ABSENT);
        }
        if self.places[index] == ABSENT {
            self.heap.push((at, number));
            self.rise(self.heap.len() - 1);
        } else {
            let place = self.places[index] as usize;
            let previous = std::mem::replace(&mut self.heap[place].0, at);
            if at < previous {
                self.rise(place);
            } else {
                self.sink(place);
            }
        }
    }

    /// Removes the deadline of `number`, where it has one.
    pub(super) fn remove(&mut self, number: u32) {
        let Some(place) = self.places.get(number as usize).copied().filter(|place| *place != ABSENT) else { return };
        self.places[number as usize] = ABSENT;
        let place = place as usize;
        let Some(last) = self.heap.pop() else { return };
        if place < self.heap.len() {
            let removed = std::mem::replace(&mut self.heap[place], last);
            if last < removed {
                self.rise(place);
            } else {
                self.sink(place);
            }
        }
    }

    fn rise(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if self.heap[parent] <= entry {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = place * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(least) = children.min_by_key(|child| self.heap[*child]) else { break };
            if entry <= self.heap[least] {
                break;
            }
            self.put(place, self.heap[least]);
            place = least;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: (Nanos, u32)) {
        self.heap[place] = entry;
        self.places[entry.1 as usize] = u32::try_from(place).expect("as many entries as numbers, which are u32");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_always_the_earliest(steps in prop::collection::vec((0_u32..40, prop::option::of(0_u64..20)), 1..400)) {
            let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::new());
            for (number, at) in steps {
                if let Some(at) = at {
                    deadlines.set(number, Nanos(at));
                    model.insert(number, Nanos(at));
                } else {
                    deadlines.remove(number);
                    model.remove(&number);
                }
                let earliest = model.iter().map(|(number, at)| (*at, *number)).min();
                prop_assert_eq!(deadlines.first(), earliest);
            }
        }
    }
}

//! Events in the order of their times; events of equal times in the order in which they were planned.

use std::collections::BTreeMap;

use shoal_core::time::Time;

#[derive(Debug)]
pub(crate) struct Schedule<E> {
    events: BTreeMap<(Time, u64), E>,
    wakes: BTreeMap<usize, (Time, u64)>,
    planned: u64,
}

impl<E> Schedule<E> {
    pub(crate) fn new() -> Self {
        Self { events: BTreeMap::new(), wakes: BTreeMap::new(), planned: 0 }
    }

    pub(crate) fn push(&mut self, at: Time, event: E) -> (Time, u64) {
        self.planned += 1;
        let key = (at, self.planned);
        self.events.insert(key, event);
        key
    }

    /// Plans the one wake-up of a node, in place of an earlier plan.
    pub(crate) fn wake(&mut self, node: usize, at: Time, event: E) {
        if let Some(&(planned, _)) = self.wakes.get(&node)
            && planned == at
            && self.events.contains_key(&self.wakes[&node])
        {
            return;
        }
        if let Some(previous) = self.wakes.remove(&node) {
            self.events.remove(&previous);
        }
        let key = self.push(at, event);
        self.wakes.insert(node, key);
    }

    pub(crate) fn next_time(&self) -> Option<Time> {
        self.events.first_key_value().map(|(&(at, _), _)| at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}

//! Many named deadlines, and the next of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// Deadlines by key, at most one for each key.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Sets the deadline of `key`, in place of any earlier one.
    pub(crate) fn set(&mut self, key: K, at: Time) {
        if let Some(previous) = self.by_key.insert(key, at) {
            if previous == at {
                return;
            }
            self.by_time.remove(&(previous, key));
        }
        self.by_time.insert((at, key));
    }

    /// Sets the deadline of `key` unless it has an earlier one.
    pub(crate) fn set_by(&mut self, key: K, at: Time) {
        if self.by_key.get(&key).is_none_or(|&current| at < current) {
            self.set(key, at);
        }
    }

    pub(crate) fn clear(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Removes and returns a key whose deadline is not after `now`, the earliest first.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_the_earliest_is_due_first() {
        let mut timers = Timers::new();
        timers.set('a', Time::from_micros(30));
        timers.set('b', Time::from_micros(20));
        timers.set('a', Time::from_micros(10));
        timers.set_by('b', Time::from_micros(25));
        assert_eq!(timers.next(), Some(Time::from_micros(10)));
        assert_eq!(timers.pop_due(Time::from_micros(20)), Some('a'));
        assert_eq!(timers.pop_due(Time::from_micros(20)), Some('b'));
        assert_eq!(timers.pop_due(Time::MAX), None);
    }

    #[test]
    fn a_cleared_deadline_is_never_due() {
        let mut timers = Timers::new();
        timers.set(1, Time::from_micros(1));
        timers.clear(1);
        assert_eq!(timers.pop_due(Time::MAX), None);
        assert_eq!(timers.next(), None);
    }
}

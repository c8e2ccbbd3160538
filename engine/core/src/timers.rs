//! Many named deadlines, and the next of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::time::Time;

/// Deadlines by key, at most one for each key.
#[derive(Clone, Debug)]
pub(crate) struct Timers<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
    /// The earliest deadline: it is asked for after every input.
    next: Option<Time>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new(), next: None }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Sets the deadline of `key`, in place of any earlier one.
    pub(crate) fn set(&mut self, key: K, at: Time) {
        if let Some(previous) = self.by_key.insert(key, at) {
            if previous == at {
                return;
            }
            self.by_time.remove(&(previous, key));
        }
        self.by_time.insert((at, key));
        self.note_next();
    }

    /// Sets the deadline of `key` unless it has an earlier one.
    pub(crate) fn set_earlier(&mut self, key: K, at: Time) {
        if self.by_key.get(&key).is_none_or(|&current| at < current) {
            self.set(key, at);
        }
    }

    /// Cancels the deadline of `key`, where it has one.
    pub(crate) fn cancel(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
            self.note_next();
        }
    }

    /// Moves the deadline of `key`, where it has one.
    pub(crate) fn postpone(&mut self, key: K, by: Duration) {
        if let Some(at) = self.get(key) {
            self.set(key, at + by);
        }
    }

    /// The deadline of `key`.
    pub(crate) fn get(&self, key: K) -> Option<Time> {
        self.by_key.get(&key).copied()
    }

    /// The keys that match, in their order.
    pub(crate) fn matching(&self, matches: impl Fn(K) -> bool) -> Vec<K> {
        self.by_key.keys().copied().filter(|&key| matches(key)).collect()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Time> {
        self.next
    }

    /// Removes and returns a key whose deadline is not after `now`, the earliest first.
    pub(crate) fn pop(&mut self, now: Time) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&key);
        self.note_next();
        Some(key)
    }

    fn note_next(&mut self) {
        self.next = self.by_time.first().map(|&(at, _)| at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_the_earliest_is_due_first() {
        let mut timers = Timers::default();
        timers.set('a', Time::from_micros(30));
        timers.set('b', Time::from_micros(20));
        timers.set('a', Time::from_micros(10));
        timers.set_earlier('b', Time::from_micros(25));
        assert_eq!(timers.next(), Some(Time::from_micros(10)));
        assert_eq!(timers.pop(Time::from_micros(20)), Some('a'));
        assert_eq!(timers.pop(Time::from_micros(20)), Some('b'));
        assert_eq!(timers.pop(Time::MAX), None);
    }

    #[test]
    fn a_cleared_deadline_is_never_due() {
        let mut timers = Timers::default();
        timers.set(1, Time::from_micros(1));
        timers.cancel(1);
        assert_eq!(timers.pop(Time::MAX), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_deadline_can_be_put_off() {
        let mut timers = Timers::default();
        timers.set(1, Time::from_micros(30));
        timers.postpone(1, Duration::from_micros(5));
        timers.postpone(2, Duration::from_micros(5));
        assert_eq!(timers.pop(Time::from_micros(34)), None);
        assert_eq!(timers.pop(Time::from_micros(35)), Some(1));
        assert_eq!(timers.next(), None);
    }
}

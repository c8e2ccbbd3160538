//! A map that holds a bounded number of entries and drops the least recently used one for a new one.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// A map of at most `capacity` entries.
#[derive(Debug)]
pub struct BoundedMap<K, V> {
    capacity: usize,
    entries: HashMap<K, Entry<V>>,
    /// Keys by the time of their last use, the oldest first.
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    last_use: u64,
}

impl<K: Hash + Eq + Clone, V> BoundedMap<K, V> {
    /// An empty map for `capacity` entries, at least 1.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// The value of `key`, which counts as a use of it.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get_mut(key)?;
        self.uses += 1;
        if let Some(key) = self.by_use.remove(&entry.last_use) {
            self.by_use.insert(self.uses, key);
        }
        entry.last_use = self.uses;
        Some(&mut entry.value)
    }

    /// Puts `value` under `key`; the least recently used other entry goes where there is no room.
    pub fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        if self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { value, last_use: self.uses });
    }

    /// Removes `key`.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.remove(key)?;
        self.by_use.remove(&entry.last_use);
        Some(entry.value)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn at_the_bound_the_least_recently_used_entry_goes() {
        let mut map = BoundedMap::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        assert_eq!(map.get("a"), Some(&mut 1));
        map.insert("c", 3);
        assert_eq!(map.get("b"), None);
        assert_eq!(map.get("a"), Some(&mut 1));
        assert_eq!(map.get("c"), Some(&mut 3));
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_the_newest_entry_is_there(operations in prop::collection::vec((0_u8..3, 0_u8..20), 0..200)) {
            let mut map = BoundedMap::new(5);
            for (operation, key) in operations {
                match operation {
                    0 => {
                        map.insert(key, key);
                        prop_assert_eq!(map.get(&key), Some(&mut { key }));
                    }
                    1 => {
                        map.remove(&key);
                        prop_assert_eq!(map.get(&key), None);
                    }
                    _ => prop_assert!(map.get(&key).is_none_or(|value| *value == key)),
                }
                prop_assert!(map.len() <= 5);
                prop_assert_eq!(map.entries.len(), map.by_use.len());
            }
        }
    }
}

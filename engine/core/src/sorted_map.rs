//! A small map in two arrays, in the order of its keys: quick to search, and quicker to go through than a tree, because
//! what is looked at lies together. An insertion moves what comes after it, so it is for a few hundred entries.

/// Values by key, in the order of the keys.
#[derive(Clone, Debug)]
pub(crate) struct SortedMap<K, V> {
    keys: Vec<K>,
    /// Of the same places as the keys.
    values: Vec<V>,
}

impl<K: Ord, V> SortedMap<K, V> {
    pub(crate) fn new() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.keys.binary_search(key).is_ok()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.keys.binary_search(key).ok().map(|place| &self.values[place])
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.keys.binary_search(key).ok().map(|place| &mut self.values[place])
    }

    /// Puts a value in the place of the one that there is, or adds it.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.keys.binary_search(&key) {
            Ok(place) => self.values[place] = value,
            Err(place) => {
                self.keys.insert(place, key);
                self.values.insert(place, value);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.keys.binary_search(key).ok()?;
        self.keys.remove(place);
        Some(self.values.remove(place))
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        self.keys.iter().zip(&self.values)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.keys.iter().zip(&mut self.values)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.keys.iter()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.values.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_map_that_a_tree_is(steps in proptest::collection::vec((0..100u8, 0..20u8, any::<u8>()), 0..100)) {
            let (mut map, mut tree) = (SortedMap::new(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => {
                        map.clear();
                        tree.clear();
                    }
                    1..50 => {
                        map.insert(key, value);
                        tree.insert(key, value);
                    }
                    50..75 => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                    _ => {
                        let (found, expected) = (map.get_mut(&key), tree.get_mut(&key));
                        prop_assert_eq!(&found, &expected);
                        if let (Some(found), Some(expected)) = (found, expected) {
                            *found = value;
                            *expected = value;
                        }
                    }
                }
                prop_assert!(map.iter().eq(tree.iter()) && map.iter_mut().eq(tree.iter_mut()));
                prop_assert!(map.keys().eq(tree.keys()) && map.values().eq(tree.values()));
                prop_assert_eq!((map.len(), map.contains_key(&key)), (tree.len(), tree.contains_key(&key)));
                prop_assert_eq!(map.get(&key), tree.get(&key));
            }
        }
    }
}

//! Handles in the order of their keys: four bytes for each, and some air.
//!
//! The keys themselves stay in the table that the handles point into. Keys are hashes, or begin with one, so that they
//! are spread evenly: a search guesses the block, then the place in it, and reads the keys of two or three members. A change moves the handles of one block. Clones share what neither changes.

use std::{cmp::Ordering, sync::Arc};

use super::Handle;

/// Handles in a block: with its counters it takes 512 bytes.
const BLOCK: usize = 123;

/// The first guess of a search is this close to the place, more often than not.
const STEP: usize = 3;

/// What handles are ordered by.
pub(crate) trait OrderKey: Ord + Copy {
    /// How the key begins: of two keys the smaller one never begins with more.
    fn beginning(&self) -> u64;
}

/// The order. The caller passes the same function from handles to keys each time; no two keys are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// None is empty. Each with the beginning of its first key.
    blocks: Arc<Vec<(u64, Arc<Block>)>>,
}

#[derive(Clone, Debug)]
struct Block {
    len: u32,
    handles: [Handle; BLOCK],
}

impl Order {
    /// The handle of `key`.
    pub(crate) fn find<K: OrderKey>(&self, key: K, key_of: impl Fn(Handle) -> K) -> Option<Handle> {
        let (block, place) = self.search(key, key_of).ok()?;
        Some(self.blocks[block].1.handles()[place])
    }

    /// Adds a handle; one that has `key` already stays, and the new one is not added.
    pub(crate) fn insert<K: OrderKey>(&mut self, handle: Handle, key: K, key_of: impl Fn(Handle) -> K) {
        let Err((block, place)) = self.search(key, &key_of) else { return };
        let is_last = block + 1 >= self.blocks.len();
        let blocks = Arc::make_mut(&mut self.blocks);
        match blocks.get_mut(block) {
            None => blocks.push((key.beginning(), Arc::new(Block::of(&[handle])))),
            Some((first, handles)) if (handles.len as usize) < BLOCK => {
                Arc::make_mut(handles).insert(place, handle);
                if place == 0 {
                    *first = key.beginning();
                }
            }
            // What comes in order fills its blocks.
            Some(_) if is_last && place == BLOCK => {
                blocks.push((key.beginning(), Arc::new(Block::of(&[handle]))));
            }
            Some(_) => {
                self.split(block, &key_of);
                self.insert(handle, key, key_of);
            }
        }
    }

    /// Takes out the handle of `key`, where it has one.
    pub(crate) fn remove<K: OrderKey>(&mut self, key: K, key_of: impl Fn(Handle) -> K) {
        let Ok((block, place)) = self.search(key, &key_of) else { return };
        let blocks = Arc::make_mut(&mut self.blocks);
        let (first, handles) = &mut blocks[block];
        if handles.len == 1 {
            blocks.remove(block);
            return;
        }
        let handles = Arc::make_mut(handles);
        handles.remove(place);
        *first = key_of(handles.handles()[0]).beginning();
    }

    /// The handles whose keys are above `key`, in their order; all of them without a key.
    pub(crate) fn after<K: OrderKey>(
        &self,
        key: Option<K>,
        key_of: impl Fn(Handle) -> K,
    ) -> impl Iterator<Item = Handle> {
        let (block, place) = match key.map(|key| self.search(key, key_of)) {
            None => (0, 0),
            Some(Ok((block, place))) => (block, place + 1),
            Some(Err(place)) => place,
        };
        let blocks = self.blocks.get(block..).unwrap_or_default();
        blocks.iter().flat_map(|(_, block)| block.handles()).skip(place).copied()
    }

    /// Block of `key` and its place there, or those where it belongs.
    fn search<K: OrderKey>(&self, key: K, key_of: impl Fn(Handle) -> K) -> Result<(usize, usize), (usize, usize)> {
        let beginning = key.beginning();
        let begins_later = |block: usize| {
            let (first, handles) = &self.blocks[block];
            let is_later = *first > beginning || (*first == beginning && key_of(handles.handles()[0]) > key);
            if is_later { Ordering::Greater } else { Ordering::Less }
        };
        let blocks = self.blocks.len();
        let (Ok(after) | Err(after)) = search_from(guess(beginning, u64::MAX, blocks), blocks, begins_later);
        let Some(block) = after.checked_sub(1) else { return Err((0, 0)) };
        let (first, handles) = (self.blocks[block].0, self.blocks[block].1.handles());
        let end = self.blocks.get(after).map_or(u64::MAX, |&(next, _)| next);
        let guess = guess(beginning - first, end - first, handles.len());
        let place = search_from(guess, handles.len(), |place| key_of(handles[place]).cmp(&key));
        place.map(|place| (block, place)).map_err(|place| (block, place))
    }

    /// Makes two blocks of one.
    fn split<K: OrderKey>(&mut self, block: usize, key_of: impl Fn(Handle) -> K) {
        let handles = self.blocks[block].1.handles();
        let (lower, upper) = handles.split_at(handles.len() / 2);
        let (lower, upper) = (Block::of(lower), Block::of(upper));
        let first = key_of(upper.handles()[0]).beginning();
        let blocks = Arc::make_mut(&mut self.blocks);
        blocks[block].1 = Arc::new(lower);
        blocks.insert(block + 1, (first, Arc::new(upper)));
    }
}

impl Block {
    /// A block of up to [`BLOCK`] handles.
    fn of(handles: &[Handle]) -> Self {
        let len = u32::try_from(handles.len()).expect("no more than a block");
        let mut block = Self { len, handles: [Handle::default(); BLOCK] };
        block.handles[..handles.len()].copy_from_slice(handles);
        block
    }

    fn handles(&self) -> &[Handle] {
        &self.handles[..self.len as usize]
    }

    fn insert(&mut self, place: usize, handle: Handle) {
        let len = self.len as usize;
        self.handles.copy_within(place..len, place + 1);
        self.handles[place] = handle;
        self.len += 1;
    }

    fn remove(&mut self, place: usize) {
        let len = self.len as usize;
        self.handles.copy_within(place + 1..len, place);
        self.len -= 1;
    }
}

/// Where among `len` evenly spread things one at `part` of `whole` may be.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It lies among them, or just behind.
fn guess(part: u64, whole: u64, len: usize) -> usize {
    (part as f64 / (whole as f64).max(1.0) * len as f64) as usize
}

/// Searches `len` sorted things from a guess outwards, in growing steps and then by halves. `compare` says how a thing
/// compares with the one that is looked for. Returns its place, or where it belongs.
fn search_from(guess: usize, len: usize, compare: impl Fn(usize) -> Ordering) -> Result<usize, usize> {
    let (mut low, mut high) = (0, len);
    let mut step = STEP;
    let mut at = guess.min(len.saturating_sub(1));
    while low < high {
        let next = match compare(at) {
            Ordering::Equal => return Ok(at),
            Ordering::Less => {
                low = at + 1;
                at + step
            }
            Ordering::Greater => {
                high = at;
                at.saturating_sub(step)
            }
        };
        step *= 2;
        at = if (low..high).contains(&next) { next } else { low + (high - low) / 2 };
    }
    Err(low)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        ops::Bound::{Excluded, Unbounded},
    };

    use super::*;
    use crate::rng::Stream;

    impl OrderKey for (u64, u64) {
        fn beginning(&self) -> u64 {
            self.0
        }
    }

    /// An order beside a map that must agree with it.
    #[derive(Default)]
    struct Pair {
        keys: Vec<(u64, u64)>,
        order: Order,
        map: BTreeMap<(u64, u64), Handle>,
    }

    impl Pair {
        fn insert(&mut self, key: (u64, u64)) {
            let handle = Handle::new(self.keys.len());
            self.keys.push(key);
            self.order.insert(handle, key, |handle| self.keys[handle.index()]);
            self.map.entry(key).or_insert(handle);
        }

        fn remove(&mut self, key: (u64, u64)) {
            self.order.remove(key, |handle| self.keys[handle.index()]);
            self.map.remove(&key);
        }

        fn check(&self, probes: &[(u64, u64)]) {
            let key_of = |handle: Handle| self.keys[handle.index()];
            assert!(self.order.after(None, key_of).eq(self.map.values().copied()));
            for &probe in probes {
                assert_eq!(self.order.find(probe, key_of), self.map.get(&probe).copied());
                let above = self.map.range((Excluded(probe), Unbounded)).map(|(_, &handle)| handle);
                assert!(self.order.after(Some(probe), key_of).eq(above));
            }
        }
    }

    /// Keys that spread evenly, that hardly spread, and that begin alike.
    fn draw(random: &mut Stream, kind: usize) -> (u64, u64) {
        match kind {
            0 => (random.bits(), 0),
            1 => (u64::MAX - random.bits() % 2000, 0),
            _ => (random.bits() % 3, random.bits() % 1000),
        }
    }

    #[test]
    fn it_agrees_with_a_map_whatever_the_keys() {
        for kind in 0..3 {
            let mut random = Stream::new(kind as u64, "order");
            let mut pair = Pair::default();
            for round in 0..3000 {
                let key = draw(&mut random, kind);
                // It grows at first, and shrinks to nothing in the end.
                if random.below(3000) > round {
                    pair.insert(key);
                } else {
                    pair.remove(key);
                }
                if random.chance(0.5)
                    && let Some(&present) = pair.map.range(key..).next().map(|(key, _)| key)
                    && round > 1500
                {
                    pair.remove(present);
                }
                if round % 100 == 0 {
                    let probes: Vec<_> = (0..10).map(|_| draw(&mut random, kind)).collect();
                    let present: Vec<_> = pair.map.keys().copied().step_by(97).collect();
                    pair.check(&probes);
                    pair.check(&present);
                }
            }
            while let Some((&key, _)) = pair.map.first_key_value() {
                pair.remove(key);
            }
            pair.check(&[(0, 0), (u64::MAX, 0)]);
            assert!(pair.order.blocks.is_empty());
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_blocks() {
        let mut pair = Pair::default();
        for key in 0..10 * BLOCK as u64 {
            pair.insert((key << 40, 0));
        }
        assert_eq!(pair.order.blocks.len(), 10);
    }

    #[test]
    fn a_change_is_seen_by_its_maker_alone_and_copies_one_block() {
        let mut pair = Pair::default();
        for key in 0..10 * BLOCK as u64 {
            pair.insert((key << 40, 0));
        }
        let before = pair.order.clone();
        pair.remove((5 << 40, 0));
        let key_of = |handle: Handle| pair.keys[handle.index()];
        assert_eq!(before.find((5 << 40, 0), key_of), Some(Handle::new(5)));
        assert_eq!(pair.order.find((5 << 40, 0), key_of), None);
        let shared =
            before.blocks.iter().zip(pair.order.blocks.iter()).filter(|(one, other)| Arc::ptr_eq(&one.1, &other.1));
        assert_eq!(shared.count(), 9);
    }

    #[test]
    fn evenly_spread_keys_are_found_by_reading_few() {
        let mut random = Stream::new(1, "order");
        let mut pair = Pair::default();
        for _ in 0..10_000 {
            pair.insert((random.bits(), 0));
        }
        let reads = std::cell::Cell::new(0);
        for &key in &pair.keys {
            let read = |handle: Handle| {
                reads.set(reads.get() + 1);
                pair.keys[handle.index()]
            };
            assert!(pair.order.find(key, read).is_some());
        }
        assert!(reads.get() < 4 * pair.keys.len(), "{} reads for {} keys", reads.get(), pair.keys.len());
    }
}

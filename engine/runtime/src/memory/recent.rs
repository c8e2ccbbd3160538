//! Pieces that were stored a moment ago, in the order in which they were.

use std::collections::{BTreeMap, HashMap};

use shoal_wire::{digest::Digest, geometry::PieceIndex};

use super::PieceBytes;

/// Pieces that are kept, however small they are.
const PIECES_MAX: usize = 1024;

type Key = (Digest, PieceIndex);

/// Pieces that are kept; each is counted against the budget by the share that it holds.
#[derive(Default)]
pub(super) struct Recent {
    serials: u64,
    by_age: BTreeMap<u64, (Key, PieceBytes)>,
    serial_of: HashMap<Key, u64>,
}

impl Recent {
    pub(super) fn insert(&mut self, key: Key, bytes: PieceBytes) {
        if self.by_age.len() >= PIECES_MAX {
            self.remove_oldest();
        }
        self.serials += 1;
        if let Some(before) = self.serial_of.insert(key, self.serials) {
            self.by_age.remove(&before);
        }
        self.by_age.insert(self.serials, (key, bytes));
    }

    pub(super) fn get(&self, key: &Key) -> Option<&PieceBytes> {
        self.serial_of.get(key).and_then(|serial| self.by_age.get(serial)).map(|(_, bytes)| bytes)
    }

    /// Drops pieces, the oldest first, until there is `enough` room or none is left.
    pub(super) fn make_room(&mut self, enough: impl Fn() -> bool) {
        while !enough() && self.remove_oldest() {}
    }

    pub(super) fn forget(&mut self, digest: &Digest) {
        self.by_age.retain(|_, (key, _)| key.0 != *digest);
        self.serial_of.retain(|key, _| key.0 != *digest);
    }

    fn remove_oldest(&mut self) -> bool {
        let oldest = self.by_age.pop_first();
        if let Some((_, (key, _))) = &oldest {
            self.serial_of.remove(key);
        }
        oldest.is_some()
    }
}

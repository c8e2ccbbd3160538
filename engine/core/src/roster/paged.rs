//! A vector in pages that clones share until one of them writes.
//!
//! A clone costs next to nothing. The first write after it copies the list of pages, eight bytes for each, and each first
//! write into a page that page. Growing copies nothing else and leaves at most one page partly empty, so that the memory
//! is that of the values. What many clones share stays in the processor's caches when it turns from one to the other.

use std::sync::Arc;

/// Values in a page: few enough that the first write after a clone is cheap, enough that a page's own cost does not count.
const PAGE: usize = 64;

/// The vector.
#[derive(Clone, Debug)]
pub(crate) struct Paged<T> {
    /// Each is full but the last, whose values beyond `len` are copies of others.
    pages: Arc<Vec<Arc<[T; PAGE]>>>,
    len: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: Arc::default(), len: 0 }
    }
}

impl<T: Clone> Paged<T> {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at `index`.
    ///
    /// # Panics
    ///
    /// Where there is none, as all verbs here.
    pub(crate) fn get(&self, index: usize) -> &T {
        assert!(index < self.len, "value {index} of {}", self.len);
        &self.pages[index / PAGE][index % PAGE]
    }

    /// Writes the value at `index`.
    pub(crate) fn set(&mut self, index: usize, value: T) {
        assert!(index < self.len, "value {index} of {}", self.len);
        let pages = Arc::make_mut(&mut self.pages);
        Arc::make_mut(&mut pages[index / PAGE])[index % PAGE] = value;
    }

    /// Adds a value behind the last one.
    pub(crate) fn push(&mut self, value: T) {
        if self.len == self.pages.len() * PAGE {
            Arc::make_mut(&mut self.pages).push(Arc::new(std::array::from_fn(|_| value.clone())));
            self.len += 1;
        } else {
            self.len += 1;
            self.set(self.len - 1, value);
        }
    }

    /// Exchanges two values.
    pub(crate) fn swap(&mut self, a: usize, b: usize) {
        if a != b {
            let (at_a, at_b) = (self.get(a).clone(), self.get(b).clone());
            self.set(a, at_b);
            self.set(b, at_a);
        }
    }

    /// Removes the value at `index`; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, index: usize) {
        let last = self.len - 1;
        if index != last {
            let moved = self.get(last).clone();
            self.set(index, moved);
        }
        self.len = last;
        Arc::make_mut(&mut self.pages).truncate(last.div_ceil(PAGE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(count: usize) -> Paged<usize> {
        let mut paged = Paged::default();
        for value in 0..count {
            paged.push(value);
        }
        paged
    }

    fn values(paged: &Paged<usize>) -> Vec<usize> {
        (0..paged.len()).map(|index| *paged.get(index)).collect()
    }

    #[test]
    fn it_grows_and_shrinks_as_a_vector_does() {
        for count in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 5] {
            let (mut paged, mut vector) = (counting(count), (0..count).collect::<Vec<_>>());
            assert_eq!(values(&paged), vector);
            while let Some(middle) = vector.len().checked_sub(1).map(|last| last / 2) {
                vector.swap_remove(middle);
                paged.swap_remove(middle);
                assert_eq!(values(&paged), vector);
                assert_eq!(paged.pages.len(), vector.len().div_ceil(PAGE));
            }
            assert!(paged.is_empty());
            paged.push(7);
            assert_eq!(values(&paged), [7]);
        }
    }

    #[test]
    fn values_change_places() {
        let mut paged = counting(2 * PAGE);
        paged.swap(1, 2 * PAGE - 1);
        paged.swap(5, 5);
        assert_eq!((*paged.get(1), *paged.get(2 * PAGE - 1), *paged.get(5)), (2 * PAGE - 1, 1, 5));
    }

    #[test]
    fn a_write_copies_one_page_and_is_seen_by_its_writer_alone() {
        let original = counting(4 * PAGE);
        let mut copy = original.clone();
        copy.set(PAGE + 1, 0);
        copy.push(99);
        assert_eq!((*original.get(PAGE + 1), *copy.get(PAGE + 1)), (PAGE + 1, 0));
        assert_eq!((original.len(), copy.len()), (4 * PAGE, 4 * PAGE + 1));
        let shared =
            original.pages.iter().zip(copy.pages.iter()).filter(|(one, other)| Arc::ptr_eq(one, other)).count();
        assert_eq!(shared, 3);
    }

    #[test]
    #[should_panic(expected = "value 3 of 3")]
    fn what_a_page_holds_beyond_the_end_is_not_a_value() {
        counting(3).get(3);
    }
}

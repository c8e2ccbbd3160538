//! Where the readers of a blob say that it can be fetched.
//!
//! One source is in use until it fails, and then the next one: a reader whose repository denies the blob, or whose mirror
//! does not have it, spoils nobody else's pull.

use crate::upstream::UpstreamSource;

/// Different sources that are kept for one blob; those of further readers are not.
pub(crate) const SOURCES_MAX: usize = 4;

/// The sources of a blob, the one in use first.
#[derive(Default)]
pub(super) struct Sources {
    known: Vec<Known>,
}

struct Known {
    source: UpstreamSource,
    /// Readers that are there and named it.
    readers: usize,
}

impl Sources {
    /// The source in use.
    pub(super) fn in_use(&self) -> Option<&UpstreamSource> {
        self.known.first().map(|known| &known.source)
    }

    /// Adds what a reader names, in place of those whose readers have gone. Returns whether it is kept.
    pub(super) fn add(&mut self, source: &UpstreamSource) -> bool {
        if let Some(known) = self.known.iter_mut().find(|known| known.source == *source) {
            known.readers += 1;
            return true;
        }
        self.known.retain(|known| known.readers > 0);
        let is_kept = self.known.len() < SOURCES_MAX;
        if is_kept {
            self.known.push(Known { source: source.clone(), readers: 1 });
        }
        is_kept
    }

    /// A reader that named `source` goes. The last source stays for readers that named none.
    pub(super) fn remove(&mut self, source: &UpstreamSource) {
        if let Some(known) = self.known.iter_mut().find(|known| known.source == *source) {
            known.readers = known.readers.saturating_sub(1);
        }
        if self.known.iter().any(|known| known.readers > 0) {
            self.known.retain(|known| known.readers > 0);
        }
    }

    /// All readers go.
    pub(super) fn remove_all(&mut self) {
        self.known.iter_mut().for_each(|known| known.readers = 0);
    }

    /// Puts `source` behind the others where it is in use: it failed.
    pub(super) fn pass_over(&mut self, source: &UpstreamSource) {
        if self.in_use() == Some(source) {
            self.known.rotate_left(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::source_of;

    #[test]
    fn the_first_source_is_used_until_it_fails() {
        let (a, b) = (source_of("a"), source_of("b"));
        let mut sources = Sources::default();
        assert_eq!(sources.in_use(), None);
        assert!(sources.add(&a) && sources.add(&b));
        assert_eq!(sources.in_use(), Some(&a));
        sources.pass_over(&b);
        assert_eq!(sources.in_use(), Some(&a), "it is not the one that failed");
        sources.pass_over(&a);
        sources.pass_over(&a);
        assert_eq!(sources.in_use(), Some(&b), "told twice of one failure");
        sources.pass_over(&b);
        assert_eq!(sources.in_use(), Some(&a), "there is no other");
    }

    #[test]
    fn a_source_goes_with_its_last_reader_unless_it_is_the_last() {
        let (a, b) = (source_of("a"), source_of("b"));
        let mut sources = Sources::default();
        assert!(sources.add(&a) && sources.add(&a) && sources.add(&b));
        sources.remove(&a);
        assert_eq!(sources.in_use(), Some(&a));
        sources.remove(&a);
        assert_eq!(sources.in_use(), Some(&b));
        sources.remove(&b);
        assert_eq!(sources.in_use(), Some(&b));
        assert!(sources.add(&a));
        assert_eq!(sources.in_use(), Some(&a), "its reader is there");
    }

    #[test]
    fn sources_are_bounded() {
        let mut sources = Sources::default();
        for number in 0..SOURCES_MAX {
            assert!(sources.add(&source_of(&number.to_string())));
        }
        assert!(!sources.add(&source_of("more")));
        assert!(sources.add(&source_of("0")), "it is known");
        sources.remove_all();
        assert!(sources.add(&source_of("more")));
        assert_eq!(sources.known.len(), 1);
    }
}

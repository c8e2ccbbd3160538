//! The `Range` header of a request (RFC 9110, section 14), as far as the demo's registry answers it.

use std::ops::Range;

/// What a `Range` header asks of content of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The whole: no header, or one that a server may ignore.
    Whole,
    /// One part of it.
    Part(Range<u64>),
    /// Nothing: the range starts past the end.
    Unsatisfiable,
}

/// Reads a header for content of `size` bytes. Several ranges and malformed headers are ignored.
pub(crate) fn select(header: Option<&str>, size: u64) -> Selection {
    header.and_then(|header| parse(header, size)).unwrap_or(Selection::Whole)
}

fn parse(header: &str, size: u64) -> Option<Selection> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = if first.is_empty() {
        let length: u64 = last.parse().ok()?;
        size.saturating_sub(length)..size
    } else {
        let first: u64 = first.parse().ok()?;
        let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.checked_add(1)?.min(size) };
        if !last.is_empty() && last.parse::<u64>().ok()? < first {
            return None;
        }
        first..end
    };
    Some(if range.start < range.end { Selection::Part(range) } else { Selection::Unsatisfiable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_clamped_to_the_content() {
        assert_eq!(select(Some("bytes=0-"), 100), Selection::Part(0..100));
        assert_eq!(select(Some("bytes=10-19"), 100), Selection::Part(10..20));
        assert_eq!(select(Some("bytes=90-500"), 100), Selection::Part(90..100));
        assert_eq!(select(Some("bytes=-30"), 100), Selection::Part(70..100));
        assert_eq!(select(Some("bytes=-300"), 100), Selection::Part(0..100));
    }

    #[test]
    fn a_range_past_the_end_cannot_be_satisfied() {
        assert_eq!(select(Some("bytes=100-"), 100), Selection::Unsatisfiable);
        assert_eq!(select(Some("bytes=-0"), 100), Selection::Unsatisfiable);
    }

    #[test]
    fn what_a_server_may_ignore_means_the_whole() {
        for header in
            [None, Some("lines=1-2"), Some("bytes=5"), Some("bytes=0-1,5-6"), Some("bytes=9-3"), Some("bytes=a-b")]
        {
            assert_eq!(select(header, 100), Selection::Whole, "{header:?}");
        }
    }
}

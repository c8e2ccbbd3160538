//! `Range` requests of one range in bytes (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` header means for a blob of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeAnswer {
    /// The whole blob, with status 200: no range, one that is not understood, or several.
    Whole,
    /// These bytes, with status 206; never empty. The client may take them for the blob or for the rest of it: they begin
    /// with the blob, or go on to wherever it ends, as a client asks that resumes or that fetches in parallel.
    Part(Range<u64>),
    /// The same of a client that looks at a part: it names both ends inside the blob, or counts from the blob's end, as
    /// who reads an index at the end of a layer.
    Excerpt(Range<u64>),
    /// No byte of the blob, status 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a blob of `size` bytes.
///
/// RFC 9110 lets a server ignore a header that it does not understand, so units other than bytes, malformed ranges and
/// several ranges in one request are answered with the whole blob.
pub fn read_range(header: &str, size: u64) -> RangeAnswer {
    let Some((unit, specification)) = header.split_once('=') else {
        return RangeAnswer::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || specification.contains(',') {
        return RangeAnswer::Whole;
    }
    match specification.trim().split_once('-') {
        Some(("", suffix)) => last_bytes(suffix, size),
        Some((first, "")) => number(first).map_or(RangeAnswer::Whole, |first| bytes_from(first, u64::MAX, size)),
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => as_excerpt(bytes_from(first, last, size)),
            _ => RangeAnswer::Whole,
        },
        None => RangeAnswer::Whole,
    }
}

fn bytes_from(first: u64, last: u64, size: u64) -> RangeAnswer {
    if first >= size {
        return RangeAnswer::Unsatisfiable;
    }
    RangeAnswer::Part(first..last.saturating_add(1).min(size))
}

fn last_bytes(suffix: &str, size: u64) -> RangeAnswer {
    match number(suffix) {
        None => RangeAnswer::Whole,
        Some(length) if length == 0 || size == 0 => RangeAnswer::Unsatisfiable,
        Some(length) => as_excerpt(RangeAnswer::Part(size.saturating_sub(length)..size)),
    }
}

/// A part that its client asked for by its end. One that begins with the blob is none: it may be the blob.
fn as_excerpt(answer: RangeAnswer) -> RangeAnswer {
    match answer {
        RangeAnswer::Part(range) if range.start > 0 => RangeAnswer::Excerpt(range),
        other => other,
    }
}

/// Digits only: `u64::from_str` would also take a sign. More digits than fit mean "past any end".
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_range_in_each_form() {
        assert_eq!(read_range("bytes=0-", 10), RangeAnswer::Part(0..10));
        assert_eq!(read_range("bytes=0-5", 10), RangeAnswer::Part(0..6));
        assert_eq!(read_range("bytes=0-9", 10), RangeAnswer::Part(0..10));
        assert_eq!(read_range("bytes=2-5", 10), RangeAnswer::Excerpt(2..6));
        assert_eq!(read_range("bytes=2-500", 10), RangeAnswer::Excerpt(2..10));
        assert_eq!(read_range("bytes=9-", 10), RangeAnswer::Part(9..10));
        assert_eq!(read_range("bytes=-3", 10), RangeAnswer::Excerpt(7..10));
        assert_eq!(read_range("bytes=-10", 10), RangeAnswer::Part(0..10));
        assert_eq!(read_range("bytes=-30", 10), RangeAnswer::Part(0..10));
        assert_eq!(read_range("bytes=0-99999999999999999999999", 10), RangeAnswer::Part(0..10));
    }

    #[test]
    fn a_start_past_the_end_cannot_be_satisfied() {
        assert_eq!(read_range("bytes=10-", 10), RangeAnswer::Unsatisfiable);
        assert_eq!(read_range("bytes=10-20", 10), RangeAnswer::Unsatisfiable);
        assert_eq!(read_range("bytes=-0", 10), RangeAnswer::Unsatisfiable);
        assert_eq!(read_range("bytes=0-", 0), RangeAnswer::Unsatisfiable);
        assert_eq!(read_range("bytes=99999999999999999999999-", 10), RangeAnswer::Unsatisfiable);
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for header in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "items=0-1", "bytes=0-1,4-5", "bytes=+1-2", "bytes=a-"]
        {
            assert_eq!(read_range(header, 10), RangeAnswer::Whole, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gives_a_range_within_the_blob(header in "(bytes=)?[0-9,\\- a-z]{0,40}|\\PC*", size in any::<u64>()) {
            if let RangeAnswer::Part(range) | RangeAnswer::Excerpt(range) = read_range(&header, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn a_valid_range_is_exact(first in 0_u64..1000, length in 1_u64..1000, size in 1_u64..1000) {
            let answer = read_range(&format!("bytes={first}-{}", first + length - 1), size);
            let exact = first..(first + length).min(size);
            if first == 0 {
                prop_assert_eq!(answer, RangeAnswer::Part(exact));
            } else if first < size {
                prop_assert_eq!(answer, RangeAnswer::Excerpt(exact));
            } else {
                prop_assert_eq!(answer, RangeAnswer::Unsatisfiable);
            }
        }
    }
}

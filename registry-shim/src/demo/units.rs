//! Sizes and rates as people write them.

use std::fmt;

use thiserror::Error;

/// Why a text is neither a size nor a rate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UnitError {
    /// Not a number with one of the units.
    #[error("{text:?} is not {what}; write it as {examples}")]
    Shape {
        /// What was given.
        text: String,
        /// What was expected.
        what: &'static str,
        /// How that is written.
        examples: &'static str,
    },
    /// More than 64 bits hold, or nothing.
    #[error("{0:?} is out of range: it must be greater than 0 and less than 16 EiB")]
    Range(String),
}

const KIBI: f64 = 1024.0;

/// Units of sizes, in bytes, lower case.
const SIZES: [(&str, f64); 8] = [
    ("", 1.0),
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("kib", KIBI),
    ("mib", KIBI * KIBI),
    ("gib", KIBI * KIBI * KIBI),
];

/// Units of bits per second, in bytes per second, lower case.
const BIT_RATES: [(&str, f64); 4] = [("bit", 0.125), ("kbit", 125.0), ("mbit", 125e3), ("gbit", 125e6)];

/// Parses `128MiB`, `64MB` or a number of bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, "a size", "128MiB, 64MB or a number of bytes", |unit| {
        SIZES.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes)
    })
}

/// Parses `200mbit` or `25MB` into bytes per second.
pub(crate) fn parse_rate(text: &str) -> Result<u64, UnitError> {
    parse(text, "a rate", "200mbit (bits per second) or 25MB (bytes per second)", |unit| {
        let byte_rates = SIZES.iter().filter(|(name, _)| !name.is_empty());
        BIT_RATES.iter().chain(byte_rates).find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes)
    })
}

fn parse(
    text: &str,
    what: &'static str,
    examples: &'static str,
    factor: impl Fn(&str) -> Option<f64>,
) -> Result<u64, UnitError> {
    let shape = || UnitError::Shape { text: text.to_owned(), what, examples };
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = trimmed.split_at(digits);
    let number: f64 = number.parse().map_err(|_| shape())?;
    let factor = factor(&unit.trim_start().to_ascii_lowercase()).ok_or_else(shape)?;
    let value = (number * factor).round();
    if !(1.0..18e18).contains(&value) {
        return Err(UnitError::Range(text.to_owned()));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 18e18, checked above")]
    Ok(value as u64)
}

/// A number of bytes for people: `128.0 MiB`.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0 as f64, KIBI, ["B", "KiB", "MiB", "GiB"])
    }
}

/// Bytes per second for people: `25.0 MB/s`.
pub(crate) struct BytesPerSecond(pub(crate) f64);

impl fmt::Display for BytesPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1e3, ["B/s", "kB/s", "MB/s", "GB/s"])
    }
}

fn scaled(f: &mut fmt::Formatter<'_>, mut value: f64, step: f64, units: [&str; 4]) -> fmt::Result {
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if unit == 0 { write!(f, "{value:.0} {}", units[0]) } else { write!(f, "{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(parse_size("128MiB"), Ok(128 << 20));
        assert_eq!(parse_size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse_size("64MB"), Ok(64_000_000));
        assert_eq!(parse_size("4096"), Ok(4096));
    }

    #[test]
    fn rates_are_bits_or_bytes_per_second() {
        assert_eq!(parse_rate("200mbit"), Ok(25_000_000));
        assert_eq!(parse_rate("1gbit"), Ok(125_000_000));
        assert_eq!(parse_rate("25MB"), Ok(25_000_000));
        assert_eq!(parse_rate("8bit"), Ok(1));
    }

    #[test]
    fn what_is_neither_is_refused_with_an_example() {
        for text in ["", "fast", "-1MiB", "1.2.3MB", "12 parsecs", "MiB", "200"] {
            let error = parse_rate(text).unwrap_err().to_string();
            assert!(error.contains("200mbit"), "{text}: {error}");
        }
        assert!(parse_size("12mbit").unwrap_err().to_string().contains("128MiB"));
        for text in ["0", "0MB", "99999999999GiB"] {
            assert_eq!(parse_size(text), Err(UnitError::Range(text.to_owned())));
        }
    }

    #[test]
    fn numbers_are_shown_with_the_unit_that_fits() {
        assert_eq!(Bytes(134_217_728).to_string(), "128.0 MiB");
        assert_eq!(Bytes(512).to_string(), "512 B");
        assert_eq!(BytesPerSecond(25e6).to_string(), "25.0 MB/s");
    }
}

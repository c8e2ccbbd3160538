//! Sizes and rates as users write them: `10GiB`, `200mbit`, `25MB`.

use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// A number of bytes per second, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate(pub u64);

/// Why a text is not a size or a rate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Not a size.
    #[error("{0:?} is not a size; expected a number with B, kB, MB, GB, TB or KiB, MiB, GiB, TiB, as in 10GiB")]
    Size(String),
    /// Not a rate.
    #[error(
        "{0:?} is not a rate; expected bits per second as in 200mbit (bit, kbit, mbit, gbit), \
         or bytes per second as in 25MB (B, kB, MB, GB, KiB, MiB, GiB)"
    )]
    Rate(String),
    /// A rate at which nothing would move.
    #[error("a rate of less than a byte per second stops everything; leave it out for no limit")]
    Nothing,
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Size(text.chars().take(40).collect());
        let (number, unit) = split(text).ok_or_else(error)?;
        let unit = byte_unit(unit).ok_or_else(error)?;
        multiply(number, unit, 1).map(Self).ok_or_else(error)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Rate(text.chars().take(40).collect());
        let (number, unit) = split(text.strip_suffix("/s").unwrap_or(text)).ok_or_else(error)?;
        let rate = match bit_unit(unit) {
            Some(bits) => multiply(number, bits, 8),
            None => multiply(number, byte_unit(unit).ok_or_else(error)?, 1),
        };
        match rate.ok_or_else(error)? {
            0 => Err(UnitError::Nothing),
            rate => Ok(Self(rate)),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl TryFrom<String> for Rate {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

/// Number and unit.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then_some((number, unit.trim_start()))
}

fn byte_unit(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    })
}

fn bit_unit(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "bit" => 1,
        "kbit" => 1000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => return None,
    })
}

/// `number * unit / divisor`, where `number` may have up to 6 decimals; `None` where it does not fit.
fn multiply(number: &str, unit: u64, divisor: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || decimals.len() > 6 || (number.contains('.') && decimals.is_empty()) {
        return None;
    }
    let millionths = format!("{whole}{decimals:0<6}").parse::<u128>().ok()?;
    let bytes = millionths.checked_mul(u128::from(unit))? / 1_000_000 / u128::from(divisor);
    u64::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_in_powers_of_ten_and_of_two() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("10GB", 10_000_000_000),
            ("10 GiB", 10 << 30),
            ("1.5KiB", 1536),
            ("2tib", 2 << 40),
            ("18446744073709551615B", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "GB", "-1GB", "1XB", "1.GB", ".5GB", "1.0000001B", "1e9", "20000000TiB", "1mbit"] {
            assert!(matches!(text.parse::<Size>(), Err(UnitError::Size(_))), "{text}");
        }
    }

    #[test]
    fn rates_in_bits_and_in_bytes() {
        for (text, bytes) in [
            ("200mbit", 25_000_000),
            ("25MB", 25_000_000),
            ("1gbit", 125_000_000),
            ("2.5gbit/s", 312_500_000),
            ("1MiB/s", 1 << 20),
            ("8bit", 1),
            ("100", 100),
        ] {
            assert_eq!(text.parse(), Ok(Rate(bytes)), "{text}");
        }
        for text in ["", "fast", "200mbps", "-1mbit", "1 000mbit"] {
            assert!(matches!(text.parse::<Rate>(), Err(UnitError::Rate(_))), "{text}");
        }
        for text in ["0", "0mbit", "7bit"] {
            assert_eq!(text.parse::<Rate>(), Err(UnitError::Nothing), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[0-9.]{0,30}[a-zA-Z/]{0,6}|\\PC*") {
            let _ = text.parse::<Size>();
            let _ = text.parse::<Rate>();
        }

        #[test]
        fn whole_bytes_are_exact(bytes in any::<u64>()) {
            prop_assert_eq!(bytes.to_string().parse(), Ok(Size(bytes)));
        }
    }
}

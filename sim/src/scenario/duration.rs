//! Durations as users write them: `20ms`, `1.5s`, `2min`.

use std::time::Duration;

use thiserror::Error;

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a duration; expected a number with us, ms, s or min, as in 20ms, of at most a day")]
pub struct DurationError(String);

const DAY_US: u64 = 24 * 3600 * 1_000_000;

/// Reads a duration of whole microseconds, at most a day.
///
/// ```
/// use std::time::Duration;
/// use shoal_sim::scenario::parse_duration;
///
/// assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
/// assert!(parse_duration("20").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError(text.chars().take(40).collect());
    let trimmed = text.trim();
    let end = trimmed.find(|character: char| !character.is_ascii_digit() && character != '.').ok_or_else(error)?;
    let (number, unit) = trimmed.split_at(end);
    let unit_us = match unit.trim_start() {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        _ => return Err(error()),
    };
    let microseconds = scale(number, unit_us).filter(|us| *us <= DAY_US).ok_or_else(error)?;
    Ok(Duration::from_micros(microseconds))
}

/// `number * unit`, rounded down, where `number` may have up to 6 decimals.
fn scale(number: &str, unit: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || decimals.is_empty() || decimals.len() > 6 {
        return None;
    }
    let millionths = format!("{whole}{decimals:0<6}").parse::<u128>().ok()?;
    u64::try_from(millionths.checked_mul(u128::from(unit))? / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_its_unit() {
        for (text, microseconds) in
            [("20ms", 20_000), ("0ms", 0), ("1.5 s", 1_500_000), ("2min", 120_000_000), ("1us", 1), ("0.0000019s", 1)]
        {
            let parsed = parse_duration(text);
            if text == "0.0000019s" {
                assert!(parsed.is_err(), "more decimals than are read");
            } else {
                assert_eq!(parsed, Ok(Duration::from_micros(microseconds)), "{text}");
            }
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_is_expected() {
        for text in ["", "ms", "20", "-1s", "1.s", ".5s", "1e3s", "1h", "2000min", "99999999999999999999s"] {
            let refusal = parse_duration(text).unwrap_err().to_string();
            assert!(refusal.contains("20ms"), "{text}: {refusal}");
        }
    }
}

//! Values of parameters as whole numbers of a unit, and as people write them.

use shoal_core::units::Size;

use crate::scenario::parse_duration;

/// What a parameter's number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things: slots, pieces, members.
    Count,
    /// Bytes.
    Bytes,
    /// Microseconds.
    Time,
    /// Thousandths of a factor.
    Factor,
}

impl Unit {
    /// Reads a value, as `4`, `1MiB`, `250ms` or `1.5`; none where it is not of this unit.
    pub fn read(self, text: &str) -> Option<u64> {
        let text = text.trim();
        match self {
            Self::Count => text.parse().ok(),
            Self::Bytes => text.parse::<Size>().ok().map(|size| size.0),
            Self::Time => parse_duration(text).ok().and_then(|time| u64::try_from(time.as_micros()).ok()),
            Self::Factor => thousandths(text),
        }
    }

    /// Writes a value, so that it reads as the same.
    pub fn write(self, value: u64) -> String {
        let largest = |units: &[(u64, &str)]| {
            let (unit, name) = units.iter().find(|(unit, _)| value.is_multiple_of(*unit)).copied().unwrap_or((1, ""));
            format!("{}{name}", value / unit)
        };
        match self {
            Self::Count => value.to_string(),
            Self::Bytes if value > 0 => largest(&[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")]),
            Self::Bytes => "0B".to_owned(),
            Self::Time => largest(&[(1_000_000, "s"), (1000, "ms"), (1, "us")]),
            Self::Factor => format!("{}", value as f64 / 1000.0),
        }
    }

    /// What a value looks like, for errors.
    pub fn example(self) -> &'static str {
        match self {
            Self::Count => "a whole number, as in 4",
            Self::Bytes => "a size, as in 1MiB",
            Self::Time => "a time, as in 250ms",
            Self::Factor => "a factor of up to three decimals, as in 1.5",
        }
    }
}

fn thousandths(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 3 {
        return None;
    }
    format!("{whole}{decimals:0<3}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_they_were_written() {
        for (unit, text, value) in [
            (Unit::Count, "4", 4),
            (Unit::Bytes, "1MiB", 1 << 20),
            (Unit::Bytes, "1000B", 1000),
            (Unit::Bytes, "0B", 0),
            (Unit::Time, "250ms", 250_000),
            (Unit::Time, "2s", 2_000_000),
            (Unit::Time, "0s", 0),
            (Unit::Factor, "1.5", 1500),
            (Unit::Factor, "3", 3000),
        ] {
            assert_eq!(unit.read(text), Some(value), "{text}");
            assert_eq!(unit.write(value), text);
        }
        assert_eq!(Unit::Time.read("1500us"), Unit::Time.read("1.5ms"));
    }

    #[test]
    fn what_is_of_another_unit_is_none() {
        for (unit, text) in [
            (Unit::Count, "4ms"),
            (Unit::Count, "-1"),
            (Unit::Count, ""),
            (Unit::Time, "250"),
            (Unit::Bytes, "1s"),
            (Unit::Factor, "1.2345"),
            (Unit::Factor, ".5"),
            (Unit::Factor, "1e3"),
        ] {
            assert_eq!(unit.read(text), None, "{text}");
        }
    }
}

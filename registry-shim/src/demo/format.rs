//! Sizes and rates for people to read.

use std::fmt;

/// A number of bytes for people: `128.0 MiB`.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0 as f64, 1024.0, ["B", "KiB", "MiB", "GiB"])
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
    fn numbers_are_shown_with_the_unit_that_fits() {
        assert_eq!(Bytes(134_217_728).to_string(), "128.0 MiB");
        assert_eq!(Bytes(512).to_string(), "512 B");
        assert_eq!(Bytes(u64::MAX).to_string(), "17179869184.0 GiB");
        assert_eq!(BytesPerSecond(25e6).to_string(), "25.0 MB/s");
    }
}

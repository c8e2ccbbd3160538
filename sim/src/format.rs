//! Numbers as people read them.

/// A rate in bits per second, from one of bytes per second.
///
/// ```
/// assert_eq!(shoal_sim::format::rate(12_500_000), "100 Mbit/s");
/// ```
pub fn rate(bytes_per_s: u64) -> String {
    let megabits = bytes_per_s as f64 / 125e3;
    if megabits >= 1.0 {
        format!("{} Mbit/s", trimmed(megabits))
    } else {
        format!("{} kbit/s", trimmed(megabits * 1e3))
    }
}

/// A number of bytes in the largest unit of which there is one.
///
/// ```
/// assert_eq!(shoal_sim::format::bytes(1536), "1.5 KiB");
/// ```
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", trimmed(value), UNITS[unit])
}

/// Up to two decimals, without zeros at the end.
pub fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_with_a_digit_that_says_something() {
        assert_eq!(
            ["0.00", "1.50", "10.00", "0.13"].map(|text| trimmed(text.parse().unwrap())),
            ["0", "1.5", "10", "0.13"]
        );
        assert_eq!(
            (rate(1000), rate(125_000), rate(1_250_000_000)),
            ("8 kbit/s".into(), "1 Mbit/s".into(), "10000 Mbit/s".into())
        );
        assert_eq!((bytes(1023), bytes(1 << 50)), ("1023 B".into(), "1024 TiB".into()));
    }
}

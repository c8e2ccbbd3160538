//! Seeds as people write them: `1..5`, or `7`.

use thiserror::Error;

/// Most seeds of a round.
const SEEDS_MAX: u32 = 1000;

/// The text names no seeds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} are no seeds; expected FIRST..LAST, as in 1..5, of at most {SEEDS_MAX}, or one number")]
pub struct SeedsError(String);

/// Reads seeds: one, or all from the first to the last, both among them.
///
/// ```
/// use shoal_sim::search::seeds;
///
/// assert_eq!(seeds("1..3"), Ok(vec![1, 2, 3]));
/// assert!(seeds("3..1").is_err());
/// ```
pub fn seeds(text: &str) -> Result<Vec<u64>, SeedsError> {
    let error = || SeedsError(text.chars().take(40).collect());
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| error());
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if first > last || last - first >= SEEDS_MAX { Err(error()) } else { Ok((first..=last).map(u64::from).collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_or_all_between_two() {
        assert_eq!(seeds("7"), Ok(vec![7]));
        assert_eq!(seeds("0..999").map(|seeds| seeds.len()), Ok(1000));
        for text in ["", "1..", "x", "-1", "0..1000", "5..4", "1,2", "4294967296"] {
            let refusal = seeds(text).unwrap_err().to_string();
            assert!(refusal.contains("1..5") && refusal.contains("1000"), "{text}: {refusal}");
        }
    }
}

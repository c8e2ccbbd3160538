//! Rates: as such, or as multiples of the node link, so that a scenario keeps its shape when the link is replaced.

use shoal_core::units::Rate;
use toml::Spanned;

use super::Check;
use crate::scenario::{
    Link, ScenarioError,
    file::{EachWay, RawLink},
};

/// Largest multiple.
const MULTIPLE_MAX: f64 = 10_000.0;

impl Check<'_> {
    /// A link; multiples are allowed where there is a node link to multiply.
    pub(super) fn link(&self, key: &str, raw: &Spanned<RawLink>, node: Option<Link>) -> Result<Link, ScenarioError> {
        link(raw.get_ref(), node).map_err(|problem| self.refuse(key, raw, problem))
    }
}

pub(super) fn link(raw: &RawLink, node: Option<Link>) -> Result<Link, String> {
    let (up, down) = match raw {
        RawLink::Both(rate) => (rate, rate),
        RawLink::Each(EachWay { up, down }) => (up, down),
    };
    Ok(Link {
        up: multiple_or_rate(up, node.map(|node| node.up))?,
        down: multiple_or_rate(down, node.map(|node| node.down))?,
    })
}

/// `"100mbit"`, or `"2x"` of the rate `one`.
pub(super) fn multiple_or_rate(text: &str, one: Option<u64>) -> Result<u64, String> {
    let Some(multiple) = text.trim().strip_suffix('x') else {
        return text.parse::<Rate>().map(|rate| rate.0).map_err(|error| error.to_string());
    };
    let Some(one) = one else {
        return Err(format!("{text:?} is a multiple of the node link, and this is the node link; a rate is needed"));
    };
    let is_plain = multiple.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match multiple.parse::<f64>() {
        Ok(factor) if is_plain && factor <= MULTIPLE_MAX && factor * one as f64 >= 1.0 => Ok(times(one, factor)),
        _ => Err(format!(
            "{text:?} is not a multiple of the node link; expected a number with x, as in 0.1x or 2x, \
             at most {MULTIPLE_MAX}x and not below a byte per second"
        )),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and saturates at the range's end"
)]
fn times(rate: u64, factor: f64) -> u64 {
    (rate as f64 * factor).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_or_a_multiple() {
        assert_eq!(multiple_or_rate("100mbit", None), Ok(12_500_000));
        assert_eq!(multiple_or_rate("0.1x", Some(12_500_000)), Ok(1_250_000));
        assert_eq!(multiple_or_rate("2x", Some(3)), Ok(6));
        assert!(multiple_or_rate("2x", None).unwrap_err().contains("a rate is needed"));
        for text in ["x", "-1x", "infx", "nanx", "0x", "1e3x", "10001x", "0.1x"] {
            assert!(multiple_or_rate(text, Some(1)).unwrap_err().contains("0.1x or 2x"), "{text}");
        }
    }
}

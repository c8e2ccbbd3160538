//! From values to places, with round numbers at the ticks.

use crate::format::trimmed;

/// Most and least of the values of an axis beyond which it is logarithmic.
const LINEAR_RATIO_MAX: f64 = 6.0;

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    min: f64,
    max: f64,
    is_logarithmic: bool,
    /// Where lines of the grid are, ascending.
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// From 0 to a little above `max`.
    pub(super) fn from_zero(max: f64) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / 5.0);
        let mut ticks = vec![0.0];
        while let Some(last) = ticks.last().filter(|last| **last < max * 0.999) {
            ticks.push(last + step);
        }
        Self { min: 0.0, max: ticks.last().copied().unwrap_or(max), is_logarithmic: false, ticks }
    }

    /// From 0 to `max` itself, so that a line over all of it ends at the frame.
    pub(super) fn up_to(max: f64) -> Self {
        let mut axis = Self::from_zero(max);
        if max > 0.0 {
            axis.max = max;
            axis.ticks.retain(|tick| *tick <= max);
        }
        axis
    }

    /// From 0, or logarithmic where the values are far apart.
    pub(super) fn covering(values: impl IntoIterator<Item = f64>) -> Self {
        let positive: Vec<f64> = values.into_iter().filter(|value| *value > 0.0 && value.is_finite()).collect();
        let max = positive.iter().copied().fold(0.0, f64::max);
        let min = positive.iter().copied().fold(f64::INFINITY, f64::min);
        if max / min > LINEAR_RATIO_MAX { Self::logarithmic(min, max) } else { Self::from_zero(max) }
    }

    /// Powers of ten and their doubles and halves, with room on both sides.
    fn logarithmic(min: f64, max: f64) -> Self {
        let (min, max) = (min / 1.8, max * 1.15);
        let ticks: Vec<f64> = (-9..=12)
            .flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent)))
            .filter(|tick| (min..=max).contains(tick))
            .collect();
        Self { min, max, is_logarithmic: true, ticks }
    }

    /// Numbers of nodes, a doubling being as long as any other.
    pub(super) fn of_nodes(nodes: &[u32]) -> Self {
        let ticks: Vec<f64> = nodes.iter().map(|nodes| f64::from(*nodes)).collect();
        let min = ticks.iter().copied().fold(f64::INFINITY, f64::min);
        let max = ticks.iter().copied().fold(1.0, f64::max);
        Self { min: min / 1.15, max: max * 1.05, is_logarithmic: true, ticks }
    }

    /// Whether equal distances are equal factors.
    pub(super) fn is_logarithmic(&self) -> bool {
        self.is_logarithmic
    }

    /// The place of a value: 0 at the axis' beginning, 1 at its end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.is_logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.min).ln() / (self.max / self.min).ln()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        place.clamp(0.0, 1.0)
    }
}

/// The next of 1, 2, 2.5 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * power >= least * 0.999).unwrap_or(10.0);
    step * power
}

/// A number as it stands at a tick.
pub(super) fn label(value: f64) -> String {
    if value.abs() >= 1e5 { format!("{:.0}k", value / 1e3) } else { trimmed(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_all() {
        assert_eq!(Axis::from_zero(11.6).ticks, [0.0, 2.5, 5.0, 7.5, 10.0, 12.5]);
        assert_eq!(Axis::from_zero(1.0).ticks.last().map(|last| label(*last)), Some("1".to_owned()));
        assert_eq!(Axis::from_zero(0.0).place(1.0).to_bits(), 1.0_f64.to_bits());
        let run = Axis::up_to(11.6);
        assert_eq!((run.ticks.last(), run.place(11.6).to_bits()), (Some(&10.0), 1.0_f64.to_bits()));
        let wide = Axis::covering([10.0, 172.0]);
        assert!(wide.is_logarithmic());
        assert_eq!(wide.ticks, [10.0, 20.0, 50.0, 100.0]);
        assert!(!Axis::covering([10.0, 50.0]).is_logarithmic());
    }

    #[test]
    fn a_doubling_is_as_long_as_any_other() {
        let nodes = Axis::of_nodes(&[2, 4, 8]);
        let (first, second) = (nodes.place(4.0) - nodes.place(2.0), nodes.place(8.0) - nodes.place(4.0));
        assert!((first - second).abs() < 1e-9 && nodes.place(2.0) > 0.0);
    }
}

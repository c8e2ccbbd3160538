//! Order statistics and fairness of small samples.

use serde::Serialize;

/// Fewest values of which a 99th percentile is given.
const P99_VALUES_MIN: usize = 100;

/// Percentiles by nearest rank, so that each is a value that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half are not above it.
    pub p50: f64,
    /// 95 of 100 are not above it.
    pub p95: f64,
    /// 99 of 100 are not above it; none with fewer than 100 values.
    pub p99: Option<f64>,
    /// The largest.
    pub max: f64,
    /// Number of values.
    pub count: usize,
}

impl Quantiles {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(values);
        let rank = |percent: usize| nearest_rank(&sorted, percent);
        Some(Self {
            p50: rank(50)?,
            p95: rank(95)?,
            p99: if sorted.len() >= P99_VALUES_MIN { rank(99) } else { None },
            max: rank(100)?,
            count: sorted.len(),
        })
    }
}

/// Least and most of the runs that count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Range {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(values);
        Some(Self { min: *sorted.first()?, max: *sorted.last()? })
    }
}

/// The value that `percent` of 100 are not above, by nearest rank; of 0, the least. None of none.
pub fn percentile(values: impl IntoIterator<Item = f64>, percent: usize) -> Option<f64> {
    nearest_rank(&sorted(values), percent)
}

fn nearest_rank(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied()
}

/// The value in the middle, or the mean of the two there.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Jain's index: 1 where all are equal, `1 / n` where one has all (Jain, Chiu and Hawe, "A quantitative measure of
/// fairness and discrimination", 1984).
pub fn jain(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    (squares > 0.0).then(|| sum * sum / (values.len() as f64 * squares))
}

/// The Gini coefficient: 0 where all are equal, `1 - 1 / n` where one has all.
pub fn gini(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values.iter().copied());
    let sum: f64 = sorted.iter().sum();
    let count = sorted.len() as f64;
    let ranked: f64 = sorted.iter().zip(1_u32..).map(|(value, rank)| f64::from(rank) * value).sum();
    (sum > 0.0).then(|| 2.0 * ranked / (count * sum) - (count + 1.0) / count)
}

/// How a counter grows, as means over parts of at least `part_s` seconds: the middle of each part, and what was added in
/// a second. `samples` are times in seconds, ascending, and the counter; what follows the last whole part is left out.
pub fn mean_rates(samples: &[(f64, u64)], part_s: f64) -> Vec<(f64, f64)> {
    let mut rates = Vec::new();
    let Some(mut begin) = samples.first().copied() else { return rates };
    for (at_s, counter) in samples.iter().copied() {
        let seconds = at_s - begin.0;
        if seconds > 0.0 && seconds >= part_s * 0.999 {
            rates.push((f64::midpoint(begin.0, at_s), counter.saturating_sub(begin.1) as f64 / seconds));
            begin = (at_s, counter);
        }
    }
    rates
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_and_p99_needs_a_hundred() {
        let of = |count: u32| Quantiles::of((1..=count).map(f64::from)).unwrap();
        assert_eq!(of(100), Quantiles { p50: 50.0, p95: 95.0, p99: Some(99.0), max: 100.0, count: 100 });
        assert_eq!(of(8), Quantiles { p50: 4.0, p95: 8.0, p99: None, max: 8.0, count: 8 });
        assert_eq!(Quantiles::of([]), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
        assert_eq!(Range::of([2.0, 1.0]), Some(Range { min: 1.0, max: 2.0 }));
    }

    #[test]
    fn rates_are_means_over_parts() {
        let samples = [(0.0, 0), (1.0, 10), (2.0, 10), (3.0, 40), (4.0, 40), (5.0, 99)];
        assert_eq!(mean_rates(&samples, 2.0), [(1.0, 5.0), (3.0, 15.0)]);
        assert_eq!(mean_rates(&samples, 0.5).len(), 5);
        assert!(mean_rates(&[], 1.0).is_empty() && mean_rates(&[(0.0, 1), (0.0, 2)], 0.0).is_empty());
    }

    #[test]
    fn fairness_of_equal_and_of_one_sided_shares() {
        let is = |value: Option<f64>, wanted: f64| assert!((value.unwrap() - wanted).abs() < 1e-12, "{value:?}");
        is(jain(&[5.0; 4]), 1.0);
        is(jain(&[0.0, 0.0, 0.0, 7.0]), 0.25);
        is(gini(&[5.0; 4]), 0.0);
        is(gini(&[0.0, 0.0, 0.0, 7.0]), 0.75);
        is(gini(&[1.0, 3.0]), 0.25);
        assert_eq!((jain(&[0.0; 3]), gini(&[0.0; 3]), gini(&[])), (None, None, None));
    }
}

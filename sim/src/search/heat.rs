//! What two parameters do together: the mean of an objective for each pair of their values.

use std::collections::BTreeMap;

use super::{Axis, Objective, Standing};

/// Values of an axis that are told apart; more of them are put together.
const VALUES_MAX: usize = 10;

/// A table of means.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Values of the first parameter, ascending, from left to right.
    pub columns: Vec<String>,
    /// Values of the second, ascending, from below to above.
    pub rows: Vec<String>,
    /// A row for each of `rows`, with a value for each of `columns`; none where nobody has that pair.
    pub cells: Vec<Vec<Option<f64>>>,
}

/// The mean of an objective over all candidates with a pair of values, whatever their others. `columns` and `rows` are axes
/// by their places.
pub fn heat(axes: &[Axis], standings: &[Standing], objective: Objective, columns: usize, rows: usize) -> Heat {
    let bins_of = |axis: usize| Bins::of(standings.iter().map(|standing| standing.values[axis]).collect());
    let (across, up) = (bins_of(columns), bins_of(rows));
    let mut sums: BTreeMap<(usize, usize), (f64, f64)> = BTreeMap::new();
    for standing in standings.iter().filter(|standing| standing.failures == 0) {
        if let Some(value) = standing.objectives.get(&objective) {
            let cell =
                sums.entry((up.place(standing.values[rows]), across.place(standing.values[columns]))).or_default();
            *cell = (cell.0 + value, cell.1 + 1.0);
        }
    }
    let cell = |row, column| sums.get(&(row, column)).map(|(sum, count)| sum / count);
    Heat {
        columns: across.labels(&axes[columns]),
        rows: up.labels(&axes[rows]),
        cells: (0..up.0.len()).map(|row| (0..across.0.len()).map(|column| cell(row, column)).collect()).collect(),
    }
}

/// Values put together: the least and the largest of each part.
struct Bins(Vec<(u64, u64)>);

impl Bins {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        values.dedup();
        let size = values.len().div_ceil(VALUES_MAX).max(1);
        Self(values.chunks(size).filter_map(|part| Some((*part.first()?, *part.last()?))).collect())
    }

    fn place(&self, value: u64) -> usize {
        self.0.partition_point(|(_, last)| *last < value)
    }

    fn labels(&self, axis: &Axis) -> Vec<String> {
        let write = |value| axis.parameter.unit.write(value);
        let label = |(first, last): &(u64, u64)| {
            if first == last { write(*first) } else { format!("{} - {}", write(*first), write(*last)) }
        };
        self.0.iter().map(label).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(values: &[u64], makespan: f64, failures: usize) -> Standing {
        Standing {
            place: 0,
            values: values.to_vec(),
            rounds: 1,
            score: 0.0,
            held_out_score: None,
            objectives: BTreeMap::from([(Objective::Makespan, makespan)]),
            runs: 1,
            failures,
            is_pareto: false,
        }
    }

    #[test]
    fn cells_are_means_over_all_other_values() {
        let axes =
            ["upload_slots=2,4", "leases_start=1,2", "have_interval=5ms,20ms"].map(|text| Axis::read(text).unwrap());
        let standings = [
            standing(&[2, 1, 5000], 1.0, 0),
            standing(&[2, 9, 5000], 3.0, 0),
            standing(&[4, 1, 5000], 1.5, 0),
            standing(&[4, 1, 20_000], 9.0, 1),
        ];
        let heat = heat(&axes, &standings, Objective::Makespan, 0, 2);
        assert_eq!((heat.columns, heat.rows), (vec!["2".into(), "4".into()], vec!["5ms".into(), "20ms".into()]));
        assert_eq!(heat.cells, [[Some(2.0), Some(1.5)], [None, None]]);
    }

    #[test]
    fn many_values_are_put_together() {
        let axis = Axis::read("window_pieces=1..4000").unwrap();
        let bins = Bins::of((1..=25).collect());
        assert_eq!(
            bins.labels(&axis),
            ["1 - 3", "4 - 6", "7 - 9", "10 - 12", "13 - 15", "16 - 18", "19 - 21", "22 - 24", "25"]
        );
        assert_eq!([1, 3, 4, 25].map(|value| bins.place(value)), [0, 0, 1, 8]);
    }
}

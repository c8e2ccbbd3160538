//! The run through time, in bounded memory.

use std::time::Duration;

use super::Row;
use crate::time::Nanos;

/// Rows that are kept; when there are more, every other one goes and the time between two doubles.
const ROWS_MAX: usize = 400;

/// Rows at equal intervals.
#[derive(Clone, Debug)]
pub(super) struct Series {
    rows: Vec<Row>,
    every: Duration,
    next_at: Nanos,
}

impl Series {
    /// No row yet. The first is due at `start`; `every` is the time between two, at first.
    pub(super) fn new(start: Nanos, every: Duration) -> Self {
        Self { rows: Vec::new(), every: every.max(Duration::from_millis(1)), next_at: start }
    }

    /// When the next row is due.
    pub(super) fn next_at(&self) -> Nanos {
        self.next_at
    }

    /// Takes the row that is due.
    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
        if self.rows.len() > ROWS_MAX {
            let mut index = 0_u32;
            self.rows.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
        self.next_at = self.next_at + self.every;
    }

    /// Takes the last row, whenever it is, and gives all of them with their rates.
    pub(super) fn finish(mut self, last: Row) -> Vec<Row> {
        self.rows.retain(|row| row.at_s < last.at_s);
        self.rows.push(last);
        for place in 1..self.rows.len() {
            let [before, row] = &mut self.rows[place - 1..=place] else { break };
            let seconds = row.at_s - before.at_s;
            let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
            row.rate_bytes_per_s = rate(before.delivered_bytes, row.delivered_bytes);
            row.upstream_bytes_per_s = rate(before.upstream_bytes, row.upstream_bytes);
        }
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_a_bounded_number_of_equally_spaced_rows() {
        let mut series = Series::new(Nanos(0), Duration::from_secs(1));
        let mut last = Nanos(0);
        for _ in 0..3000 {
            last = series.next_at();
            series.push(Row { at_s: last.seconds(), delivered_bytes: last.0 / 1_000_000_000 * 7, ..Row::default() });
        }
        let end = last.seconds() + 0.5;
        let rows = series.finish(Row { at_s: end, ..Row::default() });
        assert!(rows[1..rows.len() - 1].iter().all(|row| (row.rate_bytes_per_s - 7.0).abs() < 1e-9));
        assert!((ROWS_MAX / 2..=ROWS_MAX + 1).contains(&rows.len()), "{}", rows.len());
        let steps: Vec<f64> = rows[..rows.len() - 1].windows(2).map(|pair| pair[1].at_s - pair[0].at_s).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-9), "{steps:?}");
        assert!((rows[rows.len() - 1].at_s - end).abs() < 1e-9);
    }
}

//! Bytes over time, in bounded memory.

use std::time::Duration;

use serde::Serialize;

/// Time between two samples at first.
pub(crate) const SAMPLE: Duration = Duration::from_millis(100);
/// Samples that are kept. When there are more, every other one goes and the interval doubles.
const SAMPLES_MAX: usize = 256;
/// Samples over which a rate is computed: about a second at first.
const RATE_SAMPLES: usize = 10;

/// Totals at equal intervals since the start of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Timeline {
    /// Seconds from one sample to the next.
    interval_s: f64,
    /// Blob bytes that the upstream has sent.
    upstream_bytes: Vec<u64>,
    /// Blob bytes delivered to the client of each node.
    delivered_bytes: Vec<Vec<u64>>,
    #[serde(skip)]
    skip: usize,
    #[serde(skip)]
    skipped: usize,
}

impl Timeline {
    /// No sample yet.
    pub(crate) fn new() -> Self {
        Self {
            interval_s: SAMPLE.as_secs_f64(),
            upstream_bytes: Vec::new(),
            delivered_bytes: Vec::new(),
            skip: 0,
            skipped: 0,
        }
    }

    /// Takes the totals at one more moment, [`SAMPLE`] after the last one.
    pub(crate) fn push(&mut self, upstream_bytes: u64, delivered_bytes: &[u64]) {
        if self.skipped < self.skip {
            self.skipped += 1;
            return;
        }
        self.skipped = 0;
        self.upstream_bytes.push(upstream_bytes);
        self.delivered_bytes.push(delivered_bytes.to_vec());
        if self.upstream_bytes.len() > SAMPLES_MAX {
            every_other(&mut self.upstream_bytes);
            every_other(&mut self.delivered_bytes);
            self.skip = 2 * self.skip + 1;
            self.interval_s *= 2.0;
        }
    }

    /// Recent rate of the upstream, in bytes per second.
    pub(crate) fn upstream_bytes_per_s(&self) -> f64 {
        self.rate(|index| self.upstream_bytes[index])
    }

    fn rate(&self, total: impl Fn(usize) -> u64) -> f64 {
        let Some(last) = self.upstream_bytes.len().checked_sub(1) else { return 0.0 };
        let first = last.saturating_sub(RATE_SAMPLES);
        let seconds = (last - first) as f64 * self.interval_s;
        if seconds > 0.0 { (total(last) - total(first)) as f64 / seconds } else { 0.0 }
    }
}

fn every_other<T>(samples: &mut Vec<T>) {
    let mut index = 0;
    samples.retain(|_| {
        index += 1;
        index % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_a_bounded_number_of_equally_spaced_samples() {
        let mut timeline = Timeline::new();
        for sample in 0..10_000 {
            timeline.push(sample, &[sample]);
        }
        assert!(timeline.upstream_bytes.len() <= SAMPLES_MAX, "{}", timeline.upstream_bytes.len());
        let samples_between = (timeline.interval_s / SAMPLE.as_secs_f64()).round();
        for (index, bytes) in timeline.upstream_bytes.iter().enumerate() {
            assert!((*bytes as f64 - index as f64 * samples_between).abs() < 1e-9, "sample {index} is {bytes}");
        }
        assert_eq!(timeline.delivered_bytes.len(), timeline.upstream_bytes.len());
    }

    #[test]
    fn rates_are_those_of_the_last_second() {
        let mut timeline = Timeline::new();
        assert!(timeline.upstream_bytes_per_s().abs() < 1e-9, "no sample, no rate");
        for sample in 0..30 {
            timeline.push(if sample < 15 { 0 } else { (sample - 15) * 100 }, &[]);
        }
        assert!((timeline.upstream_bytes_per_s() - 1000.0).abs() < 1e-6);
    }
}

//! Samples through time, in bounded memory.

use crate::result::Sample;

/// Samples that are kept; when there are more, every other one goes and the time between two doubles.
const SAMPLES_MAX: usize = 10_000;

/// Samples at equal intervals.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    samples: Vec<Sample>,
    /// One of so many offered samples is kept.
    every: u64,
    offered: u64,
}

impl Timeline {
    /// No sample yet.
    pub(crate) fn new() -> Self {
        Self { samples: Vec::new(), every: 1, offered: 0 }
    }

    /// Takes one more sample, a fixed time after the last.
    pub(crate) fn push(&mut self, sample: Sample) {
        let keep = self.offered.is_multiple_of(self.every);
        self.offered += 1;
        if !keep {
            return;
        }
        self.samples.push(sample);
        if self.samples.len() > SAMPLES_MAX {
            let mut index = 0_u32;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// Takes the last sample, whenever it is, and gives all of them.
    pub(crate) fn finish(mut self, last: Sample) -> Vec<Sample> {
        self.samples.truncate(SAMPLES_MAX - 1);
        self.samples.push(last);
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_a_bounded_number_of_equally_spaced_samples() {
        let mut timeline = Timeline::new();
        for second in 0..70_000 {
            timeline.push(Sample { at_s: f64::from(second), ..Sample::default() });
        }
        let samples = timeline.finish(Sample { at_s: 70_000.5, ..Sample::default() });
        assert!((SAMPLES_MAX / 2..=SAMPLES_MAX).contains(&samples.len()), "{}", samples.len());
        let steps: Vec<f64> = samples[..samples.len() - 1].windows(2).map(|pair| pair[1].at_s - pair[0].at_s).collect();
        assert!(steps.iter().all(|step| (step - 8.0).abs() < 1e-9), "{:?}", &steps[..5]);
        assert!((samples[samples.len() - 1].at_s - 70_000.5).abs() < 1e-9);
    }
}

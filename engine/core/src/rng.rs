//! Random streams that repeat: each component draws from one of its own, derived from the node's seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A seeded stream of random numbers. Equal seeds and labels give equal streams, on every platform.
#[derive(Clone, Debug)]
pub struct Stream(Pcg64Mcg);

impl Stream {
    /// The stream of the component `label` under `seed`. Streams of different labels are independent, so that a draw
    /// more in one component leaves the others as they were.
    pub fn new(seed: u64, label: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(label.as_bytes());
        let mut state = [0; 16];
        hasher.finalize_xof().fill(&mut state);
        Self(Pcg64Mcg::from_seed(state))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// A number below `bound`, each with the same probability; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        // Drawn as 64 bits, so that 32-bit platforms get the same stream.
        usize::try_from(self.0.random_range(0..bound as u64)).unwrap_or(0)
    }

    /// Puts `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// `count` of `items`, or all where there are no more, in a random order. Takes as long for a million as for a hundred.
    pub fn sample<T: Copy>(&mut self, items: &[T], count: usize) -> Vec<T> {
        if items.len() <= 4 * count {
            let mut all = items.to_vec();
            self.shuffle(&mut all);
            all.truncate(count);
            return all;
        }
        let mut places = Vec::with_capacity(count);
        while places.len() < count {
            let place = self.below(items.len());
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places.into_iter().map(|place| items[place]).collect()
    }

    /// A number of [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A time of [`from`, `to`); `from` where the range is empty.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + to.saturating_sub(from).mul_f64(self.unit())
    }

    /// `around` give or take a quarter, so that nodes that began together do not act together for ever.
    pub fn jittered(&mut self, around: Duration) -> Duration {
        self.between(around.mul_f64(0.75), around.mul_f64(1.25))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_and_labels_repeat_and_others_differ() {
        let draw = |seed, label| {
            let mut stream = Stream::new(seed, label);
            std::array::from_fn::<u64, 4, _>(|_| stream.bits())
        };
        assert_eq!(draw(1, "membership"), draw(1, "membership"));
        assert_ne!(draw(1, "membership"), draw(2, "membership"));
        assert_ne!(draw(1, "membership"), draw(1, "swarm"));
    }

    #[test]
    fn a_sample_has_no_item_twice_and_reaches_all() {
        let mut stream = Stream::new(3, "sample");
        for length in [0, 1, 5, 16, 17, 64, 65, 1000] {
            let items: Vec<_> = (0..length).collect();
            let mut reached = vec![false; length];
            for _ in 0..1000 {
                let mut sample = stream.sample(&items, 16);
                assert_eq!(sample.len(), length.min(16));
                for &item in &sample {
                    reached[item] = true;
                }
                sample.sort_unstable();
                sample.dedup();
                assert_eq!(sample.len(), length.min(16), "none twice");
            }
            assert!(reached.into_iter().all(|reached| reached), "{length} items");
        }
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut stream = Stream::new(7, "bounds");
        assert_eq!(stream.below(0), 0);
        for bound in 1..100 {
            assert!(stream.below(bound) < bound);
        }
        let (from, to) = (Duration::from_millis(3), Duration::from_millis(5));
        for _ in 0..100 {
            let drawn = stream.between(from, to);
            assert!(drawn >= from && drawn < to);
        }
        assert_eq!(stream.between(to, from), to);
    }
}

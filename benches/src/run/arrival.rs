//! Which node begins when: the scenario's waves, against the clock and what has ended.

use std::{collections::VecDeque, time::Duration};

use shoal_sim::scenario::Wave;

/// Nodes that have not begun yet.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    waves: VecDeque<Wave>,
    /// When the first of `waves` began, since the clock started; `None` while it waits for the wave before.
    began: Option<Duration>,
}

impl Arrivals {
    /// None has begun.
    pub(crate) fn new(waves: Vec<Wave>) -> Self {
        Self { waves: waves.into(), began: None }
    }

    /// The nodes that begin now, `elapsed` after the clock started, while `at_work` of those before have not ended.
    pub(crate) fn due(&mut self, elapsed: Duration, at_work: usize) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some(wave) = self.waves.front_mut() {
            if self.began.is_none() && (at_work > 0 || !due.is_empty()) {
                break;
            }
            let began = *self.began.get_or_insert(elapsed);
            let count = wave.starts.partition_point(|start| began + start.after <= elapsed);
            due.extend(wave.starts.drain(..count).map(|start| start.node));
            if !wave.starts.is_empty() {
                break;
            }
            self.waves.pop_front();
            self.began = None;
        }
        due
    }

    /// When the clock alone makes the next nodes begin.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        Some(self.began? + self.waves.front()?.starts.first()?.after)
    }

    /// A node that was killed does not begin any more.
    pub(crate) fn forget(&mut self, node: u32) {
        for wave in &mut self.waves {
            wave.starts.retain(|start| start.node != node);
        }
    }

    /// Whether all have begun.
    pub(crate) fn is_over(&self) -> bool {
        self.waves.iter().all(|wave| wave.starts.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use shoal_sim::scenario::Start;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wave(starts: &[(u32, u32)]) -> Wave {
        Wave { starts: starts.iter().map(|(node, after)| Start { node: *node, after: SECOND * *after }).collect() }
    }

    #[test]
    fn those_of_one_wave_begin_by_the_clock() {
        let mut arrivals = Arrivals::new(vec![wave(&[(3, 0), (1, 0), (2, 5)])]);
        assert_eq!(arrivals.due(Duration::ZERO, 0), [3, 1]);
        assert_eq!(arrivals.next_at(), Some(5 * SECOND));
        assert_eq!(arrivals.due(4 * SECOND, 2), [0; 0]);
        assert!(!arrivals.is_over());
        assert_eq!(arrivals.due(6 * SECOND, 2), [2]);
        assert!(arrivals.is_over());
        assert_eq!(arrivals.next_at(), None);
    }

    #[test]
    fn the_next_wave_begins_when_the_one_before_has_ended_and_counts_from_then() {
        let mut arrivals = Arrivals::new(vec![wave(&[(0, 0), (1, 0)]), wave(&[(2, 0), (3, 2)])]);
        assert_eq!(arrivals.due(Duration::ZERO, 0), [0, 1]);
        assert_eq!(arrivals.due(10 * SECOND, 1), [0; 0]);
        assert_eq!(arrivals.next_at(), None, "not the clock, but an end lets them begin");
        assert_eq!(arrivals.due(11 * SECOND, 0), [2]);
        assert_eq!(arrivals.next_at(), Some(13 * SECOND));
        assert_eq!(arrivals.due(13 * SECOND, 0), [3]);
        assert!(arrivals.is_over());
    }

    #[test]
    fn one_that_was_killed_is_not_waited_for() {
        let mut arrivals = Arrivals::new(vec![wave(&[(0, 0)]), wave(&[(1, 0)]), wave(&[(2, 0)])]);
        assert_eq!(arrivals.due(Duration::ZERO, 0), [0]);
        arrivals.forget(1);
        assert_eq!(arrivals.due(SECOND, 0), [2]);
        let mut none = Arrivals::new(vec![wave(&[(0, 0)])]);
        none.forget(0);
        assert!(none.is_over() && none.due(Duration::ZERO, 0).is_empty());
    }
}

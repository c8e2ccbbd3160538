//! Which node begins when: the scenario's waves, against the clock and what has ended.

use std::{collections::VecDeque, time::Duration};

use crate::{scenario::Wave, time::Nanos};

/// Nodes that have not begun yet.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    waves: VecDeque<Wave>,
    /// When the first of `waves` began; `None` while it waits for the wave before.
    began: Option<Nanos>,
}

impl Arrivals {
    /// None has begun.
    pub(crate) fn new(waves: Vec<Wave>) -> Self {
        Self { waves: waves.into(), began: None }
    }

    /// The nodes that begin now, while `at_work` of those before have not ended.
    pub(crate) fn due(&mut self, now: Nanos, at_work: u32) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some(wave) = self.waves.front_mut() {
            if self.began.is_none() && (at_work > 0 || !due.is_empty()) {
                break;
            }
            let began = *self.began.get_or_insert(now);
            let count = wave.starts.partition_point(|start| began + start.after <= now);
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
    pub(crate) fn next_at(&self) -> Option<Nanos> {
        let after: Duration = self.waves.front()?.starts.first()?.after;
        Some(self.began? + after)
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
    use super::*;
    use crate::scenario::Start;

    fn wave(starts: &[(u32, u64)]) -> Wave {
        let start = |(node, after): &(u32, u64)| Start { node: *node, after: Duration::from_nanos(*after) };
        Wave { starts: starts.iter().map(start).collect() }
    }

    #[test]
    fn those_of_one_wave_begin_by_the_clock_and_the_next_wave_when_all_have_ended() {
        let mut arrivals = Arrivals::new(vec![wave(&[(3, 0), (1, 0), (2, 5)]), wave(&[(7, 0)])]);
        assert_eq!(arrivals.due(Nanos(10), 0), [3, 1]);
        assert_eq!(arrivals.next_at(), Some(Nanos(15)));
        assert_eq!(arrivals.due(Nanos(14), 2), [0; 0]);
        assert_eq!(arrivals.due(Nanos(15), 2), [2]);
        assert_eq!(arrivals.next_at(), None);
        assert_eq!(arrivals.due(Nanos(40), 1), [0; 0]);
        assert!(!arrivals.is_over());
        assert_eq!(arrivals.due(Nanos(50), 0), [7]);
        assert!(arrivals.is_over());
    }

    #[test]
    fn a_killed_node_does_not_begin() {
        let mut arrivals = Arrivals::new(vec![wave(&[(0, 0), (1, 9)])]);
        arrivals.forget(1);
        assert_eq!(arrivals.due(Nanos(0), 0), [0]);
        assert!(arrivals.is_over());
    }
}

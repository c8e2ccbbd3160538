//! Healing of partitions: dead members are tried again now and then (Serf's rule).
//!
//! With probability dead / alive in each interval one dead member is tried, so that the whole cluster makes about one
//! attempt for each dead member in that time, however many members it has. A dead member that answers learns what is
//! believed of it, refutes, and then digests are exchanged with it.

use super::{Membership, member::Health, timer::Timer};
use crate::time::Time;

impl Membership {
    /// Tries a dead member, perhaps.
    pub(super) fn reconnect(&mut self, now: Time) {
        let next = self.random.jittered(self.config.reconnect_interval);
        self.set_timer(Timer::Reconnect, now, next);
        let gone = self.members.gone_count();
        let probability = gone as f64 / self.members.alive_count() as f64;
        if gone == 0 || !self.random.chance(probability) {
            return;
        }
        if let Some(member) = self.members.any_gone(&mut self.random)
            && matches!(member.health, Health::Dead { .. })
        {
            let to = member.address();
            let sequence = self.prober.next_sequence();
            self.introduce(to, sequence);
        }
    }
}

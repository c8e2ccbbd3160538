//! Everything that membership waits for, in the order in which it is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shoal_wire::ids::MemberId;

use crate::time::Time;

/// What a time stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Judge the probe that runs, and begin the next.
    Probe,
    /// The direct ping was not answered: ask helpers.
    Indirect,
    /// The relayed ping with this number was not answered: nack.
    Relay(u32),
    /// Send gossip.
    Gossip,
    /// The suspect has not refuted.
    Suspicion(MemberId),
    /// The oldest of those who are gone is to be forgotten.
    Forget,
    /// Exchange digests.
    Sync,
    /// Try to reach a dead member.
    Reconnect,
    /// A seed is due.
    Seeds,
    /// The snapshot's page did not come, or a retry is due.
    Snapshot,
    /// Defend this node's identity.
    Reclaim,
}

/// Timers, at most one of each value.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Time, Timer)>,
    due: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Sets a timer, in place of its earlier time.
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.cancel(timer);
        self.order.insert((at, timer));
        self.due.insert(timer, at);
    }

    /// Sets a timer unless it is due earlier.
    pub(super) fn set_earlier(&mut self, timer: Timer, at: Time) {
        if self.due.get(&timer).is_none_or(|&due| due > at) {
            self.set(timer, at);
        }
    }

    /// Cancels a timer, if it is set.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.due.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// When a timer is due.
    pub(super) fn get(&self, timer: Timer) -> Option<Time> {
        self.due.get(&timer).copied()
    }

    /// When the first is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Takes the first timer that is due at `now`.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        let &(at, timer) = self.order.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    /// Timers that match.
    pub(super) fn matching(&self, matches: impl Fn(Timer) -> bool) -> Vec<Timer> {
        self.due.keys().copied().filter(|&timer| matches(timer)).collect()
    }

    /// Moves a timer, if it is set.
    pub(super) fn postpone(&mut self, timer: Timer, by: Duration) {
        if let Some(at) = self.get(timer) {
            self.set(timer, at + by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_once_and_in_order() {
        let at = Time::from_micros;
        let mut timers = Timers::default();
        timers.set(Timer::Probe, at(30));
        timers.set(Timer::Gossip, at(20));
        timers.set(Timer::Gossip, at(10));
        timers.set_earlier(Timer::Probe, at(40));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(50)), Some(Timer::Gossip));
        timers.postpone(Timer::Probe, Duration::from_micros(5));
        assert_eq!(timers.pop(at(34)), None);
        assert_eq!(timers.pop(at(35)), Some(Timer::Probe));
        assert_eq!(timers.next(), None);
    }
}

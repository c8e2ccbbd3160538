//! How many leases are at work at once in the whole cluster, for one blob.
//!
//! Too many, and all pieces arrive late and together, each at a single holder; too few, and the upstream idles. The
//! limit climbs the hill of the measured total rate: one more while that raises the rate by 5 %, else one less and a
//! pause. (The additive part of AIMD, Chiu and Jain 1989, with the rate in place of a loss signal.)

use std::time::Duration;

use crate::{config::InjectionConfig, time::Time};

/// Time over which a rate is measured before the limit moves, and windows without a move after a step that did not pay.
const WINDOW: Duration = Duration::from_secs(2);
const PAUSE_WINDOWS: u32 = 5;

/// The limit and what it learns from.
#[derive(Debug)]
pub(super) struct Concurrency {
    limit: u32,
    max: u32,
    window_start: Time,
    window_bytes: u64,
    previous_rate: Option<f64>,
    stepped_up: bool,
    pause: u32,
}

impl Concurrency {
    pub(super) fn new(now: Time, config: &InjectionConfig) -> Self {
        Self {
            limit: config.leases_start,
            max: config.leases_max,
            window_start: now,
            window_bytes: 0,
            previous_rate: None,
            stepped_up: false,
            pause: 0,
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// The upstream asks for less.
    pub(super) fn halve(&mut self) {
        self.limit = (self.limit / 2).max(1);
        self.pause = PAUSE_WINDOWS;
    }

    /// Counts bytes that came from the upstream.
    pub(super) fn count(&mut self, bytes: u64) {
        self.window_bytes += bytes;
    }

    /// Moves the limit at the end of a window. `saturated` says that all leases allowed were at work.
    pub(super) fn tick(&mut self, now: Time, saturated: bool) {
        let elapsed = now.since(self.window_start);
        if elapsed < WINDOW {
            return;
        }
        let rate = self.window_bytes as f64 / elapsed.as_secs_f64();
        self.window_start = now;
        self.window_bytes = 0;
        let previous = self.previous_rate.replace(rate);
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let Some(previous) = previous.filter(|_| saturated) else { return };
        if self.stepped_up && rate < previous * 1.05 {
            self.stepped_up = false;
            self.limit = (self.limit - 1).max(1);
            self.pause = PAUSE_WINDOWS;
        } else {
            self.stepped_up = self.limit < self.max;
            self.limit = (self.limit + 1).min(self.max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs windows in which the upstream gives `rate(limit)` bytes a second.
    fn run(windows: u32, rate: impl Fn(u32) -> u64) -> Concurrency {
        let config = InjectionConfig::default();
        let mut concurrency = Concurrency::new(Time::ZERO, &config);
        for window in 1..=windows {
            concurrency.count(rate(concurrency.limit()) * 2);
            concurrency.tick(Time::ZERO + WINDOW * window, true);
        }
        concurrency
    }

    #[test]
    fn it_climbs_while_each_connection_is_the_limit() {
        let config = InjectionConfig::default();
        assert_eq!(run(60, |limit| u64::from(limit) * 1_000_000).limit(), config.leases_max);
    }

    #[test]
    fn it_stays_where_more_connections_bring_nothing() {
        let config = InjectionConfig::default();
        let limit = run(60, |_| 10_000_000).limit();
        assert!((config.leases_start - 1..=config.leases_start + 1).contains(&limit), "{limit}");
    }

    #[test]
    fn it_halves_to_one_at_least() {
        let mut concurrency = Concurrency::new(Time::ZERO, &InjectionConfig::default());
        (0..10).for_each(|_| concurrency.halve());
        assert_eq!(concurrency.limit(), 1);
    }
}

//! How many leases are at work at once in the whole cluster, for one blob.
//!
//! Too many, and all pieces arrive late and together, each at a single holder; too few, and the upstream idles. The
//! limit climbs the hill of the measured total rate: one more while that raises the rate by 5 %, else one less and a
//! pause. (The additive part of AIMD, Chiu and Jain 1989, with the rate in place of a loss signal.)
//!
//! That is slow where the upstream is faster than the nodes: once these exchange pieces, a lease gets a small share of its
//! holder's link, and the rate falls whatever the limit does. So while the swarm waits for the upstream, and that sends much
//! less than it has sent before, the limit grows by half at each window. Pieces count once they are whole: over a slow link a
//! short window has few, and one in which several happened to end would make all later ones look idle. So a window lasts
//! until each lease may have brought two.

use std::time::Duration;

use crate::{config::InjectionConfig, time::Time};

/// Time over which a rate is measured before the limit moves; less where so many pieces have come.
const WINDOW: Duration = Duration::from_secs(2);
const WINDOW_MIN: Duration = Duration::from_millis(500);
const WINDOW_PIECES: u64 = 32;

/// More where fewer pieces than this have come for each lease, but no more than so much.
const LEASE_PIECES: u64 = 2;
const WINDOW_MAX: Duration = Duration::from_secs(8);

/// Windows without a move after a step that did not pay.
const PAUSE_WINDOWS: u32 = 5;

/// The upstream sends much less than it can below this share of the most that it has sent.
const IDLE_SHARE: f64 = 0.7;

/// More leases that brought nothing say that it cannot send so much any more: what it has shown counts for so much.
const PEAK_KEPT: f64 = 0.9;

/// A rise of the rate that is no chance.
const RISE: f64 = 1.05;

/// A wanter that lacks more than others lately counts for so much.
const LACKING_WEIGHT: f64 = 1.0 / 16.0;

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
    /// Bytes in a second that it has sent at most, of late.
    peak_rate: f64,
    /// Whether the limit grew by half at the last window.
    leapt: bool,
    /// Pieces that are about and that wanters lack: those that lack fewest, as far as they announced themselves lately, since
    /// they are the ones that wait for the upstream.
    lacking: f64,
    hungry_pieces: f64,
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
            peak_rate: 0.0,
            leapt: false,
            lacking: 0.0,
            hungry_pieces: f64::from(config.hungry_pieces),
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// The upstream asks for less.
    pub(super) fn halve(&mut self) {
        self.limit = (self.limit / 2).max(1);
        self.pause = PAUSE_WINDOWS;
        self.peak_rate = 0.0;
    }

    /// A wanter lacks so many of the pieces that are about.
    pub(super) fn note_lacking(&mut self, pieces: u32) {
        let pieces = f64::from(pieces);
        self.lacking = pieces.min(self.lacking + (pieces - self.lacking) * LACKING_WEIGHT);
    }

    /// Counts bytes that came from the upstream.
    pub(super) fn count(&mut self, bytes: u64) {
        self.window_bytes += bytes;
    }

    /// Moves the limit at the end of a window. `saturated` says that all leases allowed were at work.
    pub(super) fn tick(&mut self, now: Time, saturated: bool, piece_bytes: u64) {
        let elapsed = now.since(self.window_start);
        let has = |pieces: u64| self.window_bytes >= pieces.saturating_mul(piece_bytes);
        let is_due = elapsed >= WINDOW || elapsed >= WINDOW_MIN && has(WINDOW_PIECES);
        let says_enough = elapsed >= WINDOW_MAX || has(LEASE_PIECES * u64::from(self.limit));
        // With nothing in it, it says nothing: leases that share a slow upstream have not got a piece each yet, and more of them
        // would only take longer, until they are taken back.
        if !is_due || !says_enough || self.window_bytes == 0 {
            return;
        }
        let rate = self.window_bytes as f64 / elapsed.as_secs_f64();
        self.window_start = now;
        self.window_bytes = 0;
        let previous = self.previous_rate.replace(rate);
        if std::mem::take(&mut self.leapt) && previous.is_some_and(|previous| rate < previous * RISE) {
            self.peak_rate *= PEAK_KEPT;
        }
        self.peak_rate = self.peak_rate.max(rate);
        let is_idle = rate < self.peak_rate * IDLE_SHARE && self.lacking < self.hungry_pieces;
        if saturated && is_idle && self.limit < self.max {
            return self.leap();
        }
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let Some(previous) = previous.filter(|_| saturated) else { return };
        if self.stepped_up && rate < previous * RISE {
            self.stepped_up = false;
            self.limit = (self.limit - 1).max(1);
            self.pause = PAUSE_WINDOWS;
        } else {
            self.stepped_up = self.limit < self.max;
            self.limit = (self.limit + 1).min(self.max);
        }
    }

    fn leap(&mut self) {
        self.limit = (self.limit + (self.limit / 2).max(1)).min(self.max);
        self.leapt = true;
        self.stepped_up = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE_BYTES: u64 = 512 * 1024;

    /// Runs windows in which the upstream gives `rate(limit)` bytes a second.
    fn run(windows: u32, rate: impl Fn(u32) -> u64) -> Concurrency {
        let config = InjectionConfig::default();
        let mut concurrency = Concurrency::new(Time::ZERO, &config);
        for window in 1..=windows {
            concurrency.count(rate(concurrency.limit()) * 2);
            concurrency.tick(Time::ZERO + WINDOW * window, true, PIECE_BYTES);
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

    /// An upstream that sends each lease of `limit` a hundredth of what it sent in the first window, and wanters that lack so many
    /// pieces, in turn. The limit after four more windows.
    fn after_the_rate_has_fallen(lacking: [u32; 2]) -> u32 {
        let mut concurrency = Concurrency::new(Time::ZERO, &InjectionConfig::default());
        for window in 1..=5 {
            let rate = if window == 1 { 100_000_000 } else { u64::from(concurrency.limit()) * 1_000_000 };
            concurrency.count(rate * 2);
            (0..100).for_each(|wanter| concurrency.note_lacking(lacking[wanter % 2]));
            concurrency.tick(Time::ZERO + WINDOW * window, true, PIECE_BYTES);
        }
        concurrency.limit()
    }

    #[test]
    fn it_returns_to_what_the_upstream_has_sent_before_while_the_swarm_waits_for_it() {
        let config = InjectionConfig::default();
        assert_eq!(after_the_rate_has_fallen([config.hungry_pieces / 2; 2]), config.leases_max);
        let limit = after_the_rate_has_fallen([config.hungry_pieces / 2, config.hungry_pieces * 4]);
        assert_eq!(limit, config.leases_max, "those who came late need not wait, the others do");
        let limit = after_the_rate_has_fallen([config.hungry_pieces * 2; 2]);
        assert_eq!(limit, config.leases_start + 4, "one more for each window, as the rate rises");
    }

    #[test]
    fn pieces_of_a_slow_link_that_end_together_do_not_make_it_look_idle_later() {
        let mut concurrency = Concurrency::new(Time::ZERO, &InjectionConfig::default());
        for (window, pieces) in (1..).zip([16, 8, 14, 10, 13, 7, 16, 9, 14, 8, 15, 11, 12, 9, 15]) {
            concurrency.count(pieces * PIECE_BYTES);
            concurrency.tick(Time::ZERO + WINDOW * window, true, PIECE_BYTES);
        }
        assert!(concurrency.limit() < InjectionConfig::default().leases_max * 3 / 4, "{} leases", concurrency.limit());
    }

    #[test]
    fn an_upstream_that_has_become_slower_is_left_alone_in_the_end() {
        let config = InjectionConfig { leases_max: 1000, ..InjectionConfig::default() };
        let mut concurrency = Concurrency::new(Time::ZERO, &config);
        for window in 1..=100 {
            concurrency.count(if window == 1 { 30_000_000 } else { 10_000_000 });
            concurrency.tick(Time::ZERO + WINDOW * window, true, PIECE_BYTES);
        }
        assert!(concurrency.limit() < 200, "{} leases", concurrency.limit());
    }

    #[test]
    fn an_upstream_that_asks_for_less_is_not_asked_for_what_it_has_sent_before() {
        let mut concurrency = Concurrency::new(Time::ZERO, &InjectionConfig::default());
        concurrency.count(100_000_000);
        concurrency.tick(Time::ZERO + WINDOW, true, PIECE_BYTES);
        concurrency.halve();
        let halved = concurrency.limit();
        for window in 2..=1 + PAUSE_WINDOWS {
            concurrency.count(10_000_000);
            concurrency.tick(Time::ZERO + WINDOW * window, true, PIECE_BYTES);
            assert_eq!(concurrency.limit(), halved, "after {window} windows");
        }
    }

    #[test]
    fn many_pieces_make_a_window_short() {
        let mut concurrency = Concurrency::new(Time::ZERO, &InjectionConfig::default());
        let start = concurrency.limit();
        for window in 1..=2 {
            concurrency.count(1_000_000 * window);
            concurrency.tick(
                Time::ZERO + WINDOW_MIN * u32::try_from(window).expect("few"),
                true,
                1_000_000 / WINDOW_PIECES,
            );
        }
        assert_eq!(concurrency.limit(), start + 1, "the second window was over after a second");
    }

    #[test]
    fn few_pieces_make_a_window_long() {
        let mut concurrency = Concurrency::new(Time::ZERO, &InjectionConfig::default());
        let start = concurrency.limit();
        // Two pieces for each lease come in the first window, and in the second after four seconds. The third ends after eight with
        // one piece, and the limit leaps.
        for (seconds, pieces, limit) in
            [(2, 8, start), (4, 4, start), (6, 8, start + 1), (8, 1, start + 1), (12, 0, start + 1), (14, 0, start + 3)]
        {
            concurrency.count(pieces * PIECE_BYTES);
            concurrency.tick(Time::ZERO + Duration::from_secs(seconds), true, PIECE_BYTES);
            assert_eq!(concurrency.limit(), limit, "after {seconds} s");
        }
    }

    #[test]
    fn it_halves_to_one_at_least() {
        let mut concurrency = Concurrency::new(Time::ZERO, &InjectionConfig::default());
        (0..10).for_each(|_| concurrency.halve());
        assert_eq!(concurrency.limit(), 1);
    }
}

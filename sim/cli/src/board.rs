//! What a terminal shows while a run is computed. In a pipe it shows nothing.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Parts of the bar.
const STEPS: f64 = 1000.0;
/// Between two looks of the bar: often enough for people, too seldom to cost anything.
const PERIOD: Duration = Duration::from_millis(100);

/// One line at the bottom of the terminal. It goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Board {
    bar: ProgressBar,
    shown: Instant,
}

impl Board {
    /// A line that is seen where standard error is a terminal.
    pub(crate) fn new(scenario: &str) -> Self {
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {prefix}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        let bar = ProgressBar::new(1000).with_style(style).with_message(scenario.to_owned());
        bar.tick();
        Self { bar, shown: Instant::now() }
    }

    /// Says how far a run is: virtual seconds, share of all bytes, pulls that are done, and all pulls.
    pub(crate) fn show(&mut self, virtual_s: f64, share: f64, done: u32, pulls: u32) {
        if self.shown.elapsed() < PERIOD {
            return;
        }
        self.shown = Instant::now();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a thousand")]
        self.bar.set_position((share.clamp(0.0, 1.0) * STEPS) as u64);
        let percent = (share * 100.0).floor();
        self.bar.set_prefix(format!(
            "{percent:.0} % of the bytes, {virtual_s:.2} s of virtual time, {done} of {pulls} nodes done"
        ));
    }
}

impl Board {
    /// Says how far a check is: seeds begun, all seeds, and how many failed.
    pub(crate) fn show_seeds(&mut self, begun: u64, seeds: u64, failed: u64) {
        let share = begun as f64 / seeds.max(1) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a thousand")]
        self.bar.set_position((share.clamp(0.0, 1.0) * STEPS) as u64);
        self.bar.set_prefix(format!("{begun} of {seeds} seeds, {failed} failed"));
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One line at the bottom of the terminal while many runs are made.
#[derive(Debug)]
pub(crate) struct Tally {
    bar: ProgressBar,
}

impl Tally {
    /// For a round of so many rounds, from 1, with so many runs.
    pub(crate) fn new(round: usize, rounds: usize, runs: usize) -> Self {
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos} of {len} runs, {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        let bar = ProgressBar::new(runs as u64).with_style(style).with_message(format!("round {round} of {rounds}"));
        bar.tick();
        Self { bar }
    }

    /// So many runs are done.
    pub(crate) fn show(&mut self, done: usize) {
        self.bar.set_position(done as u64);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

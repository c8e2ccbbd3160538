//! What a terminal shows while the laboratory works. In a pipe it shows nothing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Parts of the bar.
const STEPS: u64 = 1000;

/// One line at the bottom of the terminal. It goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Board {
    bar: ProgressBar,
}

impl Board {
    /// A line that is seen where standard error is a terminal.
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {prefix}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        Self { bar: ProgressBar::new(STEPS).with_style(style) }
    }

    /// Says what is being done.
    pub(crate) fn doing(&self, what: impl Into<String>) {
        self.bar.set_position(0);
        self.bar.set_prefix("");
        self.bar.set_message(what.into());
        self.bar.tick();
    }

    /// Says how far a run is.
    pub(crate) fn show(&self, share: f64, elapsed: Duration, finished: usize, pullers: usize) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a thousand")]
        self.bar.set_position((share * STEPS as f64) as u64);
        self.bar.set_prefix(format!("{:.1} s, {finished} of {pullers} nodes", elapsed.as_secs_f64()));
    }

    /// Says something that stays, also in a pipe.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

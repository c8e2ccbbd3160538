//! What a run shows on a terminal while it works. In a pipe it shows nothing.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::format::BytesPerSecond;

/// Bars of a run: a line about the whole, and a bar for each node. It clears itself when it is dropped.
#[derive(Debug)]
pub(crate) struct Board {
    all: MultiProgress,
    title: String,
    whole: ProgressBar,
    nodes: Vec<ProgressBar>,
}

impl Board {
    /// A board with nothing but a title.
    pub(crate) fn working_on(title: &str) -> Self {
        Self::new(title, 0, 0)
    }

    /// A board for `nodes` nodes that pull `bytes` bytes each.
    pub(crate) fn new(title: &str, nodes: u32, bytes: u64) -> Self {
        let all = MultiProgress::new();
        let line = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressStyle::with_template("  {prefix:<8} [{bar:40}] {percent:>3} %  {bytes} of {total_bytes}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let whole = all.add(ProgressBar::new_spinner().with_style(line).with_message(title.to_owned()));
        whole.tick();
        let nodes = (1..=nodes)
            .map(|number| {
                let bar = ProgressBar::new(bytes).with_style(bar.clone()).with_prefix(format!("node {number}"));
                all.add(bar)
            })
            .collect();
        Self { all, title: title.to_owned(), whole, nodes }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_visible(&self) -> bool {
        !self.all.is_hidden()
    }

    /// Shows how far each node is, and the rates of the upstream and, where there are some, of all peers together.
    pub(crate) fn show(&self, elapsed: Duration, delivered: &[u64], upstream: f64, peers: Option<f64>) {
        if !self.is_visible() {
            return;
        }
        let peers = peers.map(|rate| format!(", peers {}", BytesPerSecond(rate))).unwrap_or_default();
        let upstream = BytesPerSecond(upstream);
        self.whole.set_message(format!("{}: {:.1} s, upstream {upstream}{peers}", self.title, elapsed.as_secs_f64()));
        for (bar, bytes) in self.nodes.iter().zip(delivered) {
            bar.set_position(*bytes);
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        for bar in &self.nodes {
            bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
        // It fails only where the terminal is gone.
        drop(self.all.clear());
    }
}

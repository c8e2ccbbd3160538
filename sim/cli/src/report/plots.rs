//! The plots of a run.

use shoal_sim::{
    plot::{Colour, Completion, Curve, INK, Lines, Look, PALETTE, Plot, PlotError, Series},
    run::{End, Row},
    statistics::mean_rates,
};

use super::Report;

const BLUE: Colour = PALETTE[0];
const RED: Colour = PALETTE[1];
const GREEN: Colour = PALETTE[2];

const BYTES_PER_S_IN_MBIT: f64 = 125e3;
/// From so many Mbit/s a plot counts in Gbit/s.
const MBIT_MAX: f64 = 10_000.0;

/// Points of a curve: means over so long a part of the run, since whole pieces arrive.
const PARTS: f64 = 60.0;

impl Report {
    /// All plots, in the order of the page.
    ///
    /// # Errors
    /// One cannot be drawn.
    pub(super) fn plots(&self) -> Result<Vec<Plot>, PlotError> {
        let mut plots = Vec::new();
        plots.extend(self.completion()?);
        for lines in [self.throughput(), self.upstream_egress(), self.utilisation(), self.uploads()] {
            plots.push(lines.plot()?);
        }
        Ok(plots)
    }

    /// None where nothing finished.
    fn completion(&self) -> Result<Option<Plot>, PlotError> {
        let times = self.outcome.completions_s();
        if times.is_empty() {
            return Ok(None);
        }
        let curve = |name: &str, colour, is_bound, times| Curve { name: name.to_owned(), colour, is_bound, times };
        let mut curves = vec![curve("bound", INK, true, self.bounds.finishers_s.clone())];
        curves.extend(self.other_curves());
        curves.push(curve("shoal", BLUE, false, times));
        let completion = Completion {
            name: "completion".to_owned(),
            description: "Share of nodes that are done over time, beside the best that the links allow.".to_owned(),
            title: format!("Nodes that are done: {}", self.title()),
            subtitle: "% of the nodes that pulled to the end".to_owned(),
            curves,
        };
        completion.plot().map(Some)
    }

    fn throughput(&self) -> Lines {
        let total: f64 = self.outcome.nodes.iter().map(|node| node.down_bytes_per_s).sum();
        let arriving = self.rates(|row| row.delivered_bytes);
        let unit = Unit::of(total.max(most(&arriving)));
        let all_links = Series { look: Look::Dashes, ..self.level("all nodes' links", INK, unit.of_rate(total)) };
        self.time_plot(
            "throughput",
            "Bytes that arrive at all nodes together",
            &format!("{}; broken line: what all nodes' links could take in", unit.name),
            vec![series("arriving", BLUE, Look::Area, unit.scaled(arriving)), all_links],
        )
    }

    fn upstream_egress(&self) -> Lines {
        let rate = self.scenario.upstream.rate as f64;
        let sent = self.rates(|row| row.upstream_bytes);
        let unit = Unit::of(rate.max(most(&sent)));
        let link = Series { look: Look::Dashes, ..self.level("its link", INK, unit.of_rate(rate)) };
        self.time_plot(
            "upstream",
            "What the upstream sends",
            &format!("{}; {:.2} copies of the content in all", unit.name, self.figures.upstream_copies),
            vec![series("upstream", RED, Look::Area, unit.scaled(sent)), link],
        )
    }

    /// Links count with their rates at the start.
    fn utilisation(&self) -> Lines {
        let up: f64 = self.outcome.nodes.iter().map(|node| node.up_bytes_per_s).sum();
        let down: f64 = self.outcome.nodes.iter().map(|node| node.down_bytes_per_s).sum();
        let used = |name, colour, counter, all: f64| {
            let percent = |(at_s, rate)| (at_s, if all > 0.0 { 100.0 * rate / all } else { 0.0 });
            series(name, colour, Look::Line, self.rates(counter).into_iter().map(percent).collect())
        };
        let lines = self.time_plot(
            "utilisation",
            "Links in use",
            "% of what all links of a kind can carry together",
            vec![
                used("upstream", RED, |row| row.upstream_bytes, self.scenario.upstream.rate as f64),
                used("nodes' uplinks", GREEN, |row| row.delivered_bytes.saturating_sub(row.upstream_bytes), up),
                used("nodes' downlinks", BLUE, |row| row.delivered_bytes, down),
            ],
        );
        Lines { y_max: 100.0, ..lines }
    }

    /// How the work of sending is spread.
    fn uploads(&self) -> Lines {
        let alive = self.outcome.nodes.iter().filter(|node| node.end != End::Killed);
        let content_bytes = self.outcome.content_bytes.max(1) as f64;
        let mut copies: Vec<f64> = alive.map(|node| node.up_bytes as f64 / content_bytes).collect();
        copies.sort_by(f64::total_cmp);
        let mean = copies.iter().sum::<f64>() / copies.len().max(1) as f64;
        let percent = |position: usize| 100.0 * position as f64 / copies.len() as f64;
        // A step for each node, so that one node is seen as one.
        let steps = copies.iter().enumerate();
        let steps = steps.flat_map(|(position, value)| [(percent(position), *value), (percent(position + 1), *value)]);
        Lines {
            name: "uploads".to_owned(),
            description: "Bytes that each node sent to others, nodes in ascending order, and their mean.".to_owned(),
            title: "Share of upload".to_owned(),
            subtitle: "copies of the content that a node sent to others".to_owned(),
            below: "% of the nodes, those that sent least first".to_owned(),
            x_max: 100.0,
            y_max: 0.0,
            series: vec![
                series("nodes", GREEN, Look::Area, thinned(steps.collect())),
                series("mean", INK, Look::Dashes, vec![(0.0, mean), (100.0, mean)]),
            ],
        }
    }

    /// A plot over the time of the run.
    fn time_plot(&self, name: &str, title: &str, subtitle: &str, series: Vec<Series>) -> Lines {
        let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
        Lines {
            name: name.to_owned(),
            description: format!("{title} over time: {}.", names.join(", ")),
            title: title.to_owned(),
            subtitle: subtitle.to_owned(),
            below: "seconds from the first start".to_owned(),
            x_max: self.outcome.makespan_s,
            y_max: 0.0,
            series,
        }
    }

    /// How a counter of bytes grows, in bytes per second.
    fn rates(&self, counter: fn(&Row) -> u64) -> Vec<(f64, f64)> {
        let samples: Vec<(f64, u64)> = self.outcome.series.iter().map(|row| (row.at_s, counter(row))).collect();
        mean_rates(&samples, self.outcome.makespan_s / PARTS)
    }

    /// A line at one height for the whole run.
    fn level(&self, name: &str, colour: Colour, height: f64) -> Series {
        series(name, colour, Look::Line, vec![(0.0, height), (self.outcome.makespan_s, height)])
    }
}

fn series(name: &str, colour: Colour, look: Look, points: Vec<(f64, f64)>) -> Series {
    Series { name: name.to_owned(), colour, look, points }
}

fn most(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).fold(0.0, f64::max)
}

/// Most points of a curve; a plot has fewer pixels.
const POINTS_MAX: usize = 2000;

/// Some of the points, evenly, with the first and the last among them.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let Some(last) = points.len().checked_sub(1).filter(|last| *last >= POINTS_MAX) else { return points };
    (0..POINTS_MAX).map(|number| points[number * last / (POINTS_MAX - 1)]).collect()
}

/// In what a plot counts rates.
#[derive(Clone, Copy)]
struct Unit {
    name: &'static str,
    bytes_per_s: f64,
}

impl Unit {
    /// For rates up to `most` bytes per second.
    fn of(most: f64) -> Self {
        if most / BYTES_PER_S_IN_MBIT >= MBIT_MAX {
            Self { name: "Gbit/s", bytes_per_s: BYTES_PER_S_IN_MBIT * 1000.0 }
        } else {
            Self { name: "Mbit/s", bytes_per_s: BYTES_PER_S_IN_MBIT }
        }
    }

    fn of_rate(self, bytes_per_s: f64) -> f64 {
        bytes_per_s / self.bytes_per_s
    }

    fn scaled(self, points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
        points.into_iter().map(|(at, rate)| (at, self.of_rate(rate))).collect()
    }
}

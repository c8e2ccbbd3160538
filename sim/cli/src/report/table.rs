//! The table for people.

use std::fmt::Write as _;

use shoal_sim::format::{bytes, trimmed};

use super::Report;

/// A row: what it is, the figure, and what helps to judge it.
pub(super) type Row = (&'static str, String, String);

impl Report {
    /// A heading, what it is compared with, a table, and the run in sentences.
    pub fn text(&self) -> String {
        let rows = self.rows();
        let widest = |value: fn(&Row) -> usize| rows.iter().map(value).max().unwrap_or(0);
        let (names, values) = (widest(|row| row.0.chars().count()), widest(|row| row.1.chars().count()));
        let mut text = format!("{}\n{}\n\n{}", self.title(), self.setting(), self.systems_text());
        for (name, value, note) in &rows {
            let line = format!("  {name:<names$}  {value:>values$}  {note}");
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
        for sentence in self.summary() {
            let _ = writeln!(text, "{sentence}");
        }
        text
    }

    /// The figures in the order in which they are read. What does not apply is left out.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = self.times();
        rows.extend(self.costs());
        rows.extend(self.run_itself());
        rows
    }

    fn times(&self) -> Vec<Row> {
        let figures = &self.figures;
        let seconds = |value: f64| format!("{value:.2} s");
        let mut rows = vec![("last node done", seconds(figures.makespan_s), "from the first start".to_owned())];
        rows.push(("bound", seconds(figures.bound_s), "no system can take less over these links".to_owned()));
        if let (Some(ratio), Some(speedup)) = (figures.ratio_to_bound, figures.speedup) {
            rows.push(("of the bound's speed", format!("{:.1} %", ratio * 100.0), "100 % is the optimum".to_owned()));
            let single = format!("{:.2} s if each node took all from the upstream", figures.bound_single_source_s);
            rows.push(("speed-up", format!("{speedup:.2}"), single));
        }
        if let Some(node_s) = figures.node_s {
            rows.push(("node p50", seconds(node_s.p50), format!("of {} pulls, each from its own start", node_s.count)));
            rows.push(("node p99", seconds(node_s.p99), String::new()));
            rows.push(("node p99.9", seconds(node_s.p999), String::new()));
            rows.push(("slowest node", seconds(node_s.max), String::new()));
        }
        if let Some(first) = figures.first_byte_s {
            let slowest = format!("median; the slowest {:.2} s", first.max);
            rows.push(("first byte", seconds(first.p50), slowest));
        }
        rows
    }

    fn costs(&self) -> Vec<Row> {
        let figures = &self.figures;
        let requests = format!(
            "{} requests for blobs, {} for manifests",
            figures.upstream_blob_requests, figures.upstream_manifest_requests
        );
        let mut rows = vec![("upstream copies", format!("{:.3}", figures.upstream_copies), requests)];
        if let (Some(mean), Some(most)) = (figures.cross_zone_copies, figures.cross_zone_copies_max) {
            rows.push(("cross-zone copies", format!("{mean:.3}"), format!("mean of the zones; the most {most:.3}")));
        }
        let duplicates = format!("{:.2} %", figures.duplicate_ratio * 100.0);
        rows.push(("duplicates", duplicates, "of the bytes that arrived".to_owned()));
        if let Some(jain) = figures.jain {
            rows.push((
                "Jain of uploads",
                format!("{jain:.3}"),
                "1 where all gave equal shares of their links".to_owned(),
            ));
        }
        if let Some(ratio) = figures.control_ratio {
            let share = format!("{:.3} % of the bytes of pieces", ratio * 100.0);
            rows.push(("control messages", bytes(figures.control_bytes), share));
        }
        rows
    }

    fn run_itself(&self) -> Vec<Row> {
        let figures = &self.figures;
        let mut rows = Vec::new();
        for (name, count, note) in [
            ("nodes warm", figures.warm_nodes, "had everything before"),
            ("nodes killed", figures.killed_nodes, "by a fault of the scenario"),
            ("nodes excused", figures.excused_nodes, "damage what they serve"),
            ("nodes FAILED", figures.failed_nodes, ""),
        ] {
            if count > 0 {
                rows.push((name, count.to_string(), note.to_owned()));
            }
        }
        let events = format!("{} events", figures.events);
        rows.push(("computed in", format!("{} s", trimmed(figures.wall_s)), events));
        rows.push((
            "event hash",
            figures.event_hash.chars().take(16).collect(),
            "equal runs have equal hashes".to_owned(),
        ));
        rows
    }
}

//! What a run is worth: the objectives of a search.

use crate::{
    run::{End, Outcome},
    scenario::Scenario,
    statistics::median,
};

/// Something that should be small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objective {
    /// Makespan over the least that the links allow: 1 is the optimum.
    Makespan,
    /// Seconds until half of the nodes have their first byte, each from its own start.
    FirstByte,
    /// How far the contiguous prefix lags behind the received share: the mean over the run of the share of all bytes that
    /// nodes have received and readers cannot have yet, 0 to 1.
    PrefixLag,
    /// Copies of the content that the upstream sends.
    Upstream,
    /// Copies that enter a zone, the mean of the zones; none without zones.
    CrossZone,
}

impl Objective {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Makespan, Self::FirstByte, Self::PrefixLag, Self::Upstream, Self::CrossZone];

    /// The name in files.
    pub fn key(self) -> &'static str {
        match self {
            Self::Makespan => "makespan",
            Self::FirstByte => "first_byte",
            Self::PrefixLag => "prefix_lag",
            Self::Upstream => "upstream",
            Self::CrossZone => "cross_zone",
        }
    }

    /// What its number is, for people.
    pub fn about(self) -> &'static str {
        match self {
            Self::Makespan => "makespan over the bound",
            Self::FirstByte => "seconds until the first byte, median",
            Self::PrefixLag => "share received that readers cannot have yet",
            Self::Upstream => "copies from the upstream",
            Self::CrossZone => "copies that enter a zone",
        }
    }

    /// Differences below this are none when candidates are compared in each objective: about what luck makes of it.
    pub(super) fn grain(self) -> f64 {
        match self {
            Self::Makespan | Self::Upstream | Self::CrossZone => 0.005,
            Self::FirstByte => 0.02,
            Self::PrefixLag => 0.003,
        }
    }

    /// Added before two values are compared as a ratio, so that differences near nothing count as little.
    pub(super) fn slack(self) -> f64 {
        match self {
            Self::Makespan | Self::Upstream | Self::CrossZone => 0.0,
            Self::FirstByte => 0.05,
            Self::PrefixLag => 0.005,
        }
    }
}

/// What came of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// As [`Objective::Makespan`].
    pub makespan: f64,
    /// As [`Objective::FirstByte`]; none where no node had one.
    pub first_byte_s: Option<f64>,
    /// As [`Objective::PrefixLag`].
    pub prefix_lag: f64,
    /// As [`Objective::Upstream`].
    pub upstream_copies: f64,
    /// As [`Objective::CrossZone`].
    pub cross_zone_copies: Option<f64>,
    /// Pulls that failed. A candidate with one is no good.
    pub failures: usize,
}

impl Measure {
    /// Of a run of a scenario whose bound is `bound_s` seconds.
    pub fn of(scenario: &Scenario, bound_s: f64, outcome: &Outcome) -> Self {
        let done = outcome.nodes.iter().filter(|node| node.end == End::Done);
        Self {
            makespan: outcome.makespan_s / bound_s,
            first_byte_s: median(done.filter_map(|node| node.first_byte_s)),
            prefix_lag: prefix_lag(scenario, outcome),
            upstream_copies: outcome.upstream_copies(),
            cross_zone_copies: (!outcome.zones.is_empty()).then(|| outcome.cross_zone_copies()),
            failures: outcome.failures(),
        }
    }

    /// The value of an objective; none where it does not apply.
    pub fn value(&self, objective: Objective) -> Option<f64> {
        match objective {
            Objective::Makespan => Some(self.makespan),
            Objective::FirstByte => self.first_byte_s,
            Objective::PrefixLag => Some(self.prefix_lag),
            Objective::Upstream => Some(self.upstream_copies),
            Objective::CrossZone => self.cross_zone_copies,
        }
    }
}

/// The area between what has arrived and what readers have, over time.
fn prefix_lag(scenario: &Scenario, outcome: &Outcome) -> f64 {
    let pulls = f64::from(scenario.nodes - scenario.warm_nodes());
    let all_bytes = outcome.content_bytes as f64 * pulls;
    let rows = outcome.series.windows(2).map(|pair| {
        let behind = |row: &crate::run::Row| row.delivered_bytes.saturating_sub(row.read_bytes) as f64;
        (pair[1].at_s - pair[0].at_s) * f64::midpoint(behind(&pair[0]), behind(&pair[1]))
    });
    let area: f64 = rows.sum();
    if all_bytes > 0.0 && outcome.makespan_s > 0.0 { area / all_bytes / outcome.makespan_s } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        run::{NodeOutcome, Row, UpstreamOutcome},
        scenario::{Overrides, by_name},
    };

    fn near(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-9, "{left} is not {right}");
    }

    #[test]
    fn a_run_computed_by_hand() {
        let overrides = Overrides { nodes: Some(2), size: Some(1000), ..Overrides::default() };
        let scenario = Scenario::parse_with(by_name("cold-start").unwrap(), "cold-start", &overrides).unwrap();
        let row = |at_s, delivered_bytes, read_bytes| Row { at_s, delivered_bytes, read_bytes, ..Row::default() };
        let node = |first_byte_s| NodeOutcome { first_byte_s: Some(first_byte_s), ..NodeOutcome::default() };
        let outcome = Outcome {
            makespan_s: 4.0,
            content_bytes: 1000,
            nodes: vec![node(0.5), node(1.5)],
            // Nothing behind at first, 400 of 2000 bytes after 2 s, nothing in the end.
            series: vec![row(0.0, 0, 0), row(2.0, 1000, 600), row(4.0, 2000, 2000)],
            upstream: UpstreamOutcome { blob_bytes: 1200, ..UpstreamOutcome::default() },
            ..Outcome::default()
        };
        let measure = Measure::of(&scenario, 3.2, &outcome);
        near(measure.makespan, 1.25);
        near(measure.value(Objective::FirstByte).unwrap(), 1.0);
        near(measure.prefix_lag, 0.1);
        near(measure.upstream_copies, 1.2);
        assert_eq!((measure.value(Objective::CrossZone), measure.failures), (None, 0));
        near(Measure::of(&scenario, 3.2, &Outcome::default()).prefix_lag, 0.0);
    }
}

//! How candidates compare: one number to rank by, the mean of each objective, and who is beaten in nothing.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{Candidate, Measure, Objective};

/// What each objective counts in a score: by this power of its ratio to the defaults' value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Of [`Objective::Makespan`].
    pub makespan: f64,
    /// Of [`Objective::FirstByte`].
    pub first_byte: f64,
    /// Of [`Objective::PrefixLag`].
    pub prefix_lag: f64,
    /// Of [`Objective::Upstream`].
    pub upstream: f64,
    /// Of [`Objective::CrossZone`].
    pub cross_zone: f64,
}

impl Default for Weights {
    /// Makespan and what it costs others count in full; a reader's wait a little, for it is short beside the pull.
    fn default() -> Self {
        Self { makespan: 1.0, first_byte: 0.02, prefix_lag: 0.02, upstream: 1.0, cross_zone: 0.2 }
    }
}

impl Weights {
    /// Of one objective.
    pub fn of(&self, objective: Objective) -> f64 {
        match objective {
            Objective::Makespan => self.makespan,
            Objective::FirstByte => self.first_byte,
            Objective::PrefixLag => self.prefix_lag,
            Objective::Upstream => self.upstream,
            Objective::CrossZone => self.cross_zone,
        }
    }

    /// The mean over runs of the weighted logarithms of each objective's ratio to the defaults' in the same run: 0 is as
    /// good as the defaults, -0.01 about 1 % better. Infinite where a pull failed, or where nothing ran.
    pub(super) fn score(&self, pairs: impl Iterator<Item = (Measure, Measure)>) -> f64 {
        let (mut sum, mut runs) = (0.0, 0);
        for (measure, defaults) in pairs {
            if measure.failures > 0 {
                return f64::INFINITY;
            }
            runs += 1;
            sum += Objective::ALL.into_iter().map(|objective| self.part(objective, &measure, &defaults)).sum::<f64>();
        }
        if runs > 0 { sum / f64::from(runs) } else { f64::INFINITY }
    }

    fn part(&self, objective: Objective, measure: &Measure, defaults: &Measure) -> f64 {
        let (Some(value), Some(of_defaults)) = (measure.value(objective), defaults.value(objective)) else {
            return 0.0;
        };
        let (value, of_defaults) = (value + objective.slack(), of_defaults + objective.slack());
        // Of nothing there is no ratio: where nodes have everything, the upstream sends nothing.
        if value > 0.0 && of_defaults > 0.0 { self.of(objective) * (value / of_defaults).ln() } else { 0.0 }
    }
}

/// How a candidate stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its place among the candidates; 0 are the defaults.
    pub place: usize,
    /// Its values, one for each axis.
    pub values: Candidate,
    /// Rounds that it took part in.
    pub rounds: usize,
    /// In the last round that chose: below 0 is better than the defaults, infinite where a pull failed.
    pub score: f64,
    /// On the held-out seeds, where there are some and it came so far.
    pub held_out_score: Option<f64>,
    /// Means over the runs of its last round, of those objectives that apply.
    pub objectives: BTreeMap<Objective, f64>,
    /// Number of those runs.
    pub runs: usize,
    /// Pulls that failed in them.
    pub failures: usize,
    /// Whether no other that came as far is at least as good in each objective and better in one.
    pub is_pareto: bool,
}

/// The mean of each objective over runs to which it applies: of makespans the geometric one, for they are ratios.
pub(super) fn means(measures: &[Measure]) -> BTreeMap<Objective, f64> {
    let mean = |objective: Objective| {
        let values: Vec<f64> = measures.iter().filter_map(|measure| measure.value(objective)).collect();
        let count = values.len() as f64;
        let mean = if objective == Objective::Makespan {
            (values.iter().map(|value| value.ln()).sum::<f64>() / count).exp()
        } else {
            values.iter().sum::<f64>() / count
        };
        (!values.is_empty()).then_some((objective, mean))
    };
    Objective::ALL.into_iter().filter_map(mean).collect()
}

/// Marks those of the last round that no other of it beats.
pub(super) fn mark_pareto(standings: &mut [Standing]) {
    let most = standings.iter().map(|standing| standing.rounds).max().unwrap_or(0);
    let last: Vec<Standing> =
        standings.iter().filter(|standing| standing.rounds == most && standing.failures == 0).cloned().collect();
    for standing in standings {
        let is_last = standing.rounds == most && standing.failures == 0;
        standing.is_pareto = is_last && !last.iter().any(|other| beats(other, standing));
    }
}

/// Whether one is better in an objective, and in all others as good.
fn beats(one: &Standing, other: &Standing) -> bool {
    let grains = |(objective, value): (&Objective, &f64)| {
        let steps = |value: f64| (value / objective.grain()).round();
        Some(steps(*other.objectives.get(objective)?) - steps(*value))
    };
    let differences: Vec<f64> = one.objectives.iter().filter_map(grains).collect();
    differences.iter().all(|difference| *difference >= 0.0) && differences.iter().any(|difference| *difference > 0.0)
}

/// Those that came furthest first, then by score, then by place.
pub(super) fn sort(standings: &mut [Standing]) {
    standings.sort_by(|left, right| {
        let by_rounds = right.rounds.cmp(&left.rounds);
        by_rounds.then(left.score.total_cmp(&right.score)).then(left.place.cmp(&right.place))
    });
    debug_assert!(standings.windows(2).all(|pair| pair[0].rounds.cmp(&pair[1].rounds) != Ordering::Less));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(makespan: f64, prefix_lag: f64) -> Measure {
        Measure { makespan, first_byte_s: None, prefix_lag, upstream_copies: 1.0, cross_zone_copies: None, failures: 0 }
    }

    fn near(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-9, "{left} is not {right}");
    }

    #[test]
    fn a_score_is_relative_to_the_defaults_in_the_same_run() {
        let weights = Weights { makespan: 1.0, prefix_lag: 0.5, ..Weights::default() };
        let score = |pairs: &[(Measure, Measure)]| weights.score(pairs.iter().copied());
        near(score(&[(measure(1.1, 0.1), measure(1.1, 0.1))]), 0.0);
        // A tenth less in one run, a tenth more in another.
        near(score(&[(measure(0.9, 0.1), measure(1.0, 0.1)), (measure(2.0, 0.1), measure(1.8, 0.1))]), 0.0);
        // Half the lag counts by half.
        near(score(&[(measure(1.0, 0.045), measure(1.0, 0.095))]), 0.5 * 0.5_f64.ln());
        let failed = Measure { failures: 1, ..measure(0.5, 0.0) };
        assert!(score(&[(failed, measure(1.0, 0.1))]).is_infinite() && score(&[]).is_infinite());
        let nothing = Measure { upstream_copies: 0.0, ..measure(1.0, 0.1) };
        near(score(&[(nothing, nothing)]), 0.0);
    }

    #[test]
    fn means_are_geometric_for_ratios() {
        let means = means(&[measure(1.0, 0.1), measure(4.0, 0.3)]);
        near(means[&Objective::Makespan], 2.0);
        near(means[&Objective::PrefixLag], 0.2);
        assert_eq!(means.len(), 3, "the others do not apply");
    }

    #[test]
    fn who_is_beaten_in_nothing_is_marked() {
        let standing = |place, rounds, makespan: f64, prefix_lag: f64| Standing {
            place,
            values: vec![place as u64],
            rounds,
            score: makespan,
            held_out_score: None,
            objectives: means(&[measure(makespan, prefix_lag)]),
            runs: 1,
            failures: 0,
            is_pareto: false,
        };
        let mut standings = [
            standing(0, 2, 1.2, 0.10),
            standing(1, 2, 1.1, 0.20),
            standing(2, 2, 1.2, 0.30),
            standing(3, 1, 1.0, 0.01),
            standing(4, 2, 1.2001, 0.1001),
        ];
        mark_pareto(&mut standings);
        let marked: Vec<usize> =
            standings.iter().filter(|standing| standing.is_pareto).map(|standing| standing.place).collect();
        assert_eq!(marked, [0, 1, 4], "the fourth did not come as far; a ten-thousandth is no difference");
        sort(&mut standings);
        assert_eq!(standings.map(|standing| standing.place), [1, 0, 2, 4, 3]);
    }
}

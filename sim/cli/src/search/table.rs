//! What came of a search, for people: who is beaten in nothing, and how the best stands beside the defaults.

use std::{collections::BTreeMap, fmt::Write as _};

use shoal_sim::{
    format::trimmed,
    search::{Measure, Objective, Standing},
};

use super::results::Results;

/// Candidates that are shown besides those that are beaten in nothing.
const BEST: usize = 5;
/// Candidates that are shown at most.
const ROWS_MAX: usize = 40;

impl Results {
    /// A heading, the table, and the best candidate in each scenario.
    pub(super) fn text(&self) -> String {
        let (candidates, cases) = (self.standings.len(), self.search.cases().len());
        let mut text = format!(
            "{}: {candidates} candidates with the defaults, {cases} {}, {} runs in {} s\n\n",
            self.title,
            if cases == 1 { "scenario" } else { "scenarios" },
            self.search.measures().count(),
            trimmed(self.wall_s),
        );
        text.push_str(&self.candidates_table());
        text.push_str(
            "\n* no other that came as far is better in one objective and as good in all. d the engine's defaults.\n\
             score: below 0 is better than the defaults in the same runs, -0.01 about 1 %. makespan: over the bound.\n",
        );
        text.push_str(&self.best_by_case());
        text
    }

    fn candidates_table(&self) -> String {
        let is_shown = |place: usize, standing: &Standing| standing.is_pareto || standing.place == 0 || place < BEST;
        let shown = self.standings.iter().enumerate().filter(|(place, standing)| is_shown(*place, standing));
        let is_held_out = self.standings.iter().any(|standing| standing.held_out_score.is_some());
        let objectives: Vec<Objective> = Objective::ALL
            .into_iter()
            .filter(|objective| self.standings.iter().any(|standing| standing.objectives.contains_key(objective)))
            .collect();
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(self.names().into_iter().map(str::to_owned));
        rows[0].push("score".to_owned());
        rows[0].extend(is_held_out.then(|| "held out".to_owned()));
        rows[0].extend(objectives.iter().map(|objective| objective.key().to_owned()));
        for (_, standing) in shown.take(ROWS_MAX) {
            let mark = [(standing.is_pareto, '*'), (standing.place == 0, 'd')];
            let mut row: Vec<String> = vec![mark.iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| mark).collect()];
            row.extend(self.values(standing));
            row.push(score(Some(standing.score)));
            row.extend(is_held_out.then(|| score(standing.held_out_score)));
            let value =
                |objective| standing.objectives.get(objective).map_or("-".to_owned(), |value| format!("{value:.3}"));
            row.extend(objectives.iter().map(value));
            rows.push(row);
        }
        aligned(&rows)
    }

    /// The first that is not the defaults beside them, scenario by scenario, in the last round.
    fn best_by_case(&self) -> String {
        let Some(best) = self.standings.iter().find(|standing| standing.place != 0) else { return String::new() };
        let Some(round) = self.search.rounds().len().checked_sub(1) else { return String::new() };
        let mut measures: BTreeMap<(usize, bool), Vec<Measure>> = BTreeMap::new();
        for (job, measure) in self.search.measures().filter(|(job, _)| job.round == round) {
            if job.candidate == 0 || job.candidate == best.place {
                measures.entry((job.case, job.candidate == 0)).or_default().push(*measure);
            }
        }
        let mut rows = vec![vec!["scenario".to_owned()]];
        rows[0].extend(Objective::ALL.map(|objective| objective.key().to_owned()));
        for (place, case) in self.search.cases().iter().enumerate() {
            let of = |is_default| measures.get(&(place, is_default));
            let (Some(defaults), Some(others)) = (of(true), of(false)) else { continue };
            let pair = |objective| match (mean(defaults, objective), mean(others, objective)) {
                (Some(default), Some(other)) => format!("{default:.3} {other:.3}"),
                _ => "-".to_owned(),
            };
            let mut row = vec![case.name.clone()];
            row.extend(Objective::ALL.map(pair));
            rows.push(row);
        }
        let seeds = if self.search.rounds()[round].is_held_out { ", on the held-out seeds" } else { "" };
        format!("\nThe defaults and the best other candidate, means{seeds}:\n\n{}", aligned(&rows))
    }
}

fn mean(measures: &[Measure], objective: Objective) -> Option<f64> {
    let values: Vec<f64> = measures.iter().filter_map(|measure| measure.value(objective)).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn score(score: Option<f64>) -> String {
    match score {
        Some(score) if score.is_finite() => format!("{score:+.4}"),
        Some(_) => "failed".to_owned(),
        None => "-".to_owned(),
    }
}

/// Columns as wide as their widest cell.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "  {cell:>width$}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

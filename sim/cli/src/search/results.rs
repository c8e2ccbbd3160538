//! What came of a search, for programs: one JSON object, two CSV files, heat maps.

use std::{fs, path::Path};

use serde_json::{Value, json};
use shoal_sim::{
    plot::{HeatMap, Plot, PlotError},
    search::{Heat, Objective, Search, Standing, heat},
};
use shoal_sim_cli::{WriteError, check_folder};

/// A search that is over.
pub(super) struct Results {
    pub(super) title: String,
    pub(super) search: Search,
    heat: Option<(usize, usize)>,
    pub(super) wall_s: f64,
    pub(super) standings: Vec<Standing>,
}

impl Results {
    pub(super) fn new(title: String, search: Search, heat: Option<(usize, usize)>, wall_s: f64) -> Self {
        let standings = search.standings();
        Self { title, search, heat, wall_s, standings }
    }

    /// A candidate's values, as they are written.
    pub(super) fn values(&self, standing: &Standing) -> Vec<String> {
        let axes = self.search.space().axes().iter();
        axes.zip(&standing.values).map(|(axis, value)| axis.parameter.unit.write(*value)).collect()
    }

    /// Names of the parameters, in the order of the values.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.search.space().axes().iter().map(|axis| axis.parameter.name).collect()
    }

    /// One JSON object.
    pub(super) fn object(&self) -> Value {
        let cases: Vec<&str> = self.search.cases().iter().map(|case| case.name.as_str()).collect();
        json!({
            "search": self.title,
            "version": env!("CARGO_PKG_VERSION"),
            "wall_s": self.wall_s,
            "runs": self.search.measures().count(),
            "scenarios": cases,
            "rounds": self.search.rounds().iter().map(|round| json!({
                "scenarios": round.cases.iter().map(|case| cases[*case]).collect::<Vec<_>>(),
                "seeds": round.seeds,
                "is_held_out": round.is_held_out,
            })).collect::<Vec<_>>(),
            "candidates": self.standings.iter().map(|standing| self.candidate(standing)).collect::<Vec<_>>(),
        })
    }

    fn candidate(&self, standing: &Standing) -> Value {
        let parameters: serde_json::Map<String, Value> = self
            .names()
            .into_iter()
            .map(str::to_owned)
            .zip(self.values(standing).into_iter().map(Value::from))
            .collect();
        let finite = |score: f64| score.is_finite().then_some(score);
        json!({
            "candidate": standing.place,
            "is_default": standing.place == 0,
            "parameters": parameters,
            "rounds": standing.rounds,
            "score": finite(standing.score),
            "held_out_score": standing.held_out_score.and_then(finite),
            "is_pareto": standing.is_pareto,
            "runs": standing.runs,
            "failures": standing.failures,
            "objectives": Objective::ALL.into_iter().map(|objective| {
                (objective.key().to_owned(), json!(standing.objectives.get(&objective)))
            }).collect::<serde_json::Map<String, Value>>(),
        })
    }

    /// Writes `result.json`, `candidates.csv`, `runs.csv`, and the heat maps.
    pub(super) fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let plots = self.heat_maps()?;
        check_folder(folder)?;
        let write = |name: &str, bytes: Vec<u8>| {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(|source| WriteError::Write { path, source })
        };
        let csv = |name: &str, lines: Vec<Vec<String>>| {
            let form = |problem: String| WriteError::Form { path: folder.join(name), problem };
            let mut writer = csv::Writer::from_writer(Vec::new());
            for line in lines {
                writer.write_record(line).map_err(|error| form(error.to_string()))?;
            }
            write(name, writer.into_inner().map_err(|error| form(error.to_string()))?)
        };
        write("result.json", format!("{:#}\n", self.object()).into_bytes())?;
        csv("candidates.csv", self.candidate_lines())?;
        csv("runs.csv", self.run_lines())?;
        for plot in plots {
            write(&format!("{}.svg", plot.name), plot.svg.into_bytes())?;
        }
        Ok(())
    }

    fn candidate_lines(&self) -> Vec<Vec<String>> {
        let keys = Objective::ALL.map(Objective::key);
        let head = [
            &["candidate"][..],
            &self.names(),
            &["rounds", "score", "held_out_score"],
            &keys,
            &["runs", "failures", "is_pareto", "is_default"],
        ];
        let mut lines = vec![head.concat().into_iter().map(str::to_owned).collect()];
        for standing in &self.standings {
            let mut line = vec![standing.place.to_string()];
            line.extend(self.values(standing));
            line.push(standing.rounds.to_string());
            line.push(number(Some(standing.score)));
            line.push(number(standing.held_out_score));
            line.extend(Objective::ALL.map(|objective| number(standing.objectives.get(&objective).copied())));
            line.extend([standing.runs.to_string(), standing.failures.to_string()]);
            line.extend([standing.is_pareto.to_string(), (standing.place == 0).to_string()]);
            lines.push(line);
        }
        lines
    }

    fn run_lines(&self) -> Vec<Vec<String>> {
        let head =
            [&["round", "candidate", "scenario", "seed"][..], &Objective::ALL.map(Objective::key), &["failures"]];
        let mut lines = vec![head.concat().into_iter().map(str::to_owned).collect()];
        for (job, measure) in self.search.measures() {
            let mut line = vec![(job.round + 1).to_string(), job.candidate.to_string()];
            line.extend([self.search.cases()[job.case].name.clone(), job.seed.to_string()]);
            line.extend(Objective::ALL.map(|objective| number(measure.value(objective))));
            line.push(measure.failures.to_string());
            lines.push(line);
        }
        lines
    }

    /// A map for each objective that applies, from the first round, in which all candidates ran the same.
    fn heat_maps(&self) -> Result<Vec<Plot>, PlotError> {
        let Some((columns, rows)) = self.heat else { return Ok(Vec::new()) };
        let axes = self.search.space().axes();
        let standings = self.search.standings_after(1);
        let applies = |objective: &Objective| standings.iter().any(|one| one.objectives.contains_key(objective));
        let map = |objective: Objective| {
            let Heat { columns: across, rows: up, cells } = heat(axes, &standings, objective, columns, rows);
            let names = (axes[columns].parameter.name.to_owned(), axes[rows].parameter.name.to_owned());
            let map = HeatMap {
                name: format!("heat-{}", objective.key()),
                description: format!("{} for each pair of values of {} and {}.", objective.about(), names.0, names.1),
                title: format!("{} and {}", names.0, names.1),
                subtitle: format!("{}; means over all other values{}", objective.about(), self.of_round()),
                axes: names,
                columns: across,
                rows: up,
                cells,
            };
            map.plot()
        };
        Objective::ALL.into_iter().filter(applies).map(map).collect()
    }
}

impl Results {
    /// Which round a heat map is from, where there are several.
    fn of_round(&self) -> &'static str {
        if self.search.rounds().len() > 1 { ", first round" } else { "" }
    }
}

/// Empty where there is none.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| if value.is_finite() { format!("{value:.5}") } else { "inf".to_owned() })
}

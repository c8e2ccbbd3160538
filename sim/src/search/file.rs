//! A file that says what is tuned: parameters, scenarios, seeds, rounds, and what counts.

use std::collections::BTreeMap;

use serde::Deserialize;
use shoal_core::units::{Rate, Size};
use thiserror::Error;

use super::{Axis, Candidate, Case, Round, Search, SearchError, Space, SpaceError, Weights, seeds};
use crate::scenario::{Link, Overrides, Scenario, ScenarioError, by_name, shipped};

/// Why a file is no tuning.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// Not TOML, a key that does not exist or is missing, or a value of the wrong type.
    #[error("{file}:{line}: {problem}; docs/tuning.md lists all keys")]
    Form {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A parameter or its values cannot be.
    #[error("{file}: parameters: {problem}")]
    Space {
        /// The file.
        file: String,
        /// What is wrong.
        problem: SpaceError,
    },
    /// A scenario cannot be.
    #[error("{file}: scenarios: {problem}")]
    Scenario {
        /// The file.
        file: String,
        /// What is wrong.
        problem: ScenarioError,
    },
    /// Another value cannot be.
    #[error("{file}: {key}: {problem}")]
    Value {
        /// The file.
        file: String,
        /// The key.
        key: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// There is nothing to run.
    #[error("{file}: {problem}")]
    Search {
        /// The file.
        file: String,
        /// What is wrong.
        problem: SearchError,
    },
}

/// All that a tuning needs to know.
#[derive(Clone, Debug)]
pub struct SpaceFile {
    /// Name of the tuning.
    pub name: String,
    /// What is searched.
    pub space: Space,
    /// Candidates to draw besides the defaults.
    pub count: usize,
    /// Decides which are drawn.
    pub seed: u64,
    /// Scenarios.
    pub cases: Vec<Case>,
    /// Rounds, that of held-out seeds among them.
    pub rounds: Vec<Round>,
    /// What counts how much.
    pub weights: Weights,
    file: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    candidates: u64,
    #[serde(default = "one")]
    seed: u64,
    parameters: BTreeMap<String, Values>,
    scenarios: Vec<RawCase>,
    rounds: Vec<RawRound>,
    held_out: Option<RawHeldOut>,
    #[serde(default)]
    weights: RawWeights,
}

fn one() -> u64 {
    1
}

/// Values of a parameter.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "values such as [2, 4, 6], [\"5ms\", \"20ms\"] or \"16..64\"")]
enum Values {
    One(Number),
    Several(Vec<Number>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a number, or a text as in \"20ms\"")]
enum Number {
    Text(String),
    Whole(u64),
    Factor(f64),
}

impl Number {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Whole(number) => number.to_string(),
            Self::Factor(number) => number.to_string(),
        }
    }
}

impl Values {
    fn text(&self) -> String {
        match self {
            Self::One(number) => number.text(),
            Self::Several(numbers) => numbers.iter().map(Number::text).collect::<Vec<_>>().join(","),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    base: String,
    nodes: Option<u32>,
    size: Option<Size>,
    link: Option<Rate>,
    upstream: Option<Rate>,
    latency: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRound {
    seeds: String,
    keep: u64,
    scenarios: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeldOut {
    seeds: String,
    scenarios: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWeights {
    makespan: Option<f64>,
    first_byte: Option<f64>,
    prefix_lag: Option<f64>,
    upstream: Option<f64>,
    cross_zone: Option<f64>,
}

impl SpaceFile {
    /// Reads a file; `file` is its name in errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, FileError> {
        let raw: File = toml::from_str(text).map_err(|error| {
            let begin = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(begin).filter(|byte| *byte == b'\n').count() + 1;
            FileError::Form { file: file.to_owned(), line, problem: error.message().to_owned() }
        })?;
        let reader = Reader { file };
        let cases = raw.scenarios.iter().map(|case| reader.case(case)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            space: reader.space(&raw.parameters)?,
            count: reader.count("candidates", raw.candidates, 10_000)?,
            seed: raw.seed,
            rounds: reader.rounds(&raw, &cases)?,
            weights: reader.weights(&raw.weights)?,
            cases,
            name: raw.name,
            file: file.to_owned(),
        })
    }

    /// The search, in which nothing has run.
    pub fn search(self) -> Result<Search, FileError> {
        let of_space = |problem| FileError::Space { file: self.file.clone(), problem };
        let candidates: Vec<Candidate> = self.space.random(self.count, self.seed).map_err(of_space)?;
        Search::new(self.space, candidates, self.cases, self.rounds, self.weights)
            .map_err(|problem| FileError::Search { file: self.file, problem })
    }
}

/// Checks the values of a file.
struct Reader<'a> {
    file: &'a str,
}

impl Reader<'_> {
    fn refuse(&self, key: &'static str, problem: impl Into<String>) -> FileError {
        FileError::Value { file: self.file.to_owned(), key, problem: problem.into() }
    }

    fn space(&self, parameters: &BTreeMap<String, Values>) -> Result<Space, FileError> {
        let axes = parameters.iter().map(|(name, values)| Axis::of(name, &values.text())).collect::<Result<_, _>>();
        axes.and_then(Space::new).map_err(|problem| FileError::Space { file: self.file.to_owned(), problem })
    }

    fn count(&self, key: &'static str, number: u64, most: u64) -> Result<usize, FileError> {
        let problem = || self.refuse(key, format!("{number} is out of range; allowed are 1 to {most}"));
        if (1..=most).contains(&number) { usize::try_from(number).map_err(|_| problem()) } else { Err(problem()) }
    }

    fn case(&self, raw: &RawCase) -> Result<Case, FileError> {
        let names = || shipped().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let text = by_name(&raw.base).ok_or_else(|| {
            self.refuse(
                "scenarios.base",
                format!("{:?} does not come with the simulator; expected one of {}", raw.base, names()),
            )
        })?;
        let latency = raw.latency.as_deref().map(crate::scenario::parse_duration).transpose();
        let overrides = Overrides {
            nodes: raw.nodes,
            size: raw.size.map(|size| size.0),
            link: raw.link.map(|rate| Link { up: rate.0, down: rate.0 }),
            upstream: raw.upstream.map(|rate| rate.0),
            latency: latency.map_err(|error| self.refuse("scenarios.latency", error.to_string()))?,
            ..Overrides::default()
        };
        let scenario = Scenario::parse_with(text, &raw.name, &overrides)
            .map_err(|problem| FileError::Scenario { file: self.file.to_owned(), problem })?;
        Ok(Case { name: raw.name.clone(), scenario })
    }

    fn rounds(&self, raw: &File, cases: &[Case]) -> Result<Vec<Round>, FileError> {
        for (place, case) in cases.iter().enumerate() {
            if cases[..place].iter().any(|other| other.name == case.name) {
                return Err(self.refuse("scenarios.name", format!("{:?} is there twice", case.name)));
            }
        }
        let mut rounds = Vec::new();
        for round in &raw.rounds {
            rounds.push(Round {
                cases: self.cases_named(round.scenarios.as_deref(), cases)?,
                seeds: seeds(&round.seeds).map_err(|problem| self.refuse("rounds.seeds", problem.to_string()))?,
                keep: self.count("rounds.keep", round.keep, 10_000)?,
                is_held_out: false,
            });
        }
        if let Some(held_out) = &raw.held_out {
            let cases = self.cases_named(held_out.scenarios.as_deref(), cases)?;
            let seeds = seeds(&held_out.seeds).map_err(|problem| self.refuse("held_out.seeds", problem.to_string()))?;
            if let Some(seed) = seeds.iter().find(|seed| rounds.iter().any(|round| round.seeds.contains(seed))) {
                return Err(
                    self.refuse("held_out.seeds", format!("{seed} is one of a round; name seeds that none has"))
                );
            }
            rounds.push(Round { cases, seeds, keep: 1, is_held_out: true });
        }
        Ok(rounds)
    }

    fn cases_named(&self, names: Option<&[String]>, cases: &[Case]) -> Result<Vec<usize>, FileError> {
        let Some(names) = names else { return Ok((0..cases.len()).collect()) };
        let place = |name: &String| {
            let all = || cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>().join(", ");
            let found = cases.iter().position(|case| case.name == *name);
            found
                .ok_or_else(|| self.refuse("rounds.scenarios", format!("{name:?} is not one of the file's: {}", all())))
        };
        names.iter().map(place).collect()
    }

    fn weights(&self, raw: &RawWeights) -> Result<Weights, FileError> {
        let weight = |given: Option<f64>, default| {
            let weight = given.unwrap_or(default);
            let is_one = (0.0..=100.0).contains(&weight);
            is_one
                .then_some(weight)
                .ok_or_else(|| self.refuse("weights", format!("{weight} is out of range; allowed are 0.0 to 100.0")))
        };
        let defaults = Weights::default();
        Ok(Weights {
            makespan: weight(raw.makespan, defaults.makespan)?,
            first_byte: weight(raw.first_byte, defaults.first_byte)?,
            prefix_lag: weight(raw.prefix_lag, defaults.prefix_lag)?,
            upstream: weight(raw.upstream, defaults.upstream)?,
            cross_zone: weight(raw.cross_zone, defaults.cross_zone)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use shoal_core::config::CoreConfig;

    use super::*;

    const TEXT: &str = "name = \"test\"\ncandidates = 4\n\n[parameters]\nupload_slots = [3, 4, 6]\nhave_interval = \"5ms..80ms\"\n\
                        suspicion_mult = [2.5, 4]\n\n[[scenarios]]\nname = \"small\"\nbase = \"cold-start\"\nnodes = 4\n\
                        size = \"4MiB\"\n\n[[scenarios]]\nname = \"zoned\"\nbase = \"zones\"\n\n[[rounds]]\nseeds = \"1\"\nkeep = 2\n\
                        scenarios = [\"small\"]\n\n[[rounds]]\nseeds = \"1..3\"\nkeep = 1\n\n[held_out]\nseeds = \"101..102\"\n";

    fn refused(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from), "{from}");
        let parsed = SpaceFile::parse(&TEXT.replace(from, to), "mine.toml").and_then(SpaceFile::search);
        parsed.expect_err("it is refused").to_string()
    }

    #[test]
    fn a_file_is_a_search() {
        let file = SpaceFile::parse(TEXT, "mine.toml").unwrap();
        assert_eq!((file.space.axes().len(), file.cases.len(), file.rounds.len()), (3, 2, 3));
        assert_eq!((file.rounds[0].cases.as_slice(), file.rounds[1].cases.as_slice()), (&[0][..], &[0, 1][..]));
        assert!(file.rounds[2].is_held_out && file.rounds[2].seeds == [101, 102]);
        assert_eq!((file.cases[0].scenario.nodes, file.cases[0].scenario.content.bytes()), (4, 4 << 20));
        assert_eq!(file.search().unwrap().jobs().len(), 5);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        for (from, to, wanted) in [
            ("candidates = 4", "candidates = 4\nnods = 1", "mine.toml:3: unknown field"),
            ("candidates = 4", "candidates = 0", "candidates: 0 is out of range; allowed are 1 to 10000"),
            ("upload_slots =", "upload_slotz =", "parameters: there is no parameter \"upload_slotz\"; similar are"),
            ("[3, 4, 6]", "[3, 4, 600]", "upload_slots: 600 is out of range; allowed are 1 to 64"),
            ("[3, 4, 6]", "[]", "holds no value"),
            ("[3, 4, 6]", "true", "\"16..64\""),
            ("\"5ms..80ms\"", "20", "have_interval: \"20\" is not a time"),
            (
                "\"cold-start\"",
                "\"warm\"",
                "scenarios.base: \"warm\" does not come with the simulator; expected one of cold-start",
            ),
            ("nodes = 4", "nodes = 0", "nodes, set from outside the file"),
            ("name = \"zoned\"", "name = \"small\"", "\"small\" is there twice"),
            ("[\"small\"]", "[\"large\"]", "\"large\" is not one of the file's: small, zoned"),
            ("\"1..3\"", "\"3..1\"", "rounds.seeds: \"3..1\" are no seeds"),
            ("\"101..102\"", "\"3..9\"", "held_out.seeds: 3 is one of a round"),
            ("keep = 2", "keep = 0", "rounds.keep: 0 is out of range"),
            ("[held_out]", "[weights]\nmakespan = -1.0\n\n[held_out]", "weights: -1 is out of range"),
        ] {
            let refusal = refused(from, to);
            assert!(refusal.starts_with("mine.toml") && refusal.contains(wanted), "{to}: {refusal}");
        }
    }

    #[test]
    fn the_tuning_of_the_defaults_reads_and_holds_the_engine_s_defaults() {
        let file =
            SpaceFile::parse(include_str!("../../../docs/tuning/defaults.toml"), "docs/tuning/defaults.toml").unwrap();
        let core = CoreConfig::default();
        for axis in file.space.axes() {
            let default = axis.parameter.get(&core);
            assert!(axis.holds(default), "{:?} does not hold {}", axis, axis.parameter.unit.write(default));
        }
        assert!(file.rounds.last().is_some_and(|round| round.is_held_out), "what it gives is shown on other seeds");
        file.search().unwrap();
    }

    #[test]
    fn what_came_of_it_is_of_this_space() {
        let file = SpaceFile::parse(include_str!("../../../docs/tuning/defaults.toml"), "defaults.toml").unwrap();
        let mut lines = include_str!("../../../docs/tuning/defaults.csv").lines().map(|line| line.split(','));
        let head: Vec<&str> = lines.next().unwrap().collect();
        let axes = file.space.axes();
        assert!(axes.iter().zip(&head[1..]).all(|(axis, name)| axis.parameter.name == *name), "{head:?}");
        let candidates: Vec<Candidate> = lines
            .map(|line| {
                axes.iter().zip(line.skip(1)).map(|(axis, text)| axis.parameter.unit.read(text).unwrap()).collect()
            })
            .collect();
        assert_eq!(candidates.len(), file.count + 1, "the draws and the defaults of that time");
        for candidate in candidates {
            assert!(axes.iter().zip(&candidate).all(|(axis, value)| axis.holds(*value)), "{candidate:?}");
        }
    }
}

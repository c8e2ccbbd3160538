//! A search as it goes on: rounds of jobs, and who goes on to the next.

use std::collections::BTreeMap;

use shoal_core::config::CoreConfig;
use thiserror::Error;

use super::{Candidate, Measure, Space, Standing, Weights, standing};
use crate::scenario::Scenario;

/// Most runs of one search.
pub const RUNS_MAX: usize = 1_000_000;

/// A scenario that candidates run, by a name of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What tables call it.
    pub name: String,
    /// The cluster; its seed is replaced by those of a round.
    pub scenario: Scenario,
}

/// Part of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Cases by their places.
    pub cases: Vec<usize>,
    /// Each case runs with each of these.
    pub seeds: Vec<u64>,
    /// Candidates that go on to the next round besides the defaults, the best by score; at least 1.
    pub keep: usize,
    /// Whether it only tells how good the last ones are, on seeds that had no part in choosing them: it changes no order.
    pub is_held_out: bool,
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// Round, from 0.
    pub round: usize,
    /// Candidate by its place; 0 are the defaults.
    pub candidate: usize,
    /// Case by its place.
    pub case: usize,
    /// Seed.
    pub seed: u64,
}

/// Why there is nothing to run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SearchError {
    /// No case, no seed or no round.
    #[error("a search needs a scenario, a seed and a round at least")]
    Nothing,
    /// More runs than can be.
    #[error("{runs} runs are too many; at most {RUNS_MAX} are made: take fewer candidates, scenarios or seeds")]
    TooMany {
        /// How many the first round has.
        runs: u128,
    },
}

/// Candidates, cases, and what came of the runs so far.
#[derive(Clone, Debug)]
pub struct Search {
    space: Space,
    /// The defaults first.
    candidates: Vec<Candidate>,
    cases: Vec<Case>,
    rounds: Vec<Round>,
    weights: Weights,
    round: usize,
    /// Candidates of the round at work.
    alive: Vec<usize>,
    measures: BTreeMap<Job, Measure>,
}

impl Search {
    /// A search in which nothing has run. The defaults become the first candidate wherever they stand among `candidates`.
    pub fn new(
        space: Space,
        candidates: Vec<Candidate>,
        cases: Vec<Case>,
        rounds: Vec<Round>,
        weights: Weights,
    ) -> Result<Self, SearchError> {
        let defaults = space.defaults();
        let others = candidates.into_iter().filter(|candidate| *candidate != defaults);
        let candidates: Vec<Candidate> = std::iter::once(defaults.clone()).chain(others).collect();
        let is_empty = |round: &Round| round.seeds.is_empty() || round.cases.is_empty();
        if rounds.is_empty() || rounds.iter().any(is_empty) {
            return Err(SearchError::Nothing);
        }
        let first = &rounds[0];
        let runs = candidates.len() as u128 * first.cases.len() as u128 * first.seeds.len() as u128;
        if runs > RUNS_MAX as u128 {
            return Err(SearchError::TooMany { runs });
        }
        let alive = (0..candidates.len()).collect();
        Ok(Self { space, candidates, cases, rounds, weights, round: 0, alive, measures: BTreeMap::new() })
    }

    /// The runs of the round at work that have not been taken; none once the search is over.
    pub fn jobs(&self) -> Vec<Job> {
        let Some(round) = self.rounds.get(self.round) else { return Vec::new() };
        let mut jobs = Vec::new();
        for candidate in &self.alive {
            for case in &round.cases {
                for seed in &round.seeds {
                    jobs.push(Job { round: self.round, candidate: *candidate, case: *case, seed: *seed });
                }
            }
        }
        jobs.retain(|job| !self.measures.contains_key(job));
        jobs
    }

    /// What a job runs.
    pub fn setting(&self, job: &Job) -> (Scenario, CoreConfig) {
        let scenario = Scenario { seed: job.seed, ..self.cases[job.case].scenario.clone() };
        (scenario, self.space.core(&self.candidates[job.candidate]))
    }

    /// Takes what came of a job.
    pub fn take(&mut self, job: Job, measure: Measure) {
        self.measures.insert(job, measure);
    }

    /// Ends the round at work, all of whose jobs have been taken; says whether there is another.
    pub fn advance(&mut self) -> bool {
        let Some(round) = self.rounds.get(self.round) else { return false };
        if !round.is_held_out {
            let mut ranked: Vec<(f64, usize)> = self
                .alive
                .iter()
                .filter(|place| **place > 0)
                .map(|place| (self.score(self.round, *place), *place))
                .collect();
            ranked.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
            let is_last = self.rounds[self.round + 1..].is_empty();
            let keep = if is_last { ranked.len() } else { round.keep.max(1) };
            let kept = ranked.into_iter().take(keep).map(|(_, place)| place);
            self.alive = std::iter::once(0).chain(kept).collect();
        }
        self.round += 1;
        self.round < self.rounds.len()
    }

    /// Each candidate as it stands: those that came furthest first, in the order of the last round that chose.
    pub fn standings(&self) -> Vec<Standing> {
        self.standings_after(self.rounds.len())
    }

    /// The same with only the first so many rounds: after one, all candidates have run the same.
    pub fn standings_after(&self, rounds: usize) -> Vec<Standing> {
        let mut standings: Vec<Standing> =
            (0..self.candidates.len()).map(|place| self.standing(place, rounds)).collect();
        standing::mark_pareto(&mut standings);
        standing::sort(&mut standings);
        standings
    }

    fn standing(&self, place: usize, rounds: usize) -> Standing {
        let done = |round: &usize| self.of(*round, place).next().is_some();
        let rounds: Vec<usize> = (0..rounds.min(self.rounds.len())).filter(done).collect();
        let chosen = rounds.iter().rev().find(|round| !self.rounds[**round].is_held_out);
        let held_out = rounds.iter().rev().find(|round| self.rounds[**round].is_held_out);
        let last = rounds.last().copied().unwrap_or(0);
        let measures: Vec<Measure> = self.of(last, place).map(|(_, measure)| *measure).collect();
        Standing {
            place,
            values: self.candidates[place].clone(),
            rounds: rounds.len(),
            score: chosen.map_or(f64::INFINITY, |round| self.score(*round, place)),
            held_out_score: held_out.map(|round| self.score(*round, place)),
            objectives: standing::means(&measures),
            runs: measures.len(),
            failures: measures.iter().map(|measure| measure.failures).sum(),
            is_pareto: false,
        }
    }

    /// Of a candidate in a round: its measures beside those of the defaults in the same runs.
    fn score(&self, round: usize, place: usize) -> f64 {
        let of_defaults = |job: &Job| self.measures.get(&Job { candidate: 0, ..*job });
        let pairs = self.of(round, place).filter_map(|(job, measure)| Some((*measure, *of_defaults(job)?)));
        self.weights.score(pairs)
    }

    fn of(&self, round: usize, place: usize) -> impl Iterator<Item = (&Job, &Measure)> {
        self.measures.iter().filter(move |(job, _)| job.round == round && job.candidate == place)
    }

    /// What is searched.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The cases, in order.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The rounds, in order.
    pub fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// The round at work, from 0; the number of rounds once the search is over.
    pub fn round(&self) -> usize {
        self.round
    }

    /// The candidates, the defaults first.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// All runs so far, by round, candidate, case and seed.
    pub fn measures(&self) -> impl Iterator<Item = (&Job, &Measure)> {
        self.measures.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        scenario::by_name,
        search::{Axis, Objective},
    };

    const PLAIN: Measure = Measure {
        makespan: 1.0,
        first_byte_s: Some(1.0),
        prefix_lag: 0.1,
        upstream_copies: 1.0,
        cross_zone_copies: None,
        failures: 0,
    };

    fn case(name: &str) -> Case {
        Case { name: name.to_owned(), scenario: Scenario::parse(by_name(name).unwrap(), name).unwrap() }
    }

    fn search(rounds: Vec<Round>) -> Search {
        let space = Space::new(vec![Axis::read("upload_slots=3,4,5,6,8,10").unwrap()]).unwrap();
        let candidates = space.grid(5).unwrap();
        Search::new(space, candidates, vec![case("cold-start"), case("zones")], rounds, Weights::default()).unwrap()
    }

    fn round(cases: &[usize], seeds: &[u64], keep: usize) -> Round {
        Round { cases: cases.to_vec(), seeds: seeds.to_vec(), keep, is_held_out: false }
    }

    /// Answers all jobs: luck of the seed, and half a per cent for each slot more or less than `best`.
    fn play(search: &mut Search, best: u64) {
        loop {
            for job in search.jobs() {
                let slots = search.candidates()[job.candidate][0];
                let makespan = (1.1 + job.seed as f64 / 10.0) * (1.0 + 0.005 * slots.abs_diff(best) as f64);
                let failures = usize::from(slots == 10);
                search.take(job, Measure { makespan, failures, ..PLAIN });
            }
            if !search.advance() {
                return;
            }
        }
    }

    #[test]
    fn halving_keeps_the_best_and_the_defaults_and_gives_them_more() {
        let held_out = Round { is_held_out: true, ..round(&[1], &[9], 1) };
        let mut search = search(vec![round(&[0], &[1], 3), round(&[0, 1], &[1, 2], 1), held_out]);
        assert_eq!(search.candidates().iter().map(|values| values[0]).collect::<Vec<_>>(), [5, 3, 4, 6, 8, 10]);
        assert_eq!(search.jobs().len(), 6);
        play(&mut search, 4);
        assert!(search.jobs().is_empty() && !search.advance());
        let standings = search.standings();
        let order: Vec<(u64, usize)> = standings.iter().map(|standing| (standing.values[0], standing.rounds)).collect();
        assert_eq!(order, [(4, 3), (5, 3), (3, 2), (6, 2), (8, 1), (10, 1)]);
        let runs: usize = search.measures().count();
        assert_eq!(runs, 6 + 4 * 4 + 2);
        assert!(standings[0].score < 0.0 && standings[1].score.abs() < 1e-12, "{standings:?}");
        assert!((standings[0].held_out_score.unwrap() - standings[0].score).abs() < 1e-9, "luck is the same for all");
        assert_eq!((standings[5].score, standings[5].failures), (f64::INFINITY, 1));
        assert!(standings[0].objectives.contains_key(&Objective::Makespan));
        let first = search.standings_after(1);
        assert!(first.iter().all(|standing| standing.rounds == 1 && standing.runs == 1), "{first:?}");
        assert_eq!(first.iter().map(|standing| standing.values[0]).collect::<Vec<_>>(), [4, 5, 3, 6, 8, 10]);
    }

    #[test]
    fn the_order_of_answers_does_not_matter() {
        let mut forward = search(vec![round(&[0, 1], &[1, 2], 1)]);
        let mut backward = forward.clone();
        play(&mut forward, 4);
        let answers: Vec<(Job, Measure)> = forward.measures().map(|(job, measure)| (*job, *measure)).collect();
        for (job, measure) in answers.into_iter().rev() {
            backward.take(job, measure);
        }
        backward.advance();
        assert_eq!(forward.standings(), backward.standings());
    }

    #[test]
    fn each_job_has_its_seed_and_its_values() {
        let search = search(vec![round(&[1], &[7], 1)]);
        let job = search.jobs()[1];
        let (scenario, core) = search.setting(&job);
        assert_eq!((scenario.seed, scenario.zones.is_some(), core.swarm.upload_slots), (7, true, 3));
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let space = Space::new(vec![Axis::read("upload_slots=1..64").unwrap()]).unwrap();
        let candidates = space.random(60, 1).unwrap();
        let refused = |rounds| {
            Search::new(space.clone(), candidates.clone(), vec![case("zones")], rounds, Weights::default()).unwrap_err()
        };
        assert_eq!(refused(Vec::new()), SearchError::Nothing);
        assert_eq!(refused(vec![round(&[0], &[], 1)]), SearchError::Nothing);
        let many: Vec<u64> = (0..100_000).collect();
        assert!(matches!(refused(vec![round(&[0], &many, 1)]), SearchError::TooMany { .. }));
    }
}

//! `shoal-sim check`: many small clusters with bad luck, one for each seed.

use std::{
    fmt::Write as _,
    fs,
    num::NonZeroUsize,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;
use shoal_sim::check::{Plan, shrink};

use crate::{
    board::Board,
    trial::{Trial, silence_panics, try_plan},
};

/// Seeds that are checked where nothing is said.
const SEEDS: &str = "0..200";
/// Failing seeds that are listed.
const LISTED: usize = 100;
/// Runs that making a plan small may take.
const SHRINKING_RUNS: usize = 2000;
/// Time between two looks at how far the seeds are.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `shoal-sim check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// Seeds to check, from the first to before the last
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = SEEDS)]
    seeds: Range<u64>,
    /// Check this one seed
    #[arg(long, value_name = "S", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Check the plan in this file, as `--shrink` writes it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "seed"])]
    plan: Option<PathBuf>,
    /// Seeds that are checked at once; as many as there are processors
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Make the plan of the first seed that fails small, and write it to `check-SEED.toml` here
    #[arg(long)]
    shrink: bool,
    /// Print the plan of the seed, as `--plan` reads it, and check nothing
    #[arg(long, requires = "seed")]
    show: bool,
    /// Print one JSON object instead of words
    #[arg(long)]
    json: bool,
}

/// Seeds as in `0..2000`.
fn seeds(text: &str) -> anyhow::Result<Range<u64>> {
    let (first, end) = text.split_once("..").context("expected A..B, as in 0..2000")?;
    let number = |text: &str| text.trim().parse::<u64>().with_context(|| format!("{text:?} is no number"));
    let range = number(first)?..number(end)?;
    ensure!(!range.is_empty(), "no seeds: the second number must be above the first");
    // A file says 64 bits with a sign.
    ensure!(i64::try_from(range.end).is_ok(), "a seed is below 2^63");
    Ok(range)
}

/// What is checked.
pub(crate) enum Subject {
    /// A plan for each seed.
    Seeds(Range<u64>),
    /// One plan.
    Plan(PathBuf, Box<Plan>),
}

impl CheckArgs {
    /// What is to be checked. Errors are the user's.
    pub(crate) fn checked(&self) -> anyhow::Result<Subject> {
        let Some(path) = &self.plan else {
            let seeds = match self.seed {
                Some(seed) => seeds(&format!("{seed}..{}", seed.saturating_add(1)))?,
                None => self.seeds.clone(),
            };
            return Ok(Subject::Seeds(seeds));
        };
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let plan = Plan::parse(&text).with_context(|| path.display().to_string())?;
        Ok(Subject::Plan(path.clone(), Box::new(plan)))
    }

    /// Checks everything, and says what came of it.
    pub(crate) fn run(&self, subject: &Subject) -> anyhow::Result<(String, ExitCode)> {
        if let (true, Some(seed)) = (self.show, self.seed) {
            return Ok((Plan::draw(seed).to_toml(), ExitCode::SUCCESS));
        }
        silence_panics();
        let start = Instant::now();
        let trials = match subject {
            Subject::Seeds(seeds) => self.check_seeds(seeds),
            Subject::Plan(_, plan) => vec![try_plan(plan)],
        };
        let wall_s = start.elapsed().as_secs_f64();
        let kept = match trials.iter().find(|trial| trial.violation.is_some()) {
            Some(trial) if self.shrink => Some(make_small(trial)?),
            _ => None,
        };
        let summary = Summary { small_plan: kept, ..Summary::new(subject, &trials, wall_s) };
        let text = if self.json { format!("{}\n", serde_json::to_string(&summary)?) } else { summary.text() };
        Ok((text, if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
    }

    /// One trial for each seed, in their order.
    fn check_seeds(&self, seeds: &Range<u64>) -> Vec<Trial> {
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
        let work = || {
            let mut trials = Vec::new();
            loop {
                let seed = next.fetch_add(1, Relaxed);
                if seed >= seeds.end {
                    return trials;
                }
                let trial = try_plan(&Plan::draw(seed));
                failed.fetch_add(u64::from(trial.violation.is_some()), Relaxed);
                trials.push(trial);
            }
        };
        let mut trials: Vec<Trial> = thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            let mut board = Board::new("check");
            while workers.iter().any(|worker| !worker.is_finished()) {
                let begun = next.load(Relaxed).min(seeds.end) - seeds.start;
                board.show_seeds(begun, seeds.end - seeds.start, failed.load(Relaxed));
                thread::sleep(LOOK);
            }
            workers.into_iter().flat_map(|worker| worker.join().expect("trials catch their panics")).collect()
        });
        trials.sort_by_key(|trial| trial.plan.seed);
        trials
    }
}

/// Makes the plan of a trial small, and writes it.
fn make_small(trial: &Trial) -> anyhow::Result<PathBuf> {
    let invariant = trial.violation.as_ref().map(|violation| violation.invariant);
    let mut last = trial.violation.clone();
    let mut fails = |plan: &Plan| {
        let found = try_plan(plan).violation;
        let is_same = found.as_ref().map(|violation| violation.invariant) == invariant;
        if is_same {
            last = found;
        }
        is_same
    };
    let mut small = shrink(&trial.plan, SHRINKING_RUNS, &mut fails);
    if let Some(violation) = last {
        small.about = violation.to_string();
    }
    let path = PathBuf::from(format!("check-{}.toml", trial.plan.seed));
    fs::write(&path, small.to_toml()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The object of `--json`.
#[derive(Serialize)]
struct Summary {
    version: &'static str,
    seeds: usize,
    failed: usize,
    failed_seeds: Vec<u64>,
    first_failure: Option<Failure>,
    /// Where `--shrink` wrote a plan.
    small_plan: Option<PathBuf>,
    events: u64,
    virtual_s: f64,
    wall_s: f64,
    /// Of a single trial.
    event_hash: Option<String>,
}

#[derive(Serialize)]
struct Failure {
    seed: u64,
    invariant: &'static str,
    at_s: f64,
    what: String,
    replay: String,
}

impl Summary {
    fn new(subject: &Subject, trials: &[Trial], wall_s: f64) -> Self {
        let failures = trials.iter().filter_map(|trial| trial.violation.as_ref().map(|violation| (trial, violation)));
        let first_failure = failures.clone().next().map(|(trial, violation)| Failure {
            seed: trial.plan.seed,
            invariant: violation.invariant.name(),
            at_s: violation.at_s,
            what: violation.what.clone(),
            replay: replay(subject, trial.plan.seed),
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            seeds: trials.len(),
            failed: failures.clone().count(),
            failed_seeds: failures.map(|(trial, _)| trial.plan.seed).take(LISTED).collect(),
            first_failure,
            small_plan: None,
            events: trials.iter().map(|trial| trial.events).sum(),
            virtual_s: trials.iter().map(|trial| trial.virtual_s).sum(),
            wall_s,
            event_hash: (trials.len() == 1).then(|| trials[0].event_hash.clone()),
        }
    }

    fn text(&self) -> String {
        let Self { seeds, failed, wall_s, virtual_s, .. } = self;
        let mut text = format!("{seeds} checked in {wall_s:.1} s, {virtual_s:.0} s of virtual time: {failed} failed\n");
        if let Some(failure) = &self.first_failure {
            let Failure { seed, invariant, at_s, what, replay } = failure;
            // Writing to a string does not fail.
            let _ = writeln!(text, "seed {seed}: {invariant} at {at_s:.3} s: {what}\nreplay with: {replay}");
        }
        if self.failed > 1 {
            let list: Vec<String> = self.failed_seeds.iter().map(u64::to_string).collect();
            let more = if self.failed > list.len() { ", ..." } else { "" };
            let _ = writeln!(text, "all that failed: {}{more}", list.join(", "));
        }
        if let Some(path) = &self.small_plan {
            let _ = writeln!(text, "made small: shoal-sim check --plan {}", path.display());
        }
        text
    }
}

fn replay(subject: &Subject, seed: u64) -> String {
    let plan = |path: &Path| format!("shoal-sim check --plan {}", path.display());
    match subject {
        Subject::Seeds(_) => format!("shoal-sim check --seed {seed}"),
        Subject::Plan(path, _) => plan(path),
    }
}

//! Runs the jobs of a search on threads. Whatever ends first, the search takes the same.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::Context as _;
use shoal_sim::{
    run::{self, Options, RunError},
    search::{Job, Measure, Search},
};

use crate::board::Tally;

/// Makes all runs of all rounds, so many at a time.
pub(super) fn run(search: &mut Search, jobs: usize) -> anyhow::Result<()> {
    loop {
        let measures = round(search, jobs)?;
        for (job, measure) in measures {
            search.take(job, measure);
        }
        if !search.advance() {
            return Ok(());
        }
    }
}

fn round(search: &Search, threads: usize) -> anyhow::Result<Vec<(Job, Measure)>> {
    let jobs = search.jobs();
    let mut tally = Tally::new(search.round() + 1, search.rounds().len(), jobs.len());
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            let (sender, next, jobs) = (sender.clone(), &next, &jobs);
            scope.spawn(move || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if sender.send((*job, measure(search, job))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut measures = Vec::with_capacity(jobs.len());
        for (job, measure) in receiver {
            measures.push((job, measure.with_context(|| format!("a run with seed {}", job.seed))?));
            tally.show(measures.len());
        }
        Ok(measures)
    })
}

fn measure(search: &Search, job: &Job) -> Result<Measure, RunError> {
    let (scenario, core) = search.setting(job);
    let outcome = run::run(&scenario, &Options { core, ..Options::default() }, &mut |_| {})?;
    Ok(Measure::of(&scenario, scenario.bound().makespan_s(), &outcome))
}

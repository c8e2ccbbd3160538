//! One run: everything is started, the clock runs from the first pull to the end of the last, everything is stopped.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use shoal_sim::scenario::FaultKind;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::{
    arrival::Arrivals,
    bench::{Bench, Setup},
    board::Board,
    crew::Said,
    faults::{Faults, home_of},
    measure::Readings,
    rot::Rot,
    timeline::Timeline,
    tracks::Tracks,
};
use crate::usage::Usage;
use crate::{
    agent::protocol::Report,
    guard::{self, Guard},
    result::{RunResult, Sample},
};

/// Time between two samples.
const SAMPLE: Duration = Duration::from_millis(100);
/// A run that takes so many times what single-source pulls need at least has come to a stop.
const SLOWEST: f64 = 3.0;
/// Added to that, for starts and failures.
const SLACK: Duration = Duration::from_mins(2);

/// Makes one run. The number of the repeat and the order are the caller's to fill in.
pub(crate) async fn conduct(setup: &Setup<'_>, board: &Board) -> anyhow::Result<RunResult> {
    let mut bench = Bench::build(setup).await?;
    let scenario = setup.scenario;
    let warm = scenario.warm_nodes();
    if setup.system.keeps_content() && warm > 0 {
        bench.warm_up(setup, warm).await?;
    }
    setup.stock.warm_page_cache().await?;
    bench.upstream.begin_to_count().await?;
    let before = Readings::take(&mut bench, |_| true).await?;
    let zones = (0..scenario.nodes).map(|node| scenario.zone_of(node));
    let tracks = Tracks::new(zones, warm, setup.stock.bytes());

    let guard = Guard::start().context("cannot watch the machine")?;
    let mut run = Run::new(setup, bench, tracks, before);
    run.until_the_last_has_ended(board).await?;
    let machine = guard.finish().context("cannot watch the machine")?;
    let mut result = run.finish().await?;
    result.invalid = guard::invalid(&machine, setup.shaper);
    result.machine = machine;
    Ok(result)
}

/// A run while the clock runs.
struct Run<'a> {
    setup: &'a Setup<'a>,
    bench: Bench,
    tracks: Tracks,
    arrivals: Arrivals,
    faults: Faults,
    timeline: Timeline,
    before: Readings,
    /// Nodes whose agent is gone, with what their process had used by then.
    gone: BTreeMap<u32, Usage>,
    rotten: Vec<Rot>,
    start: Instant,
}

impl<'a> Run<'a> {
    fn new(setup: &'a Setup<'a>, bench: Bench, tracks: Tracks, before: Readings) -> Self {
        Self {
            setup,
            bench,
            tracks,
            arrivals: Arrivals::new(setup.scenario.waves()),
            faults: Faults::new(&setup.scenario.faults),
            timeline: Timeline::new(),
            before,
            gone: BTreeMap::new(),
            rotten: Vec::new(),
            start: Instant::now(),
        }
    }

    async fn until_the_last_has_ended(&mut self, board: &Board) -> anyhow::Result<()> {
        let limit = Duration::from_secs_f64(self.setup.scenario.bound().single_source_s * SLOWEST) + SLACK;
        let mut ticks = samples();
        self.start = Instant::now();
        loop {
            self.begin_those_that_are_due()?;
            self.inflict_those_that_are_due()?;
            if self.arrivals.is_over() && self.tracks.at_work() == 0 {
                return Ok(());
            }
            if self.start.elapsed() > limit {
                return self.give_up(limit);
            }
            let next = self.arrivals.next_at().map_or(self.start + limit, |at| self.start + at);
            tokio::select! {
                said = self.bench.crew.next() => self.hear(said?),
                _ = ticks.tick() => self.sample(board)?,
                () = sleep_until(next) => {}
            }
        }
    }

    fn begin_those_that_are_due(&mut self) -> anyhow::Result<()> {
        for node in self.arrivals.due(self.start.elapsed(), self.tracks.at_work()) {
            let at_s = self.start.elapsed().as_secs_f64();
            self.bench.order_pull(self.setup, node)?;
            self.tracks.begin(node, at_s);
        }
        Ok(())
    }

    fn inflict_those_that_are_due(&mut self) -> anyhow::Result<()> {
        for fault in self.faults.due(self.tracks.progress_share()) {
            match fault {
                FaultKind::KillNode { node } => self.kill(node)?,
                FaultKind::KillHome => {
                    let mut ids = self.before.ids();
                    for node in self.gone.keys() {
                        ids[*node as usize] = None;
                    }
                    // Only Shoal's nodes are homes; the other systems lose nobody by this.
                    if let Some(node) = home_of(&self.setup.stock.largest().digest, &ids)? {
                        self.kill(node)?;
                    }
                }
                FaultKind::KillUpstream => self.bench.upstream.kill()?,
                FaultKind::SlowNode { node, link } => self.bench.network.set_link(node, link)?,
                FaultKind::CorruptNode { node } => self.corrupt(node),
            }
        }
        Ok(())
    }

    /// The node's machine ends, with its client.
    fn kill(&mut self, node: u32) -> anyhow::Result<()> {
        self.dismiss(node)?;
        self.arrivals.forget(node);
        self.tracks.kill(node);
        if let Some(node) = &mut self.bench.running.nodes[node as usize] {
            node.process.kill()?;
        }
        Ok(())
    }

    /// Ends the agent of a node.
    fn dismiss(&mut self, node: u32) -> anyhow::Result<()> {
        let process = self.bench.running.nodes[node as usize].as_ref().map(|node| node.process.id());
        self.gone.entry(node).or_insert_with(|| process.and_then(|id| Usage::of(id).ok()).unwrap_or_default());
        self.bench.crew.kill(node)
    }

    /// Where there is no node process, nobody serves wrong pieces.
    fn corrupt(&mut self, node: u32) {
        if let Some(process) = &self.bench.running.nodes[node as usize] {
            self.rotten.push(Rot::begin(&process.data));
            self.tracks.excuse(node);
        }
    }

    fn hear(&mut self, said: Said) {
        let node = said.node;
        match said.report {
            Some(Report::Progress { bytes }) => self.tracks.progress(node, bytes),
            Some(Report::Pulled(mut pulled)) => {
                if let Some(error) = &mut pulled.error {
                    error.push_str(&self.last_words(node));
                }
                self.tracks.end(node, &pulled);
            }
            Some(Report::Page(_) | Report::NoPage { .. }) => {}
            None if self.gone.contains_key(&node) => {}
            None => {
                let tail = self.bench.crew.log_tail(node);
                self.tracks.fail(node, format!("the agent of node {node} has ended{tail}"));
                self.gone.insert(node, Usage::default());
            }
        }
    }

    /// What a node's process said last, if it has ended.
    fn last_words(&mut self, node: u32) -> String {
        let Some(node) = &mut self.bench.running.nodes[node as usize] else { return String::new() };
        match node.process.exited() {
            Ok(None) => String::new(),
            Ok(Some(status)) => format!("; {} has ended with {status}{}", node.process.name(), node.process.log_tail()),
            Err(error) => format!("; {error}"),
        }
    }

    fn sample(&mut self, board: &Board) -> anyhow::Result<()> {
        let sample = self.sample_now()?;
        self.timeline.push(sample);
        let (pullers, unfinished) = (self.tracks.pullers(), self.tracks.unfinished().len());
        board.show(self.tracks.progress_share(), self.start.elapsed(), pullers - unfinished, pullers);
        Ok(())
    }

    fn sample_now(&self) -> anyhow::Result<Sample> {
        let upstream = self.bench.network.traffic()?.upstream.up_bytes;
        Ok(Sample {
            at_s: self.start.elapsed().as_secs_f64(),
            delivered_bytes: self.tracks.delivered_bytes(),
            upstream_bytes: upstream.saturating_sub(self.before.upstream_up_bytes()),
        })
    }

    fn give_up(&mut self, limit: Duration) -> anyhow::Result<()> {
        for node in self.tracks.unfinished() {
            self.tracks.fail(node, format!("it has not finished within {:.0} s", limit.as_secs_f64()));
            self.dismiss(node)?;
        }
        Ok(())
    }

    /// Reads the counters and stops everything.
    async fn finish(mut self) -> anyhow::Result<RunResult> {
        let last = self.sample_now()?;
        anyhow::ensure!(!self.rotten.iter().any(Rot::failed), "the files of the corrupt node cannot be changed");
        drop(self.rotten);
        let gone = self.gone;
        let after = Readings::take(&mut self.bench, |node| !gone.contains_key(&node)).await?;
        self.before.complete(&after, &gone, &mut self.tracks);
        let zones = self.before.zones(&after);
        let Bench { crew, containerds, running, upstream, network } = self.bench;
        drop(crew);
        containerds.iter().for_each(super::containerd::Containerd::terminate);
        drop(containerds);
        running.stop().await?;
        let was_killed = upstream.was_killed();
        let mut upstream = upstream.finish().await?;
        if was_killed {
            self.before.correct_killed_upstream(&after, &mut upstream);
        }
        network.remove()?;
        Ok(RunResult {
            system: self.setup.system.name().to_owned(),
            repeat: 0,
            order: 0,
            invalid: None,
            makespan_s: self.tracks.makespan_s(),
            bound_s: self.setup.scenario.bound().makespan_s(),
            nodes: self.tracks.into_results(),
            upstream,
            zones,
            machine: crate::result::MachineResult::default(),
            timeline: self.timeline.finish(last),
        })
    }
}

fn samples() -> Interval {
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

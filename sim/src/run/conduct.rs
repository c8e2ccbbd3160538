//! One run: the cluster forms, the clock runs from the first pull to the end of the last.

use std::time::Duration;

use shoal_wire::control::NameOutcome;

use super::{
    ControlOutcome, FaultOutcome, Forming, NodeOutcome, Options, Outcome, Progress, Row, RunError, UpstreamOutcome,
    ZoneOutcome,
    arrivals::Arrivals,
    pull::{self, Goods, Pull},
    series::Series,
    tracks::Tracks,
};
use crate::{
    scenario::{Fault, FaultKind, Scenario},
    time::Nanos,
    world::{Happening, World, setting::LinkSetting},
};

/// Time that a cluster has to form.
const FORM: Duration = Duration::from_mins(5);
/// Time between two looks at a cluster that forms.
const LOOK: Duration = Duration::from_millis(100);
/// Homes wait a little longer while membership has just changed: the clock starts after that.
const SETTLE: Duration = Duration::from_secs(4);
/// A run that takes so many times what single-source pulls need at least, and so many times the bound, has come to a stop.
const SLOWEST_OF_SINGLE: f64 = 3.0;
const SLOWEST_OF_BOUND: f64 = 20.0;
/// Added to that, in seconds, for starts and failures.
const SLACK_S: f64 = 120.0;
/// Rows that a run at the bound's pace has.
const ROWS: f64 = 200.0;
/// Events between two reports of progress.
const REPORT_EVENTS: u64 = 1 << 16;

/// Makes one run.
pub(super) fn conduct(
    scenario: &Scenario,
    options: &Options,
    report: &mut dyn FnMut(&Progress),
) -> Result<Outcome, RunError> {
    let mut world = World::new(options.setting(scenario), options.forming == Forming::Known);
    let goods = Goods::stock(&mut world, &scenario.content);
    form(&mut world, options.forming)?;
    let mut run = Run::new(scenario, world, goods);
    run.until_the_last_has_ended(report);
    Ok(run.finish())
}

fn form(world: &mut World, forming: Forming) -> Result<(), RunError> {
    if forming == Forming::Alone {
        return Ok(());
    }
    if forming == Forming::Joins {
        world.join();
    }
    let limit = Nanos::from(FORM);
    while !world.is_formed() {
        if world.now() >= limit {
            return Err(RunError::NotFormed { seconds: FORM.as_secs() });
        }
        run_for(world, LOOK);
    }
    run_for(world, SETTLE);
    Ok(())
}

fn run_for(world: &mut World, time: Duration) {
    let until = world.now() + time;
    while world.step(until) {}
}

/// A run while the clock runs.
struct Run<'a> {
    scenario: &'a Scenario,
    world: World,
    goods: Goods,
    tracks: Tracks,
    arrivals: Arrivals,
    /// For when the world was last asked to tell the time.
    alarm_at: Nanos,
    /// Faults to come, in the order of the file.
    pending: Vec<Fault>,
    /// The share at which the next of them is due.
    next_fault: f64,
    happened: Vec<FaultOutcome>,
    series: Series,
    start: Nanos,
    /// Bytes that the pulls of the scenario bring in all.
    all_bytes: f64,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, mut world: World, goods: Goods) -> Self {
        for node in 0..scenario.warm_nodes() {
            goods.all().for_each(|blob| world.hold(node, blob));
        }
        run_for(&mut world, Duration::from_secs(1));
        world.take_happenings();
        world.begin_to_count();
        let tracks = Tracks::new(scenario);
        let all_bytes = goods.bytes as f64 * f64::from(tracks.pulls());
        let start = world.now();
        let every = Duration::from_secs_f64((scenario.bound().makespan_s() / ROWS).clamp(0.001, 10.0));
        let mut run = Self {
            scenario,
            world,
            goods,
            tracks,
            arrivals: Arrivals::new(scenario.waves()),
            alarm_at: Nanos::ZERO,
            pending: scenario.faults.clone(),
            next_fault: 0.0,
            happened: Vec::new(),
            series: Series::new(start, every),
            start,
            all_bytes,
        };
        run.plan_faults();
        run
    }

    fn until_the_last_has_ended(&mut self, report: &mut dyn FnMut(&Progress)) {
        let bounds = self.scenario.bound();
        let limit = (bounds.single_source_s * SLOWEST_OF_SINGLE).min(bounds.makespan_s() * SLOWEST_OF_BOUND);
        let limit = self.start.after(limit + SLACK_S);
        let mut reported = 0;
        loop {
            self.hear();
            self.inflict_what_is_due();
            self.begin_those_that_are_due();
            if self.arrivals.is_over() && self.tracks.at_work() == 0 {
                return;
            }
            if !self.go_on(limit) {
                return self.give_up();
            }
            if self.world.events() - reported >= REPORT_EVENTS {
                reported = self.world.events();
                report(&self.progress());
            }
        }
    }

    /// Steps until something may have to be done; `false` once the limit is reached.
    fn go_on(&mut self, limit: Nanos) -> bool {
        let events = self.world.events();
        while !self.world.has_happenings() && self.share() < self.next_fault {
            let row = self.series.next_at();
            if !self.world.step(row.min(limit)) {
                if self.world.now() >= limit {
                    return false;
                }
                let row = self.row();
                self.series.push(row);
            }
            if self.world.events() - events >= REPORT_EVENTS {
                break;
            }
        }
        true
    }

    fn begin_those_that_are_due(&mut self) {
        let now = self.world.now();
        for node in self.arrivals.due(now, self.tracks.at_work()) {
            let pull = Pull::begin(&mut self.world, &self.goods, node);
            self.tracks.begin(node, now, self.start, pull);
        }
        if let Some(at) = self.arrivals.next_at().filter(|at| *at != self.alarm_at) {
            self.alarm_at = at;
            self.world.alarm(at, 0);
        }
    }

    fn hear(&mut self) {
        for happening in self.world.take_happenings() {
            let now = self.world.now();
            match happening {
                // A scenario has no faults that bring the others about.
                Happening::Alarm { .. }
                | Happening::Corrupt { .. }
                | Happening::Broken { .. }
                | Happening::Stopped { .. } => {}
                Happening::Begun { node, blob } => {
                    if self.goods.layers.contains(&blob) {
                        self.tracks.first_byte(node, now);
                    }
                }
                Happening::Answered { node, outcome: NameOutcome::Found(_), .. } => {
                    if let Some(pull) = self.tracks.pull(node) {
                        pull.answered(&mut self.world, &self.goods, node);
                    }
                }
                Happening::Answered { node, .. } => self.tracks.fail(node),
                Happening::Finished { node, blob } => {
                    let Some(pull) = self.tracks.pull(node) else { continue };
                    if pull.finished(&mut self.world, &self.goods, node, blob) == pull::Progress::Done {
                        self.tracks.finish(node, now);
                    }
                }
                Happening::Failed { node, blob, .. } => {
                    if self.tracks.pull(node).is_some_and(|pull| pull.reads(blob)) {
                        self.tracks.fail(node);
                    }
                }
            }
        }
    }

    /// Share of all bytes that the readers of the pulling nodes have together.
    fn share(&self) -> f64 {
        if self.all_bytes > 0.0 { self.world.read_bytes() as f64 / self.all_bytes } else { 0.0 }
    }

    fn plan_faults(&mut self) {
        self.next_fault = self.pending.iter().map(|fault| fault.at).fold(f64::INFINITY, f64::min);
    }

    fn inflict_what_is_due(&mut self) {
        let share = self.share();
        if share < self.next_fault {
            return;
        }
        let (due, pending) = self.pending.iter().partition::<Vec<Fault>, _>(|fault| fault.at <= share);
        self.pending = pending;
        self.plan_faults();
        for fault in due {
            let node = self.inflict(fault.what);
            let at_s = self.world.now().seconds_since(self.start);
            self.happened.push(FaultOutcome { at_s, what: name_of(fault.what).into(), node });
        }
    }

    /// Makes a fault happen; says to whom.
    fn inflict(&mut self, what: FaultKind) -> Option<u32> {
        match what {
            FaultKind::KillNode { node } => Some(self.kill(node)),
            FaultKind::KillHome => self.world.home_of(self.goods.largest).map(|home| self.kill(home)),
            FaultKind::KillUpstream => {
                self.world.kill_upstream();
                None
            }
            FaultKind::SlowNode { node, link } => {
                self.world.set_link(node, LinkSetting { up: link.up as f64, down: link.down as f64 });
                Some(node)
            }
            FaultKind::CorruptNode { node } => {
                self.world.corrupt(node);
                self.tracks.excuse(node);
                Some(node)
            }
        }
    }

    fn kill(&mut self, node: u32) -> u32 {
        self.world.kill(node);
        self.arrivals.forget(node);
        self.tracks.kill(node);
        node
    }

    fn give_up(&mut self) {
        for node in self.tracks.unfinished() {
            self.tracks.fail(node);
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            at_s: self.world.now().seconds_since(self.start),
            share: self.share(),
            done: self.tracks.done(),
            pulls: self.tracks.pulls(),
            events: self.world.events(),
        }
    }

    fn row(&mut self) -> Row {
        let share = |node: u32| {
            let stored = u128::from(self.world.counters(node).stored_bytes) * 255;
            let share = stored / u128::from(self.goods.bytes.max(1));
            if self.tracks.is_warm(node) { u8::MAX } else { u8::try_from(share).unwrap_or(u8::MAX) }
        };
        Row {
            shares: (0..self.scenario.nodes).map(share).collect(),
            at_s: self.world.now().seconds_since(self.start),
            delivered_bytes: self.world.delivered_bytes(),
            read_bytes: self.world.read_bytes(),
            upstream_bytes: self.world.carried_by_upstream(),
            begun: self.tracks.begun(),
            done: self.tracks.done(),
            ..Row::default()
        }
    }

    fn finish(mut self) -> Outcome {
        let last = self.row();
        let (messages, upstream) = (self.world.messages(), self.world.upstream_counters());
        let zones = self.world.carried_by_zones().into_iter();
        Outcome {
            seed: self.scenario.seed,
            makespan_s: self.tracks.makespan_s(),
            content_bytes: self.goods.bytes,
            zones: zones.map(|(out_bytes, in_bytes)| ZoneOutcome { in_bytes, out_bytes }).collect(),
            upstream: UpstreamOutcome {
                blob_bytes: self.world.carried_by_upstream(),
                blob_requests: upstream.blob_requests,
                manifest_requests: upstream.name_requests,
                connections_max: upstream.connections_max,
            },
            control: ControlOutcome {
                messages: messages.messages,
                message_bytes: messages.message_bytes,
                datagrams: messages.datagrams,
                datagram_bytes: messages.datagram_bytes,
            },
            faults: self.happened,
            series: self.series.finish(last),
            events: self.world.events(),
            event_hash: self.world.event_hash(),
            nodes: complete(&mut self.world, self.tracks),
        }
    }
}

/// What became of each node, with what it did.
fn complete(world: &mut World, tracks: Tracks) -> Vec<NodeOutcome> {
    let complete = |outcome: NodeOutcome| {
        let (up_bytes, down_bytes) = world.carried_by(outcome.node);
        let counters = world.counters(outcome.node);
        NodeOutcome {
            up_bytes,
            down_bytes,
            from_upstream_bytes: counters.from_upstream_bytes,
            from_other_zones_bytes: counters.from_other_zones_bytes,
            duplicate_bytes: counters.duplicate_bytes,
            corrupt_bytes: counters.corrupt_bytes,
            requests: counters.requests,
            busy: counters.busy,
            served: counters.served,
            control_up_bytes: counters.control_up_bytes,
            control_down_bytes: counters.control_down_bytes,
            ..outcome
        }
    };
    tracks.into_outcomes().into_iter().map(complete).collect()
}

fn name_of(what: FaultKind) -> &'static str {
    match what {
        FaultKind::KillNode { .. } => "kill-node",
        FaultKind::KillHome => "kill-home",
        FaultKind::KillUpstream => "kill-upstream",
        FaultKind::SlowNode { .. } => "slow-node",
        FaultKind::CorruptNode { .. } => "corrupt-node",
    }
}

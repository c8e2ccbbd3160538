//! One check: the cluster forms, its faults happen, everything heals, and all is well in the end.

use std::time::Duration;

use shoal_core::config::CoreConfig;

use super::{
    bounds,
    clients::Clients,
    faults::{Faults, SEEDS, link},
    invariant::{Invariant, Violation},
    plan::Plan,
    planted::{Bug, Planted},
};
use crate::{
    time::Nanos,
    world::{
        World,
        setting::{CostSetting, NodeSetting, PathSetting, Setting, UpstreamSetting},
    },
};

/// Time that a cluster has to form, without any fault but its own losses.
const FORMED_WITHIN: Duration = Duration::from_secs(90);
/// Between that and the first pull.
const SETTLE: Duration = Duration::from_secs(1);
/// Time between two looks at everything.
const LOOK: Duration = Duration::from_millis(500);
/// Events between two looks for each node: more is a storm of messages that nobody needs.
const EVENTS_PER_LOOK: u64 = 40_000;

/// What came of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// Events worked off.
    pub events: u64,
    /// Virtual seconds from the first pull to the end of the check.
    pub virtual_s: f64,
    /// Copies of all blobs that the upstream sent.
    pub upstream_copies: f64,
    /// Hash of everything that the nodes did and when.
    pub event_hash: String,
}

/// Runs a plan, with a bug planted where one is given.
pub fn check(plan: &Plan, bug: Option<Bug>) -> Verdict {
    let mut check = Check::new(plan, bug);
    let violation = check.run().err();
    let bytes: u64 = plan.blobs.iter().sum();
    Verdict {
        violation,
        events: check.world.events(),
        virtual_s: check.world.now().seconds_since(check.start),
        upstream_copies: check.world.carried_by_upstream() as f64 / bytes.max(1) as f64,
        event_hash: check.world.event_hash(),
    }
}

/// Something that a plan does at a time.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node begins for the first time.
    Start(u32),
    /// A fault of the list begins.
    Begin(usize),
    /// It is over.
    End(usize),
}

struct Check<'a> {
    plan: &'a Plan,
    config: CoreConfig,
    world: World,
    clients: Clients,
    faults: Faults<'a>,
    /// What is still to be done, the last first.
    agenda: Vec<(Nanos, Step)>,
    start: Nanos,
    heals_at: Nanos,
    is_healed: bool,
    /// Since when everybody has finished and all agree.
    done_at: Option<Nanos>,
    events_at_look: u64,
    /// Nodes that held leases without a fetch at the last look.
    idle_leases: Vec<bool>,
}

impl<'a> Check<'a> {
    fn new(plan: &'a Plan, bug: Option<Bug>) -> Self {
        let setting = setting(plan);
        let config = setting.core.clone();
        let mut world = World::new(setting, false);
        world.audit();
        for size in &plan.blobs {
            world.add_blob(*size, true);
        }
        if let Some(bug) = bug {
            let ids = (0..world.nodes()).map(|node| world.id_of(node)).collect();
            world.set_layer(Box::new(Planted::new(bug, plan, ids)));
        }
        Self {
            plan,
            config,
            world,
            clients: Clients::new(plan, Nanos::NEVER),
            faults: Faults::new(plan),
            agenda: Vec::new(),
            start: Nanos::ZERO,
            heals_at: Nanos::NEVER,
            is_healed: false,
            done_at: None,
            events_at_look: 0,
            idle_leases: vec![false; plan.nodes.len()],
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        self.form()?;
        self.begin();
        let mut look_at = self.start;
        loop {
            if self.world.now() >= look_at {
                look_at = self.world.now() + LOOK;
                self.look()?;
                if self.is_over()? {
                    return self.judge_upstream();
                }
            }
            let next = [self.agenda.last().map(|(at, _)| *at), self.clients.next_at(), Some(look_at)];
            let next = next.into_iter().flatten().min().unwrap_or(look_at);
            let next = if self.is_healed { next } else { next.min(self.heals_at) };
            self.go_on(next)?;
            self.act();
        }
    }

    /// Steps to a time, hearing of everything meanwhile.
    fn go_on(&mut self, until: Nanos) -> Result<(), Violation> {
        while self.world.step(until) {
            if self.world.has_happenings() {
                self.hear();
            }
            if let Some(breach) = self.world.breaches().first() {
                let what = format!("node {}: {}", breach.node, breach.what);
                return Err(self.violation(breach.kind.into(), what));
            }
        }
        Ok(())
    }

    fn hear(&mut self) {
        for happening in self.world.take_happenings() {
            self.clients.hear(&mut self.world, &happening);
        }
    }

    fn form(&mut self) -> Result<(), Violation> {
        let late: Vec<bool> = self.plan.nodes.iter().map(|node| node.starts_ms > 0).collect();
        for (node, is_late) in (0..).zip(late) {
            if is_late {
                self.world.absent(node);
            } else {
                self.world.join_through(node, &SEEDS);
            }
        }
        while !self.world.is_formed() {
            if self.world.now() >= Nanos::from(FORMED_WITHIN) {
                return Err(self.violation(Invariant::Membership, "the cluster did not form".into()));
            }
            self.go_on(self.world.now() + LOOK)?;
        }
        self.go_on(self.world.now() + SETTLE)
    }

    /// The clock starts.
    fn begin(&mut self) {
        self.start = self.world.now();
        for (node, _) in (0..).zip(&self.plan.nodes).filter(|(_, node)| node.is_warm) {
            (0..self.plan.blobs.len()).for_each(|blob| {
                self.world.hold(node, crate::world::BlobId(u32::try_from(blob).expect("a few blobs")));
            });
        }
        self.clients = Clients::new(self.plan, self.start);
        let at = |ms: u64| self.start + Duration::from_millis(ms);
        let starts = (0..).zip(&self.plan.nodes).filter(|(_, node)| node.starts_ms > 0);
        self.agenda = starts.map(|(node, of_node)| (at(of_node.starts_ms), Step::Start(node))).collect();
        for (index, fault) in self.plan.faults.iter().enumerate() {
            self.agenda.push((at(fault.at_ms), Step::Begin(index)));
            if fault.for_ms > 0 {
                self.agenda.push((at(fault.at_ms + fault.for_ms), Step::End(index)));
            }
        }
        self.agenda.sort_by_key(|(at, _)| *at);
        self.agenda.reverse();
        self.heals_at = self.agenda.first().map_or(self.start, |(at, _)| *at);
        self.events_at_look = self.world.events();
    }

    /// Does what is due.
    fn act(&mut self) {
        let now = self.world.now();
        while let Some((_, step)) = self.agenda.pop_if(|(at, _)| *at <= now) {
            match step {
                Step::Start(node) => self.faults.start(&mut self.world, node),
                Step::Begin(index) => {
                    self.faults.begin(&mut self.world, &mut self.clients, &self.plan.faults[index]);
                }
                Step::End(index) => self.faults.end(&mut self.world, &mut self.clients, &self.plan.faults[index]),
            }
        }
        if !self.is_healed && now >= self.heals_at {
            self.is_healed = true;
            self.faults.heal(&mut self.world, &mut self.clients);
        }
        self.clients.begin_those_that_are_due(&mut self.world);
        self.hear();
    }

    /// Checks what must hold at any time.
    fn look(&mut self) -> Result<(), Violation> {
        let nodes = self.plan.nodes.len();
        for node in 0..self.world.nodes() {
            let index = node as usize;
            if !self.world.is_up(node) {
                self.idle_leases[index] = false;
                continue;
            }
            let census = self.world.engine(node).census();
            if let Some(excess) = bounds::excess(&census, &self.config, nodes) {
                return Err(self.violation(Invariant::Bounds, format!("node {node}: {excess}")));
            }
            let (_, _, fetches) = self.world.open_at(node);
            let is_idle = census.leases_held > fetches && !self.world.is_paused(node);
            if std::mem::replace(&mut self.idle_leases[index], is_idle) && is_idle {
                let what = format!("node {node} holds {} leases and fetches {fetches}", census.leases_held);
                return Err(self.violation(Invariant::Leases, what));
            }
        }
        let events = self.world.events() - self.events_at_look;
        self.events_at_look = self.world.events();
        if events > EVENTS_PER_LOOK * nodes as u64 {
            return Err(self.violation(Invariant::Messages, format!("{events} events in half a second")));
        }
        Ok(())
    }

    /// Whether everything is well, after everything has healed; checks that it gets there in time.
    fn is_over(&mut self) -> Result<bool, Violation> {
        if !self.is_healed {
            return Ok(false);
        }
        for node in 0..self.world.nodes() {
            self.faults.start(&mut self.world, node);
        }
        let since = Duration::from_nanos((self.world.now() - self.heals_at).0);
        let lives = |node: u32| self.faults.is_to_live(node);
        if let Some((at, what)) = &self.clients.last_failure
            && *at - self.heals_at > Nanos::from(bounds::NO_FAILURES_AFTER)
        {
            return Err(self.violation(Invariant::Failures, what.clone()));
        }
        let are_done = self.clients.are_done(lives);
        if !are_done && since > bounds::finish_within(self.plan) {
            return Err(self.violation(Invariant::Finish, self.clients.stuck(&self.world, lives)));
        }
        let disagreement = self.disagreement();
        if let Some(disagreement) = disagreement.clone().filter(|_| since > bounds::AGREED_WITHIN) {
            return Err(self.violation(Invariant::Membership, disagreement));
        }
        if !are_done || disagreement.is_some() {
            self.done_at = None;
            return Ok(false);
        }
        let done_at = *self.done_at.get_or_insert(self.world.now());
        match self.open() {
            Some(open) if self.world.now() - done_at > Nanos::from(bounds::QUIET_WITHIN) => {
                Err(self.violation(Invariant::Quiet, open))
            }
            open => Ok(open.is_none()),
        }
    }

    /// Two nodes that do not agree who lives.
    fn disagreement(&self) -> Option<String> {
        let up: Vec<u32> = (0..self.world.nodes()).filter(|node| self.world.is_up(*node)).collect();
        up.iter().find_map(|viewer| {
            let membership = self.world.engine(*viewer).membership();
            let unknown = up.iter().find(|node| membership.alive(self.world.id_of(**node)).is_none());
            if let Some(unknown) = unknown {
                return Some(format!("node {viewer} does not count node {unknown}, which lives"));
            }
            let counted = membership.alive_count();
            (counted != up.len())
                .then(|| format!("node {viewer} counts {counted} nodes as alive, and {} live", up.len()))
        })
    }

    /// Something that is left open.
    fn open(&self) -> Option<String> {
        (0..self.world.nodes()).filter(|node| self.world.is_up(*node)).find_map(|node| {
            let (transfers, uploads, fetches) = self.world.open_at(node);
            let census = self.world.engine(node).census();
            let open = [
                ("transfers", transfers.max(census.requests)),
                ("uploads", uploads.max(census.uploads_served + census.uploads_waiting)),
                ("fetches", fetches.max(census.leases_held)),
                ("leases given", census.leases_given),
                ("questions", census.questions),
            ];
            let (what, count) = open.into_iter().find(|(_, count)| *count > 0)?;
            Some(format!("node {node} still has {count} {what} open"))
        })
    }

    fn judge_upstream(&mut self) -> Result<(), Violation> {
        let (sent, most) = (self.world.carried_by_upstream(), bounds::upstream_bytes_max(self.plan));
        if sent <= most {
            return Ok(());
        }
        let bytes = self.plan.blobs.iter().sum::<u64>().max(1) as f64;
        let (copies, most) = (sent as f64 / bytes, most as f64 / bytes);
        Err(self.violation(Invariant::UpstreamCopies, format!("{copies:.2} copies, of {most:.2} at most")))
    }

    fn violation(&self, invariant: Invariant, what: String) -> Violation {
        Violation { invariant, at_s: self.world.now().seconds() - self.start.seconds(), what }
    }
}

/// The world of a plan.
fn setting(plan: &Plan) -> Setting {
    let uplink = |rate: &u64| crate::world::setting::LinkSetting { up: *rate as f64, down: *rate as f64 };
    Setting {
        nodes: (0..).zip(&plan.nodes).map(|(node, of)| NodeSetting { link: link(plan, node), zone: of.zone }).collect(),
        zones: plan.zone_uplinks.iter().map(uplink).collect(),
        upstream: UpstreamSetting {
            bytes_per_s: plan.upstream.bytes_per_s as f64,
            ranges: plan.upstream.ranges,
            connections_max: plan.upstream.connections_max,
            ..UpstreamSetting::default()
        },
        paths: PathSetting {
            latency: Duration::from_micros(plan.latency_us),
            jitter: Duration::from_micros(plan.jitter_us),
            loss: f64::from(plan.loss_permille) / 1000.0,
            ..PathSetting::default()
        },
        // A damaged disk reaches the pieces that were just stored as well, as where memory is short.
        costs: CostSetting { memory_bytes: 0, ..CostSetting::default() },
        core: CoreConfig::default(),
        tolerance: 0.01,
        seed: plan.seed,
    }
}

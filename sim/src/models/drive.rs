//! Plays a scenario's pulls in a model: who begins when, and which layers a node asks for.

use super::stage::{Stage, Step};
use crate::{
    baseline::BaselineOutcome,
    run::arrivals::Arrivals,
    scenario::{Content, Scenario},
    time::Nanos,
};

/// Layers that a container runtime pulls at once, as in [`crate::run`].
const BLOBS_AT_ONCE: u32 = 3;

/// The policy of a system.
pub(super) trait System {
    /// What happens to it.
    type Event;

    /// Relative error of rates, 0.0 to 0.1. With many short flows a hundredth is quicker and averages out.
    const TOLERANCE: f64;

    /// A node begins: it has to learn what the image is made of.
    fn begin(&mut self, stage: &mut Stage<Self::Event>, node: u32);

    /// A node begins to pull a blob. When it has it, the system says so by [`Stage::finish`].
    fn want(&mut self, stage: &mut Stage<Self::Event>, node: u32, blob: u32);

    /// Something happens.
    fn handle(&mut self, stage: &mut Stage<Self::Event>, event: Self::Event);
}

/// Sizes of the blobs that each node pulls.
pub(super) fn blobs(scenario: &Scenario) -> Vec<u64> {
    match &scenario.content {
        Content::Blob(bytes) => vec![*bytes],
        Content::Image(layers) => layers.clone(),
    }
}

/// Runs all pulls to their ends.
pub(super) fn drive<S: System>(scenario: &Scenario, system: S) -> BaselineOutcome {
    let blobs = u32::try_from(blobs(scenario).len()).unwrap_or(u32::MAX);
    let drive = Drive {
        stage: Stage::new(scenario, S::TOLERANCE),
        system,
        pulls: vec![None; scenario.nodes as usize],
        arrivals: Arrivals::new(scenario.waves()),
        blobs,
        at_work: 0,
        node_s: Vec::new(),
        ends: Nanos::ZERO,
    };
    drive.run()
}

struct Drive<S: System> {
    stage: Stage<S::Event>,
    system: S,
    pulls: Vec<Option<Pull>>,
    arrivals: Arrivals,
    blobs: u32,
    at_work: u32,
    node_s: Vec<f64>,
    ends: Nanos,
}

/// One node's pull while it is under way.
#[derive(Clone, Copy)]
struct Pull {
    started: Nanos,
    /// The first layer that was not asked for.
    next: u32,
    /// Layers that came.
    done: u32,
}

impl<S: System> Drive<S> {
    fn run(mut self) -> BaselineOutcome {
        loop {
            for node in self.arrivals.due(self.stage.now, self.at_work) {
                self.begin(node);
            }
            for (node, _) in self.stage.take_finished() {
                self.came(node);
            }
            if self.at_work == 0 && self.arrivals.is_over() {
                break;
            }
            let is_new_wave_due = self.at_work == 0 && self.arrivals.next_at().is_none();
            if is_new_wave_due {
                continue;
            }
            match self.stage.step(self.arrivals.next_at()) {
                Step::Event(event) => self.system.handle(&mut self.stage, event),
                Step::Alarm => {}
                Step::Nothing => break,
            }
        }
        self.node_s.sort_by(f64::total_cmp);
        BaselineOutcome {
            makespan_s: self.ends.seconds(),
            node_s: self.node_s,
            upstream_bytes: self.stage.upstream_bytes,
            upstream_requests: self.stage.upstream_requests,
        }
    }

    fn begin(&mut self, node: u32) {
        self.pulls[node as usize] = Some(Pull { started: self.stage.now, next: 0, done: 0 });
        self.at_work += 1;
        self.system.begin(&mut self.stage, node);
        for _ in 0..BLOBS_AT_ONCE {
            self.want_next(node);
        }
    }

    fn want_next(&mut self, node: u32) {
        let Some(pull) = self.pulls[node as usize].as_mut().filter(|pull| pull.next < self.blobs) else { return };
        let blob = pull.next;
        pull.next += 1;
        self.system.want(&mut self.stage, node, blob);
    }

    fn came(&mut self, node: u32) {
        let Some(pull) = self.pulls[node as usize].as_mut() else { return };
        pull.done += 1;
        if pull.done < self.blobs {
            return self.want_next(node);
        }
        self.node_s.push(self.stage.now.seconds_since(pull.started));
        self.ends = self.ends.max(self.stage.now);
        self.pulls[node as usize] = None;
        self.at_work -= 1;
    }
}

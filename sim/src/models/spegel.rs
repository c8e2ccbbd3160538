//! A model of Spegel's policy: whole blobs, from one complete peer.
//!
//! A node looks a blob up in the distributed hash table when its pull of it starts. Where peers are known that have all
//! of it, one of them, drawn at random, sends it; otherwise the upstream does. A node is known as a holder from the moment
//! at which it has the whole blob. So nodes that begin together all ask the upstream.
//!
//! Source: spegel-org/spegel at commit b8c715a, `main.go` (a lookup may take 20 ms) and `pkg/routing`. Where somebody is
//! found the lookup takes one round trip here; nothing is spent on the hash table itself. That is in its favour.

use std::time::Duration;

use shoal_core::rng::Stream;

use super::{
    drive::{System, blobs},
    stage::{Host, Stage},
};
use crate::scenario::Scenario;

/// What a lookup takes that finds nobody.
const LOOKUP: Duration = Duration::from_millis(20);

/// All nodes.
pub(super) struct Spegel {
    sizes: Vec<u64>,
    /// Nodes that have all of each blob; the last are those that have the manifest.
    holders: Vec<Vec<u32>>,
    random: Stream,
}

/// What happens.
pub(super) enum Event {
    /// A node's request reaches whoever sends.
    Asked { node: u32, blob: u32, from: Host },
    /// A node has all of a blob, or the manifest.
    Has { node: u32, blob: u32 },
}

impl Spegel {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let sizes = blobs(scenario);
        let warm: Vec<u32> = (0..scenario.warm_nodes()).collect();
        Self { holders: vec![warm; sizes.len() + 1], sizes, random: Stream::new(scenario.seed, "spegel") }
    }

    /// Who sends, and what it takes until the bytes begin to flow.
    fn source(&mut self, blob: u32, round_trip: Duration) -> (Host, Duration) {
        let holders = &self.holders[blob as usize];
        match holders.get(self.random.below(holders.len())) {
            Some(holder) => (Host::Node(*holder), round_trip * 2),
            None => (Host::Upstream, LOOKUP + round_trip),
        }
    }

    fn manifest(&self) -> u32 {
        u32::try_from(self.sizes.len()).unwrap_or(u32::MAX)
    }
}

impl System for Spegel {
    type Event = Event;

    const TOLERANCE: f64 = 0.0;

    fn begin(&mut self, stage: &mut Stage<Event>, node: u32) {
        let manifest = self.manifest();
        let (from, after) = self.source(manifest, stage.round_trip);
        stage.upstream_requests += u64::from(from == Host::Upstream);
        stage.after(after, Event::Has { node, blob: manifest });
    }

    fn want(&mut self, stage: &mut Stage<Event>, node: u32, blob: u32) {
        let (from, after) = self.source(blob, stage.round_trip);
        stage.after(after, Event::Asked { node, blob, from });
    }

    fn handle(&mut self, stage: &mut Stage<Event>, event: Event) {
        match event {
            Event::Asked { node, blob, from } => {
                stage.upstream_requests += u64::from(from == Host::Upstream);
                let bytes = self.sizes[blob as usize];
                stage.send((from, Host::Node(node), blob), bytes, Event::Has { node, blob });
            }
            Event::Has { node, blob } => {
                self.holders[blob as usize].push(node);
                if blob != self.manifest() {
                    stage.finish(node, blob);
                }
            }
        }
    }
}

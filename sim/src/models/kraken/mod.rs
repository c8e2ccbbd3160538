//! A model of Kraken's policy: an origin that stores the whole blob first, a tracker, and a swarm of agents.
//!
//! An agent asks the origin for what a blob is made of. The first who asks makes the origin pull all of it from the
//! upstream; until it has it, agents ask again every second. Then an agent announces itself to the tracker, every three
//! seconds until it is complete, and gets up to 50 others, drawn at random, and the origin. It opens connections to them,
//! those that are complete first, ten for each blob at most, its own and those of others together; a connection that
//! moved nothing for 30 s is closed. Over each it asks for up to three pieces of 4 MiB, the rarest among its neighbours first. The last three pieces
//! it asks of several. A reader gets a blob when all of it is there.
//!
//! Source: uber/kraken at commit 2a7fbcb: `lib/torrent/scheduler` (announce interval, connections, idle time, end game),
//! `config/agent/base.yaml` (rarest first), `config/tracker/base.yaml` (complete peers first), `tracker` (50 peers); three
//! requests on a connection. One origin, which has a link like a
//! node's. Its defaults of 200 MB/s up and 300 MB/s down for each agent, time-outs, refused connections' rest of 30 s, the
//! tag's lookup and the manifest's own torrent are left out, and agents know at once what their neighbours have. That is
//! in its favour.

mod swarm;

use std::time::Duration;

use shoal_core::rng::Stream;

use self::swarm::{Request, Swarm};
use super::{
    drive::{System, blobs},
    stage::{Host, Stage},
};
use crate::scenario::Scenario;

/// Time between two questions about a blob that the origin does not have yet.
const POLL: Duration = Duration::from_secs(1);
/// Time between two announcements of an agent.
const ANNOUNCE: Duration = Duration::from_secs(3);
/// Peers that the tracker names.
const HANDOUT: usize = 50;

/// Tracker, origin and all agents.
pub(super) struct Kraken {
    swarms: Vec<Swarm>,
    /// The origin's number among hosts: the number of nodes.
    origin: u32,
    has_asked_for_manifest: bool,
    random: Stream,
}

/// What happens.
pub(super) enum Event {
    /// An agent's question reaches the origin.
    Poll { node: u32, blob: u32 },
    /// The origin has a blob.
    Stored { blob: u32 },
    /// An agent announces itself.
    Announce { node: u32, blob: u32 },
    /// The tracker's answer comes. Agents that announce themselves at one moment hear of each other.
    Handout { node: u32, blob: u32 },
    /// A request reaches its sender.
    Asked(Request),
    /// A piece arrives.
    Piece(Request),
}

impl Kraken {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let swarm = |bytes| Swarm::new(bytes, scenario.nodes, scenario.warm_nodes());
        Self {
            swarms: blobs(scenario).into_iter().map(swarm).collect(),
            origin: scenario.nodes,
            has_asked_for_manifest: scenario.warm_nodes() > 0,
            random: Stream::new(scenario.seed, "kraken"),
        }
    }

    fn channel(&self, request: &Request) -> (Host, Host, u32) {
        let host = |number| if number == self.origin { Host::Outside } else { Host::Node(number) };
        (host(request.from), host(request.to), request.blob)
    }

    fn poll(&mut self, stage: &mut Stage<Event>, node: u32, blob: u32) {
        let swarm = &mut self.swarms[blob as usize];
        if swarm.is_stored() {
            // The answer goes back, and the announcement to the tracker.
            return stage.after(stage.round_trip, Event::Announce { node, blob });
        }
        if swarm.begin_to_store() {
            stage.upstream_requests += 1;
            stage.send((Host::Upstream, Host::Outside, blob), swarm.bytes(), Event::Stored { blob });
        }
        stage.after(POLL, Event::Poll { node, blob });
    }

    fn hand_out(&mut self, stage: &mut Stage<Event>, node: u32, blob: u32) {
        let swarm = &mut self.swarms[blob as usize];
        let mut peers = swarm.peers_for(node, HANDOUT, &mut self.random);
        peers.push(self.origin);
        self.random.shuffle(&mut peers);
        peers.sort_by_key(|peer| !swarm.is_complete(*peer));
        swarm.close_idle(node, stage.now);
        for peer in peers {
            if self.swarms[blob as usize].connect(node, peer, stage.now) {
                self.ask(stage, blob, node, peer);
                self.ask(stage, blob, peer, node);
            }
        }
    }

    /// `who` asks `whom` for what it may.
    fn ask(&mut self, stage: &mut Stage<Event>, blob: u32, who: u32, whom: u32) {
        while let Some(piece) = self.swarms[blob as usize].choose(who, whom, &mut self.random) {
            stage.after(stage.round_trip, Event::Asked(Request { blob, from: whom, to: who, piece }));
        }
    }

    fn came(&mut self, stage: &mut Stage<Event>, request: Request) {
        let (blob, me) = (request.blob, request.to);
        let swarm = &mut self.swarms[blob as usize];
        let is_new = swarm.receive(request, stage.now);
        if is_new {
            for other in swarm.withdraw(me, request.piece) {
                let channel = self.channel(&Request { from: other, ..request });
                stage.forget(channel, |event| matches!(event, Event::Piece(queued) if queued.piece == request.piece));
            }
        }
        for neighbour in self.swarms[blob as usize].neighbours(me) {
            self.ask(stage, blob, me, neighbour);
            if is_new {
                self.ask(stage, blob, neighbour, me);
            }
        }
        if is_new && self.swarms[blob as usize].is_complete(me) {
            self.swarms[blob as usize].close_complete(me);
            stage.finish(me, blob);
        }
    }
}

impl System for Kraken {
    type Event = Event;

    const TOLERANCE: f64 = 0.01;

    fn begin(&mut self, stage: &mut Stage<Event>, _node: u32) {
        stage.upstream_requests += u64::from(!self.has_asked_for_manifest);
        self.has_asked_for_manifest = true;
    }

    fn want(&mut self, stage: &mut Stage<Event>, node: u32, blob: u32) {
        stage.after(stage.round_trip / 2, Event::Poll { node, blob });
    }

    fn handle(&mut self, stage: &mut Stage<Event>, event: Event) {
        match event {
            Event::Poll { node, blob } => self.poll(stage, node, blob),
            Event::Stored { blob } => self.swarms[blob as usize].store(),
            Event::Announce { node, blob } => {
                if self.swarms[blob as usize].announce(node) {
                    stage.after(stage.round_trip, Event::Handout { node, blob });
                    stage.after(ANNOUNCE, Event::Announce { node, blob });
                }
            }
            Event::Handout { node, blob } => self.hand_out(stage, node, blob),
            Event::Asked(request) => {
                let swarm = &self.swarms[request.blob as usize];
                if swarm.is_wanted(request) {
                    stage.send(self.channel(&request), swarm.piece_len(request.piece), Event::Piece(request));
                }
            }
            Event::Piece(request) => self.came(stage, request),
        }
    }
}

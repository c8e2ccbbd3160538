//! A cluster in virtual time: real nodes, and a model of everything around them.
//!
//! The world has no policy of its own: it does what [`shoal_core::node::Node`]s ask for, and tells them what came of it, as
//! the runtime does. Pieces flow as fluids over links ([`crate::network`]), one flow for each pair of nodes and direction;
//! messages take latency, their own bytes, and the queues of full links. Everything follows from one seed, and the hash of
//! what the nodes did tells whether two runs were the same.
//!
//! Order of calls: make a world, add blobs, [`World::join`] or start with all members known, then [`World::step`] and look
//! at [`World::take_happenings`].

mod audit;
mod build;
mod event;
mod faults;
mod ids;
pub mod layer;
mod member;
mod messages;
mod observe;
mod pairs;
mod schedule;
pub mod setting;
mod store;
#[cfg(test)]
mod tests;
mod trace;
mod transfers;
mod upstream;
mod weight;

use shoal_core::event::{HeldLease, Input, Output};
use shoal_wire::{digest::Digest, member::MemberRecord};

use self::{
    audit::Audit,
    build::{address, count, engines, member, record},
    event::Event,
    faults::Troubles,
    ids::Ids,
    layer::Layer,
    member::Member,
    pairs::Pair,
    schedule::Schedule,
    setting::Setting,
    store::Blob,
    trace::Trace,
    upstream::Upstream,
};
pub use self::{
    audit::{Breach, BreachKind},
    event::{BlobId, Happening},
    member::Counters,
    messages::MessageCounters,
    upstream::{UpstreamCounters, UpstreamMood},
};
use crate::{
    network::{FlowId, LinkId, Network},
    time::Nanos,
};

/// Whose flow it is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Nobody,
    Pair { pair: u32, direction: u8 },
    Fetch { node: u32, lease: HeldLease },
}

/// A cluster and everything around it.
#[derive(Debug)]
pub struct World {
    setting: Setting,
    now: Nanos,
    members: Vec<Member>,
    ids: Ids,
    pairs: Vec<Pair>,
    /// Up and down of each zone.
    zones: Vec<(LinkId, LinkId)>,
    network: Network,
    /// Owners of flows, by the flows' slots.
    owners: Vec<Owner>,
    upstream: Upstream,
    blobs: Vec<Blob>,
    by_digest: Vec<(Digest, BlobId)>,
    schedule: Schedule<Event>,
    trace: Trace,
    happenings: Vec<Happening>,
    troubles: Troubles,
    layer: Option<Box<dyn Layer>>,
    audit: Option<Audit>,
    messages: MessageCounters,
    uploads: u64,
    events: u64,
    /// Bytes of content that nodes stored, and that readers have.
    delivered: u64,
    read: u64,
}

impl World {
    /// A world whose nodes are clusters of one, or know each other from the start.
    pub fn new(setting: Setting, know_each_other: bool) -> Self {
        let records: Vec<MemberRecord> = (0..count(&setting)).map(|node| record(&setting, node)).collect();
        let ids = Ids::new(records.iter().map(MemberRecord::id).collect());
        let mut network = Network::new(setting.tolerance);
        let goodput = setting.paths.goodput;
        let upstream = Upstream::new(network.add_link(setting.upstream.bytes_per_s * goodput));
        let zones = setting.zones.iter();
        let zones =
            zones.map(|zone| (network.add_link(zone.up * goodput), network.add_link(zone.down * goodput))).collect();
        let members = engines(&setting, records, know_each_other);
        let members = (0..).zip(members).map(|(node, engine)| member(&setting, &mut network, node, engine)).collect();
        let mut world = Self {
            setting,
            now: Nanos::ZERO,
            members,
            ids,
            pairs: Vec::new(),
            zones,
            network,
            owners: Vec::new(),
            upstream,
            blobs: Vec::new(),
            by_digest: Vec::new(),
            schedule: Schedule::new(),
            trace: Trace::new(),
            happenings: Vec::new(),
            troubles: Troubles::default(),
            layer: None,
            audit: None,
            messages: MessageCounters::default(),
            uploads: 0,
            events: 0,
            delivered: 0,
            read: 0,
        };
        (0..world.nodes()).for_each(|node| world.plan_wake(node));
        world
    }

    /// Tells all nodes to join through the first.
    pub fn join(&mut self) {
        for node in 0..self.nodes() {
            self.input(node, Input::Seeds(vec![address(0)]));
        }
    }

    /// Whether every node that is up counts every other as alive.
    pub fn is_formed(&self) -> bool {
        let up = self.members.iter().filter(|member| member.is_up).count();
        self.members.iter().filter(|member| member.is_up).all(|member| member.node.membership().alive_count() == up)
    }

    /// Works off what happens next, unless that is after `until`; says whether there was anything. Time goes on to it.
    pub fn step(&mut self, until: Nanos) -> bool {
        let completion = self.network.next_completion();
        let planned = self.schedule.next_time();
        if let Some(at) = completion.filter(|at| *at <= until && planned.is_none_or(|planned| *at <= planned)) {
            self.now = self.now.max(at);
            while let Some(flow) = self.network.pop_completed(self.now) {
                self.events += 1;
                self.completed(flow);
            }
            return true;
        }
        if planned.is_none_or(|at| at > until) {
            self.now = self.now.max(until);
            return false;
        }
        if let Some((at, event)) = self.schedule.pop() {
            self.now = at;
            self.events += 1;
            self.happen(event);
        }
        true
    }

    /// Puts a layer between nodes and world.
    pub fn set_layer(&mut self, layer: Box<dyn Layer>) {
        self.layer = Some(layer);
    }

    /// What happened since the last call, in order.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// Whether something happened that nobody has taken.
    pub fn has_happenings(&self) -> bool {
        !self.happenings.is_empty()
    }

    /// Asks to be told when a time has come.
    pub fn alarm(&mut self, at: Nanos, token: u64) {
        self.schedule.push(at.max(self.now), Event::Alarm { token });
    }

    fn happen(&mut self, event: Event) {
        if self.troubles.paused > 0
            && let Some(process) = event.process().filter(|node| self.members[*node as usize].paused.is_some())
        {
            return self.hold_back(process, event);
        }
        match event {
            Event::Wake { node } => self.wake(node),
            Event::Input { node, input } => self.input(node, *input),
            Event::Have { node, from, blob, pieces, held, load } => {
                self.hear_of_pieces(node, from, blob, (pieces, held), load);
            }
            Event::SlotFree { node, from, load } => self.hear_of_slot(node, from, load),
            Event::Asked { uploader, requester, transfer, part, urgency, held } => {
                self.asked(uploader, requester, transfer, part, (urgency, held));
            }
            Event::GivenUp { uploader, requester, transfer } => self.given_up(uploader, requester, transfer),
            Event::Refused { node, transfer, failure } => self.refused(node, transfer, failure),
            Event::Received { requester, uploader, transfer, part, bytes } if self.is_up(requester) => {
                self.received(requester, uploader, transfer, part, bytes);
            }
            Event::Progress { node } if self.is_up(node) => self.progress(node),
            Event::Widened { pair, direction } => self.widen(pair, direction),
            Event::Lost { node, peer } if self.is_up(node) => self.lost(node, peer),
            Event::FetchOpens { node, lease } => self.fetch_opens(node, lease),
            Event::FetchWidened { node, lease } => self.widen_fetch(node, lease),
            Event::Fetched { node, lease, part } if self.is_up(node) => self.fetched(node, lease, part),
            Event::Digested { node, blob } if self.is_up(node) => self.digested(node, blob),
            Event::Orphaned { node, peer, life } => self.orphaned(node, peer, life),
            Event::Silence => self.end_silent_connections(),
            Event::Stopped { node, life } => self.stopped(node, life),
            Event::Stalled => self.give_up_stalled_fetches(),
            Event::Alarm { token } => self.happenings.push(Happening::Alarm { token }),
            // What was to happen at a node that is gone.
            Event::Received { .. }
            | Event::Progress { .. }
            | Event::Lost { .. }
            | Event::Fetched { .. }
            | Event::Digested { .. } => {}
        }
    }

    fn completed(&mut self, flow: FlowId) {
        match self.owners[flow.slot()] {
            Owner::Pair { pair, direction } => self.sent(flow, pair, direction),
            Owner::Fetch { node, lease } => self.piece_sent(flow, node, lease),
            Owner::Nobody => {
                self.network.stop(self.now, flow);
            }
        }
    }

    fn own(&mut self, flow: FlowId, owner: Owner) {
        if self.owners.len() <= flow.slot() {
            self.owners.resize(flow.slot() + 1, Owner::Nobody);
        }
        self.owners[flow.slot()] = owner;
    }

    /// Gives one input to a node and does all that comes out.
    fn input(&mut self, node: u32, input: Input) {
        if !self.is_up(node) {
            return;
        }
        if self.members[node as usize].paused.is_some() {
            return self.hold_back(node, Event::input(node, input));
        }
        let Some(input) = self.own_numbers(node, input) else { return };
        self.note_input(node, &input);
        let mut input = Some(input);
        if let Some(layer) = &mut self.layer {
            input = input.and_then(|input| layer.input(node, input));
        }
        if let Some(input) = input {
            self.members[node as usize].node.handle(self.now.to_core(), input);
        }
        while let Some(output) = self.members[node as usize].node.poll_output() {
            self.put_out(node, output);
        }
        self.plan_wake(node);
    }

    /// Passes an output on to the world, as the layer lets it.
    fn put_out(&mut self, node: u32, output: Output) {
        let mut output = Some(output);
        if let Some(layer) = &mut self.layer {
            output = output.and_then(|output| layer.output(node, output));
        }
        let Some(output) = output else { return };
        if self.audit.is_some() {
            self.inspect(node, &output);
        }
        self.act(node, output);
    }

    fn act(&mut self, node: u32, output: Output) {
        let bytes = weight::of(&output);
        self.trace.note(self.now, node, &output, bytes);
        match output {
            Output::Gossip { to, packet } => self.send_gossip(node, to, packet, bytes),
            Output::Control { to, message } => self.send_control(node, to, message, bytes),
            Output::Answer { query, outcome } => self.happenings.push(Happening::Answered { node, query, outcome }),
            Output::AskUpstream { lookup, name } => self.ask_upstream(node, lookup, &name),
            Output::RequestPiece { transfer, from, digest, piece, urgency, held } => {
                self.ask(node, transfer, from, (digest, piece), (urgency, held));
            }
            Output::CancelTransfer { transfer } => self.give_up(node, transfer),
            Output::Serve { upload } => self.serve(node, upload),
            Output::Refuse { upload, refusal } => self.refuse(node, upload, refusal),
            Output::FetchUpstream { lease, digest, first, count } => self.fetch(node, lease, &digest, first, count),
            Output::CutFetch { lease, end } => self.cut(node, lease, end),
            Output::BlobFailed { digest, failure } => {
                if let Some(blob) = self.blob_of(&digest) {
                    if let Some(stored) = self.members[node as usize].stored_mut(blob) {
                        stored.is_wanted = false;
                    }
                    self.happenings.push(Happening::Failed { node, blob, failure });
                }
            }
            Output::Member(event) => self.note_member(node, &event),
        }
    }

    /// Plans to wake a node when it wants that. Wake-ups that are planned too early are not moved: they look again.
    fn plan_wake(&mut self, node: u32) {
        let soonest = self.now + Nanos::from_micros(1);
        let member = &mut self.members[node as usize];
        let Some(due) = member.node.next_timeout() else {
            member.wake_at = Nanos::NEVER;
            return;
        };
        member.wake_at = Nanos::of_wake(due).max(soonest);
        if member.wake_at < member.wake_planned {
            member.wake_planned = member.wake_at;
            self.schedule.push(member.wake_at, Event::Wake { node });
        }
    }

    fn wake(&mut self, node: u32) {
        let member = &mut self.members[node as usize];
        if member.wake_planned != self.now {
            return;
        }
        member.wake_planned = Nanos::NEVER;
        if !member.is_up || member.paused.is_some() {
            return;
        }
        if member.wake_at <= self.now {
            self.input(node, Input::Timeout);
        } else if member.wake_at != Nanos::NEVER {
            member.wake_planned = member.wake_at;
            self.schedule.push(member.wake_at, Event::Wake { node });
        }
    }

    /// Whether a node lives.
    pub fn is_up(&self, node: u32) -> bool {
        self.members[node as usize].is_up
    }

    /// Number of nodes, dead ones as well.
    pub fn nodes(&self) -> u32 {
        count(&self.setting)
    }
}

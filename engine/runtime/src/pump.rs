//! The task that owns the core: one input in, all outputs out, and on to the next.
//!
//! It never waits for anything but its next input. Order matters in one place: the core learns of every stored piece
//! before it learns that the blob is complete, so what blobs tell is collected first, then the inputs that were sent
//! before are handled, and then what the blobs told.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use shoal_core::{
    event::{Input, LookupId, MemberEvent, Output},
    node::Node,
};
use shoal_wire::{
    codec::Message,
    control::{NameOutcome, UpstreamFailure},
    gossip::GossipPacket,
    ids::{MemberId, QueryId},
    name::Name,
};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, Clock},
    lease::Run,
    net::{
        socket::GossipDatagram,
        transfer::{download::Request, upload::Verdict},
    },
    seeds::Seeds,
    stack::{Events, Stack},
    upstream::Upstream,
};

/// Inputs handled before other sources are looked at.
const BATCH: usize = 128;
/// Time for the announcement of a departure to leave.
const LEAVE_DRAIN: Duration = Duration::from_millis(300);
/// Time for an upstream to say what a name stands for.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
/// Questions about names that are open at once.
pub(crate) const QUERIES_MAX: usize = 4096;

/// Who waits for which answer.
pub(crate) type Queries = Mutex<HashMap<QueryId, oneshot::Sender<NameOutcome>>>;

/// The core and what drives it.
pub(crate) struct Pump {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) stack: Stack,
    pub(crate) events: Events,
    pub(crate) queries: Arc<Queries>,
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) seeds: Arc<Seeds>,
}

impl Pump {
    /// Runs until the node has left. `leave` asks for that.
    pub(crate) async fn run(mut self, leave: CancellationToken) {
        let mut sleep = pin!(tokio::time::sleep_until(clock::now()));
        let mut left: Option<Instant> = None;
        let mut batch = Vec::with_capacity(BATCH);
        let news = self.stack.spool.news().clone();
        self.act();
        while left.is_none_or(|end| clock::now() < end) {
            let due = self.node.next_timeout().map(|time| self.clock.instant(time));
            let wake = due.into_iter().chain(left).min();
            if let Some(wake) = wake
                && wake != sleep.deadline()
            {
                sleep.as_mut().reset(wake);
            }
            tokio::select! {
                _ = self.events.inputs.recv_many(&mut batch, BATCH) => {}
                Some(datagram) = self.events.gossip.recv() => self.open(datagram),
                () = news.arrived() => {}
                () = &mut sleep, if wake.is_some() => {
                    if due.is_some_and(|due| due <= clock::now()) {
                        self.feed(Input::Timeout);
                    }
                }
                () = leave.cancelled(), if left.is_none() => {
                    let alone = self.node.membership().alive_count() == 1;
                    left = Some(clock::now() + if alone { Duration::ZERO } else { LEAVE_DRAIN });
                    self.feed(Input::Leave);
                }
            }
            self.catch_up(&mut batch);
        }
    }

    /// Handles what has been received, and what came with it.
    fn catch_up(&mut self, batch: &mut Vec<Input>) {
        // A reader that leaves a complete blob has nothing to tell, and yet the blob may be evicted from then on.
        let has_changed = !self.stack.spool.news().is_empty();
        let told = self.stack.spool.news().drain();
        for input in batch.drain(..) {
            self.feed(input);
        }
        for _ in 0..self.events.inputs.len() {
            let Ok(input) = self.events.inputs.try_recv() else { break };
            self.feed(input);
        }
        for _ in 0..self.events.gossip.len() {
            let Ok(datagram) = self.events.gossip.try_recv() else { break };
            self.open(datagram);
        }
        for input in told {
            self.feed(input);
        }
        if has_changed && self.stack.spool.is_over_limit() {
            let (pool, spool) = (self.stack.pool.clone(), self.stack.spool.clone());
            self.stack.tasks.spawn(async move {
                let _ = pool.run(move || spool.evict()).await;
            });
        }
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(self.clock.now(), input);
        self.act();
    }

    /// Opens a gossip datagram; what is not sealed gossip of this cluster is counted and forgotten.
    fn open(&mut self, mut datagram: GossipDatagram) {
        let opened = self.stack.ring.open(&mut datagram.bytes).map_err(|error| error.to_string());
        match opened.and_then(|plain| GossipPacket::decode(plain).map_err(|error| error.to_string())) {
            Ok(packet) => {
                self.stack.metrics.gossip_received_packets.increment();
                self.seeds.heard(datagram.from);
                self.feed(Input::Gossip { from: datagram.from, packet });
            }
            Err(error) => {
                self.stack.metrics.gossip_rejected_packets.increment();
                tracing::debug!(from = %datagram.from, %error, "a datagram was refused");
            }
        }
    }

    /// Does everything that the core asks for.
    fn act(&mut self) {
        while let Some(output) = self.node.poll_output() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        let stack = &self.stack;
        match output {
            Output::Gossip { to, packet } => self.gossip(to, &packet),
            Output::Control { to, message } => stack.peers.send(to, message),
            Output::Answer { query, outcome } => {
                if let Some(waiting) = crate::lock(&self.queries).remove(&query) {
                    let _ = waiting.send(outcome);
                }
            }
            Output::AskUpstream { lookup, name } => self.ask_upstream(lookup, name),
            Output::RequestPiece { transfer, from, digest, piece, urgency, held } => {
                stack.downloads.start(&stack.peers, Request { transfer, from, digest, piece, urgency, held });
            }
            Output::CancelTransfer { transfer } => stack.downloads.cancel(transfer),
            Output::Serve { upload } => stack.uploads.decide(upload, Verdict::Serve),
            Output::Refuse { upload, refusal } => stack.uploads.decide(upload, Verdict::Refuse(refusal)),
            Output::FetchUpstream { lease, digest, first, count } => {
                stack.leases.fetch(Run { lease, digest, first, count });
            }
            Output::CutFetch { lease, end } => stack.leases.cut(lease, end),
            Output::BlobFailed { digest, failure } => {
                if let Some(blob) = stack.spool.get(&digest) {
                    blob.give_up(failure);
                }
            }
            Output::Member(event) => self.member(&event),
        }
    }

    fn gossip(&self, to: std::net::SocketAddr, packet: &GossipPacket) {
        match packet.encode() {
            Ok(plain) => {
                if let Some(datagram) = self.stack.ring.seal(&plain) {
                    self.stack.socket.send_gossip(to, &datagram);
                }
            }
            Err(error) => {
                self.stack.metrics.gossip_dropped_packets.increment();
                tracing::error!(%error, "a gossip packet could not be encoded");
            }
        }
    }

    fn ask_upstream(&self, lookup: LookupId, name: Name) {
        let (upstream, inputs) = (self.upstream.clone(), self.stack.inputs.clone());
        self.stack.tasks.spawn(async move {
            let answer = tokio::time::timeout(LOOKUP_TIMEOUT, upstream.resolve(&name)).await;
            let outcome = match answer.unwrap_or(Err(UpstreamFailure::Unavailable)) {
                Ok(descriptor) => NameOutcome::Found(descriptor),
                Err(failure) => NameOutcome::Failed(failure),
            };
            let _ = inputs.send(Input::UpstreamSaid { lookup, outcome }).await;
        });
    }

    fn member(&self, event: &MemberEvent) {
        let stack = &self.stack;
        let before = stack.table.record(subject(event));
        stack.table.apply(event);
        stack.peers.apply(event, before.as_deref());
        let alive = i64::try_from(self.node.membership().alive_count()).unwrap_or(i64::MAX);
        stack.metrics.members_alive.set(alive);
        match event {
            MemberEvent::Up(record) if before.is_none() => {
                tracing::info!(member = %record.id(), address = %record.address, "a member is up");
            }
            MemberEvent::Up(_) => {}
            MemberEvent::Suspected(id) => tracing::debug!(member = %id, "a member is suspected"),
            MemberEvent::Dead(id) => tracing::warn!(member = %id, "a member is dead"),
            MemberEvent::Left(id) => tracing::info!(member = %id, "a member left"),
            MemberEvent::Forgotten(id) => tracing::debug!(member = %id, "a member is forgotten"),
        }
    }
}

fn subject(event: &MemberEvent) -> MemberId {
    match event {
        MemberEvent::Up(record) => record.id(),
        MemberEvent::Suspected(id) | MemberEvent::Dead(id) | MemberEvent::Left(id) | MemberEvent::Forgotten(id) => *id,
    }
}

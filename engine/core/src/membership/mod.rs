//! SWIM membership with Lifeguard's extensions, as a pure state machine.
//!
//! Follows Das, Gupta, Motivala, "SWIM" (2002) and Dadgar, Phillips, Currey, "Lifeguard" (2017), with what practice
//! added: a snapshot for joiners, anti-entropy by digests, retries of the dead that heal partitions, and a reliable
//! probe before any suspicion.
//!
//! | file | idea |
//! |---|---|
//! | `members`, `member` | the table, and what makes questions about it cheap |
//! | `view`, `known` | what others ask of the table; tables that nodes begin with |
//! | `ring`, `addresses`, `digest` | whom to probe or to pick; who is met where; what anti-entropy compares |
//! | `update` | which news are believed, and what follows: the table of transitions |
//! | `defence` | what this node does about news of itself |
//! | `probe`, `relay` | direct, indirect and reliable probes; pings for others |
//! | `suspicion`, `awareness` | Lifeguard's formulas |
//! | `broadcast`, `gossip` | the queue of news, and the packets that carry them |
//! | `join`, `seeds`, `snapshot` | introductions, and the table for a joiner |
//! | `sync`, `reconnect` | repair: digests, and retries of the dead |
//!
//! A member is *alive* or *suspected*, and counts as alive in both; *dead* or *left*, and is remembered for a while in
//! both, because its key vouches for pieces. Each news names the member's word that it is about, its [`Life`]; the
//! later word wins, so that late and repeated news do no harm. Nobody but the member itself says a new word:
//! that is how it refutes.
//!
//! All news come sealed under the cluster's secret: the machine withstands members that are broken or stale, and keeps
//! every structure within its bound against hostile ones, but a hostile member can always accuse others.

mod addresses;
mod awareness;
mod broadcast;
mod defence;
mod digest;
mod gossip;
mod join;
mod known;
mod member;
mod members;
mod probe;
mod reconnect;
mod relay;
mod ring;
mod seeds;
mod snapshot;
mod stats;
mod suspicion;
mod sync;
mod timer;
mod update;
mod view;

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use shoal_wire::{
    gossip::{GossipBody, GossipPacket, ReliableMessage},
    ids::MemberId,
    member::{Life, MemberRecord},
};

use self::{
    awareness::Awareness,
    broadcast::Broadcasts,
    defence::Defence,
    gossip::Gossip,
    members::Members,
    probe::Prober,
    relay::Relays,
    seeds::Seeds,
    snapshot::{SnapshotClient, SnapshotServer},
    sync::Sync,
    timer::Timer,
};
pub use self::{
    known::KnownMembers,
    stats::{MembershipStats, State},
};
use crate::{config::MembershipConfig, event::MemberEvent, outbox, rng::Stream, time::Time, timers::Timers};

/// No timer is set again sooner than this, whatever the configuration says: the machine cannot spin.
const TIMER_MIN: Duration = Duration::from_millis(1);

/// What membership asks its owner to do.
#[derive(Debug)]
pub enum MembershipOutput {
    /// Send a datagram.
    Packet {
        /// Where to.
        to: SocketAddr,
        /// Its contents.
        packet: GossipPacket,
    },
    /// Send a message over the control stream.
    Reliable {
        /// To whom.
        to: MemberId,
        /// The message.
        message: ReliableMessage,
    },
    /// Tell whoever cares.
    ///
    /// The set of members that count as alive changes with these events and with nothing else: `Up` of an unknown,
    /// dead or departed member adds one, `Dead` and `Left` remove one. `Up` is also sent for a new generation, for a
    /// changed record, and once when a suspected member refutes; a suspicion that is refuted never shows as `Dead`.
    /// A joiner learns of members that are already gone by an `Up` that `Dead` or `Left` follows at once: so it has
    /// their keys. There are no events about this node itself.
    Event(MemberEvent),
}

/// One node's view of the cluster.
///
/// Order of calls: any `handle_*` or command, then [`Membership::poll_output`] until it is empty, then wait until
/// [`Membership::next_timeout`]. Time never runs backwards between calls.
#[derive(Debug)]
pub struct Membership {
    config: MembershipConfig,
    own: Arc<MemberRecord>,
    own_id: MemberId,
    random: Stream,
    members: Members,
    broadcasts: Broadcasts,
    gossip: Gossip,
    awareness: Awareness,
    prober: Prober,
    relays: Relays,
    defence: Defence,
    seeds: Seeds,
    snapshot: SnapshotClient,
    snapshots: SnapshotServer,
    sync: Sync,
    timers: Timers<Timer>,
    stats: MembershipStats,
    outputs: VecDeque<MembershipOutput>,
    has_left: bool,
}

impl Membership {
    /// A cluster of one: `own` is this node's record. Equal seeds give equal runs.
    pub fn new(config: MembershipConfig, own: MemberRecord, seed: u64, now: Time) -> Self {
        Self::among(Members::default(), config, own, seed, now)
    }

    /// A member of a cluster that it knows: `members` are alive, and others need not be told of this one. It gives no
    /// events about them, and has no news and no introductions to make; what `members` says of itself is replaced by
    /// `own`. All of them are kept, whatever `members_max` is.
    pub fn with_members(
        config: MembershipConfig,
        own: MemberRecord,
        members: &KnownMembers,
        seed: u64,
        now: Time,
    ) -> Self {
        let mut membership = Self::among(members.0.clone(), config, own, seed, now);
        membership.snapshot = SnapshotClient::done();
        membership
    }

    fn among(members: Members, config: MembershipConfig, own: MemberRecord, seed: u64, now: Time) -> Self {
        let own = Arc::new(own);
        let own_id = own.id();
        let mut random = Stream::new(seed, "membership");
        let mut membership = Self {
            members: members.with_own(Arc::clone(&own)),
            broadcasts: Broadcasts::new(config.queue_max),
            gossip: Gossip::default(),
            awareness: Awareness::new(config.awareness_max),
            prober: Prober::new(&mut random),
            relays: Relays::default(),
            defence: Defence::default(),
            seeds: Seeds::default(),
            snapshot: SnapshotClient::default(),
            snapshots: SnapshotServer::default(),
            sync: Sync::default(),
            timers: Timers::default(),
            stats: MembershipStats::default(),
            outputs: VecDeque::new(),
            has_left: false,
            config,
            own,
            own_id,
            random,
        };
        membership.begin(now);
        membership
    }

    fn begin(&mut self, now: Time) {
        let first_probe = self.random.between(Duration::ZERO, self.config.probe_interval);
        let first_sync = self.random.between(Duration::ZERO, self.config.sync_interval);
        let first_reconnect = self.random.jittered(self.config.reconnect_interval);
        self.set_timer(Timer::Probe, now, first_probe);
        self.set_timer(Timer::Sync, now, first_sync);
        self.set_timer(Timer::Reconnect, now, first_reconnect);
    }

    /// This node's record as it is now.
    pub fn own(&self) -> &MemberRecord {
        &self.own
    }

    /// A datagram arrived, opened and decoded.
    pub fn handle_packet(&mut self, now: Time, from: SocketAddr, packet: GossipPacket) {
        self.stats.packets_received += 1;
        if self.has_left {
            return;
        }
        if packet.from == self.own_id {
            self.take_own_packet(now, &packet.body);
        } else {
            self.take_packet(now, from, packet);
        }
    }

    /// A reliable message arrived from an authenticated member.
    pub fn handle_reliable(&mut self, now: Time, from: MemberId, message: ReliableMessage) {
        if self.has_left {
            return;
        }
        match message {
            ReliableMessage::Probe { sequence, suspected } => self.answer_probe(now, from, sequence, suspected),
            ReliableMessage::ProbeAck { sequence, life } => self.take_probe_ack(now, from, sequence, life),
            ReliableMessage::SnapshotRequest { after } => self.serve_snapshot(now, from, after),
            ReliableMessage::SnapshotPage { members, next } => self.take_snapshot_page(now, from, members, next),
            ReliableMessage::SnapshotBusy { others } => self.take_snapshot_busy(now, from, &others),
            ReliableMessage::SyncDigests { digests } => self.answer_digests(from, &digests, now),
            ReliableMessage::SyncBuckets { buckets, members } => self.take_buckets(now, from, &buckets, members),
            ReliableMessage::SyncNews { members } => self.merge_sync(now, from, members),
        }
    }

    /// A member was not reached over its control stream: what was sent to it may not have arrived.
    pub fn handle_unreachable(&mut self, now: Time, to: MemberId) {
        if !self.has_left {
            self.snapshot_unreachable(now, to);
            self.sync_unreachable(now, to);
        }
    }

    /// The time of [`Membership::next_timeout`] has come. Early or extra calls do no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.notice_stall(now);
        while let Some(timer) = self.timers.pop(now) {
            self.fire(now, timer);
        }
    }

    /// Joins through these addresses, and keeps them for as long as the node is alone or a partition may need healing.
    /// Repeated calls replace the addresses, and keep what is known of those that stay.
    pub fn set_seeds(&mut self, now: Time, seeds: Vec<SocketAddr>) {
        if self.has_left {
            return;
        }
        self.seeds.replace(now, seeds, self.config.seeds_max, self.config.seed_retry_min);
        self.contact_seeds(now);
    }

    /// Seed addresses that have not answered, or not the last time they were asked.
    pub fn unanswered_seeds(&self) -> impl Iterator<Item = SocketAddr> {
        self.seeds.unanswered()
    }

    /// Announces the departure. Whatever else arrives from now on changes nothing; outputs and timers are to be served
    /// for a moment longer, so that the news spread.
    pub fn leave(&mut self, now: Time) {
        if !self.has_left {
            self.has_left = true;
            for timer in self.timers.matching(|timer| timer != Timer::Gossip) {
                self.timers.cancel(timer);
            }
            self.announce_departure(now);
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<MembershipOutput> {
        let output = outbox::pop(&mut self.outputs);
        if output.is_none() {
            self.members.settle();
        }
        output
    }

    /// When [`Membership::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    fn fire(&mut self, now: Time, timer: Timer) {
        match timer {
            Timer::Probe => self.next_probe(now),
            Timer::Indirect => self.probe_indirectly(now),
            Timer::Relay(sequence) => self.relay_expired(sequence),
            Timer::Gossip => self.send_gossip(now),
            Timer::Suspicion(id) => self.suspicion_expired(now, id),
            Timer::Forget => self.forget_oldest(now),
            Timer::Sync => self.send_digests(now),
            Timer::Calm => self.judge_calm(now),
            Timer::Reconnect => self.reconnect(now),
            Timer::Seeds => self.contact_seeds(now),
            Timer::Snapshot => self.continue_snapshot(now),
            Timer::Reclaim => self.reclaim(now),
        }
    }

    /// A node that did not run for a while must not blame others for what it did not hear meanwhile: what it waits
    /// for, it waits for as much longer.
    fn notice_stall(&mut self, now: Time) {
        let Some(due) = self.timers.next() else { return };
        let late = now.since(due);
        if late <= self.config.stall_threshold {
            return;
        }
        self.stats.stalls += 1;
        self.awareness.apply(1);
        self.timers.postpone(Timer::Probe, late);
        self.timers.postpone(Timer::Indirect, late);
        for timer in self.timers.matching(|timer| matches!(timer, Timer::Suspicion(_))) {
            self.timers.postpone(timer, late);
            if let Timer::Suspicion(id) = timer
                && let Some(suspicion) = self.members.suspicion_mut(id)
            {
                suspicion.postpone(late);
            }
        }
    }

    fn set_timer(&mut self, timer: Timer, now: Time, after: Duration) {
        self.timers.set(timer, now + after.max(TIMER_MIN));
    }

    fn own_life(&self) -> Life {
        self.own.life()
    }

    fn send(&mut self, to: SocketAddr, packet: GossipPacket) {
        self.stats.packets_sent += 1;
        self.outputs.push_back(MembershipOutput::Packet { to, packet });
    }

    fn send_body(&mut self, to: SocketAddr, body: GossipBody) {
        let packet = self.packet(body, Vec::new());
        self.send(to, packet);
    }

    fn send_reliable(&mut self, to: MemberId, message: ReliableMessage) {
        self.outputs.push_back(MembershipOutput::Reliable { to, message });
    }

    fn emit(&mut self, event: MemberEvent) {
        self.outputs.push_back(MembershipOutput::Event(event));
    }
}

//! A whole cluster in virtual time: real nodes, a made-up network, an upstream and links with rates.
//!
//! Nodes, the upstream and zones have links with rates (`network`). Control messages take a latency and may be lost;
//! datagrams too. Everything follows from one seed.

pub(crate) mod network;
pub(crate) mod schedule;
mod topology;
mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use shoal_core::{
    config::CoreConfig,
    event::{HeldLease, Input, Output, TransferId, UploadId},
    node::Node,
    rng::Stream,
    time::Time,
};
use shoal_wire::{
    control::{NameOutcome, UpstreamFailure},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::{Generation, Incarnation, MemberId, PublicKey},
    member::MemberRecord,
    piece_map::PieceMap,
    version::PROTOCOL_VERSION,
};

use self::{
    network::{FlowId, Network, Sharing},
    schedule::Schedule,
};

/// What the network and the nodes are like.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) nodes: usize,
    /// Bytes per second of each node, each way.
    pub(crate) link: f64,
    /// Nodes at a part of that rate: the last ones.
    pub(crate) slow: usize,
    /// How many times as slow they are.
    pub(crate) slow_by: f64,
    /// Bytes per second of the upstream, which is in no zone.
    pub(crate) upstream: f64,
    /// Zones of equal size, or 0 for a network without. The nodes of a zone follow each other.
    pub(crate) zones: usize,
    /// Bytes per second of each zone's uplink, each way.
    pub(crate) zone_uplink: f64,
    pub(crate) sharing: Sharing,
    /// Share of datagrams that are lost, 0 to 1.
    pub(crate) gossip_loss: f64,
    /// Share of control messages that are lost, 0 to 1.
    pub(crate) control_loss: f64,
    /// Share of piece transfers that hang for ever, 0 to 1.
    pub(crate) hanging_transfers: f64,
    /// Whether the upstream honours ranges.
    pub(crate) ranges: bool,
    pub(crate) config: CoreConfig,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            nodes: 8,
            link: 25e6,
            slow: 0,
            slow_by: 10.0,
            upstream: 25e6,
            zones: 0,
            zone_uplink: 50e6,
            sharing: Sharing::InOrder,
            gossip_loss: 0.0,
            control_loss: 0.0,
            hanging_transfers: 0.0,
            ranges: true,
            config: CoreConfig::default(),
        }
    }
}

/// One thing that happens.
#[derive(Debug)]
enum Event {
    Wake,
    Input(Input),
    /// A piece request reaches its uploader.
    Asked {
        transfer: TransferId,
        requester: usize,
        digest: Digest,
        piece: PieceIndex,
        urgency: shoal_wire::transfer::Urgency,
        held: u32,
    },
    /// The last byte of a piece has left its uploader.
    Sent {
        upload: UploadId,
    },
    /// A piece has reached its requester.
    Delivered {
        transfer: TransferId,
        uploader: usize,
        upload: UploadId,
    },
    /// Some of a piece may have reached its requester.
    Progress {
        transfer: TransferId,
        uploader: usize,
        upload: UploadId,
    },
    /// The upstream begins to answer.
    Fetching {
        lease: HeldLease,
    },
    /// The next piece of a lease is through the upstream's link and the holder's.
    Fetched {
        lease: HeldLease,
    },
    Verified {
        digest: Digest,
    },
}

/// A fetch from the upstream under way.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    digest: Digest,
    next: u32,
    end: u32,
    flow: Option<FlowId>,
}

/// A request that an uploader has.
#[derive(Clone, Copy, Debug)]
struct Upload {
    transfer: TransferId,
    requester: usize,
    requester_life: u32,
    digest: Digest,
    piece: PieceIndex,
    flow: Option<FlowId>,
}

/// One node with its links and its store.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) is_up: bool,
    life: u32,
    fetches: BTreeMap<HeldLease, Fetch>,
    uploads: BTreeMap<UploadId, Upload>,
    open: BTreeSet<TransferId>,
    wanted_pieces: BTreeMap<TransferId, (Digest, PieceIndex)>,
    pub(crate) store: BTreeMap<Digest, PieceMap>,
    /// When the first piece of each blob was there, from which on a reader has bytes.
    pub(crate) begun: BTreeMap<Digest, Time>,
    pub(crate) finished: BTreeMap<Digest, Time>,
    pub(crate) failed: BTreeMap<Digest, UpstreamFailure>,
    pub(crate) answers: Vec<NameOutcome>,
    pub(crate) served: u64,
}

/// The cluster.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) setting: Setting,
    pub(crate) members: Vec<Member>,
    by_id: BTreeMap<MemberId, usize>,
    schedule: Schedule<(usize, u32, Event)>,
    random: Stream,
    network: Network<(usize, u32, Event)>,
    pub(crate) upstream_bytes: u64,
    pub(crate) upstream_questions: u64,
    pub(crate) upstream_failure: Option<UpstreamFailure>,
    /// How long the upstream takes to answer a question.
    pub(crate) answers_take: Duration,
    /// Who asked the upstream last.
    pub(crate) asked_by: Option<usize>,
    /// Whether whole blobs turn out wrong.
    pub(crate) corrupt: bool,
    pub(crate) duplicates: u64,
    pub(crate) control_messages: u64,
    uploads: u64,
    sizes: BTreeMap<Digest, u64>,
    trace: Option<blake3::Hasher>,
    /// Zones that reach nothing outside, and are not reached.
    cut_off: BTreeSet<usize>,
    seed: u64,
    /// Nodes that answer all messages and accept all requests, and deliver nothing.
    pub(crate) mute: BTreeSet<usize>,
    /// Prints leases and crashes as they happen.
    pub(crate) tells: bool,
}

const LATENCY: Duration = Duration::from_micros(300);
const VERIFYING: Duration = Duration::from_millis(1);

fn address(index: usize) -> SocketAddr {
    let index = u32::try_from(index).expect("few nodes");
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(0x0a00_0001 + index), 5001))
}

fn index_at(address: SocketAddr) -> Option<usize> {
    let SocketAddr::V4(address) = address else { return None };
    usize::try_from(u32::from(*address.ip()).checked_sub(0x0a00_0001)?).ok()
}

fn record(index: usize, generation: u64, zone: String) -> MemberRecord {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
    MemberRecord {
        public_key: PublicKey(key),
        generation: Generation(generation),
        incarnation: Incarnation(0),
        address: address(index),
        zone,
        version: u16::from(PROTOCOL_VERSION),
        upload_bytes_per_s: 0,
    }
}

impl World {
    pub(crate) fn new(setting: Setting, seed: u64) -> Self {
        let mut world = Self {
            now: Time::from_micros(1),
            members: Vec::new(),
            by_id: BTreeMap::new(),
            schedule: Schedule::new(),
            random: Stream::new(seed, "world"),
            network: Network::new(setting.sharing, topology::rates(&setting)),
            upstream_bytes: 0,
            upstream_questions: 0,
            upstream_failure: None,
            answers_take: Duration::from_millis(20),
            asked_by: None,
            corrupt: false,
            duplicates: 0,
            control_messages: 0,
            uploads: 0,
            sizes: BTreeMap::new(),
            trace: None,
            cut_off: BTreeSet::new(),
            seed,
            mute: BTreeSet::new(),
            tells: false,
            setting,
        };
        for index in 0..world.setting.nodes {
            let member = world.new_member(index, 1, 0);
            world.by_id.insert(member.node.id(), index);
            world.members.push(member);
        }
        world
    }

    /// A world that keeps a hash of everything that its nodes do.
    pub(crate) fn traced(setting: Setting, seed: u64) -> Self {
        Self { trace: Some(blake3::Hasher::new()), ..Self::new(setting, seed) }
    }

    pub(crate) fn trace(&self) -> Option<blake3::Hash> {
        self.trace.as_ref().map(blake3::Hasher::finalize)
    }

    fn new_member(&self, index: usize, generation: u64, life: u32) -> Member {
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(index as u64) ^ generation << 48;
        Member {
            node: Node::new(
                self.setting.config.clone(),
                record(index, generation, self.setting.zone_name(index)),
                seed,
                self.now,
            ),
            is_up: true,
            life,
            fetches: BTreeMap::new(),
            uploads: BTreeMap::new(),
            open: BTreeSet::new(),
            wanted_pieces: BTreeMap::new(),
            store: BTreeMap::new(),
            begun: BTreeMap::new(),
            finished: BTreeMap::new(),
            failed: BTreeMap::new(),
            answers: Vec::new(),
            served: 0,
        }
    }

    /// All nodes join through node 0; returns once every node knows all others.
    pub(crate) fn form(&mut self) {
        for index in 0..self.members.len() {
            self.input(index, Input::Seeds(vec![address(0)]));
        }
        let all = self.members.len();
        let formed = self.run_until(Duration::from_secs(120), |world| {
            world.members.iter().all(|member| member.node.membership().alive_count() == all)
        });
        let known: Vec<_> = self.members.iter().map(|member| member.node.membership().alive_count()).collect();
        assert!(formed, "seed {}: the cluster did not form within 120 s; members known: {known:?}", self.seed);
        // Homes wait a little longer while membership has just changed.
        self.run_for(Duration::from_secs(4));
    }

    pub(crate) fn blob(&mut self, size: u64) -> Digest {
        let digest = Digest::Sha256(*blake3::hash(&(self.sizes.len() as u64).to_be_bytes()).as_bytes());
        self.sizes.insert(digest, size);
        digest
    }

    pub(crate) fn want(&mut self, index: usize, digest: Digest) {
        let geometry = self.geometry(&digest);
        let member = &mut self.members[index];
        let have = member.store.entry(digest).or_insert_with(|| PieceMap::empty(geometry.pieces())).clone();
        self.input(index, Input::Want { digest, size: geometry.size(), have, can_lease: true });
    }

    /// A node that has had the whole blob for long is there.
    pub(crate) fn hold(&mut self, index: usize, digest: Digest) {
        let geometry = self.geometry(&digest);
        self.members[index].store.insert(digest, PieceMap::full(geometry.pieces()));
        self.input(index, Input::Hold { digest, size: geometry.size() });
    }

    pub(crate) fn crash(&mut self, index: usize) {
        if self.tells {
            println!("{:?} node {index} crashes", self.now);
        }
        let member = &mut self.members[index];
        member.is_up = false;
        member.life += 1;
        self.stop_traffic_of(index);
    }

    /// A crashed node comes back with an empty store and a new generation.
    pub(crate) fn restart(&mut self, index: usize) {
        let (life, generation) = (self.members[index].life, u64::from(self.members[index].life) + 1);
        self.members[index] = self.new_member(index, generation, life);
        let seeds = (0..self.members.len()).filter(|&other| other != index).take(3).map(address).collect();
        self.input(index, Input::Seeds(seeds));
    }

    pub(crate) fn finished(&self, digest: &Digest) -> usize {
        self.members.iter().filter(|member| member.is_up && member.finished.contains_key(digest)).count()
    }

    pub(crate) fn up(&self) -> usize {
        self.members.iter().filter(|member| member.is_up).count()
    }

    pub(crate) fn geometry(&self, digest: &Digest) -> Geometry {
        Geometry::of(self.sizes[digest]).expect("small blobs")
    }

    /// The homes of a blob among the nodes that are up, the coordinating one first.
    pub(crate) fn homes_of(&self, digest: &Digest) -> Vec<usize> {
        let up = self.members.iter().filter(|member| member.is_up).map(|member| member.node.id());
        shoal_core::homes_of(digest, up).into_iter().map(|home| self.by_id[&home]).collect()
    }

    /// The node that coordinates a blob.
    pub(crate) fn home_of(&self, digest: &Digest) -> usize {
        self.homes_of(digest)[0]
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until `done`, for at most `time`; says whether it became true.
    pub(crate) fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        while !done(self) {
            let arrival = self.network.next_arrival();
            match self.schedule.next_time() {
                planned if arrival.is_some_and(|at| at <= end && planned.is_none_or(|planned| at <= planned)) => {
                    self.now = self.now.max(arrival.unwrap_or(self.now));
                    for (index, life, event) in self.network.take_arrived(self.now) {
                        self.happen(index, life, event);
                    }
                }
                Some(at) if at <= end => self.step(),
                _ => {
                    self.now = end;
                    return done(self);
                }
            }
        }
        true
    }

    fn step(&mut self) {
        let Some((at, (index, life, event))) = self.schedule.pop() else { return };
        self.now = at;
        self.happen(index, life, event);
    }

    fn happen(&mut self, index: usize, life: u32, event: Event) {
        if !self.members[index].is_up || self.members[index].life != life {
            return;
        }
        match event {
            Event::Wake => self.input(index, Input::Timeout),
            Event::Input(input) => self.input(index, input),
            Event::Asked { transfer, requester, digest, piece, urgency, held } => {
                self.uploads += 1;
                let upload = UploadId(self.uploads);
                let requester_life = self.members[requester].life;
                let entry = Upload { transfer, requester, requester_life, digest, piece, flow: None };
                self.members[index].uploads.insert(upload, entry);
                let from = self.members[requester].node.id();
                self.input(index, Input::PieceRequested { upload, from, digest, piece, urgency, held });
            }
            Event::Sent { upload } => self.sent(index, upload),
            Event::Progress { transfer, uploader, upload } => self.progress(index, transfer, uploader, upload),
            Event::Delivered { transfer, uploader, upload } => self.deliver(index, transfer, uploader, upload),
            Event::Fetching { lease } => self.fetch_next(index, lease),
            Event::Fetched { lease } => self.fetched(index, lease),
            Event::Verified { digest } if self.corrupt => {
                let pieces = self.geometry(&digest).pieces();
                self.members[index].store.insert(digest, PieceMap::empty(pieces));
                self.input(index, Input::Corrupt { digest });
            }
            Event::Verified { digest } => {
                let now = self.now;
                self.members[index].finished.entry(digest).or_insert(now);
                self.input(index, Input::Verified { digest });
            }
        }
    }

    /// Gives one input to a node and acts on all that comes out.
    pub(crate) fn input(&mut self, index: usize, input: Input) {
        let now = self.now;
        self.members[index].node.handle(now, input);
        while let Some(output) = self.members[index].node.poll_output() {
            if let Some(trace) = &mut self.trace {
                trace.update(format!("{now:?} {index} {output:?}\n").as_bytes());
            }
            self.act(index, output);
        }
        if let Some(at) = self.members[index].node.next_timeout() {
            let life = self.members[index].life;
            self.schedule.wake(index, at.max(now + Duration::from_micros(1)), (index, life, Event::Wake));
        }
    }

    fn after(&mut self, index: usize, delay: Duration, event: Event) {
        let life = self.members[index].life;
        self.schedule.push(self.now + delay, (index, life, event));
    }

    fn latency(&mut self) -> Duration {
        LATENCY + Duration::from_micros(self.random.below(200) as u64)
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && (self.random.below(1_000_000) as f64) < share * 1e6
    }

    fn act(&mut self, index: usize, output: Output) {
        match output {
            Output::Gossip { to, packet } => self.send_gossip(index, to, packet),
            Output::Control { to, message } => self.send_control(index, to, message),
            Output::Answer { outcome, .. } => self.members[index].answers.push(outcome),
            Output::AskUpstream { lookup, name } => {
                self.upstream_questions += 1;
                let outcome = self.upstream_answer(&name);
                self.asked_by = Some(index);
                self.after(index, self.answers_take, Event::Input(Input::UpstreamSaid { lookup, outcome }));
            }
            Output::RequestPiece { transfer, from, digest, piece, urgency, held } => {
                let member = &mut self.members[index];
                member.open.insert(transfer);
                member.wanted_pieces.insert(transfer, (digest, piece));
                let uploader = self.by_id[&from];
                if self.is_cut(index, uploader) {
                    return;
                }
                let delay = self.latency();
                self.after(uploader, delay, Event::Asked { transfer, requester: index, digest, piece, urgency, held });
            }
            Output::CancelTransfer { transfer } => self.cancel(index, transfer),
            Output::Serve { upload } => self.serve(index, upload),
            Output::Refuse { upload, refusal } => self.refuse(index, upload, refusal),
            Output::FetchUpstream { lease, digest, first, count } => {
                if self.tells {
                    let home = self.by_id[&lease.home];
                    println!("{:?} home {home} leases {}..{} to {index}", self.now, first.0, first.0 + count);
                }
                self.members[index]
                    .fetches
                    .insert(lease, Fetch { digest, next: first.0, end: first.0 + count, flow: None });
                self.start_fetch(index, lease, count);
            }
            Output::CutFetch { lease, end } => self.cut(index, lease, end),
            Output::BlobFailed { digest, failure } => {
                self.members[index].failed.insert(digest, failure);
            }
            Output::Member(_) => {}
        }
    }

    fn upstream_answer(&self, name: &shoal_wire::name::Name) -> NameOutcome {
        if let Some(failure) = self.upstream_failure {
            return NameOutcome::Failed(failure);
        }
        match self.sizes.iter().next() {
            Some((&digest, &size)) if name.repository == "known" => {
                NameOutcome::Found(shoal_wire::name::Descriptor { media_type: "application/x".into(), digest, size })
            }
            _ => NameOutcome::Failed(UpstreamFailure::NotFound),
        }
    }

    fn send_gossip(&mut self, index: usize, to: SocketAddr, packet: shoal_wire::gossip::GossipPacket) {
        let Some(target) = index_at(to).filter(|&index| index < self.members.len()) else { return };
        if self.is_cut(index, target) || self.chance(self.setting.gossip_loss) {
            return;
        }
        let delay = self.latency();
        self.after(target, delay, Event::Input(Input::Gossip { from: address(index), packet }));
    }

    fn send_control(&mut self, index: usize, to: MemberId, message: shoal_wire::control::ControlMessage) {
        self.control_messages += 1;
        let Some(&target) = self.by_id.get(&to) else { return };
        if !self.members[target].is_up || self.is_cut(index, target) {
            // A connection to a dead host ends by its idle timeout.
            return self.after(index, Duration::from_secs(10), Event::Input(Input::ControlLost { to }));
        }
        let is_membership = matches!(message, shoal_wire::control::ControlMessage::Membership(_));
        // Membership relies on the reliable stream for what it sends over it.
        if !is_membership && self.chance(self.setting.control_loss) {
            return;
        }
        let delay = self.latency();
        let from = self.members[index].node.id();
        self.after(target, delay, Event::Input(Input::Control { from, message }));
    }
}

//! A small network in virtual time for clusters of membership machines.
//!
//! Events are delivered in the order of their times, and nothing else decides: equal seeds give equal runs. Datagrams
//! take 0.2 - 2 ms, and can be lost; messages over the control stream arrive in order, unless their receiver is gone, is
//! partitioned away, or either side lacks the other's key, as it is with mutual TLS.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use shoal_core::{
    config::MembershipConfig,
    event::MemberEvent,
    membership::{Membership, MembershipOutput, State},
    rng::Stream,
    time::Time,
};
use shoal_wire::{
    codec::Message,
    control::ControlMessage,
    gossip::{GossipPacket, ReliableMessage},
    ids::{Generation, Incarnation, MemberId, PublicKey},
    limits::GOSSIP_PLAIN_BYTES,
    member::MemberRecord,
};

/// Until a connection to an address where nobody is counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// One way over an open control stream.
const STREAM_DELAY: Duration = Duration::from_millis(1);

/// Index of a node in its network.
pub(crate) type Node = usize;

/// A record for tests: equal numbers give equal records.
pub(crate) fn record(number: u16, generation: u64) -> MemberRecord {
    let mut key = [7; 32];
    key[..2].copy_from_slice(&number.to_le_bytes());
    MemberRecord {
        public_key: PublicKey(key),
        generation: Generation(generation),
        incarnation: Incarnation(0),
        address: address(number),
        zone: String::new(),
        version: 1,
        upload_bytes_per_s: 0,
    }
}

/// The address of node `number`.
pub(crate) fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 5001))
}

/// Something that will happen.
#[derive(Debug)]
enum Event {
    Wake(Node),
    Packet { from: SocketAddr, to: SocketAddr, packet: GossipPacket },
    Reliable { from: Node, to: Node, message: ReliableMessage },
    Unreachable { at: Node, to: MemberId },
}

/// One node, running or not.
pub(crate) struct Slot {
    pub(crate) id: MemberId,
    pub(crate) address: SocketAddr,
    pub(crate) membership: Option<Membership>,
    /// What membership told its owner, with times.
    pub(crate) events: Vec<(Time, MemberEvent)>,
    /// What came while it was paused.
    inbox: Option<Vec<Event>>,
    woken_at: Option<Time>,
    /// Which part of a partition it is in.
    side: u8,
    lives: u64,
}

/// The network and its nodes.
pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Slot>,
    pub(crate) config: MembershipConfig,
    /// Probability that a datagram is lost.
    pub(crate) loss: f64,
    /// Directions in which no datagram passes.
    pub(crate) blocked: BTreeSet<(Node, Node)>,
    pub(crate) packets: u64,
    pub(crate) packet_bytes: u64,
    random: Stream,
    seed: u64,
    queue: BTreeMap<(Time, u64), Event>,
    counter: u64,
    by_address: BTreeMap<SocketAddr, Node>,
    by_id: BTreeMap<MemberId, Node>,
    trace: blake3::Hasher,
    _replay: Replay,
}

/// Prints how to repeat the run when its test fails.
struct Replay(String);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: {}", self.0);
        }
    }
}

/// The seeds that a test runs with: its own, or the one of `SHOAL_SEED`.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SHOAL_SEED") {
        Ok(seed) => vec![seed.parse().expect("SHOAL_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

impl Network {
    /// An empty network.
    pub(crate) fn new(seed: u64) -> Self {
        let test = std::thread::current().name().unwrap_or("").to_owned();
        let replay = Replay(format!("SHOAL_SEED={seed} cargo test -p shoal-core --test membership {test}"));
        Self {
            now: Time::ZERO,
            nodes: Vec::new(),
            config: MembershipConfig::default(),
            loss: 0.0,
            blocked: BTreeSet::new(),
            packets: 0,
            packet_bytes: 0,
            random: Stream::new(seed, "network"),
            seed,
            queue: BTreeMap::new(),
            counter: 0,
            by_address: BTreeMap::new(),
            by_id: BTreeMap::new(),
            trace: blake3::Hasher::new(),
            _replay: replay,
        }
    }

    /// A cluster of `count` nodes that joined through node 0 over one second and agree.
    pub(crate) fn cluster(seed: u64, count: u16) -> Self {
        let mut network = Self::new(seed);
        for number in 0..count {
            let seeds = if number == 0 { vec![] } else { vec![address(0)] };
            network.start(number, seeds);
            network.run_for(Duration::from_secs(1) / u32::from(count));
        }
        network.run_until(Duration::from_mins(1), Self::all_agree);
        assert!(network.all_agree(), "the cluster did not form");
        network
    }

    /// Starts a new node at its usual address.
    pub(crate) fn start(&mut self, number: u16, seeds: Vec<SocketAddr>) -> Node {
        let node = self.nodes.len();
        let own = record(number, 1);
        self.by_id.insert(own.id(), node);
        self.nodes.push(Slot {
            id: own.id(),
            address: own.address,
            membership: None,
            events: Vec::new(),
            inbox: None,
            woken_at: None,
            side: 0,
            lives: 0,
        });
        self.begin_life(node, own, seeds);
        node
    }

    /// Starts a crashed node again, with a new generation, and at a new address.
    pub(crate) fn restart(&mut self, node: Node, number: u16, to: SocketAddr, seeds: Vec<SocketAddr>) {
        let generation = self.nodes[node].lives + 1;
        self.begin_life(node, MemberRecord { address: to, ..record(number, generation) }, seeds);
    }

    fn begin_life(&mut self, node: Node, own: MemberRecord, seeds: Vec<SocketAddr>) {
        let slot = &mut self.nodes[node];
        slot.lives += 1;
        slot.address = own.address;
        slot.woken_at = None;
        let seed = self.seed ^ (node as u64) << 32 ^ slot.lives << 56;
        let mut membership = Membership::new(self.config.clone(), own, seed, self.now);
        membership.set_seeds(self.now, seeds);
        slot.membership = Some(membership);
        self.by_address.insert(slot.address, node);
        self.drain(node);
    }

    /// Ends a node without a word.
    pub(crate) fn crash(&mut self, node: Node) {
        let slot = &mut self.nodes[node];
        slot.membership = None;
        slot.inbox = None;
        self.by_address.remove(&slot.address);
    }

    /// Lets a node leave and, as its driver would a moment later, stop.
    pub(crate) fn leave(&mut self, node: Node) {
        let now = self.now;
        self.with(node, |membership| membership.leave(now));
        self.run_for(Duration::from_millis(300));
        self.crash(node);
    }

    /// Stops a node's clock: it neither receives nor sends.
    pub(crate) fn pause(&mut self, node: Node) {
        self.nodes[node].inbox = Some(Vec::new());
    }

    /// Lets a paused node go on, with its overdue timers before what waits in its socket, which is the harder order.
    pub(crate) fn resume(&mut self, node: Node) {
        let now = self.now;
        let waiting = self.nodes[node].inbox.take().unwrap_or_default();
        self.with(node, |membership| membership.handle_timeout(now));
        for event in waiting {
            self.deliver(event);
        }
    }

    /// Puts nodes on sides that do not reach each other.
    pub(crate) fn partition(&mut self, side: impl Fn(Node) -> u8) {
        for (node, slot) in self.nodes.iter_mut().enumerate() {
            slot.side = side(node);
        }
    }

    /// Ends a partition.
    pub(crate) fn heal(&mut self) {
        self.partition(|_| 0);
    }

    /// Calls into a running node, and does what it then asks for.
    pub(crate) fn with<R>(&mut self, node: Node, call: impl FnOnce(&mut Membership) -> R) -> R {
        let result = call(self.nodes[node].membership.as_mut().expect("the node runs"));
        self.drain(node);
        result
    }

    /// Runs for a while of virtual time.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Runs until `done`, asked each 50 ms, at most for this long. Returns how long it took.
    pub(crate) fn run_until(&mut self, at_most: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.now;
        let end = begin + at_most;
        let mut ask_at = begin;
        while let Some((&(at, _), _)) = self.queue.first_key_value() {
            if at > end {
                break;
            }
            if at >= ask_at {
                if done(self) {
                    return self.now.since(begin);
                }
                ask_at = at + Duration::from_millis(50);
            }
            let (_, event) = self.queue.pop_first().expect("there is a first");
            self.now = at;
            self.deliver(event);
        }
        self.now = end;
        at_most
    }

    fn deliver(&mut self, event: Event) {
        let now = self.now;
        let node = match &event {
            Event::Wake(node) => *node,
            Event::Packet { to, .. } => match self.by_address.get(to) {
                Some(&node) => node,
                None => return,
            },
            Event::Reliable { to, .. } => *to,
            Event::Unreachable { at, .. } => *at,
        };
        let slot = &mut self.nodes[node];
        if let Some(inbox) = &mut slot.inbox {
            if !matches!(event, Event::Wake(_)) {
                inbox.push(event);
            }
            return;
        }
        let Some(membership) = &mut slot.membership else { return };
        match event {
            Event::Wake(_) if slot.woken_at != Some(now) => return,
            Event::Wake(_) => {
                slot.woken_at = None;
                membership.handle_timeout(now);
            }
            Event::Packet { from, packet, .. } => membership.handle_packet(now, from, packet),
            Event::Reliable { from, message, .. } => {
                let from = self.nodes[from].id;
                self.nodes[node].membership.as_mut().expect("it runs").handle_reliable(now, from, message);
            }
            Event::Unreachable { to, .. } => membership.handle_unreachable(now, to),
        }
        self.drain(node);
    }

    fn drain(&mut self, node: Node) {
        let now = self.now;
        loop {
            let Some(membership) = &mut self.nodes[node].membership else { return };
            match membership.poll_output() {
                Some(MembershipOutput::Packet { to, packet }) => self.send_packet(node, to, packet),
                Some(MembershipOutput::Reliable { to, message }) => self.send_reliable(node, to, message),
                Some(MembershipOutput::Event(event)) => {
                    self.trace_event(node, &event);
                    self.nodes[node].events.push((now, event));
                }
                None => break,
            }
        }
        let slot = &mut self.nodes[node];
        let next = slot.membership.as_ref().and_then(Membership::next_timeout).map(|at| at.max(now));
        if next != slot.woken_at
            && let Some(at) = next
        {
            slot.woken_at = Some(at);
            self.schedule(at, Event::Wake(node));
        }
    }

    fn trace_event(&mut self, node: Node, event: &MemberEvent) {
        let (kind, id) = match event {
            MemberEvent::Up(record) => (0, record.id()),
            MemberEvent::Suspected(id) => (1, *id),
            MemberEvent::Dead(id) => (2, *id),
            MemberEvent::Left(id) => (3, *id),
            MemberEvent::Forgotten(id) => (4, *id),
        };
        self.trace_words(&[self.now.as_micros(), node as u64, kind]);
        self.trace.update(&id.0);
    }

    fn trace_words(&mut self, words: &[u64]) {
        for word in words {
            self.trace.update(&word.to_le_bytes());
        }
    }

    fn send_packet(&mut self, node: Node, to: SocketAddr, packet: GossipPacket) {
        let bytes = packet.encode().expect("a packet encodes");
        assert!(bytes.len() <= GOSSIP_PLAIN_BYTES, "a packet of {} bytes: {packet:?}", bytes.len());
        assert_eq!(bytes.len(), packet.encoded_len());
        self.trace_words(&[self.now.as_micros(), node as u64]);
        self.trace.update(to.to_string().as_bytes());
        self.trace.update(&bytes);
        self.packets += 1;
        self.packet_bytes += bytes.len() as u64;
        let lost = self.random.chance(self.loss);
        let delay = self.random.between(Duration::from_micros(200), Duration::from_millis(2));
        let Some(&receiver) = self.by_address.get(&to) else { return };
        let passes = self.nodes[receiver].side == self.nodes[node].side && !self.blocked.contains(&(node, receiver));
        if passes && !lost {
            self.schedule(self.now + delay, Event::Packet { from: self.nodes[node].address, to, packet });
        }
    }

    fn send_reliable(&mut self, node: Node, to: MemberId, message: ReliableMessage) {
        let frame = ControlMessage::Membership(message.clone()).encode().expect("a control frame encodes");
        self.trace_words(&[self.now.as_micros(), node as u64]);
        self.trace.update(&to.0);
        self.trace.update(&frame);
        let receiver = self.by_id.get(&to).copied().filter(|&receiver| self.can_connect(node, receiver));
        match receiver {
            Some(receiver) => {
                self.schedule(self.now + STREAM_DELAY, Event::Reliable { from: node, to: receiver, message });
            }
            None => self.schedule(self.now + CONNECT_TIMEOUT, Event::Unreachable { at: node, to }),
        }
    }

    /// Whether a connection can be had: both run, are on one side, and have each other's present address and key.
    fn can_connect(&self, node: Node, other: Node) -> bool {
        let (one, two) = (&self.nodes[node], &self.nodes[other]);
        let (Some(mine), Some(theirs)) = (&one.membership, &two.membership) else { return false };
        let dials = mine.record(two.id).is_some_and(|record| record.address == two.address);
        let accepts = theirs.record(one.id).is_some();
        one.side == two.side && dials && accepts
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.counter += 1;
        self.queue.insert((at, self.counter), event);
    }

    /// Nodes that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = (Node, &Membership)> {
        self.nodes.iter().enumerate().filter_map(|(node, slot)| Some((node, slot.membership.as_ref()?)))
    }

    /// Whether every running node counts exactly the running nodes as alive, and suspects none.
    pub(crate) fn all_agree(&self) -> bool {
        let ids: BTreeSet<MemberId> = self.running().map(|(_, membership)| membership.own().id()).collect();
        self.running().all(|(_, membership)| {
            membership.alive_count() == ids.len() && ids.iter().all(|&id| membership.state(id) == Some(State::Alive))
        })
    }

    /// Whether all other running nodes see `node` so.
    pub(crate) fn all_see(&self, node: Node, state: State) -> bool {
        let id = self.nodes[node].id;
        self.running().filter(|&(other, _)| other != node).all(|(_, membership)| membership.state(id) == Some(state))
    }

    /// Number of events of all nodes that match.
    pub(crate) fn count_events(&self, matches: impl Fn(&MemberEvent) -> bool) -> usize {
        self.nodes.iter().flat_map(|slot| &slot.events).filter(|(_, event)| matches(event)).count()
    }

    /// Forgets events so far.
    pub(crate) fn clear_events(&mut self) {
        self.nodes.iter_mut().for_each(|slot| slot.events.clear());
    }

    /// A hash of everything that all nodes ever put out.
    pub(crate) fn trace(&self) -> blake3::Hash {
        self.trace.finalize()
    }
}

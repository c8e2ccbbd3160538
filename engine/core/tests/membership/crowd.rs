//! Thousands of membership machines in virtual time: as `network`, but without a trace, and with nothing that grows with
//! the square of their number.
//!
//! Datagrams take 0.2 - 2 ms and can be lost; messages over the control stream take 1 ms, unless their receiver does not
//! run or either side lacks the other's key. Nodes stall as those of a busy machine do: nothing reaches them for a
//! while, and then their timers come first. Equal seeds give equal runs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use shoal_core::{
    config::MembershipConfig,
    event::MemberEvent,
    membership::{KnownMembers, Membership, MembershipOutput},
    rng::Stream,
    time::Time,
};
use shoal_wire::{
    gossip::{GossipPacket, MemberState, ReliableMessage},
    ids::{Generation, Incarnation, MemberId, PublicKey},
    member::MemberRecord,
};

/// Until a connection to an address where nobody is counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// One way over an open control stream.
const STREAM_DELAY: Duration = Duration::from_millis(1);
/// Address of node 0.
const FIRST_ADDRESS: u32 = 0x0a00_0001;

/// Something that will happen to a node.
enum Event {
    Wake,
    Packet { from: SocketAddr, packet: GossipPacket },
    Reliable { from: MemberId, message: ReliableMessage },
    Unreachable { to: MemberId },
    Stall,
    Resume,
}

/// What happens when: the order of the queue.
struct Entry {
    key: Reverse<(Time, u64)>,
    node: usize,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

struct Slot {
    membership: Option<Membership>,
    woken_at: Option<Time>,
    /// What came during a stall.
    inbox: Option<Vec<Event>>,
}

/// How a crowd is treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Probability that a datagram is lost.
    pub(crate) loss: f64,
    /// Every so many nodes one stalls now and then; 0 for none.
    pub(crate) staller_each: usize,
    /// How long a stall takes.
    pub(crate) stall: Duration,
    /// Mean time between the stalls of one node.
    pub(crate) between_stalls: Duration,
}

/// What was sent and believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) packet_bytes: u64,
    pub(crate) reliable: u64,
    pub(crate) reliable_bytes: u64,
    pub(crate) suspicions: u64,
    /// Deaths that one node believed of one that runs.
    pub(crate) false_deaths: u64,
    /// When each crash became known, once for each node that believes it.
    pub(crate) crashes_known: Vec<Duration>,
}

/// The nodes and what is between them.
pub(crate) struct Crowd {
    pub(crate) now: Time,
    pub(crate) tally: Tally,
    slots: Vec<Slot>,
    records: Vec<Arc<MemberRecord>>,
    by_id: BTreeMap<MemberId, usize>,
    crashed: BTreeMap<MemberId, Time>,
    queue: BinaryHeap<Entry>,
    counter: u64,
    weather: Weather,
    random: Stream,
    seed: u64,
}

fn record(node: usize) -> Arc<MemberRecord> {
    let mut key = [3; 32];
    key[..8].copy_from_slice(&(node as u64).to_le_bytes());
    Arc::new(MemberRecord {
        public_key: PublicKey(key),
        // As daemons have it: the time of their start in microseconds.
        generation: Generation(1_800_000_000_000_000 + node as u64),
        incarnation: Incarnation(0),
        address: address(node),
        zone: String::new(),
        version: 1,
        upload_bytes_per_s: 0,
    })
}

fn address(node: usize) -> SocketAddr {
    let node = u32::try_from(node).expect("few nodes");
    SocketAddr::from((Ipv4Addr::from(FIRST_ADDRESS + node), 5001))
}

fn node_at(address: SocketAddr) -> Option<usize> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    usize::try_from(u32::from(ip).checked_sub(FIRST_ADDRESS)?).ok()
}

impl Crowd {
    /// `count` nodes, none of which runs.
    pub(crate) fn new(seed: u64, count: usize, weather: Weather) -> Self {
        let records: Vec<_> = (0..count).map(record).collect();
        let slots = (0..count).map(|_| Slot { membership: None, woken_at: None, inbox: None }).collect();
        Self {
            now: Time::from_micros(1_000_000),
            tally: Tally::default(),
            slots,
            by_id: records.iter().enumerate().map(|(node, record)| (record.id(), node)).collect(),
            records,
            crashed: BTreeMap::new(),
            queue: BinaryHeap::new(),
            counter: 0,
            weather,
            random: Stream::new(seed, "crowd"),
            seed,
        }
    }

    /// The same, but all of them run and know each other.
    pub(crate) fn acquainted(seed: u64, count: usize, weather: Weather) -> Self {
        let mut crowd = Self::new(seed, count, weather);
        let known = KnownMembers::new(crowd.records.iter().cloned());
        for node in 0..count {
            let own = MemberRecord::clone(&crowd.records[node]);
            let config = MembershipConfig::default();
            let membership = Membership::with_members(config, own, &known, crowd.node_seed(node), crowd.now);
            crowd.begin(node, membership);
        }
        crowd
    }

    /// Starts a node that joins through these others.
    pub(crate) fn join(&mut self, node: usize, seeds: &[usize]) {
        let own = MemberRecord::clone(&self.records[node]);
        let mut membership = Membership::new(MembershipConfig::default(), own, self.node_seed(node), self.now);
        membership.set_seeds(self.now, seeds.iter().map(|&seed| address(seed)).collect());
        self.begin(node, membership);
    }

    /// Ends a node without a word.
    pub(crate) fn crash(&mut self, node: usize) {
        self.slots[node].membership = None;
        self.crashed.insert(self.records[node].id(), self.now);
    }

    /// Nodes that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Membership> {
        self.slots.iter().filter_map(|slot| slot.membership.as_ref())
    }

    /// Whether every running node counts as many members as run.
    pub(crate) fn all_agree(&self) -> bool {
        let count = self.running().count();
        self.running().all(|membership| membership.alive_count() == count)
    }

    /// Runs for a while of virtual time.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(first) = self.queue.peek()
            && first.key.0.0 <= end
        {
            let Entry { key: Reverse((at, _)), node, event } = self.queue.pop().expect("there is a first");
            self.now = at;
            self.deliver(node, event);
        }
        self.now = end;
    }

    /// Runs in steps until all agree, at most for this long. Returns how long it took.
    pub(crate) fn run_until_all_agree(&mut self, at_most: Duration) -> Option<Duration> {
        let begin = self.now;
        while self.now < begin + at_most {
            if self.all_agree() {
                return Some(self.now.since(begin));
            }
            self.run_for(Duration::from_millis(200));
        }
        None
    }

    fn node_seed(&self, node: usize) -> u64 {
        self.seed ^ (node as u64) << 20
    }

    fn begin(&mut self, node: usize, membership: Membership) {
        self.slots[node].membership = Some(membership);
        if self.weather.staller_each > 0 && node % self.weather.staller_each == 1 {
            self.schedule_stall(node);
        }
        self.drain(node);
    }

    fn schedule_stall(&mut self, node: usize) {
        let wait = self.random.between(Duration::ZERO, self.weather.between_stalls * 2);
        self.schedule(self.now + wait, node, Event::Stall);
    }

    fn deliver(&mut self, node: usize, event: Event) {
        let now = self.now;
        let slot = &mut self.slots[node];
        let Some(membership) = &mut slot.membership else { return };
        match (event, &mut slot.inbox) {
            (Event::Wake, None) if slot.woken_at == Some(now) => {
                slot.woken_at = None;
                membership.handle_timeout(now);
            }
            (Event::Wake, _) => return,
            (Event::Stall, _) => {
                slot.inbox = Some(Vec::new());
                return self.schedule(now + self.weather.stall, node, Event::Resume);
            }
            (Event::Resume, _) => return self.resume(node),
            (event, Some(inbox)) => return inbox.push(event),
            (Event::Packet { from, packet }, None) => membership.handle_packet(now, from, packet),
            (Event::Reliable { from, message }, None) => membership.handle_reliable(now, from, message),
            (Event::Unreachable { to }, None) => membership.handle_unreachable(now, to),
        }
        self.drain(node);
    }

    /// Overdue timers come before what waits in the socket, which is the harder order.
    fn resume(&mut self, node: usize) {
        let slot = &mut self.slots[node];
        let waiting = slot.inbox.take().unwrap_or_default();
        if let Some(membership) = &mut slot.membership {
            membership.handle_timeout(self.now);
        }
        self.drain(node);
        for event in waiting {
            self.deliver(node, event);
        }
        self.schedule_stall(node);
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.slots[node].membership.as_mut().and_then(Membership::poll_output) {
            match output {
                MembershipOutput::Packet { to, packet } => self.send_packet(node, to, packet),
                MembershipOutput::Reliable { to, message } => self.send_reliable(node, to, message),
                MembershipOutput::Event(event) => self.note(&event),
            }
        }
        let slot = &mut self.slots[node];
        let next = slot.membership.as_ref().and_then(Membership::next_timeout).map(|at| at.max(self.now));
        if let Some(at) = next
            && next != slot.woken_at
        {
            slot.woken_at = next;
            self.schedule(at, node, Event::Wake);
        }
    }

    fn note(&mut self, event: &MemberEvent) {
        match event {
            MemberEvent::Suspected(_) => self.tally.suspicions += 1,
            MemberEvent::Dead(id) => match self.crashed.get(id) {
                Some(&at) => self.tally.crashes_known.push(self.now.since(at)),
                None => self.tally.false_deaths += 1,
            },
            _ => {}
        }
    }

    fn send_packet(&mut self, node: usize, to: SocketAddr, packet: GossipPacket) {
        self.tally.packets += 1;
        self.tally.packet_bytes += packet.encoded_len() as u64;
        let delay = self.random.between(Duration::from_micros(200), Duration::from_millis(2));
        let receiver = node_at(to).filter(|&node| self.slots.get(node).is_some_and(|slot| slot.membership.is_some()));
        if let Some(receiver) = receiver
            && !self.random.chance(self.weather.loss)
        {
            self.schedule(self.now + delay, receiver, Event::Packet { from: address(node), packet });
        }
    }

    fn send_reliable(&mut self, node: usize, to: MemberId, message: ReliableMessage) {
        self.tally.reliable += 1;
        self.tally.reliable_bytes += length(&message) as u64;
        let from = self.records[node].id();
        match self.by_id.get(&to).copied().filter(|&receiver| self.can_connect(node, receiver)) {
            Some(receiver) => self.schedule(self.now + STREAM_DELAY, receiver, Event::Reliable { from, message }),
            None => self.schedule(self.now + CONNECT_TIMEOUT, node, Event::Unreachable { to }),
        }
    }

    /// Whether both run and have each other's key.
    fn can_connect(&self, one: usize, other: usize) -> bool {
        let knows = |a: usize, b: usize| {
            self.slots[a].membership.as_ref().is_some_and(|membership| membership.state(self.records[b].id()).is_some())
        };
        knows(one, other) && knows(other, one)
    }

    fn schedule(&mut self, at: Time, node: usize, event: Event) {
        self.counter += 1;
        self.queue.push(Entry { key: Reverse((at, self.counter)), node, event });
    }
}

/// Bytes of a message, give or take a few.
fn length(message: &ReliableMessage) -> usize {
    let states = |members: &[MemberState]| members.iter().map(MemberState::encoded_len).sum::<usize>();
    match message {
        ReliableMessage::Probe { .. } | ReliableMessage::ProbeAck { .. } | ReliableMessage::SnapshotRequest { .. } => {
            20
        }
        ReliableMessage::SnapshotPage { members, .. } | ReliableMessage::SyncNews { members } => 20 + states(members),
        ReliableMessage::SnapshotBusy { others } => others.iter().map(|record| record.encoded_len()).sum(),
        ReliableMessage::SyncDigests { digests } => 9 * digests.len(),
        ReliableMessage::SyncBuckets { buckets, members } => buckets.len() + states(members),
    }
}

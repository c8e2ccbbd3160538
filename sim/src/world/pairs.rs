//! Connections: at most one between two nodes, made when one has something for the other, with a flow of pieces in each
//! direction while there are any.

use std::collections::VecDeque;

use shoal_core::event::UploadId;

use super::{Event, World};
use crate::{
    network::{FlowId, LinkId},
    time::Nanos,
};

/// Two nodes that have had something to do with each other.
#[derive(Clone, Debug)]
#[repr(C)] // What every message looks at lies together.
pub(super) struct Pair {
    /// From when on the connection carries messages; never where there is none.
    ready_at: Nanos,
    /// From the low to the high node, and back: messages come in order, none before this.
    last_arrivals: [Nanos; 2],
    /// Whether the low node tries to reach the high one in vain, and the other way round.
    is_dialling: [bool; 2],
    pub(super) low: u32,
    pub(super) high: u32,
    /// From the low to the high node, and back.
    pub(super) directions: [Direction; 2],
}

/// What was lost with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was none.
    Nothing,
    /// An attempt to make one, of which the other end knows nothing.
    Dial,
    /// A connection.
    Connection,
}

/// One direction of a connection.
#[derive(Clone, Debug)]
pub(super) struct Direction {
    /// Pieces to send, of which the first is on its way.
    pub(super) queue: VecDeque<UploadId>,
    pub(super) flow: Option<FlowId>,
    /// What the connection's window allows, in bytes per second; infinite once it allows all that the path carries.
    pub(super) cap: f64,
    pub(super) is_widening: bool,
    pub(super) idle_since: Nanos,
}

impl Direction {
    fn new() -> Self {
        Self { queue: VecDeque::new(), flow: None, cap: 0.0, is_widening: false, idle_since: Nanos::ZERO }
    }
}

impl Pair {
    fn new(low: u32, high: u32) -> Self {
        let directions = [Direction::new(), Direction::new()];
        let last_arrivals = [Nanos::ZERO; 2];
        Self { ready_at: Nanos::NEVER, last_arrivals, is_dialling: [false; 2], low, high, directions }
    }

    /// Sender and receiver of a direction.
    pub(super) fn ends(&self, direction: u8) -> (u32, u32) {
        if direction == 0 { (self.low, self.high) } else { (self.high, self.low) }
    }
}

impl World {
    /// The pair of two nodes, and the direction from `from` to `to`.
    pub(super) fn pair(&mut self, from: u32, to: u32) -> (u32, u8) {
        let direction = u8::from(from > to);
        let known = &self.members[from as usize].pairs;
        match known.binary_search_by_key(&to, |(peer, _)| *peer) {
            Ok(place) => (known[place].1, direction),
            Err(_) => (self.add_pair(from, to), direction),
        }
    }

    /// Both ends know the pair, so that who tells all of its peers something looks in one place.
    fn add_pair(&mut self, from: u32, to: u32) -> u32 {
        let number = u32::try_from(self.pairs.len()).expect("pairs fit into memory");
        for (node, peer) in [(from, to), (to, from)] {
            let known = &mut self.members[node as usize].pairs;
            let place = known.partition_point(|(other, _)| *other < peer);
            known.insert(place, (peer, number));
        }
        self.pairs.push(Pair::new(from.min(to), from.max(to)));
        number
    }

    pub(super) fn direction(&mut self, pair: u32, direction: u8) -> &mut Direction {
        &mut self.pairs[pair as usize].directions[usize::from(direction)]
    }

    /// When something of `bytes` reaches `to` on the connection that `from` has with it, or makes now; in order. `None`
    /// where it never does, because the other end is gone.
    pub(super) fn arrival(&mut self, from: u32, to: u32, bytes: u32) -> Option<Nanos> {
        let (pair, direction) = self.pair(from, to);
        if self.members[to as usize].is_up && self.is_orphan(from, to) {
            return None;
        }
        let is_open = self.pairs[pair as usize].ready_at != Nanos::NEVER;
        if !self.members[to as usize].is_up || !is_open && !self.answers(from, to) {
            self.dial_in_vain(pair, from, to);
            return None;
        }
        let departs = self.ready_at(pair).max(self.now);
        let at = departs + self.one_way(from, to, bytes);
        let last = &mut self.pairs[pair as usize].last_arrivals[usize::from(direction)];
        *last = at.max(*last);
        Some(*last)
    }

    /// Connects where there is no connection.
    fn ready_at(&mut self, pair: u32) -> Nanos {
        let round_trip = self.base_round_trip();
        let handshake = Nanos(round_trip.0 * u64::from(self.setting.paths.handshake_round_trips));
        let now = self.now;
        let entry = &mut self.pairs[pair as usize];
        if entry.ready_at == Nanos::NEVER {
            entry.ready_at = now + handshake;
        }
        entry.ready_at
    }

    /// `to` is gone: a connection that is still thought to be there swallows what is sent, and a new one is not made.
    fn dial_in_vain(&mut self, pair: u32, from: u32, to: u32) {
        let fails_at = self.now + self.setting.paths.dial_timeout;
        let direction = usize::from(from > to);
        let entry = &mut self.pairs[pair as usize];
        if entry.ready_at == Nanos::NEVER && !entry.is_dialling[direction] {
            entry.is_dialling[direction] = true;
            self.schedule.push(fails_at, Event::Lost { node: from, peer: to });
        }
    }

    /// A connection is over, or one was not made, as `node` notices.
    pub(super) fn disconnect(&mut self, node: u32, peer: u32) -> Ended {
        let (pair, direction) = self.pair(node, peer);
        let entry = &mut self.pairs[pair as usize];
        let was_dialling = std::mem::take(&mut entry.is_dialling[usize::from(direction)]);
        if std::mem::replace(&mut entry.ready_at, Nanos::NEVER) != Nanos::NEVER {
            Ended::Connection
        } else if was_dialling {
            Ended::Dial
        } else {
            Ended::Nothing
        }
    }

    /// The connection of two nodes is one of an earlier life of one of them.
    pub(super) fn forget_connection(&mut self, node: u32, peer: u32) {
        let (pair, _) = self.pair(node, peer);
        self.pairs[pair as usize].ready_at = Nanos::NEVER;
    }

    /// Whether two nodes have a connection, or make one.
    pub(super) fn is_connected(&mut self, node: u32, peer: u32) -> bool {
        let (pair, _) = self.pair(node, peer);
        self.pairs[pair as usize].ready_at != Nanos::NEVER
    }

    /// Nodes that `node` has a connection with.
    pub(super) fn connected_peers(&self, node: u32) -> Vec<u32> {
        let is_one = |pair: &&Pair| (pair.low == node || pair.high == node) && pair.ready_at != Nanos::NEVER;
        self.pairs.iter().filter(is_one).map(|pair| if pair.low == node { pair.high } else { pair.low }).collect()
    }

    /// One way for a message, with what it waits at full links. Not in order with others.
    pub(super) fn one_way(&mut self, from: u32, to: u32, bytes: u32) -> Nanos {
        let (up, down) = (self.members[from as usize].links.up, self.members[to as usize].links.down);
        let mut delay = self.latency(from) + self.queue_of(up, bytes) + self.queue_of(down, bytes);
        let (source, target) = (self.members[from as usize].zone, self.members[to as usize].zone);
        if source != target && !self.zones.is_empty() {
            let (out, into) = (self.zones[source as usize].0, self.zones[target as usize].1);
            delay = delay + self.queue_of(out, bytes) + self.queue_of(into, bytes);
        }
        delay + self.retransmission(from)
    }

    /// One way between a node and the upstream.
    pub(super) fn one_way_upstream(&mut self, node: u32) -> Nanos {
        let down = self.members[node as usize].links.down;
        self.latency(node) + self.queue_of(down, 0) + self.queue_of(self.upstream.link, 0)
    }

    /// Latency with jitter, as `node` draws it.
    pub(super) fn latency(&mut self, node: u32) -> Nanos {
        let jitter = u64::try_from(self.setting.paths.jitter.as_nanos()).unwrap_or(u64::MAX);
        let drawn = if jitter == 0 { 0 } else { self.members[node as usize].random.bits() % jitter };
        Nanos(drawn) + self.setting.paths.latency
    }

    /// There and back without queues.
    pub(super) fn base_round_trip(&self) -> Nanos {
        let paths = &self.setting.paths;
        Nanos::from(paths.latency * 2 + paths.jitter)
    }

    /// What a message waits at a link: its own bytes, and the queue where the link is full. The queue's length changes
    /// with time, and is the same for all messages of a moment.
    fn queue_of(&self, link: LinkId, bytes: u32) -> Nanos {
        let rate = self.network.rate_of_link(link);
        let own = Nanos::ZERO.after(if rate > 0.0 { f64::from(bytes) / rate } else { 0.0 });
        if !self.network.is_full(link) {
            return own;
        }
        let paths = &self.setting.paths;
        let longest = Nanos::from(paths.queue).min(Nanos::ZERO.after(paths.queue_bytes / rate)).0;
        if longest == 0 {
            return own;
        }
        let moment = self.now.0 / QUEUE_STEP.0;
        own + Nanos(mix(self.setting.seed ^ mix(moment ^ mix(link.number()))) % longest)
    }

    /// What the loss of a packet costs a message on a connection.
    fn retransmission(&mut self, node: u32) -> Nanos {
        let loss = self.setting.paths.loss;
        if loss > 0.0 && self.members[node as usize].random.chance(loss) {
            self.base_round_trip() + RETRANSMISSION
        } else {
            Nanos::ZERO
        }
    }
}

/// Time between two lengths of a queue.
const QUEUE_STEP: Nanos = Nanos(20_000_000);
/// What a sender waits beyond a round trip before it takes a packet for lost (RFC 9002, section 6.2.1: the peer's delay of
/// acknowledgements).
const RETRANSMISSION: Nanos = Nanos(25_000_000);

/// Well-mixed bits of a number (the finalizer of MurmurHash3).
fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

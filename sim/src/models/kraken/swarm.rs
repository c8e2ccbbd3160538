//! One blob's swarm: who has what, who is connected to whom, and which piece is asked for next.

use std::time::Duration;

use shoal_core::rng::Stream;
use smallvec::SmallVec;

use crate::{models::bits::Bits, time::Nanos};

/// Bytes of a piece, whatever the blob's size.
const PIECE: u64 = 4 << 20;
/// Connections of a host for one blob.
const CONNECTIONS_MAX: usize = 10;
/// Requests on one connection.
const REQUESTS_MAX: usize = 3;
/// With so few pieces missing they are asked of several.
const LAST_PIECES: u32 = 3;
/// A connection that moved nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Who is to send what to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) struct Request {
    pub(super) blob: u32,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) piece: u32,
}

/// Agents by their numbers, and the origin behind them.
#[derive(Clone, Debug)]
pub(super) struct Swarm {
    bytes: u64,
    pieces: u32,
    hosts: Vec<Member>,
    /// Agents that the tracker knows.
    announced: Vec<u32>,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Empty,
    Pulling,
    Stored,
}

#[derive(Clone, Debug)]
struct Member {
    have: Bits,
    /// Asked of somebody.
    asked: Bits,
    missing: u32,
    is_announced: bool,
    connections: SmallVec<[Connection; CONNECTIONS_MAX]>,
    /// How many neighbours have each piece; empty before there are any.
    copies: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Connection {
    to: u32,
    /// What this side has asked for.
    asked: SmallVec<[u32; REQUESTS_MAX]>,
    /// When something moved last, in either direction.
    moved: Nanos,
}

impl Swarm {
    pub(super) fn new(bytes: u64, nodes: u32, warm: u32) -> Self {
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX);
        let member = |number| {
            let has_all = number < warm || number == nodes;
            Member {
                have: if has_all { Bits::all(pieces) } else { Bits::none(pieces) },
                asked: Bits::none(pieces),
                missing: if has_all { 0 } else { pieces },
                is_announced: number < warm,
                connections: SmallVec::new(),
                copies: Vec::new(),
            }
        };
        let origin = if warm > 0 { Origin::Stored } else { Origin::Empty };
        Self { bytes, pieces, hosts: (0..=nodes).map(member).collect(), announced: (0..warm).collect(), origin }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn piece_len(&self, piece: u32) -> u64 {
        PIECE.min(self.bytes - u64::from(piece) * PIECE)
    }

    /// Whether the origin has the blob.
    pub(super) fn is_stored(&self) -> bool {
        self.origin == Origin::Stored
    }

    /// The origin pulls the blob; false where it does already.
    pub(super) fn begin_to_store(&mut self) -> bool {
        std::mem::replace(&mut self.origin, Origin::Pulling) == Origin::Empty
    }

    pub(super) fn store(&mut self) {
        self.origin = Origin::Stored;
    }

    /// The tracker hears of an agent; false of one that is complete, which need not come again.
    pub(super) fn announce(&mut self, node: u32) -> bool {
        let member = &mut self.hosts[node as usize];
        if !std::mem::replace(&mut member.is_announced, true) {
            self.announced.push(node);
        }
        member.missing > 0
    }

    /// Up to `most` others that the tracker knows, drawn at random.
    pub(super) fn peers_for(&self, node: u32, most: usize, random: &mut Stream) -> Vec<u32> {
        if self.announced.len() <= most + 1 {
            return self.announced.iter().copied().filter(|other| *other != node).collect();
        }
        let mut peers = Vec::with_capacity(most + 1);
        while peers.len() < most {
            let other = self.announced[random.below(self.announced.len())];
            if other != node && !peers.contains(&other) {
                peers.push(other);
            }
        }
        peers
    }

    /// Connects two hosts that have room and something to exchange; says whether it did.
    pub(super) fn connect(&mut self, one: u32, other: u32, now: Nanos) -> bool {
        let is_open = |member: &Member| member.connections.len() < CONNECTIONS_MAX;
        let (first, second) = (&self.hosts[one as usize], &self.hosts[other as usize]);
        let is_useless = first.missing == 0 && second.missing == 0;
        if is_useless || !is_open(first) || !is_open(second) || first.connections.iter().any(|link| link.to == other) {
            return false;
        }
        for (host, to) in [(one, other), (other, one)] {
            self.count(host, to, true);
            let connection = Connection { to, asked: SmallVec::new(), moved: now };
            self.hosts[host as usize].connections.push(connection);
        }
        true
    }

    /// Counts a neighbour's pieces in, or out.
    fn count(&mut self, host: u32, neighbour: u32, is_added: bool) {
        let pieces: Vec<u32> = Bits::among(&[&self.hosts[neighbour as usize].have], &[]).collect();
        let copies = &mut self.hosts[host as usize].copies;
        copies.resize(self.pieces as usize, 0);
        for piece in pieces {
            let count = &mut copies[piece as usize];
            *count = if is_added { *count + 1 } else { *count - 1 };
        }
    }

    fn close(&mut self, one: u32, other: u32) {
        for (host, to) in [(one, other), (other, one)] {
            self.count(host, to, false);
            let member = &mut self.hosts[host as usize];
            let place = member.connections.iter().position(|link| link.to == to).expect("both ends have it");
            let closed = member.connections.remove(place);
            closed.asked.iter().for_each(|piece| member.asked.remove(*piece));
        }
    }

    /// Closes what moved nothing for long and waits for nothing.
    pub(super) fn close_idle(&mut self, node: u32, now: Nanos) {
        let waits = |from: u32, to: u32| {
            let connections = &self.hosts[from as usize].connections;
            connections.iter().any(|link| link.to == to && !link.asked.is_empty())
        };
        let is_idle = |link: &&Connection| link.moved + IDLE <= now && !waits(node, link.to) && !waits(link.to, node);
        let idle: Vec<u32> = self.hosts[node as usize].connections.iter().filter(is_idle).map(|link| link.to).collect();
        for other in idle {
            self.close(node, other);
        }
    }

    /// Closes a complete agent's connections to others that are complete.
    pub(super) fn close_complete(&mut self, node: u32) {
        for other in self.neighbours(node) {
            if self.is_complete(other) {
                self.close(node, other);
            }
        }
    }

    pub(super) fn is_complete(&self, host: u32) -> bool {
        self.hosts[host as usize].missing == 0
    }

    pub(super) fn neighbours(&self, host: u32) -> SmallVec<[u32; CONNECTIONS_MAX]> {
        self.hosts[host as usize].connections.iter().map(|link| link.to).collect()
    }

    /// The next piece that `who` asks of `whom`, which is noted: the rarest among its neighbours, a random one of those.
    pub(super) fn choose(&mut self, who: u32, whom: u32, random: &mut Stream) -> Option<u32> {
        let me = &self.hosts[who as usize];
        let place = me.connections.iter().position(|link| link.to == whom)?;
        if me.connections[place].asked.len() >= REQUESTS_MAX {
            return None;
        }
        let has = &self.hosts[whom as usize].have;
        let rarest = rarest(Bits::among(&[has], &[&me.have, &me.asked]), &me.copies, random);
        let piece = rarest.or_else(|| {
            let is_last = me.missing <= LAST_PIECES;
            let is_asked_here = |piece: &u32| me.connections[place].asked.contains(piece);
            Bits::among(&[has], &[&me.have]).find(|piece| is_last && !is_asked_here(piece))
        })?;
        let me = &mut self.hosts[who as usize];
        me.asked.add(piece);
        me.connections[place].asked.push(piece);
        Some(piece)
    }

    /// Whether who asked still waits for it.
    pub(super) fn is_wanted(&self, request: Request) -> bool {
        let connections = &self.hosts[request.to as usize].connections;
        connections.iter().any(|link| link.to == request.from && link.asked.contains(&request.piece))
    }

    /// A piece arrives; says whether it is new.
    pub(super) fn receive(&mut self, request: Request, now: Nanos) -> bool {
        for (host, other) in [(request.to, request.from), (request.from, request.to)] {
            let connections = &mut self.hosts[host as usize].connections;
            if let Some(link) = connections.iter_mut().find(|link| link.to == other) {
                link.moved = now;
                if host == request.to {
                    link.asked.retain(|piece| *piece != request.piece);
                }
            }
        }
        let me = &mut self.hosts[request.to as usize];
        if me.have.has(request.piece) {
            return false;
        }
        me.have.add(request.piece);
        me.missing -= 1;
        for neighbour in self.neighbours(request.to) {
            self.hosts[neighbour as usize].copies[request.piece as usize] += 1;
        }
        true
    }

    /// Takes back what a host asked of others as well; says of whom.
    pub(super) fn withdraw(&mut self, host: u32, piece: u32) -> Vec<u32> {
        let mut others = Vec::new();
        for link in &mut self.hosts[host as usize].connections {
            if link.asked.contains(&piece) {
                link.asked.retain(|asked| *asked != piece);
                others.push(link.to);
            }
        }
        others
    }
}

/// The piece of which there are fewest copies, a random one of those.
fn rarest(pieces: impl Iterator<Item = u32>, copies: &[u8], random: &mut Stream) -> Option<u32> {
    let mut best: Option<(u8, u32)> = None;
    let mut equals = 0;
    for piece in pieces {
        let count = copies[piece as usize];
        if best.is_none_or(|(least, _)| count < least) {
            (best, equals) = (Some((count, piece)), 1);
        } else if best.is_some_and(|(least, _)| count == least) {
            equals += 1;
            if random.below(equals) == 0 {
                best = Some((count, piece));
            }
        }
    }
    best.map(|(_, piece)| piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(from: u32, to: u32, piece: u32) -> Request {
        Request { blob: 0, from, to, piece }
    }

    /// Two agents and the origin, which is number 2; pieces 0 to 7.
    fn swarm() -> Swarm {
        Swarm::new(8 * PIECE - 1, 2, 0)
    }

    #[test]
    fn three_of_the_rarest_are_asked_for_on_each_connection() {
        let mut swarm = swarm();
        let mut random = Stream::new(1, "test");
        assert!(swarm.connect(0, 2, Nanos(0)) && swarm.connect(0, 1, Nanos(0)) && swarm.connect(1, 2, Nanos(0)));
        assert!(!swarm.connect(1, 0, Nanos(0)), "once");
        for piece in 0..7 {
            assert!(swarm.receive(request(2, 1, piece), Nanos(1)));
        }
        assert!(!swarm.receive(request(2, 1, 0), Nanos(1)), "it has it");
        assert_eq!(swarm.choose(0, 2, &mut random), Some(7), "only the origin has it");
        let mut asked: Vec<u32> = std::iter::from_fn(|| swarm.choose(0, 2, &mut random)).collect();
        asked.extend(std::iter::from_fn(|| swarm.choose(0, 1, &mut random)));
        assert_eq!(asked.len(), 2 + 3);
        asked.sort_unstable();
        asked.dedup();
        assert!(asked.len() == 5 && !asked.contains(&7), "{asked:?}: each once");
        assert_eq!((swarm.piece_len(0), swarm.piece_len(7)), (PIECE, PIECE - 1));
    }

    #[test]
    fn the_last_pieces_are_asked_of_several_and_taken_back() {
        let mut swarm = swarm();
        let mut random = Stream::new(1, "test");
        swarm.connect(0, 2, Nanos(0));
        swarm.connect(0, 1, Nanos(0));
        (0..8).for_each(|piece| assert!(swarm.receive(request(2, 1, piece), Nanos(0))));
        (0..7).for_each(|piece| assert!(swarm.receive(request(2, 0, piece), Nanos(0))));
        assert_eq!((swarm.choose(0, 2, &mut random), swarm.choose(0, 1, &mut random)), (Some(7), Some(7)));
        assert_eq!(swarm.choose(0, 1, &mut random), None, "once of each");
        assert!(swarm.receive(request(2, 0, 7), Nanos(0)) && swarm.is_wanted(request(1, 0, 7)));
        assert_eq!(swarm.withdraw(0, 7), [1]);
        assert!(!swarm.is_wanted(request(1, 0, 7)) && swarm.is_complete(0));
        swarm.close_complete(0);
        assert!(swarm.neighbours(0).is_empty() && swarm.neighbours(1).is_empty());
    }

    #[test]
    fn connections_are_ten_and_those_that_move_nothing_end() {
        let mut swarm = Swarm::new(8 * PIECE, 20, 0);
        let opened = (1..20).filter(|other| swarm.connect(0, *other, Nanos(0))).count();
        assert_eq!(opened, CONNECTIONS_MAX);
        swarm.receive(request(1, 0, 3), Nanos::ZERO + IDLE);
        assert!(swarm.choose(3, 0, &mut Stream::new(1, "test")).is_some(), "a request waits");
        swarm.close_idle(0, Nanos::ZERO + IDLE);
        assert_eq!(swarm.neighbours(0).to_vec(), [1, 3]);
        assert_eq!((swarm.hosts[2].copies[3], swarm.hosts[3].copies[3]), (0, 1));
    }

    #[test]
    fn the_tracker_names_others_at_random() {
        let mut swarm = Swarm::new(PIECE, 200, 0);
        (0..100).for_each(|node| assert!(swarm.announce(node)));
        let mut peers = swarm.peers_for(7, 50, &mut Stream::new(1, "test"));
        peers.sort_unstable();
        peers.dedup();
        assert!(peers.len() == 50 && !peers.contains(&7) && peers.iter().all(|peer| *peer < 100));
    }
}

//! A model of Dragonfly's policy: a central scheduler, a seed peer, parents and children.
//!
//! The first peer that registers for a blob makes the seed peer pull it from the upstream, once, piece by piece. The
//! scheduler gives each peer up to four parents, the best of fifteen drawn among those that registered before: 0.6 of a
//! parent's score is how few children it has, 0.2 the same data centre and 0.1 the same place, both of which are a zone
//! here. A peer takes pieces that its parents have, in any order, eight at once, each from the
//! parent that sends least. Blobs of up to 4 MiB and manifests go past all that: each node asks the upstream.
//!
//! Sources: dragonflyoss/client at commit ff17c0b (`dragonfly-client-config/src/dfdaemon.rs`,
//! `dragonfly-client/src/resource/{piece,parent_selector}.rs`): pieces of a five-hundredth of the blob, the next power of
//! two, 4 to 64 MiB; eight at once. dragonflyoss/dragonfly, `scheduler/config/constants.go`: 4 parents of 15 candidates, at
//! most 50 children of a peer. The project's documentation of the scheduler: the scores; the last 0.1 is for the kind of
//! host and left out, and the seed peer has room for as many children as others, not 300, for either makes most peers its
//! children, who all wait for its link, which is like a node's. What a peer's start costs (0.65 s for one byte by the project's own benchmark), failures
//! and rescheduling are left out, which is in its favour.

use shoal_core::rng::Stream;
use smallvec::SmallVec;

use super::{
    bits::Bits,
    drive::{System, blobs},
    stage::{Host, Stage},
};
use crate::scenario::Scenario;

const PIECE_MIN: u64 = 4 << 20;
const PIECE_MAX: u64 = 64 << 20;
/// Parts that a blob is cut into, roughly.
const PIECES: u64 = 500;
/// Blobs up to this size are not exchanged.
const SMALL: u64 = 4 << 20;
const PARENTS_MAX: usize = 4;
const CANDIDATES: usize = 15;
const CHILDREN_MAX: f64 = 50.0;
const PIECES_AT_ONCE: u32 = 8;

/// The scheduler and all peers.
pub(super) struct Dragonfly {
    tasks: Vec<Task>,
    /// Number of nodes; the seed peer's number among peers.
    seed: u32,
    /// Pieces that each peer sends or is about to.
    sending: Vec<u32>,
    random: Stream,
}

/// One blob.
struct Task {
    bytes: u64,
    piece_bytes: u64,
    pieces: u32,
    /// Peers that registered, the seed peer among them where it is needed.
    registered: Vec<u32>,
    peers: Vec<Peer>,
}

#[derive(Clone)]
struct Peer {
    have: Bits,
    asked: Bits,
    missing: u32,
    in_flight: u32,
    parents: SmallVec<[u32; PARENTS_MAX]>,
    children: Vec<u32>,
}

/// What happens.
pub(super) enum Event {
    /// A node has registered with the scheduler.
    Registered { node: u32, blob: u32 },
    /// A request for a piece reaches a parent.
    Asked { blob: u32, from: u32, to: u32, piece: u32 },
    /// A piece arrives; nobody sent it where it comes from the upstream.
    Piece { blob: u32, from: Option<u32>, to: u32, piece: u32 },
    /// A small blob arrives.
    Small { node: u32, blob: u32 },
}

impl Task {
    fn new(bytes: u64, nodes: u32, warm: u32) -> Self {
        let piece_bytes = (bytes / PIECES).next_power_of_two().clamp(PIECE_MIN, PIECE_MAX);
        let pieces = u32::try_from(bytes.div_ceil(piece_bytes)).unwrap_or(u32::MAX);
        let peer = |has_all: bool| Peer {
            have: if has_all { Bits::all(pieces) } else { Bits::none(pieces) },
            asked: Bits::none(pieces),
            missing: if has_all { 0 } else { pieces },
            in_flight: 0,
            parents: SmallVec::new(),
            children: Vec::new(),
        };
        let peers = (0..=nodes).map(|number| peer(number < warm)).collect();
        Self { bytes, piece_bytes, pieces, registered: (0..warm).collect(), peers }
    }

    fn piece_len(&self, piece: u32) -> u64 {
        self.piece_bytes.min(self.bytes - u64::from(piece) * self.piece_bytes)
    }

    /// A piece, any of those that a peer does not have, was not promised, and can have from a parent.
    fn next_piece(&self, peer: u32, random: &mut Stream) -> Option<u32> {
        let peer = &self.peers[peer as usize];
        let parents: SmallVec<[&Bits; PARENTS_MAX]> =
            peer.parents.iter().map(|parent| &self.peers[*parent as usize].have).collect();
        let pieces: SmallVec<[u32; 64]> = Bits::among(&parents, &[&peer.have, &peer.asked]).collect();
        pieces.get(random.below(pieces.len())).copied()
    }
}

impl Dragonfly {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let task = |bytes| Task::new(bytes, scenario.nodes, scenario.warm_nodes());
        Self {
            tasks: blobs(scenario).into_iter().map(task).collect(),
            seed: scenario.nodes,
            sending: vec![0; scenario.nodes as usize + 1],
            random: Stream::new(scenario.seed, "dragonfly"),
        }
    }

    fn host(&self, peer: u32) -> Host {
        if peer == self.seed { Host::Outside } else { Host::Node(peer) }
    }

    fn register(&mut self, stage: &mut Stage<Event>, node: u32, blob: u32) {
        if self.tasks[blob as usize].registered.is_empty() {
            self.start_seed(stage, blob);
        }
        let parents = self.choose_parents(stage, node, blob);
        let task = &mut self.tasks[blob as usize];
        for parent in &parents {
            task.peers[*parent as usize].children.push(node);
        }
        task.peers[node as usize].parents = parents;
        task.registered.push(node);
        self.ask(stage, node, blob);
    }

    /// One request, whose bytes come in order.
    fn start_seed(&mut self, stage: &mut Stage<Event>, blob: u32) {
        let task = &mut self.tasks[blob as usize];
        task.registered.push(self.seed);
        stage.upstream_requests += 1;
        for piece in 0..task.pieces {
            let came = Event::Piece { blob, from: None, to: self.seed, piece };
            stage.send((Host::Upstream, Host::Outside, blob), task.piece_len(piece), came);
        }
    }

    fn choose_parents(&mut self, stage: &Stage<Event>, node: u32, blob: u32) -> SmallVec<[u32; PARENTS_MAX]> {
        let task = &self.tasks[blob as usize];
        let mut drawn: Vec<u32> = Vec::new();
        if task.registered.len() <= CANDIDATES {
            drawn.clone_from(&task.registered);
            self.random.shuffle(&mut drawn);
        }
        while drawn.len() < CANDIDATES.min(task.registered.len()) {
            let candidate = task.registered[self.random.below(task.registered.len())];
            if !drawn.contains(&candidate) {
                drawn.push(candidate);
            }
        }
        let zone = stage.zone(Host::Node(node));
        let mut scored: Vec<(f64, u32)> = Vec::new();
        for candidate in drawn {
            let children = task.peers[candidate as usize].children.len() as f64 / CHILDREN_MAX;
            if children < 1.0 {
                let near = f64::from(stage.zone(self.host(candidate)) == zone);
                let score = 0.6 * (1.0 - children) + (0.2 + 0.1) * near;
                scored.push((score, candidate));
            }
        }
        // Stable, so that equal ones stay in the order in which they were drawn.
        scored.sort_by(|left, right| right.0.total_cmp(&left.0));
        if scored.is_empty() {
            // Full as they are, the first that registered has room in the end.
            scored.extend(task.registered.first().map(|first| (0.0, *first)));
        }
        scored.into_iter().take(PARENTS_MAX).map(|(_, parent)| parent).collect()
    }

    /// Asks for pieces while there are some to be had and few enough on their way.
    fn ask(&mut self, stage: &mut Stage<Event>, node: u32, blob: u32) {
        let task = &mut self.tasks[blob as usize];
        while task.peers[node as usize].in_flight < PIECES_AT_ONCE {
            let Some(piece) = task.next_piece(node, &mut self.random) else { return };
            let peer = &task.peers[node as usize];
            let having = peer.parents.iter().copied().filter(|parent| task.peers[*parent as usize].have.has(piece));
            let Some(from) = having.min_by_key(|parent| self.sending[*parent as usize]) else { return };
            let peer = &mut task.peers[node as usize];
            peer.asked.add(piece);
            peer.in_flight += 1;
            self.sending[from as usize] += 1;
            stage.after(stage.round_trip, Event::Asked { blob, from, to: node, piece });
        }
    }

    fn came(&mut self, stage: &mut Stage<Event>, blob: u32, from: Option<u32>, to: u32, piece: u32) {
        let peer = &mut self.tasks[blob as usize].peers[to as usize];
        peer.have.add(piece);
        peer.missing -= 1;
        let is_done = peer.missing == 0;
        let children = peer.children.clone();
        if let Some(from) = from {
            peer.in_flight -= 1;
            self.sending[from as usize] -= 1;
            self.ask(stage, to, blob);
            if is_done {
                stage.finish(to, blob);
            }
        }
        for child in children {
            self.ask(stage, child, blob);
        }
    }
}

impl System for Dragonfly {
    type Event = Event;

    const TOLERANCE: f64 = 0.01;

    fn begin(&mut self, stage: &mut Stage<Event>, _node: u32) {
        stage.upstream_requests += 1;
    }

    fn want(&mut self, stage: &mut Stage<Event>, node: u32, blob: u32) {
        let bytes = self.tasks[blob as usize].bytes;
        if bytes > SMALL {
            stage.after(stage.round_trip, Event::Registered { node, blob });
        } else {
            stage.upstream_requests += 1;
            stage.send((Host::Upstream, Host::Node(node), blob), bytes, Event::Small { node, blob });
        }
    }

    fn handle(&mut self, stage: &mut Stage<Event>, event: Event) {
        match event {
            Event::Registered { node, blob } => self.register(stage, node, blob),
            Event::Asked { blob, from, to, piece } => {
                let bytes = self.tasks[blob as usize].piece_len(piece);
                let came = Event::Piece { blob, from: Some(from), to, piece };
                stage.send((self.host(from), self.host(to), blob), bytes, came);
            }
            Event::Piece { blob, from, to, piece } => self.came(stage, blob, from, to, piece),
            Event::Small { node, blob } => stage.finish(node, blob),
        }
    }
}

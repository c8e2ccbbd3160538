//! The registry: answers about names, and runs of pieces.

use std::{collections::VecDeque, time::Duration};

use shoal_core::event::{FetchFailure, HeldLease, Input, LookupId};
use shoal_wire::{
    control::{NameOutcome, UpstreamFailure},
    digest::Digest,
    geometry::PieceIndex,
    name::{ContentKind, Descriptor, Name, Reference},
};
use smallvec::SmallVec;

use super::{
    Event, Owner, World,
    event::{BlobId, Bytes, Part},
    member::Fetch,
    transfers::whole,
};
use crate::{
    network::{FlowId, LINKS_MAX, LinkId},
    time::Nanos,
};

/// How long a node keeps the body of an upstream that ignores ranges, as in the runtime.
const PARK: Nanos = Nanos(5_000_000_000);
/// Time without a byte after which an upstream counts as failed, as in the runtime.
const STALL: Duration = Duration::from_secs(10);
/// Time that an upstream has to say what a name stands for, as in the runtime.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// The upstream's side.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) link: LinkId,
    pub(super) is_up: bool,
    /// What it does instead of serving.
    mood: UpstreamMood,
    /// Connections that it sends on.
    sending: u32,
    /// Fetches that wait for their turn.
    waiting: VecDeque<(u32, HeldLease)>,
    /// Whole bodies that nodes keep for a moment: node, blob, until when.
    parked: Vec<(u32, BlobId, Nanos)>,
    pub(super) counters: UpstreamCounters,
}

/// How an upstream that is there behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamMood {
    /// As it should.
    #[default]
    Serves,
    /// It answers everything with this failure; what it sends already it goes on sending.
    Refuses(UpstreamFailure),
    /// It takes requests, and no byte comes.
    Stalls,
    /// It sends bytes that are not those of the blob, as many as there should be.
    Lies,
    /// It ignores ranges and sends the whole.
    IgnoresRanges,
}

/// What the upstream did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamCounters {
    /// Requests for runs of blobs.
    pub blob_requests: u64,
    /// Questions about names.
    pub name_requests: u64,
    /// Most connections that it sent on at once.
    pub connections_max: u32,
}

impl Upstream {
    pub(super) fn new(link: LinkId) -> Self {
        let counters = UpstreamCounters::default();
        Self {
            link,
            is_up: true,
            mood: UpstreamMood::Serves,
            sending: 0,
            waiting: VecDeque::new(),
            parked: Vec::new(),
            counters,
        }
    }
}

impl World {
    /// A node asks what a name stands for.
    pub(super) fn ask_upstream(&mut self, node: u32, lookup: LookupId, name: &Name) {
        self.upstream.counters.name_requests += 1;
        let outcome = self.refusal_to(node).map_or_else(|| self.describe(name), NameOutcome::Failed);
        let answers = self.upstream_round_trip(node) + self.setting.upstream.answer_time;
        if self.upstream.mood == UpstreamMood::Stalls {
            let outcome = NameOutcome::Failed(UpstreamFailure::Unavailable);
            let input = Input::UpstreamSaid { lookup, outcome };
            return self.schedule.push(self.now + LOOKUP_TIMEOUT, Event::input(node, input));
        }
        let input = Input::UpstreamSaid { lookup, outcome };
        self.schedule.push(self.now + answers, Event::input(node, input));
    }

    fn describe(&self, name: &Name) -> NameOutcome {
        let blob = match &name.reference {
            Reference::Digest(digest) => self.blob_of(digest),
            // A tag stands for the blob that was added first: an image's manifest.
            Reference::Tag(_) => Some(BlobId(0)).filter(|_| name.kind == ContentKind::Manifest),
        };
        match blob.and_then(|blob| self.blobs.get(blob.0 as usize)) {
            Some(blob) => NameOutcome::Found(Descriptor {
                media_type: "application/octet-stream".into(),
                digest: blob.digest,
                size: blob.geometry.size(),
            }),
            None => NameOutcome::Failed(UpstreamFailure::NotFound),
        }
    }

    /// A request and the first byte of its answer on their way; a new connection first, the first time.
    fn upstream_round_trip(&mut self, node: u32) -> Nanos {
        let knows = std::mem::replace(&mut self.members[node as usize].knows_upstream, true);
        let connecting = if knows { Nanos::ZERO } else { self.base_round_trip() };
        connecting + self.latency(node) + self.one_way_upstream(node)
    }

    /// A node begins to fetch a run.
    pub(super) fn fetch(&mut self, node: u32, lease: HeldLease, digest: &Digest, first: PieceIndex, count: u32) {
        let Some(blob) = self.blob_of(digest) else { return };
        let (next, end) = (first.0, first.0 + count);
        let moved_at = self.now;
        let fetch = Fetch {
            lease,
            blob,
            next,
            stored: next,
            end,
            flow: None,
            cap: 0.0,
            result: None,
            moved_at,
            stored_at: moved_at,
        };
        self.members[node as usize].fetches.push(fetch);
        let is_whole = count == self.blobs[blob.0 as usize].geometry.pieces();
        if is_whole && self.take_parked(node, blob) {
            self.schedule.push(self.now, Event::FetchOpens { node, lease });
            return;
        }
        self.upstream.counters.blob_requests += 1;
        if self.upstream.mood == UpstreamMood::Stalls {
            self.schedule.push(self.now + STALL, Event::Stalled);
        }
        let opens = self.upstream_round_trip(node) + self.setting.upstream.answer_time;
        self.schedule.push(self.now + opens, Event::FetchOpens { node, lease });
    }

    fn take_parked(&mut self, node: u32, blob: BlobId) -> bool {
        let now = self.now;
        self.upstream.parked.retain(|(_, _, until)| *until > now);
        let place = self.upstream.parked.iter().position(|(holder, of, _)| *holder == node && *of == blob);
        place.map(|place| self.upstream.parked.swap_remove(place)).is_some()
    }

    /// The upstream's answer begins.
    pub(super) fn fetch_opens(&mut self, node: u32, lease: HeldLease) {
        let Some(fetch) = self.members[node as usize].fetch_mut(lease).copied() else { return };
        let is_whole = fetch.next == 0 && fetch.end == self.blobs[fetch.blob.0 as usize].geometry.pieces();
        let ranges = self.setting.upstream.ranges && self.upstream.mood != UpstreamMood::IgnoresRanges;
        if let Some(failure) = self.refusal_to(node) {
            self.end_fetch(node, lease, Err(FetchFailure::Upstream(failure)));
        } else if !ranges && !is_whole {
            self.upstream.parked.push((node, fetch.blob, self.now + PARK));
            self.end_fetch(node, lease, Err(FetchFailure::NoRanges));
        } else if self.setting.upstream.connections_max.is_some_and(|most| self.upstream.sending >= most) {
            self.upstream.waiting.push_back((node, lease));
        } else {
            self.start_fetch(node, lease);
        }
    }

    fn start_fetch(&mut self, node: u32, lease: HeldLease) {
        let path = self.path_from_upstream(node);
        let (window, _) = self.window(&path);
        let limit = self.setting.upstream.connection_bytes_per_s.unwrap_or(f64::INFINITY);
        let round_trip = self.base_round_trip();
        let Some(part) = self.members[node as usize].fetch_mut(lease).map(|fetch| fetch.part()) else { return };
        let flow = self.network.start(self.now, &path, self.bytes_of(part), window.min(limit));
        self.own(flow, Owner::Fetch { node, lease });
        if window.is_finite() {
            self.schedule.push(self.now + round_trip, Event::FetchWidened { node, lease });
        }
        if let Some(fetch) = self.members[node as usize].fetch_mut(lease) {
            (fetch.flow, fetch.cap) = (Some(flow), window);
        }
        self.upstream.sending += 1;
        let counters = &mut self.upstream.counters;
        counters.connections_max = counters.connections_max.max(self.upstream.sending);
    }

    /// A round trip has passed: twice as much may be under way.
    pub(super) fn widen_fetch(&mut self, node: u32, lease: HeldLease) {
        let (_, ceiling) = self.window(&self.path_from_upstream(node));
        let limit = self.setting.upstream.connection_bytes_per_s.unwrap_or(f64::INFINITY);
        let (now, round_trip) = (self.now, self.base_round_trip());
        let Some(fetch) = self.members[node as usize].fetch_mut(lease) else { return };
        let Some(flow) = fetch.flow else { return };
        fetch.cap = if fetch.cap * 2.0 >= ceiling { f64::INFINITY } else { fetch.cap * 2.0 };
        let cap = fetch.cap;
        self.network.set_cap(now, flow, cap.min(limit));
        if cap.is_finite() {
            self.schedule.push(now + round_trip, Event::FetchWidened { node, lease });
        }
    }

    /// Links from the upstream to a node.
    fn path_from_upstream(&self, node: u32) -> SmallVec<[LinkId; LINKS_MAX]> {
        let member = &self.members[node as usize];
        let mut path = SmallVec::from_slice(&[self.upstream.link, member.links.down]);
        path.extend(self.zones.get(member.zone as usize).map(|(_, down)| *down));
        path.extend([member.links.cpu, member.links.disk].into_iter().flatten());
        path
    }

    /// The last byte of a piece is on its way; the next one follows.
    pub(super) fn piece_sent(&mut self, flow: FlowId, node: u32, lease: HeldLease) {
        let (now, arrives) = (self.now, self.now + self.latency(node));
        let Some(fetch) = self.members[node as usize].fetch_mut(lease) else { return };
        let part = fetch.part();
        fetch.next += 1;
        fetch.moved_at = now;
        let next = (fetch.next < fetch.end).then(|| fetch.part());
        if let Some(next) = next {
            self.network.extend(self.now, flow, self.bytes_of(next));
        } else {
            fetch.flow = None;
            fetch.result = Some(Ok(()));
            self.network.stop(self.now, flow);
            self.stopped_sending();
        }
        let bytes = self.bytes_of(part);
        self.members[node as usize].counters.from_upstream_bytes += whole(bytes);
        let mut stored_at = arrives + self.verifying(bytes);
        // One after the other, as they come on one connection.
        if let Some(fetch) = self.members[node as usize].fetch_mut(lease) {
            stored_at = stored_at.max(fetch.stored_at);
            fetch.stored_at = stored_at;
        }
        self.schedule.push(stored_at, Event::Fetched { node, lease, part });
    }

    /// A connection is free for who waits.
    fn stopped_sending(&mut self) {
        self.upstream.sending -= 1;
        while let Some((node, lease)) = self.upstream.waiting.pop_front() {
            if self.members[node as usize].is_up && self.members[node as usize].fetch_mut(lease).is_some() {
                return self.start_fetch(node, lease);
            }
        }
    }

    /// A piece from the upstream is stored.
    pub(super) fn fetched(&mut self, node: u32, lease: HeldLease, part: Part) {
        let Some(fetch) = self.members[node as usize].fetch_mut(lease) else { return };
        fetch.stored = part.piece.0 + 1;
        if self.members[node as usize].is_disk_full {
            self.count_write_failure(node, part.blob);
            return self.end_fetch(node, lease, Err(FetchFailure::Upstream(UpstreamFailure::Unavailable)));
        }
        let bytes = if self.upstream.mood == UpstreamMood::Lies { Bytes::Wrong } else { Bytes::Right };
        self.store(node, part, bytes);
        let digest = self.blobs[part.blob.0 as usize].digest;
        self.input(node, Input::LeasePiece { lease, digest, piece: part.piece });
        self.conclude_fetch(node, lease);
    }

    /// Tells the node that a fetch is over, once everything that came is stored.
    fn conclude_fetch(&mut self, node: u32, lease: HeldLease) {
        let fetches = &mut self.members[node as usize].fetches;
        let is_over = |fetch: &Fetch| fetch.lease == lease && fetch.result.is_some() && fetch.stored >= fetch.next;
        let Some(place) = fetches.iter().position(is_over) else { return };
        let fetch = fetches.swap_remove(place);
        let (digest, result) = (self.blobs[fetch.blob.0 as usize].digest, fetch.result.unwrap_or(Ok(())));
        self.schedule.push(self.now, Event::input(node, Input::LeaseEnded { lease, digest, result }));
    }

    /// Nothing more comes for a lease.
    fn end_fetch(&mut self, node: u32, lease: HeldLease, result: Result<(), FetchFailure>) {
        let Some(fetch) = self.members[node as usize].fetch_mut(lease) else { return };
        fetch.result = Some(result);
        let (flow, part) = (fetch.flow.take(), fetch.part());
        if let Some(flow) = flow {
            let came = whole(self.bytes_of(part) - self.network.stop(self.now, flow));
            let counters = &mut self.members[node as usize].counters;
            counters.from_upstream_bytes += came;
            counters.duplicate_bytes += came;
            self.stopped_sending();
        }
        self.conclude_fetch(node, lease);
    }

    /// A node is to fetch nothing at or past `end`.
    pub(super) fn cut(&mut self, node: u32, lease: HeldLease, end: PieceIndex) {
        let Some(fetch) = self.members[node as usize].fetch_mut(lease) else { return };
        fetch.end = fetch.end.min(end.0);
        if fetch.end <= fetch.next && fetch.result.is_none() {
            self.end_fetch(node, lease, Ok(()));
        }
    }

    /// The upstream ends: its connections break, and new ones are refused.
    pub fn kill_upstream(&mut self) {
        self.upstream.is_up = false;
        self.upstream.waiting.clear();
        for node in 0..self.nodes() {
            let open: SmallVec<[HeldLease; 8]> = self.members[node as usize]
                .fetches
                .iter()
                .filter(|fetch| fetch.result.is_none())
                .map(|fetch| fetch.lease)
                .collect();
            for lease in open {
                self.end_fetch(node, lease, Err(FetchFailure::Upstream(UpstreamFailure::Unavailable)));
            }
        }
    }

    /// The upstream is there again.
    pub fn revive_upstream(&mut self) {
        self.upstream.is_up = true;
    }

    /// The upstream behaves in this way from now on.
    pub fn set_upstream_mood(&mut self, mood: UpstreamMood) {
        self.upstream.mood = mood;
        let stalls = mood == UpstreamMood::Stalls;
        let rate = if stalls { 0.0 } else { self.setting.upstream.bytes_per_s * self.setting.paths.goodput };
        self.network.set_rate(self.now, self.upstream.link, rate);
        if stalls {
            self.schedule.push(self.now + STALL, Event::Stalled);
        }
    }

    /// The upstream answers one node with this failure from now on, and as any other where it is none.
    pub fn deny(&mut self, node: u32, failure: Option<UpstreamFailure>) {
        self.members[node as usize].denied = failure;
    }

    /// Why the upstream does not give a node what it asks for.
    fn refusal_to(&self, node: u32) -> Option<UpstreamFailure> {
        let denied = self.members[node as usize].denied;
        match self.upstream.mood {
            _ if !self.upstream.is_up => Some(UpstreamFailure::Unavailable),
            UpstreamMood::Refuses(failure) => Some(failure),
            _ => denied,
        }
    }

    /// Ends the fetches that no byte came for since the runtime's patience began.
    pub(super) fn give_up_stalled_fetches(&mut self) {
        if self.upstream.mood != UpstreamMood::Stalls {
            return;
        }
        for node in 0..self.nodes() {
            let stalled = |fetch: &&Fetch| fetch.result.is_none() && self.now - fetch.moved_at >= Nanos::from(STALL);
            let fetches = self.members[node as usize].fetches.iter().filter(stalled);
            let leases: SmallVec<[HeldLease; 8]> = fetches.map(|fetch| fetch.lease).collect();
            for lease in leases {
                self.end_fetch(node, lease, Err(FetchFailure::Upstream(UpstreamFailure::Unavailable)));
            }
        }
    }

    /// Ends the fetches of a node that is gone.
    pub(super) fn drop_fetches(&mut self, node: u32) {
        let fetches = std::mem::take(&mut self.members[node as usize].fetches);
        for flow in fetches.into_iter().filter_map(|fetch| fetch.flow) {
            self.network.stop(self.now, flow);
            self.stopped_sending();
        }
    }
}

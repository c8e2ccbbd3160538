//! The swarm: getting the pieces of wanted blobs from peers and the upstream, and serving what is here.
//!
//! Bounds: blobs by what the driver wants and holds, neighbours by [`SwarmConfig::neighbours_max`], requests by
//! [`SwarmConfig::requests_limit`], uploads by [`SwarmConfig::uploads_limit`] and backlog.

mod announcements;
mod announcer;
mod blob;
mod choice;
mod crossing;
mod following;
mod holding;
mod lease_work;
mod neighbour;
pub(crate) mod neighbours;
mod peer;
mod requests;
mod transfers;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};

use shoal_wire::{
    control::{ControlMessage, UpstreamFailure},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::MemberId,
    piece_map::PieceMap,
    transfer::Urgency,
};

use self::{
    announcer::Announcer,
    blob::{Blob, Stage},
    holding::Holding,
    peer::Peers,
    transfers::Transfers,
    uploads::{UploadRequest, Uploads},
};
use crate::{
    census::Census,
    config::SwarmConfig,
    directory::{members::AliveMembers, rendezvous::Key},
    event::{Output, Refusal, UploadId},
    outbox::Outbox,
    rng::Stream,
    time::Time,
    timers::Timers,
};

/// How often a blob is started again when its whole turns out wrong, before it fails.
const CORRUPT_MAX: u32 = 2;

/// Blobs whose whole was wrong once that are remembered.
const TAINTED_MAX: usize = 256;

/// Pieces up to which a blob counts as young at a node.
const YOUNG_PIECES: u32 = 2;

/// What the swarm acts with at one moment: the time, where outputs go, and who is alive.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: Time,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) members: AliveMembers<'a>,
}

/// All blobs of this node, and what they share.
#[derive(Debug)]
pub(crate) struct Swarm {
    config: SwarmConfig,
    random: Stream,
    blobs: BTreeMap<Digest, Blob>,
    peers: Peers,
    transfers: Transfers,
    uploads: Uploads,
    holding: Holding,
    /// Blobs whose whole was wrong here, and has not been right since.
    tainted: BTreeSet<Digest>,
    timers: Timers<Timer>,
    /// When to look for stalled transfers, and for requests to make. It moves with nearly every input, so it is not
    /// among the timers.
    requests_at: Option<Time>,
    /// Whether a request was late at the last look and could not be made of a second peer: any change may bring one.
    is_request_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Announce a blob to its homes.
    Announce(Digest),
    /// Tell neighbours of new pieces.
    Tell(Digest),
    /// Tell the home that the leases of a blob are alive.
    KeepLeases(Digest),
}

impl Swarm {
    pub(crate) fn new(config: SwarmConfig, seed: u64) -> Self {
        Self {
            uploads: Uploads::new(config.upload_slots),
            config,
            random: Stream::new(seed, "swarm"),
            blobs: BTreeMap::new(),
            peers: Peers::default(),
            transfers: Transfers::default(),
            holding: Holding::default(),
            tainted: BTreeSet::new(),
            timers: Timers::default(),
            requests_at: None,
            is_request_late: false,
        }
    }

    /// Adds what this node keeps as a member of swarms.
    pub(crate) fn count(&self, census: &mut Census) {
        census.blobs = self.blobs.len();
        census.neighbours = self.blobs.values().map(|blob| blob.neighbours.len()).max().unwrap_or(0);
        census.peers = self.peers.len();
        census.requests = self.transfers.len();
        census.leases_held = self.holding.len();
        self.uploads.count(census);
    }

    /// A reader wants a blob of which `have` is stored.
    pub(crate) fn want(
        &mut self,
        around: &mut Surroundings<'_>,
        digest: Digest,
        size: u64,
        have: PieceMap,
        can_lease: bool,
    ) {
        let Ok(geometry) = Geometry::of(size) else {
            let failure = UpstreamFailure::WrongContent;
            return around.outbox.push(Output::BlobFailed { digest, failure });
        };
        if let Some(blob) = self.blobs.get_mut(&digest) {
            blob.can_lease |= can_lease;
            return;
        }
        self.add(around, digest, geometry, have, can_lease);
    }

    /// The store holds a verified blob.
    pub(crate) fn hold(&mut self, around: &mut Surroundings<'_>, digest: Digest, size: u64) {
        let Ok(geometry) = Geometry::of(size) else { return };
        if self.blobs.contains_key(&digest) {
            return self.verified(around, &digest);
        }
        self.add(around, digest, geometry, PieceMap::full(geometry.pieces()), false);
        if let Some(blob) = self.blobs.get_mut(&digest) {
            blob.stage = Stage::Held;
        }
    }

    fn add(
        &mut self,
        around: &mut Surroundings<'_>,
        digest: Digest,
        geometry: Geometry,
        have: PieceMap,
        can_lease: bool,
    ) {
        let homes = around.members.homes(Key::of_digest(&digest));
        let announcer = Announcer::new(around.outbox.own(), homes, &self.config);
        let mut blob = Blob::new(around.now, digest, geometry, have, can_lease, announcer);
        blob.is_careful = self.tainted.contains(&digest);
        self.blobs.insert(digest, blob);
        self.timers.set(Timer::Announce(digest), around.now);
    }

    /// No reader wants the blob any more, or the store dropped it.
    pub(crate) fn drop_blob(&mut self, around: &mut Surroundings<'_>, digest: &Digest) {
        let Some(blob) = self.blobs.remove(digest) else { return };
        for home in blob.announcer.homes() {
            around.outbox.send(home, ControlMessage::Withdraw { digest: *digest });
        }
        for &neighbour in blob.neighbours.keys() {
            around.outbox.send(neighbour, ControlMessage::Part { digest: *digest });
        }
        self.uploads.refuse_all_of(around.outbox, digest);
        self.holding.abandon(around.outbox, digest);
        for transfer in self.transfers.matching(|transfer| transfer.digest == *digest) {
            self.cancel(around, transfer);
        }
        self.timers.cancel(Timer::Announce(*digest));
        self.timers.cancel(Timer::Tell(*digest));
        self.timers.cancel(Timer::KeepLeases(*digest));
        self.make_requests(around);
    }

    /// A reader waits for these pieces.
    pub(crate) fn demand(&mut self, around: &mut Surroundings<'_>, digest: &Digest, pieces: Vec<PieceIndex>) {
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.demand = pieces;
            self.make_requests(around);
        }
    }

    /// How far the readers of a blob are.
    pub(crate) fn readers_at(&mut self, around: &mut Surroundings<'_>, digest: &Digest, piece: Option<PieceIndex>) {
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.readers_at = piece;
            if !blob.is_wanted_elsewhere() {
                self.make_requests(around);
            }
        }
    }

    /// The whole blob has its digest.
    pub(crate) fn verified(&mut self, around: &mut Surroundings<'_>, digest: &Digest) {
        self.tainted.remove(digest);
        // The store may have a piece that arrived after its transfer was given up.
        for transfer in self.transfers.matching(|transfer| transfer.digest == *digest) {
            self.cancel(around, transfer);
        }
        self.holding.abandon(around.outbox, digest);
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        blob.complete();
        self.tell_neighbours(around, digest);
        if let Some(blob) = self.blobs.get_mut(digest) {
            // A holder has no news for anybody; who wants its pieces greets it.
            blob.neighbours.clear();
            blob.announcer.tell_all();
            self.timers.set(Timer::Announce(*digest), around.now);
        }
    }

    /// The whole blob does not have its digest: its pieces are gone from the store, and are fetched again.
    pub(crate) fn corrupt(&mut self, around: &mut Surroundings<'_>, digest: &Digest) {
        for transfer in self.transfers.matching(|transfer| transfer.digest == *digest) {
            self.cancel(around, transfer);
        }
        self.uploads.refuse_all_of(around.outbox, digest);
        self.holding.abandon(around.outbox, digest);
        self.taint(digest);
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        blob.start_again();
        blob.is_careful = true;
        if blob.corrupted > CORRUPT_MAX {
            return self.fail(around, digest, UpstreamFailure::WrongContent);
        }
        blob.announcer.tell_all();
        let hello = blob.hello(false, self.uploads.load());
        for &neighbour in blob.neighbours.keys() {
            around.outbox.send(neighbour, hello.clone());
        }
        self.timers.set(Timer::Announce(*digest), around.now);
    }

    /// Remembers that the whole of a blob was wrong. Whoever is not done with it may have the wrong pieces as well.
    fn taint(&mut self, digest: &Digest) {
        self.tainted.insert(*digest);
        if self.tainted.len() > TAINTED_MAX {
            self.tainted.pop_first();
        }
    }

    /// The coordinating home says that nobody can get the blob.
    pub(crate) fn swarm_failed(
        &mut self,
        around: &mut Surroundings<'_>,
        from: MemberId,
        digest: &Digest,
        failure: UpstreamFailure,
    ) {
        let is_believed =
            self.blobs.get(digest).is_some_and(|blob| blob.is_wanted() && blob.announcer.acting() == from);
        if is_believed {
            self.fail(around, digest, failure);
        }
    }

    fn fail(&mut self, around: &mut Surroundings<'_>, digest: &Digest, failure: UpstreamFailure) {
        self.drop_blob(around, digest);
        around.outbox.push(Output::BlobFailed { digest: *digest, failure });
    }

    /// A peer asks for a piece.
    pub(crate) fn piece_requested(
        &mut self,
        around: &mut Surroundings<'_>,
        upload: UploadId,
        from: MemberId,
        (digest, piece): (&Digest, PieceIndex),
        urgency: Urgency,
        held: u32,
    ) {
        if let Some(blob) = self.blobs.get(digest).filter(|blob| blob.have.has(piece)) {
            let is_young = is_young(blob);
            let is_plenty = !blob.is_wanted() || self.has_plenty(blob);
            let usual = if is_plenty { self.config.upload_slots_plenty } else { self.config.upload_slots };
            self.uploads.set_slots(self.transfers.uploads_for(usual));
            let request = UploadRequest { upload, from, digest: *digest, urgency, is_young, held };
            self.uploads.request(&self.config, around.outbox, request);
        } else {
            around.outbox.push(Output::Refuse { upload, refusal: Refusal::NotHeld });
        }
    }

    /// An upload is over.
    pub(crate) fn upload_ended(&mut self, around: &mut Surroundings<'_>, upload: UploadId) {
        self.uploads.ended(&self.config, around.outbox, upload);
    }

    /// A member became alive: it may be a home now.
    pub(crate) fn member_up(&mut self, around: &mut Surroundings<'_>, member: MemberId) {
        self.peers.note_new_life(member, around.now);
        for (digest, blob) in &mut self.blobs {
            if blob.announcer.offer(member) {
                self.timers.set(Timer::Announce(*digest), around.now);
            }
        }
    }

    /// A member died or left: it serves nothing, and is no home.
    pub(crate) fn member_gone(&mut self, around: &mut Surroundings<'_>, member: MemberId) {
        for (digest, blob) in &mut self.blobs {
            blob.remove_neighbour(member);
            if blob.announcer.is_home(member) && blob.announcer.set_homes(around.members.homes(Key::of_digest(digest)))
            {
                self.timers.set(Timer::Announce(*digest), around.now);
            }
        }
        self.uploads.forget(member);
        self.lose_transfers_from(around, member);
        self.peers.remove(member);
        self.make_requests(around);
    }

    /// Acts on what is due.
    pub(crate) fn handle_timeout(&mut self, around: &mut Surroundings<'_>) {
        loop {
            let requests_at = self.requests_at.filter(|at| *at <= around.now);
            let is_first = requests_at.is_some_and(|at| self.timers.next().is_none_or(|next| at < next));
            if is_first {
                self.requests_at = None;
                self.give_up_stalled(around);
                self.make_requests(around);
                continue;
            }
            match self.timers.pop(around.now) {
                Some(Timer::Announce(digest)) => self.announce(around, &digest),
                Some(Timer::Tell(digest)) => self.tell_neighbours(around, &digest),
                Some(Timer::KeepLeases(digest)) => self.keep_leases(around, &digest),
                None => return,
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.timers.next().into_iter().chain(self.requests_at).min()
    }
}

/// Whether this node has only the first pieces of a blob, which nearly everybody lacks.
fn is_young(blob: &Blob) -> bool {
    blob.is_wanted() && blob.have.count() <= YOUNG_PIECES
}

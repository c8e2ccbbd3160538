//! Requests for pieces: making them, taking their results, giving up the stalled, repeating the slow.

use shoal_wire::{digest::Digest, geometry::PieceIndex, ids::MemberId, transfer::Urgency};
use smallvec::SmallVec;

use super::{
    Surroundings, Swarm, Timer,
    blob::{Blob, News, Standing},
    choice::{Choice, Chooser},
    is_young,
    transfers::Transfer,
};
use crate::{
    event::{Output, TransferFailure, TransferId},
    time::Time,
};

/// A request is repeated elsewhere at this many times of what it should take: soon where nothing else is left to ask for
/// or a reader waits for it, late otherwise.
const HEDGE_LAST: u32 = 2;
const HEDGE_PREFIX: u32 = 3;
const HEDGE_ANY: u32 = 5;

/// Requests that a node may always make, whatever it fetches from the upstream.
const REQUESTS_MIN: usize = 2;

/// The same of one on a slow link.
const REQUESTS_SLOW_MIN: usize = 3;

/// One that gets less than this share of what its fastest neighbour gets is slow.
const SLOW_SHARE: f64 = 1.0 / 3.0;

/// A node came late to a swarm if a member had so many pieces when it was heard of first.
const LATE_PIECES: u32 = 16;

/// Where a request stands among those of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A reader waits for it.
    First,
    /// Beside the others.
    Usual,
    /// Behind the piece that is being sent.
    Behind,
}

impl Swarm {
    /// Asks for pieces while there are free requests and pieces to be had.
    pub(super) fn make_requests(&mut self, around: &mut Surroundings<'_>) {
        while self.has_room() {
            let Some((digest, choice)) = self.choose(around.now) else { break };
            let place = if choice.is_demanded { Place::First } else { Place::Usual };
            self.request(around, &digest, choice.piece, choice.from, place);
        }
        self.follow_on(around);
        self.repeat_slow(around);
        self.plan_requests(around.now);
    }

    /// Whether news let this node make a request: the last look found nothing else that could be had.
    pub(super) fn may_request_news(&self, now: Time, news: News) -> bool {
        let is_due = self.requests_at.is_some_and(|at| at <= now);
        is_due || self.is_request_late && news.are_on_their_way || news.are_open && self.is_idle()
    }

    /// Whether there is room for a request.
    fn has_room(&self) -> bool {
        self.transfers.leading() < self.requests_max()
    }

    /// Whether there is, and a blob that is not held back.
    fn is_idle(&self) -> bool {
        let waits = |blob: &Blob| self.is_beginning(blob) || blob.waits_for_readers(self.config.reader_ahead_bytes);
        self.has_room() && self.blobs.values().any(|blob| blob.is_wanted() && !waits(blob))
    }

    /// Requests at once. What this node fetches from the upstream takes their place: it comes in over the same link, and
    /// would get less of it the more peers send at the same time, while the upstream idles. It takes more where the swarm
    /// waits for the upstream: this node has, or fetches, nearly all that its neighbours have.
    fn requests_max(&self) -> usize {
        let wanted = || self.blobs.values().filter(|blob| blob.is_wanted());
        let is_plenty = wanted().any(|blob| self.has_plenty(blob));
        let within = self.requests_of_slow();
        if self.holding.len() > 0 {
            let most = self.transfers.requests_for(self.config.requests_max).min(within);
            let each = if is_plenty { 1 } else { self.config.lease_requests };
            return most.saturating_sub(self.holding.len() * each / wanted().count().max(1)).max(REQUESTS_MIN);
        }
        let usual = if is_plenty { self.config.requests_plenty } else { self.config.requests_max };
        let behind = if wanted().any(|blob| blob.standing.is_behind) { self.config.requests_behind } else { 0 };
        (self.transfers.requests_for(usual).max(REQUESTS_MIN) + behind).min(within)
    }

    /// Requests at once of a node on a slow link. More would not come sooner: they would keep slots of others that have faster
    /// peers to serve, and what a reader waits for would get a small share of the link.
    fn requests_of_slow(&self) -> usize {
        if self.blobs.values().any(|blob| blob.is_wanted() && blob.standing.is_slow) {
            self.transfers.requests_within(self.config.requests_slow_time).max(REQUESTS_SLOW_MIN)
        } else {
            usize::MAX
        }
    }

    /// Whether neighbours have more of the blob than a node that waits for the upstream would find with them.
    pub(super) fn has_plenty(&self, blob: &Blob) -> bool {
        blob.has_more_open_than(self.config.plenty_pieces)
    }

    /// The next request over all blobs: what readers wait for, then the blob with the fewest pieces on their way.
    fn choose(&mut self, now: Time) -> Option<(Digest, Choice)> {
        let mut order: SmallVec<[_; 8]> = self
            .blobs
            .values()
            .filter(|blob| blob.is_wanted())
            .map(|blob| (blob.demand.is_empty(), blob.requested.count(), blob.digest))
            .collect();
        order.sort_unstable();
        for (_, _, digest) in order {
            let Some(blob) = self.blobs.get(&digest).filter(|blob| blob.lacks_what_neighbours_have()) else { continue };
            // What readers wait for comes on top.
            let is_full = self.is_beginning(blob);
            if is_full && blob.demand.is_empty() && blob.cursor() > 0 {
                continue;
            }
            let may_cross = blob.crossing.is_exclusive() && self.crossings(blob) < self.config.requests_far_max;
            let mut chooser = Chooser::new(now, blob, &self.config, &self.transfers, &self.peers, &mut self.random);
            let choice = chooser.choose(blob, may_cross);
            if let Some(choice) = choice.filter(|choice| !is_full || choice.is_demanded || choice.piece.0 == 0) {
                return Some((digest, choice));
            }
        }
        None
    }

    /// Whether enough of a blob is on its way for how few of its pieces have come. Who comes late to a swarm is not held back:
    /// there is much for it to get, and others wait for what it brings in.
    fn is_beginning(&self, blob: &Blob) -> bool {
        let requests = blob.requested.count() as usize;
        requests >= blob.requests_young(self.config.requests_young) && !blob.came_late(LATE_PIECES)
    }

    /// Requests to other zones.
    fn crossings(&self, blob: &Blob) -> usize {
        let is_far = |id| blob.neighbours.get(id).is_some_and(|neighbour| !neighbour.is_near);
        let of_blob = self.transfers.iter().filter(|(_, transfer)| transfer.digest == blob.digest);
        of_blob.filter(|(_, transfer)| is_far(&transfer.from)).count()
    }

    pub(super) fn request(
        &mut self,
        around: &mut Surroundings<'_>,
        digest: &Digest,
        piece: PieceIndex,
        from: MemberId,
        place: Place,
    ) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        blob.requested.insert(piece);
        let held = blob.have.count();
        self.peers.get_mut(from).in_flight += 1;
        let transfer = self.transfers.start(Transfer {
            digest: *digest,
            piece,
            from,
            bytes: blob.geometry.len(piece),
            started_at: around.now,
            progressed_at: around.now,
            follows: place == Place::Behind,
        });
        let urgency = if place == Place::First { Urgency::OnDemand } else { Urgency::Bulk };
        around.outbox.push(Output::RequestPiece { transfer, from, digest: *digest, piece, urgency, held });
    }

    /// A piece arrived from a peer and is stored.
    pub(crate) fn piece_stored(&mut self, around: &mut Surroundings<'_>, id: TransferId) {
        let Some(transfer) = self.close(id, around.now) else { return };
        let elapsed = around.now.since(transfer.started_at);
        self.transfers.measure(transfer.bytes, elapsed);
        self.peers.get_mut(transfer.from).note_delivery(transfer.bytes, elapsed);
        for loser in self.transfers.of_piece(&transfer.digest, transfer.piece) {
            if let Some(lost) = self.cancel(around, loser) {
                self.peers.get_mut(lost.from).note_overtaken(lost.bytes, around.now.since(lost.started_at));
            }
        }
        self.stored(around, &transfer.digest, transfer.piece);
        self.make_requests(around);
    }

    /// A piece is stored, wherever it came from.
    pub(super) fn stored(&mut self, around: &mut Surroundings<'_>, digest: &Digest, piece: PieceIndex) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        let was_young = is_young(blob);
        if !blob.geometry.contains(piece) || !blob.store(piece) {
            return;
        }
        self.transfers.note_arrival(around.now);
        if was_young && !is_young(blob) {
            self.uploads.mature(&self.config, around.outbox, digest);
        }
        blob.progressed_at = around.now;
        blob.demand.retain(|&demanded| demanded != piece);
        let is_behind = blob.lags(self.config.behind_pieces);
        blob.standing = Standing { is_behind, is_slow: blob.is_slower(around.now, SLOW_SHARE) };
        let is_last = !blob.is_wanted();
        if is_last {
            self.timers.set(Timer::Announce(*digest), around.now);
        }
        self.plan_telling(around.now, digest);
        for transfer in self.transfers.of_piece(digest, piece) {
            self.cancel(around, transfer);
        }
    }

    /// Bytes of a piece arrive.
    pub(crate) fn piece_progress(&mut self, now: Time, id: TransferId) {
        if let Some(transfer) = self.transfers.get_mut(id) {
            transfer.progressed_at = now;
            self.peers.note_progress(transfer.from);
        }
    }

    /// A piece did not arrive.
    pub(crate) fn piece_failed(&mut self, around: &mut Surroundings<'_>, id: TransferId, failure: TransferFailure) {
        let Some(transfer) = self.close(id, around.now) else { return };
        if let TransferFailure::Busy(_) = failure {
            self.transfers.note_refusal(around.now.since(transfer.started_at));
        }
        let patience = self.transfers.expected(transfer.bytes).unwrap_or(self.config.busy_retry_max);
        let patience = patience.clamp(self.config.busy_retry_min, self.config.busy_retry_max);
        let mut peer = self.peers.get_mut(transfer.from);
        match failure {
            TransferFailure::Busy(load) => peer.note_busy(around.now + patience, load),
            TransferFailure::Unreachable => peer.rest(around.now, &self.config),
            TransferFailure::Corrupt => peer.distrust(around.now, &self.config),
            TransferFailure::NotHeld => {
                if let Some(blob) = self.blobs.get_mut(&transfer.digest) {
                    blob.neighbour_lacks(transfer.from, transfer.piece);
                }
            }
            TransferFailure::Store => {}
        }
        drop(peer);
        self.make_requests(around);
    }

    /// Gives up transfers without a byte for too long; their peers rest.
    pub(super) fn give_up_stalled(&mut self, around: &mut Surroundings<'_>) {
        let stalled: SmallVec<[_; 8]> = self
            .transfers
            .iter()
            .filter(|(_, transfer)| self.transfers.stalls_at(transfer, &self.config).is_some_and(|at| at <= around.now))
            .map(|(id, transfer)| (id, transfer.from))
            .collect();
        for (id, from) in stalled {
            // What waits behind it would not come either.
            for follower in self.transfers.matching(|transfer| transfer.from == from && transfer.follows) {
                self.cancel(around, follower);
            }
            self.cancel(around, id);
            self.peers.get_mut(from).stall(around.now, &self.config);
        }
    }

    /// Ends all transfers from a member that is not there.
    pub(super) fn lose_transfers_from(&mut self, around: &mut Surroundings<'_>, member: MemberId) {
        for id in self.transfers.matching(|transfer| transfer.from == member) {
            self.cancel(around, id);
        }
    }

    /// Asks a second peer for pieces that the first is slow to deliver: where nothing else is left to ask for, where a
    /// reader waits, or where the first is far behind. (Endgame, BEP 3; the tail at scale, Dean and Barroso 2013.)
    fn repeat_slow(&mut self, around: &mut Surroundings<'_>) {
        let idle = self.is_idle();
        let late: SmallVec<[_; 8]> = self
            .transfers
            .iter()
            .filter(|(_, transfer)| self.hedges_at(transfer, idle).is_some_and(|at| at <= around.now))
            .filter(|(_, transfer)| !self.transfers.is_repeated(transfer))
            .map(|(_, transfer)| *transfer)
            .collect();
        for transfer in late {
            if self.transfers.leading() > self.requests_max() {
                return;
            }
            self.repeat(around, &transfer);
        }
    }

    fn repeat(&mut self, around: &mut Surroundings<'_>, slow: &Transfer) {
        let Some(blob) = self.blobs.get(&slow.digest) else { return };
        let mut chooser = Chooser::new(around.now, blob, &self.config, &self.transfers, &self.peers, &mut self.random);
        let Some(from) = chooser.another_source(blob, slow.piece, slow.from) else { return };
        if let Some(blob) = self.blobs.get_mut(&slow.digest) {
            blob.hedged += 1;
        }
        self.request(around, &slow.digest, slow.piece, from, Place::Usual);
    }

    /// When a transfer may be repeated elsewhere, unless it already is; `None` where the blob's share of repeats is spent.
    fn hedges_at(&self, transfer: &Transfer, idle: bool) -> Option<Time> {
        // Transfers of blobs that are gone are cancelled, so where there is one blob it is that one.
        let blob = match self.blobs.len() {
            1 => self.blobs.values().next(),
            _ => self.blobs.get(&transfer.digest),
        }?;
        let share = (blob.geometry.pieces() / 50).max(4);
        if blob.hedged >= share || transfer.follows {
            return None;
        }
        let factor = if idle {
            HEDGE_LAST
        } else if transfer.piece.0 == blob.cursor() {
            HEDGE_PREFIX
        } else {
            HEDGE_ANY
        };
        self.transfers.hedges_at(transfer, factor, &self.config)
    }

    /// Plans the next look: when a transfer stalls or is late, or when a peer that is left alone may be asked again.
    fn plan_requests(&mut self, now: Time) {
        let idle = self.is_idle();
        let stalls = self.transfers.iter().filter_map(|(_, transfer)| self.transfers.stalls_at(transfer, &self.config));
        let stalls = stalls.min();
        let (mut hedges, mut is_request_late) = (None, false);
        for (_, transfer) in self.transfers.iter() {
            let Some(at) = self.hedges_at(transfer, idle) else { continue };
            // Whether it is repeated is the dearest question, so it is asked last.
            let matters =
                if at <= now { !is_request_late } else { stalls.into_iter().chain(hedges).all(|next| at < next) };
            if !matters || self.transfers.is_repeated(transfer) {
                continue;
            }
            if at <= now {
                is_request_late = true;
            } else {
                hedges = Some(at);
            }
        }
        // One that is late already found no second source; it is looked at again when something changes.
        self.is_request_late = is_request_late;
        let wants = idle && self.blobs.values().any(Blob::is_wanted);
        let returns = if wants { self.peers.next_return(now) } else { None };
        // A gateway's time is up at some moment: looked at again a few times within it.
        let is_waiting = |blob: &Blob| blob.is_wanted() && blob.crossing.is_exclusive();
        let waiting = self.blobs.values().filter(|blob| wants && is_waiting(blob));
        let takeover = waiting.map(|blob| now + self.transfers.gateway_patience(blob.geometry, &self.config) / 4).min();
        let first = stalls.into_iter().chain(hedges).chain(returns).chain(takeover).min();
        self.requests_at = self.next_to_follow(now, first);
    }

    /// Gives up a transfer whose result is of no use.
    pub(super) fn cancel(&mut self, around: &mut Surroundings<'_>, id: TransferId) -> Option<Transfer> {
        let transfer = self.close(id, around.now)?;
        around.outbox.push(Output::CancelTransfer { transfer: id });
        Some(transfer)
    }

    /// Takes a transfer off the books.
    fn close(&mut self, id: TransferId, now: Time) -> Option<Transfer> {
        let transfer = self.transfers.remove(id)?;
        let mut peer = self.peers.get_mut(transfer.from);
        peer.in_flight = peer.in_flight.saturating_sub(1);
        drop(peer);
        self.transfers.let_follow(transfer.from, now);
        let is_repeated = !self.transfers.of_piece(&transfer.digest, transfer.piece).is_empty();
        if !is_repeated && let Some(blob) = self.blobs.get_mut(&transfer.digest) {
            blob.requested.remove(transfer.piece);
        }
        Some(transfer)
    }
}

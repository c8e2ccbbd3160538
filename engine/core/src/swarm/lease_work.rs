//! The holder's side of leases.

use shoal_wire::{
    control::{ControlMessage, LeaseEnd},
    digest::Digest,
    geometry::PieceIndex,
    ids::{LeaseId, MemberId},
};

use super::{
    Surroundings, Swarm, Timer,
    blob::Blob,
    holding::{Held, held_lease},
};
use crate::event::{FetchFailure, HeldLease, Output};

impl Swarm {
    /// A home gives a lease.
    pub(crate) fn lease_given(
        &mut self,
        around: &mut Surroundings<'_>,
        home: MemberId,
        digest: Digest,
        lease: LeaseId,
        first: PieceIndex,
        count: u32,
    ) {
        let refuse = |around: &mut Surroundings<'_>, end| {
            around.outbox.send(home, ControlMessage::LeaseReturned { digest, lease, next: first, end });
        };
        let Some(blob) = self.blobs.get_mut(&digest).filter(|blob| blob.is_wanted() && blob.can_lease) else {
            return refuse(around, LeaseEnd::Abandoned);
        };
        let pieces = blob.geometry.pieces();
        let Some(end) = first.0.checked_add(count).filter(|&end| count > 0 && end <= pieces) else {
            return refuse(around, LeaseEnd::Abandoned);
        };
        // A lease of everything may continue a body that an upstream without ranges has begun to send.
        let next = if count == pieces { first.0 } else { first_not_stored(blob, first.0, end) };
        if next == end {
            let message = ControlMessage::LeaseReturned { digest, lease, next: PieceIndex(end), end: LeaseEnd::Done };
            return around.outbox.send(home, message);
        }
        if !self.holding.start(around.outbox, held_lease(home, lease), Held { digest, next, end }) {
            return refuse(around, LeaseEnd::Abandoned);
        }
        self.timers.set_earlier(Timer::KeepLeases(digest), around.now + self.config.lease_keepalive);
        for piece in (next..end).map(PieceIndex) {
            if !blob.have.has(piece) && !blob.requested.has(piece) {
                blob.leased.insert(piece);
            }
        }
    }

    /// Tells the homes how far the leases of a blob are, though that may be no further than before.
    pub(super) fn keep_leases(&mut self, around: &mut Surroundings<'_>, digest: &Digest) {
        let mut is_at_work = false;
        for (lease, held) in self.holding.of_blob(digest) {
            is_at_work = true;
            around.outbox.send(lease.home, progress(digest, lease, &held));
        }
        if is_at_work {
            self.timers.set(Timer::KeepLeases(*digest), around.now + self.config.lease_keepalive);
        }
    }

    /// A home takes back a part of a lease.
    pub(crate) fn lease_cut(
        &mut self,
        around: &mut Surroundings<'_>,
        home: MemberId,
        digest: &Digest,
        lease: LeaseId,
        end: PieceIndex,
    ) {
        let lease = held_lease(home, lease);
        let Some(held) = self.holding.get_mut(lease).filter(|held| held.digest == *digest && end.0 < held.end) else {
            return;
        };
        let released = end.0.max(held.next)..held.end;
        held.end = end.0.max(held.next);
        let is_over = held.end == held.next;
        around.outbox.push(Output::CutFetch { lease, end });
        if is_over {
            self.holding.end(around.outbox, lease, LeaseEnd::Done);
        }
        self.release(digest, released);
        self.make_requests(around);
    }

    /// A piece came from the upstream and is stored.
    pub(crate) fn lease_piece(
        &mut self,
        around: &mut Surroundings<'_>,
        lease: HeldLease,
        digest: &Digest,
        piece: PieceIndex,
    ) {
        self.stored(around, digest, piece);
        let Some(held) = self.holding.get_mut(lease).filter(|held| held.digest == *digest) else { return };
        held.next = held.next.max(piece.0 + 1).min(held.end);
        around.outbox.send(lease.home, progress(digest, lease, held));
        self.make_requests(around);
    }

    /// The fetch of a lease ended.
    pub(crate) fn lease_ended(
        &mut self,
        around: &mut Surroundings<'_>,
        lease: HeldLease,
        digest: &Digest,
        result: Result<(), FetchFailure>,
    ) {
        let end = match result {
            Ok(()) => LeaseEnd::Done,
            Err(FetchFailure::NoRanges) => LeaseEnd::NoRanges,
            Err(FetchFailure::Upstream(failure)) => LeaseEnd::Failed(failure),
        };
        if let Some(held) = self.holding.end(around.outbox, lease, end) {
            self.release(digest, held.next..held.end);
            self.make_requests(around);
        }
    }

    /// Pieces that this node no longer fetches from the upstream, unless another lease of its covers them.
    fn release(&mut self, digest: &Digest, pieces: std::ops::Range<u32>) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        for piece in pieces {
            let is_covered = self.holding.of_blob(digest).any(|(_, held)| (held.next..held.end).contains(&piece));
            if !is_covered {
                blob.leased.remove(PieceIndex(piece));
            }
        }
    }
}

fn progress(digest: &Digest, lease: HeldLease, held: &Held) -> ControlMessage {
    ControlMessage::LeaseProgress { digest: *digest, lease: lease.lease, next: PieceIndex(held.next) }
}

fn first_not_stored(blob: &Blob, first: u32, end: u32) -> u32 {
    blob.have.first_missing(PieceIndex(first)).map_or(end, |piece| piece.0.min(end))
}

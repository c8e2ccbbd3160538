//! Leases that this node holds: runs that it fetches from the upstream for the swarm.

use std::collections::BTreeMap;

use shoal_wire::{
    control::{ControlMessage, LeaseEnd, LeaseSpan},
    digest::Digest,
    geometry::PieceIndex,
    ids::MemberId,
};

use crate::{
    event::{HeldLease, Output},
    outbox::Outbox,
};

/// Leases at work at once; a home that gives more is mistaken, and gets them back.
const HELD_MAX: usize = 64;

/// One lease of this node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) digest: Digest,
    /// First piece that is not stored yet.
    pub(super) next: u32,
    /// First piece past it.
    pub(super) end: u32,
}

/// All leases of this node.
#[derive(Debug, Default)]
pub(super) struct Holding(BTreeMap<HeldLease, Held>);

impl Holding {
    /// Takes a lease and starts its fetch; says whether there was room.
    pub(super) fn start(&mut self, outbox: &mut Outbox, lease: HeldLease, held: Held) -> bool {
        if self.0.len() >= HELD_MAX || self.0.contains_key(&lease) {
            return false;
        }
        self.0.insert(lease, held);
        let first = PieceIndex(held.next);
        outbox.push(Output::FetchUpstream { lease, digest: held.digest, first, count: held.end - held.next });
        true
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get_mut(&mut self, lease: HeldLease) -> Option<&mut Held> {
        self.0.get_mut(&lease)
    }

    /// The lease is over: tells its home how it ended.
    pub(super) fn end(&mut self, outbox: &mut Outbox, lease: HeldLease, end: LeaseEnd) -> Option<Held> {
        let held = self.0.remove(&lease)?;
        let next = PieceIndex(held.next);
        let message = ControlMessage::LeaseReturned { digest: held.digest, lease: lease.lease, next, end };
        outbox.send(lease.home, message);
        Some(held)
    }

    /// Gives back the leases of a blob that is no longer wanted.
    pub(super) fn abandon(&mut self, outbox: &mut Outbox, digest: &Digest) {
        let leases: Vec<_> = self.of_blob(digest).map(|(lease, held)| (lease, held.next)).collect();
        for (lease, next) in leases {
            outbox.push(Output::CutFetch { lease, end: PieceIndex(next) });
            self.end(outbox, lease, LeaseEnd::Abandoned);
        }
    }

    /// The leases of a blob.
    pub(super) fn of_blob(&self, digest: &Digest) -> impl Iterator<Item = (HeldLease, Held)> {
        self.0.iter().filter(move |(_, held)| held.digest == *digest).map(|(&lease, &held)| (lease, held))
    }

    /// The leases of a blob as announcements list them.
    pub(super) fn spans(&self, digest: &Digest) -> Vec<LeaseSpan> {
        self.of_blob(digest)
            .map(|(lease, held)| LeaseSpan {
                lease: lease.lease,
                next: PieceIndex(held.next),
                end: PieceIndex(held.end),
            })
            .collect()
    }
}

/// A lease as this node knows it.
pub(super) fn held_lease(home: MemberId, lease: shoal_wire::ids::LeaseId) -> HeldLease {
    HeldLease { home, lease }
}

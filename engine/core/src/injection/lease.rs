//! One lease: a run of pieces that one member fetches from the upstream.

use shoal_wire::{geometry::PieceIndex, ids::MemberId};

use crate::time::Time;

/// A lease at work. It covers `next..end`, less with each piece that its holder reports.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) holder: MemberId,
    pub(super) next: u32,
    pub(super) end: u32,
    /// Pieces that it had at first.
    pub(super) count: u32,
    /// Whether it repeats another lease's last piece.
    pub(super) is_hedge: bool,
    pub(super) granted_at: Time,
    /// When its holder last reported a piece, or got the lease.
    pub(super) advanced_at: Time,
    /// When its holder was last heard of.
    pub(super) heard_at: Time,
}

impl Lease {
    pub(super) fn new(now: Time, holder: MemberId, first: u32, count: u32) -> Self {
        Self {
            holder,
            next: first,
            end: first + count,
            count,
            is_hedge: false,
            granted_at: now,
            advanced_at: now,
            heard_at: now,
        }
    }

    /// Pieces that are not reported yet.
    pub(super) fn remaining(&self) -> u32 {
        self.end.saturating_sub(self.next)
    }

    /// Whether it counts against the number of leases at work. The last piece of a longer run does not: the next run is
    /// given out while it is still on its way, so that the upstream is never idle between two runs.
    pub(super) fn counts(&self) -> bool {
        !self.is_hedge && (self.remaining() > 1 || (self.count == 1 && self.remaining() == 1))
    }

    /// Moves to `next`, which its holder reported; returns the pieces that are new.
    pub(super) fn advance(&mut self, now: Time, next: PieceIndex) -> std::ops::Range<u32> {
        self.heard_at = now;
        let start = self.next;
        let reached = next.0.clamp(start, self.end);
        if reached > start {
            self.next = reached;
            self.advanced_at = now;
        }
        start..reached
    }
}

//! Disks that take nothing any more, and content that turns out wrong.

use shoal_core::event::{Input, TransferFailure, TransferId};
use shoal_wire::piece_map::PieceMap;

use crate::world::{BlobId, Happening, World, member::Stored};

/// Failed writes in a row after which a blob's readers are told, as in the runtime.
const WRITE_FAILURES_MAX: u32 = 3;

impl World {
    /// Nothing can be written at a node from now on, or everything again.
    pub fn fill_disk(&mut self, node: u32, is_full: bool) {
        self.members[node as usize].is_disk_full = is_full;
    }

    /// A piece from a peer is verified and cannot be written.
    pub(in crate::world) fn cannot_write(&mut self, node: u32, blob: BlobId, transfer: TransferId) {
        self.input(node, Input::PieceFailed { transfer, failure: TransferFailure::Store });
        self.count_write_failure(node, blob);
    }

    /// After a few failures in a row the blob's readers end, and it is not wanted any more.
    pub(in crate::world) fn count_write_failure(&mut self, node: u32, blob: BlobId) {
        let Some(stored) = self.members[node as usize].stored_mut(blob) else { return };
        stored.write_failures += 1;
        if stored.write_failures < WRITE_FAILURES_MAX {
            return;
        }
        stored.write_failures = 0;
        self.happenings.push(Happening::Broken { node, blob });
        self.stop_reading(node, blob);
    }

    /// No reader at a node wants a blob any more. What there is of it stays.
    pub fn stop_reading(&mut self, node: u32, blob: BlobId) {
        let Some(stored) = self.members[node as usize].stored_mut(blob) else { return };
        if std::mem::take(&mut stored.is_wanted) {
            let digest = self.digest(blob);
            self.input(node, Input::Unwant { digest });
        }
    }

    /// A node drops a blob that it holds; one whose process is stopped does not.
    pub fn evict(&mut self, node: u32, blob: BlobId) {
        if self.is_paused(node) {
            return;
        }
        let before = self.members[node as usize].stored.len();
        self.members[node as usize].stored.retain(|stored| stored.blob != blob || !stored.is_verified);
        if self.members[node as usize].stored.len() < before {
            let digest = self.digest(blob);
            self.input(node, Input::Dropped { digest });
        }
    }

    /// The whole does not have its digest: everything is discarded, and the readers end.
    pub(in crate::world) fn begin_again(&mut self, node: u32, blob: BlobId) {
        let (now, pieces, digest) = (self.now, self.blobs[blob.0 as usize].geometry.pieces(), self.digest(blob));
        if let Some(stored) = self.members[node as usize].stored_mut(blob) {
            *stored = Stored { is_verified: false, prefix: 0, ..Stored::new(blob, PieceMap::empty(pieces), now) };
        }
        self.happenings.push(Happening::Corrupt { node, blob });
        self.input(node, Input::Corrupt { digest });
        self.input(node, Input::Unwant { digest });
    }
}

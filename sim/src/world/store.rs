//! Blobs, and what nodes have of them.

use shoal_core::event::Input;
use shoal_wire::{
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::QueryId,
    name::Name,
    piece_map::PieceMap,
};

use super::{
    Event, World,
    event::{BlobId, Bytes, Happening, Part},
    member::Stored,
};

/// A blob of the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) geometry: Geometry,
    /// Whether its bytes count as content.
    is_content: bool,
}

impl World {
    /// Adds a blob that the upstream has. `is_content` says whether its bytes count as delivered.
    ///
    /// # Panics
    /// For a blob that the protocol cannot describe.
    pub fn add_blob(&mut self, size: u64, is_content: bool) -> BlobId {
        let id = BlobId(u32::try_from(self.blobs.len()).expect("a few thousand blobs"));
        let name = [self.setting.seed.to_be_bytes(), u64::from(id.0).to_be_bytes()].concat();
        let digest = Digest::Sha256(*blake3::hash(&name).as_bytes());
        let geometry = Geometry::of(size).expect("scenarios bound the size of blobs");
        self.blobs.push(Blob { digest, geometry, is_content });
        let place = self.by_digest.partition_point(|(known, _)| *known < digest);
        self.by_digest.insert(place, (digest, id));
        id
    }

    /// The digest of a blob.
    pub fn digest(&self, blob: BlobId) -> Digest {
        self.blobs[blob.0 as usize].digest
    }

    pub(super) fn blob_of(&self, digest: &Digest) -> Option<BlobId> {
        let place = self.by_digest.binary_search_by(|(known, _)| known.cmp(digest)).ok()?;
        Some(self.by_digest[place].1)
    }

    /// A reader at a node asks what a name stands for; [`Happening::Answered`] follows.
    pub fn resolve(&mut self, node: u32, query: QueryId, name: Name) {
        self.input(node, Input::Resolve { query, name });
    }

    /// A reader at a node wants a blob.
    pub fn want(&mut self, node: u32, blob: BlobId) {
        let Blob { digest, geometry, .. } = self.blobs[blob.0 as usize];
        if self.members[node as usize].stored(blob).is_none() {
            let have = PieceMap::empty(geometry.pieces());
            self.members[node as usize].stored.push(Stored {
                is_verified: false,
                prefix: 0,
                ..Stored::new(blob, have, self.now)
            });
        }
        let Some(stored) = self.members[node as usize].stored(blob) else { return };
        if stored.is_verified {
            self.happenings.push(Happening::Begun { node, blob });
            self.happenings.push(Happening::Finished { node, blob });
            return;
        }
        let have = stored.have.clone();
        if let Some(stored) = self.members[node as usize].stored_mut(blob) {
            stored.is_wanted = true;
        }
        self.input(node, Input::Want { digest, size: geometry.size(), have, can_lease: true });
    }

    /// A reader at a node waits for the last two pieces of a blob, which it wants.
    pub fn demand_the_end(&mut self, node: u32, blob: BlobId) {
        let Blob { digest, geometry, .. } = self.blobs[blob.0 as usize];
        let Some(stored) = self.members[node as usize].stored(blob).filter(|stored| stored.is_wanted) else { return };
        let last = (geometry.pieces().saturating_sub(2)..geometry.pieces()).map(PieceIndex);
        let pieces = last.filter(|piece| !stored.have.has(*piece)).collect();
        self.input(node, Input::Demand { digest, pieces });
    }

    /// A node has all of a blob from earlier.
    pub fn hold(&mut self, node: u32, blob: BlobId) {
        let Blob { digest, geometry, .. } = self.blobs[blob.0 as usize];
        let stored = Stored::new(blob, PieceMap::full(geometry.pieces()), self.now);
        self.members[node as usize].stored.retain(|stored| stored.blob != blob);
        self.members[node as usize].stored.push(stored);
        self.input(node, Input::Hold { digest, size: geometry.size() });
    }

    /// A verified piece is written.
    pub(super) fn store(&mut self, node: u32, part: Part, bytes_are: Bytes) {
        let Blob { geometry, is_content, .. } = self.blobs[part.blob.0 as usize];
        let now = self.now;
        let bytes = geometry.len(part.piece);
        let member = &mut self.members[node as usize];
        if member.is_corrupt {
            member.write(part, bytes);
        }
        let Some(stored) = member.stored_mut(part.blob) else { return };
        if !stored.have.insert(part.piece) {
            member.counters.duplicate_bytes += bytes;
            return;
        }
        if bytes_are == Bytes::Wrong {
            stored.wrong.push(part.piece);
        }
        stored.write_failures = 0;
        let before = stored.prefix;
        if part.piece.0 == before {
            stored.prefix = stored.have.first_missing(part.piece).map_or(geometry.pieces(), |piece| piece.0);
        }
        let prefix = stored.prefix;
        let hashed = geometry.range(PieceIndex(prefix)).start - geometry.range(PieceIndex(before)).start;
        let rate = self.setting.costs.digest_bytes_per_s.max(1.0);
        stored.digested_at = stored.digested_at.max(now).after(hashed as f64 / rate);
        let (is_full, digested_at) = (stored.have.is_full(), stored.digested_at);
        if is_content {
            member.counters.stored_bytes += bytes;
            self.delivered += bytes;
        }
        self.release(node, part.blob, before, prefix);
        if is_full {
            self.schedule.push(digested_at, Event::Digested { node, blob: part.blob });
        }
    }

    /// A reader has the pieces of `before..prefix`, but for the last of the blob.
    fn release(&mut self, node: u32, blob: BlobId, before: u32, prefix: u32) {
        let Blob { geometry, is_content, .. } = self.blobs[blob.0 as usize];
        let last = geometry.pieces() - 1;
        let at = |piece: u32| geometry.range(PieceIndex(piece)).start;
        let read = at(prefix.min(last)) - at(before.min(last));
        if is_content {
            self.members[node as usize].counters.read_bytes += read;
            self.read += read;
        }
        if before == 0 && prefix > 0 && last > 0 {
            self.happenings.push(Happening::Begun { node, blob });
        }
    }

    /// The digest of everything is right.
    pub(super) fn digested(&mut self, node: u32, blob: BlobId) {
        let Blob { digest, geometry, is_content } = self.blobs[blob.0 as usize];
        let last = PieceIndex(geometry.pieces() - 1);
        let now = self.now;
        let Some(stored) = self.members[node as usize].stored_mut(blob) else { return };
        // Of an earlier try.
        if !stored.have.is_full() || stored.is_verified || stored.digested_at > now {
            return;
        }
        if !stored.wrong.is_empty() {
            return self.begin_again(node, blob);
        }
        stored.is_verified = true;
        let was_wanted = std::mem::take(&mut stored.is_wanted);
        if is_content {
            self.members[node as usize].counters.read_bytes += geometry.len(last);
            self.read += geometry.len(last);
        }
        if last.0 == 0 {
            self.happenings.push(Happening::Begun { node, blob });
        }
        self.happenings.push(Happening::Finished { node, blob });
        let size = geometry.size();
        self.input(node, if was_wanted { Input::Verified { digest } } else { Input::Hold { digest, size } });
    }
}

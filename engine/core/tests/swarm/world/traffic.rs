//! Pieces on the made-up network: between nodes, and from the upstream.

use std::time::Duration;

use shoal_core::event::{FetchFailure, HeldLease, Input, Refusal, TransferFailure, TransferId, UploadId};
use shoal_wire::{digest::Digest, geometry::PieceIndex};

use super::{Event, LATENCY, VERIFYING, World};

impl World {
    pub(super) fn cancel(&mut self, index: usize, transfer: TransferId) {
        self.members[index].open.remove(&transfer);
        let found = self.members.iter().enumerate().find_map(|(uploader, member)| {
            let (&upload, _) =
                member.uploads.iter().find(|(_, entry)| entry.transfer == transfer && entry.requester == index)?;
            Some((uploader, upload))
        });
        if let Some((uploader, upload)) = found {
            self.members[uploader].uploads.remove(&upload);
            let delay = self.latency();
            self.after(uploader, delay, Event::Input(Input::UploadEnded { upload }));
        }
    }

    pub(super) fn serve(&mut self, index: usize, upload: UploadId) {
        let Some(entry) = self.members[index].uploads.get(&upload).copied() else { return };
        let has = self.members[index].store.get(&entry.digest).is_some_and(|store| store.has(entry.piece));
        assert!(has, "seed {}: node {index} serves a piece that it does not have", self.seed);
        if self.chance(self.setting.hanging_transfers) {
            // The requester gives up; the uploader notices when the stream is reset.
            return;
        }
        let bytes = self.geometry(&entry.digest).len(entry.piece) as f64;
        let sent = self.members[index].up.serve(self.now, bytes);
        let received = self.members[entry.requester].down.serve(self.now, bytes);
        let delay = sent.max(received).since(self.now) + LATENCY;
        self.members[index].served += 1;
        let event = Event::Delivered { transfer: entry.transfer, uploader: index, upload };
        self.schedule.push(self.now + delay, (entry.requester, entry.requester_life, event));
        // The uploader's side ends whatever becomes of the requester.
        self.after(index, sent.since(self.now), Event::Input(Input::UploadEnded { upload }));
    }

    pub(super) fn deliver(&mut self, index: usize, transfer: TransferId, uploader: usize, upload: UploadId) {
        self.members[uploader].uploads.remove(&upload);
        if !self.members[index].open.remove(&transfer) {
            return;
        }
        let (digest, piece) = self.members[index].wanted_pieces[&transfer];
        let injector = self.members[uploader].node.id();
        self.store(index, digest, piece);
        self.input(index, Input::PieceStored { transfer, injector });
    }

    pub(super) fn refuse(&mut self, index: usize, upload: UploadId, refusal: Refusal) {
        let Some(entry) = self.members[index].uploads.remove(&upload) else { return };
        let failure = match refusal {
            Refusal::Busy(load) => TransferFailure::Busy(load),
            Refusal::NotHeld => TransferFailure::NotHeld,
        };
        if self.members[entry.requester].open.remove(&entry.transfer) {
            let delay = self.latency();
            let input = Input::PieceFailed { transfer: entry.transfer, failure };
            self.schedule.push(self.now + delay, (entry.requester, entry.requester_life, Event::Input(input)));
        }
    }

    pub(super) fn start_fetch(&mut self, index: usize, lease: HeldLease, count: u32) {
        let digest = self.members[index].fetches[&lease].digest;
        let request = Duration::from_millis(5);
        let is_whole = count == self.geometry(&digest).pieces();
        let failure = match self.upstream_failure {
            Some(failure) => Some(FetchFailure::Upstream(failure)),
            None if !self.setting.ranges && !is_whole => Some(FetchFailure::NoRanges),
            None => None,
        };
        if let Some(failure) = failure {
            self.members[index].fetches.remove(&lease);
            let input = Input::LeaseEnded { lease, digest, result: Err(failure) };
            return self.after(index, request, Event::Input(input));
        }
        self.fetch_next(index, lease, request);
    }

    pub(super) fn fetch_next(&mut self, index: usize, lease: HeldLease, delay: Duration) {
        let fetch = self.members[index].fetches[&lease];
        let bytes = self.geometry(&fetch.digest).len(PieceIndex(fetch.next));
        self.upstream_bytes += bytes;
        let sent = self.upstream.serve(self.now + delay, bytes as f64);
        let received = self.members[index].down.serve(self.now + delay, bytes as f64);
        let done = sent.max(received).since(self.now);
        self.after(index, done, Event::Fetched { lease });
    }

    pub(super) fn fetched(&mut self, index: usize, lease: HeldLease) {
        let Some(fetch) = self.members[index].fetches.get_mut(&lease) else { return };
        let (digest, piece) = (fetch.digest, PieceIndex(fetch.next));
        fetch.next += 1;
        let is_over = fetch.next >= fetch.end;
        if is_over {
            self.members[index].fetches.remove(&lease);
        } else {
            self.fetch_next(index, lease, Duration::ZERO);
        }
        self.store(index, digest, piece);
        self.input(index, Input::LeasePiece { lease, digest, piece });
        if is_over {
            self.input(index, Input::LeaseEnded { lease, digest, result: Ok(()) });
        }
    }

    pub(super) fn cut(&mut self, index: usize, lease: HeldLease, end: PieceIndex) {
        let member = &mut self.members[index];
        if let Some(fetch) = member.fetches.get_mut(&lease) {
            fetch.end = fetch.end.min(end.0);
            if fetch.end <= fetch.next {
                member.fetches.remove(&lease);
            }
        }
    }

    pub(super) fn store(&mut self, index: usize, digest: Digest, piece: PieceIndex) {
        let Some(store) = self.members[index].store.get_mut(&digest) else { return };
        if !store.insert(piece) {
            self.duplicates += 1;
        } else if store.is_full() {
            self.after(index, VERIFYING, Event::Verified { digest });
        }
    }
}

//! Pieces on the made-up network: between nodes, and from the upstream.

use std::time::Duration;

use shoal_core::event::{FetchFailure, HeldLease, Input, Refusal, TransferFailure, TransferId, UploadId};
use shoal_wire::{digest::Digest, geometry::PieceIndex};

use super::{Event, LATENCY, VERIFYING, World, network::Sent};

/// Time between two reports of a transfer under way.
const PROGRESS: Duration = Duration::from_millis(250);
/// Time after which a connection to a host that is gone ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn cancel(&mut self, index: usize, transfer: TransferId) {
        self.members[index].open.remove(&transfer);
        let found = self.members.iter().enumerate().find_map(|(uploader, member)| {
            let (&upload, _) =
                member.uploads.iter().find(|(_, entry)| entry.transfer == transfer && entry.requester == index)?;
            Some((uploader, upload))
        });
        if let Some((uploader, upload)) = found {
            let entry = self.members[uploader].uploads.remove(&upload);
            if let Some(flow) = entry.and_then(|entry| entry.flow) {
                self.network.stop(self.now, |id, _| id == flow);
            }
            let delay = self.latency();
            self.after(uploader, delay, Event::Input(Input::UploadEnded { upload }));
        }
    }

    /// A node is gone: nothing more comes from it, and nothing reaches it.
    pub(super) fn stop_traffic_of(&mut self, index: usize) {
        self.members[index].fetches.clear();
        self.stop_traffic(|from, to| from == index || to == index);
    }

    /// Ends what is on its way between nodes that match, without anybody noticing at once.
    pub(super) fn stop_traffic(&mut self, matches: impl Fn(usize, usize) -> bool) {
        let mut ended = Vec::new();
        for (uploader, member) in self.members.iter().enumerate() {
            for (&upload, entry) in member.uploads.iter().filter(|(_, entry)| matches(uploader, entry.requester)) {
                ended.push((uploader, upload, entry.flow));
            }
        }
        self.network.stop(self.now, |id, (to, life, _)| {
            ended.iter().any(|&(_, _, flow)| flow == Some(id)) || self.members[*to].life != *life
        });
        for (uploader, upload, _) in ended {
            self.members[uploader].uploads.remove(&upload);
            self.after(uploader, IDLE_TIMEOUT, Event::Input(Input::UploadEnded { upload }));
        }
    }

    pub(super) fn serve(&mut self, index: usize, upload: UploadId) {
        let Some(entry) = self.members[index].uploads.get(&upload).copied() else { return };
        let has = self.members[index].store.get(&entry.digest).is_some_and(|store| store.has(entry.piece));
        assert!(has, "seed {}: node {index} serves a piece that it does not have", self.seed);
        if self.mute.contains(&index) || self.chance(self.setting.hanging_transfers) {
            // The requester gives up; the uploader notices when the stream is reset.
            return;
        }
        self.members[index].served += 1;
        let bytes = self.geometry(&entry.digest).len(entry.piece) as f64;
        let links = self.setting.path(index, entry.requester);
        let event = Event::Sent { upload };
        match self.network.send(self.now, links, bytes, (index, self.members[index].life, event)) {
            Sent::ArrivesAt(at, event) => {
                self.schedule.push(at, event);
            }
            Sent::OnItsWay(flow) => {
                if let Some(entry) = self.members[index].uploads.get_mut(&upload) {
                    entry.flow = Some(flow);
                }
                let event = Event::Progress { transfer: entry.transfer, uploader: index, upload };
                self.schedule.push(self.now + PROGRESS, (entry.requester, entry.requester_life, event));
            }
        }
    }

    /// The last byte of a piece is sent.
    pub(super) fn sent(&mut self, index: usize, upload: UploadId) {
        let Some(entry) = self.members[index].uploads.get(&upload).copied() else { return };
        let event = Event::Delivered { transfer: entry.transfer, uploader: index, upload };
        self.schedule.push(self.now + LATENCY, (entry.requester, entry.requester_life, event));
        self.input(index, Input::UploadEnded { upload });
    }

    /// Tells a requester that bytes of a piece arrive, now and every while until it is there.
    pub(super) fn progress(&mut self, index: usize, transfer: TransferId, uploader: usize, upload: UploadId) {
        let is_on_its_way = self.members[uploader].uploads.get(&upload).is_some_and(|entry| entry.flow.is_some());
        if is_on_its_way && self.members[index].open.contains(&transfer) {
            self.input(index, Input::PieceProgress { transfer });
            self.after(index, PROGRESS, Event::Progress { transfer, uploader, upload });
        }
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
        self.after(index, request, Event::Fetching { lease });
    }

    pub(super) fn fetch_next(&mut self, index: usize, lease: HeldLease) {
        let Some(&fetch) = self.members[index].fetches.get(&lease) else { return };
        let bytes = self.geometry(&fetch.digest).len(PieceIndex(fetch.next));
        self.upstream_bytes += bytes;
        let cargo = (index, self.members[index].life, Event::Fetched { lease });
        match self.network.send(self.now, self.setting.path_from_upstream(index), bytes as f64, cargo) {
            Sent::ArrivesAt(at, event) => {
                self.schedule.push(at, event);
            }
            Sent::OnItsWay(flow) => {
                if let Some(fetch) = self.members[index].fetches.get_mut(&lease) {
                    fetch.flow = Some(flow);
                }
            }
        }
    }

    pub(super) fn fetched(&mut self, index: usize, lease: HeldLease) {
        let Some(fetch) = self.members[index].fetches.get_mut(&lease) else { return };
        let (digest, piece) = (fetch.digest, PieceIndex(fetch.next));
        fetch.next += 1;
        let is_over = fetch.next >= fetch.end;
        if is_over {
            self.members[index].fetches.remove(&lease);
        } else {
            self.fetch_next(index, lease);
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
                let fetch = member.fetches.remove(&lease);
                if let Some(flow) = fetch.and_then(|fetch| fetch.flow) {
                    self.network.stop(self.now, |id, _| id == flow);
                }
            }
        }
    }

    pub(super) fn store(&mut self, index: usize, digest: Digest, piece: PieceIndex) {
        if piece.0 == 0 {
            self.members[index].begun.entry(digest).or_insert(self.now);
        }
        let Some(store) = self.members[index].store.get_mut(&digest) else { return };
        if !store.insert(piece) {
            self.duplicates += 1;
        } else if store.is_full() {
            self.after(index, VERIFYING, Event::Verified { digest });
        }
    }
}

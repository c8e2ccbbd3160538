//! Pieces between nodes: asked for, sent over one flow for each pair of nodes and direction, in order, and stored.

use std::time::Duration;

use shoal_core::event::{Input, Refusal, TransferFailure, TransferId, UploadId};
use shoal_wire::{digest::Digest, geometry::PieceIndex, ids::MemberId, transfer::Urgency};
use smallvec::SmallVec;

use super::{
    Event, Owner, World,
    event::{Bytes, Part},
    member::{Transfer, Upload},
};
use crate::{
    network::{FlowId, LINKS_MAX, LinkId},
    time::Nanos,
};

/// Time between two reports of a transfer under way, as in the runtime.
const PROGRESS: Duration = Duration::from_millis(250);
/// Bytes of a request for a piece, and of what comes before its bytes.
const REQUEST_BYTES: u32 = 48;
/// Slow start that is over sooner than this does not matter.
const SLOW_START_MIN_S: f64 = 0.002;

impl World {
    /// A node asks a peer for a piece.
    pub(super) fn ask(
        &mut self,
        node: u32,
        transfer: TransferId,
        from: MemberId,
        (digest, piece): (Digest, PieceIndex),
        (urgency, held): (Urgency, u32),
    ) {
        let (Some(uploader), Some(blob)) = (self.ids.number(from), self.blob_of(&digest)) else { return };
        let member = &mut self.members[node as usize];
        member.counters.requests += 1;
        let transfer = member.in_this_life(transfer);
        member.transfers.push(Transfer { id: transfer, uploader });
        let part = Part { blob, piece };
        self.carry(
            node,
            uploader,
            REQUEST_BYTES,
            Event::Asked { uploader, requester: node, transfer, part, urgency, held },
        );
    }

    /// A request arrives, unless it was given up on the way.
    pub(super) fn asked(
        &mut self,
        uploader: u32,
        requester: u32,
        transfer: TransferId,
        part: Part,
        (urgency, held): (Urgency, u32),
    ) {
        let is_open = self.members[requester as usize].transfers.iter().any(|open| open.id == transfer);
        if !is_open || !self.members[uploader as usize].is_up {
            return;
        }
        self.uploads += 1;
        let upload = UploadId(self.uploads);
        self.members[uploader as usize].uploads.push(Upload { id: upload, transfer, requester, part });
        let (from, digest) = (self.ids.id(requester), self.blobs[part.blob.0 as usize].digest);
        self.input(uploader, Input::PieceRequested { upload, from, digest, piece: part.piece, urgency, held });
    }

    /// A node gives a transfer up; its peer learns of it a little later, and sends until then.
    pub(super) fn give_up(&mut self, node: u32, transfer: TransferId) {
        let transfer = self.members[node as usize].in_this_life(transfer);
        let Some(Transfer { uploader, .. }) = self.members[node as usize].close(transfer) else { return };
        self.carry(node, uploader, REQUEST_BYTES, Event::GivenUp { uploader, requester: node, transfer });
    }

    /// An uploader learns that its piece is not wanted any more.
    pub(super) fn given_up(&mut self, uploader: u32, requester: u32, transfer: TransferId) {
        let uploads = &mut self.members[uploader as usize].uploads;
        let of_transfer = |upload: &Upload| upload.requester == requester && upload.transfer == transfer;
        let Some(place) = uploads.iter().position(of_transfer) else { return };
        let upload = uploads.swap_remove(place);
        self.take_off_the_wire(uploader, &upload);
        self.input(uploader, Input::UploadEnded { upload: upload.id });
    }

    /// Removes a piece from its connection's queue; what was sent of it was in vain.
    fn take_off_the_wire(&mut self, uploader: u32, upload: &Upload) {
        let (pair, direction) = self.pair(uploader, upload.requester);
        let entry = self.direction(pair, direction);
        let Some(place) = entry.queue.iter().position(|queued| *queued == upload.id) else { return };
        entry.queue.remove(place);
        let Some(flow) = entry.flow.filter(|_| place == 0) else { return };
        let next = self.head(pair, direction);
        let left = match next {
            Some(next) => self.network.refill(self.now, flow, self.bytes_of(next.part)),
            None => self.network.stop(self.now, flow),
        };
        if next.is_none() {
            self.fall_idle(pair, direction);
        }
        let sent = whole(self.bytes_of(upload.part) - left);
        self.count_received(uploader, upload.requester, sent);
        self.members[upload.requester as usize].counters.duplicate_bytes += sent;
    }

    fn count_received(&mut self, uploader: u32, requester: u32, bytes: u64) {
        let is_far = self.members[uploader as usize].zone != self.members[requester as usize].zone;
        if is_far && !self.zones.is_empty() {
            self.members[requester as usize].counters.from_other_zones_bytes += bytes;
        }
    }

    /// A node refuses a piece.
    pub(super) fn refuse(&mut self, node: u32, upload: UploadId, refusal: Refusal) {
        let uploads = &mut self.members[node as usize].uploads;
        let Some(place) = uploads.iter().position(|open| open.id == upload) else { return };
        let Upload { requester, transfer, .. } = uploads.swap_remove(place);
        let failure = match refusal {
            Refusal::Busy(load) => TransferFailure::Busy(load),
            Refusal::NotHeld => TransferFailure::NotHeld,
        };
        // On the connection that the request came by, which is the requester's own where it has just begun a new life.
        let was_orphan = self.troubles.orphans.remove(&(node, requester));
        self.carry(node, requester, REQUEST_BYTES, Event::Refused { node: requester, transfer, failure });
        if was_orphan {
            self.troubles.orphans.insert((node, requester));
        }
    }

    /// A refusal arrives.
    pub(super) fn refused(&mut self, node: u32, transfer: TransferId, failure: TransferFailure) {
        let member = &mut self.members[node as usize];
        if member.close(transfer).is_some() {
            member.counters.busy += u64::from(matches!(failure, TransferFailure::Busy(_)));
            self.input(node, Input::PieceFailed { transfer, failure });
        }
    }

    /// A node serves a piece: it queues behind what goes to the same peer already.
    pub(super) fn serve(&mut self, node: u32, upload: UploadId) {
        let uploads = &self.members[node as usize].uploads;
        let Some(upload) = uploads.iter().find(|open| open.id == upload).copied() else { return };
        let hanging = self.setting.costs.hanging;
        let member = &mut self.members[node as usize];
        if member.is_mute || hanging > 0.0 && member.random.chance(hanging) {
            return;
        }
        if !self.members[upload.requester as usize].is_up {
            return;
        }
        let (pair, direction) = self.pair(node, upload.requester);
        self.direction(pair, direction).queue.push_back(upload.id);
        if self.direction(pair, direction).flow.is_none() {
            self.start_flow(pair, direction);
        }
        self.watch(upload.requester);
    }

    /// The piece that is on its way on a connection.
    fn head(&self, pair: u32, direction: u8) -> Option<Upload> {
        let entry = &self.pairs[pair as usize];
        let (uploader, _) = entry.ends(direction);
        let head = *entry.directions[usize::from(direction)].queue.front()?;
        self.members[uploader as usize].uploads.iter().find(|upload| upload.id == head).copied()
    }

    fn start_flow(&mut self, pair: u32, direction: u8) {
        let Some(head) = self.head(pair, direction) else { return };
        let (from, to) = self.pairs[pair as usize].ends(direction);
        let path = self.path(from, to);
        self.open_window(pair, direction, &path);
        let (bytes, cap) = (self.bytes_of(head.part), self.cap_now(pair, direction));
        let flow = self.network.start(self.now, &path, bytes, cap);
        self.direction(pair, direction).flow = Some(flow);
        self.own(flow, Owner::Pair { pair, direction });
    }

    fn fall_idle(&mut self, pair: u32, direction: u8) {
        let now = self.now;
        let entry = self.direction(pair, direction);
        entry.flow = None;
        entry.idle_since = now;
    }

    /// Links from one node to another.
    fn path(&self, from: u32, to: u32) -> SmallVec<[LinkId; LINKS_MAX]> {
        let (source, target) = (&self.members[from as usize], &self.members[to as usize]);
        let mut path = SmallVec::from_slice(&[source.links.up, target.links.down]);
        if source.zone != target.zone && !self.zones.is_empty() {
            path.extend([self.zones[source.zone as usize].0, self.zones[target.zone as usize].1]);
        }
        path.extend([source.links.cpu, target.links.cpu, target.links.disk].into_iter().flatten());
        path
    }

    /// What a window lets a connection send in a second at first, and the most that its path carries.
    pub(super) fn window(&self, path: &[LinkId]) -> (f64, f64) {
        let ceiling = path.iter().map(|link| self.network.rate_of_link(*link)).fold(f64::INFINITY, f64::min);
        let round_trip = self.base_round_trip().seconds();
        let first = self.setting.paths.initial_window / round_trip.max(1e-9);
        let doublings = (ceiling / first).max(1.0).log2();
        if doublings * round_trip < SLOW_START_MIN_S { (f64::INFINITY, ceiling) } else { (first, ceiling) }
    }

    /// A connection that begins to send has the window that it had, or less after a pause.
    fn open_window(&mut self, pair: u32, direction: u8, path: &[LinkId]) {
        let (first, ceiling) = self.window(path);
        let pause = Nanos::from(self.setting.paths.idle_window);
        let (now, round_trip) = (self.now, self.base_round_trip());
        let entry = self.direction(pair, direction);
        if now - entry.idle_since > pause && entry.cap > 0.0 {
            entry.cap = (entry.cap.min(ceiling) / 2.0).max(first);
        }
        entry.cap = entry.cap.max(first);
        if entry.cap.is_finite() && !entry.is_widening {
            entry.is_widening = true;
            self.schedule.push(now + round_trip, Event::Widened { pair, direction });
        }
    }

    /// A round trip has passed: twice as much may be under way.
    pub(super) fn widen(&mut self, pair: u32, direction: u8) {
        self.direction(pair, direction).is_widening = false;
        let Some(flow) = self.direction(pair, direction).flow else { return };
        let (from, to) = self.pairs[pair as usize].ends(direction);
        let (_, ceiling) = self.window(&self.path(from, to));
        let (now, round_trip) = (self.now, self.base_round_trip());
        let entry = self.direction(pair, direction);
        entry.cap = if entry.cap * 2.0 >= ceiling { f64::INFINITY } else { entry.cap * 2.0 };
        entry.is_widening = entry.cap.is_finite();
        if entry.is_widening {
            self.schedule.push(now + round_trip, Event::Widened { pair, direction });
        }
        let cap = self.cap_now(pair, direction);
        self.network.set_cap(now, flow, cap);
    }

    /// The last byte of a piece is on its way; the next piece follows on the same flow.
    pub(super) fn sent(&mut self, flow: FlowId, pair: u32, direction: u8) {
        let Some(upload) = self.head(pair, direction) else { return };
        let (from, to) = self.pairs[pair as usize].ends(direction);
        self.direction(pair, direction).queue.pop_front();
        let member = &mut self.members[from as usize];
        member.uploads.retain(|open| open.id != upload.id);
        member.counters.served += 1;
        if let Some(next) = self.head(pair, direction) {
            self.network.extend(self.now, flow, self.bytes_of(next.part));
        } else {
            self.network.stop(self.now, flow);
            self.fall_idle(pair, direction);
        }
        let Upload { id, transfer, part, .. } = upload;
        let bytes = self.bytes_of(part);
        self.count_received(from, to, whole(bytes));
        let arrives = self.now + self.latency(from);
        let stored = arrives + self.verifying(bytes);
        let bytes = self.members[from as usize].bytes_sent(part, self.setting.costs.memory_bytes);
        let received = Event::Received { requester: to, uploader: from, transfer, part, bytes };
        self.schedule.push(stored, received);
        // A slot is free when the peer has acknowledged everything.
        let acknowledged = arrives + self.one_way(to, from, 0);
        self.schedule.push(acknowledged, Event::input(from, Input::UploadEnded { upload: id }));
    }

    /// A piece is gathered and verified.
    pub(super) fn received(&mut self, requester: u32, uploader: u32, transfer: TransferId, part: Part, are: Bytes) {
        let bytes = whole(self.bytes_of(part));
        let is_open = self.members[requester as usize].close(transfer).is_some();
        if are == Bytes::Damaged {
            self.members[requester as usize].counters.corrupt_bytes += bytes;
            if is_open {
                self.input(requester, Input::PieceFailed { transfer, failure: TransferFailure::Corrupt });
            }
            return;
        }
        if !is_open {
            self.members[requester as usize].counters.duplicate_bytes += bytes;
            return;
        }
        if self.members[requester as usize].is_disk_full {
            return self.cannot_write(requester, part.blob, transfer);
        }
        self.store(requester, part, are);
        let injector = self.ids.id(uploader);
        self.input(requester, Input::PieceStored { transfer, injector });
    }

    /// Looks at a node's transfers now and then while there are any.
    fn watch(&mut self, node: u32) {
        let member = &mut self.members[node as usize];
        if !std::mem::replace(&mut member.is_watched, true) {
            self.schedule.push(self.now + PROGRESS, Event::Progress { node });
        }
    }

    /// Tells a node which of its transfers move.
    pub(super) fn progress(&mut self, node: u32) {
        self.members[node as usize].is_watched = false;
        let open: SmallVec<[Transfer; 16]> = self.members[node as usize].transfers.iter().copied().collect();
        for Transfer { id, uploader } in &open {
            if self.is_moving(*uploader, node, *id) {
                self.input(node, Input::PieceProgress { transfer: *id });
            }
        }
        if !open.is_empty() {
            self.watch(node);
        }
    }

    fn is_moving(&mut self, uploader: u32, requester: u32, transfer: TransferId) -> bool {
        let (pair, direction) = self.pair(uploader, requester);
        let is_head = self.head(pair, direction).is_some_and(|head| head.transfer == transfer);
        let flow = self.direction(pair, direction).flow;
        is_head && flow.is_some_and(|flow| self.network.rate(flow) > 0.0)
    }

    pub(super) fn bytes_of(&self, part: Part) -> f64 {
        self.blobs[part.blob.0 as usize].geometry.len(part.piece) as f64
    }

    /// From a piece's last byte to its being stored.
    pub(super) fn verifying(&self, bytes: f64) -> Nanos {
        let costs = &self.setting.costs;
        Nanos::from(costs.verify_time).after(bytes / costs.verify_bytes_per_s.max(1.0))
    }
}

/// Bytes as a whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a piece, at least 0")]
pub(super) fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}

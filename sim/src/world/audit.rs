//! What every output of a node must keep to, whatever happens around it: compared with what the world knows.

use std::collections::BTreeSet;

use shoal_core::event::{Input, Output, UploadId};
use shoal_wire::{codec::Message, control::ControlMessage, geometry::PieceIndex, limits::GOSSIP_PLAIN_BYTES};

use super::{World, event::Part};
use crate::time::Nanos;

/// Leases that a node works on at once at most, and those that end while others begin.
const FETCHES_MAX: usize = 128;
/// Breaches that are kept; the first is what matters.
const BREACHES_MAX: usize = 16;

/// A rule that a node broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// When.
    pub at: Nanos,
    /// Who.
    pub node: u32,
    /// Which rule.
    pub kind: BreachKind,
    /// What was seen.
    pub what: String,
}

/// Rules for a node's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreachKind {
    /// It serves a piece that it has not verified and stored.
    Unverified,
    /// It says that it has pieces that it does not have.
    Maps,
    /// It does more at once than its configuration allows.
    Bounds,
    /// It sends what cannot be encoded, or what makes no sense.
    Messages,
}

/// What is kept to check outputs by.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Uploads of each node that are being sent, as the node knows it.
    serving: Vec<BTreeSet<UploadId>>,
    breaches: Vec<Breach>,
}

impl World {
    /// Checks everything that nodes put out from now on.
    pub fn audit(&mut self) {
        let serving = (0..self.nodes()).map(|_| BTreeSet::new()).collect();
        self.audit = Some(Audit { serving, breaches: Vec::new() });
    }

    /// Rules that were broken so far, in order; the first few.
    pub fn breaches(&self) -> &[Breach] {
        self.audit.as_ref().map_or(&[], |audit| &audit.breaches)
    }

    /// A node is told that an upload is over.
    pub(super) fn note_input(&mut self, node: u32, input: &Input) {
        if let (Some(audit), Input::UploadEnded { upload }) = (&mut self.audit, input) {
            audit.serving[node as usize].remove(upload);
        }
    }

    /// A node's process is gone, and what it was doing with it.
    pub(super) fn forget_process(&mut self, node: u32) {
        if let Some(audit) = &mut self.audit {
            audit.serving[node as usize].clear();
        }
    }

    fn breach(&mut self, node: u32, kind: BreachKind, what: String) {
        let at = self.now;
        if let Some(audit) = self.audit.as_mut().filter(|audit| audit.breaches.len() < BREACHES_MAX) {
            audit.breaches.push(Breach { at, node, kind, what });
        }
    }

    /// Checks one output before the world acts on it.
    pub(super) fn inspect(&mut self, node: u32, output: &Output) {
        match output {
            Output::Serve { upload } => self.inspect_serving(node, *upload),
            Output::RequestPiece { digest, piece, .. } => {
                let open = self.members[node as usize].transfers.len() + 1;
                if open > self.setting.core.swarm.requests_limit() + 1 {
                    self.breach(node, BreachKind::Bounds, format!("{open} pieces asked for at once"));
                }
                let part = self.blob_of(digest).map(|blob| Part { blob, piece: *piece });
                if part.is_some_and(|part| self.members[node as usize].has(part)) {
                    self.breach(node, BreachKind::Messages, format!("asks for piece {} that it has", piece.0));
                }
            }
            Output::FetchUpstream { digest, first, count, .. } => {
                let geometry = self.blob_of(digest).map(|blob| self.blobs[blob.0 as usize].geometry);
                let end = first.0.checked_add(*count);
                if !geometry.is_some_and(|geometry| end.is_some_and(|end| *count > 0 && end <= geometry.pieces())) {
                    self.breach(node, BreachKind::Messages, format!("fetches {count} pieces from {}", first.0));
                }
                if self.members[node as usize].fetches.len() >= FETCHES_MAX {
                    self.breach(node, BreachKind::Bounds, format!("more than {FETCHES_MAX} runs fetched at once"));
                }
            }
            Output::Control { message, .. } => self.inspect_message(node, message),
            Output::Gossip { packet, .. } if packet.encoded_len() > GOSSIP_PLAIN_BYTES => {
                self.breach(node, BreachKind::Messages, format!("a datagram of {} bytes", packet.encoded_len()));
            }
            _ => {}
        }
    }

    fn inspect_serving(&mut self, node: u32, upload: UploadId) {
        let part = self.members[node as usize].uploads.iter().find(|open| open.id == upload).map(|open| open.part);
        let Some(part) = part else { return };
        if !self.members[node as usize].has(part) {
            self.breach(node, BreachKind::Unverified, format!("serves piece {} that it does not have", part.piece.0));
        }
        let Some(audit) = &mut self.audit else { return };
        audit.serving[node as usize].insert(upload);
        let serving = audit.serving[node as usize].len();
        if serving > self.setting.core.swarm.uploads_limit() {
            self.breach(node, BreachKind::Bounds, format!("serves {serving} pieces at once"));
        }
    }

    fn inspect_message(&mut self, node: u32, message: &ControlMessage) {
        let lacking = match message {
            ControlMessage::Hello { digest, have, .. } => self.first_lacking(node, digest, have.iter()),
            ControlMessage::Announce(announcement) => {
                self.first_lacking(node, &announcement.digest, announcement.have.iter())
            }
            ControlMessage::Have { digest, pieces, .. } => self.first_lacking(node, digest, pieces.iter()),
            _ => None,
        };
        if let Some(piece) = lacking {
            self.breach(node, BreachKind::Maps, format!("says that it has piece {}, which it does not", piece.0));
        }
        if let Err(error) = message.encode() {
            self.breach(node, BreachKind::Messages, format!("a message that cannot be encoded: {error}"));
        }
    }

    fn first_lacking(
        &self,
        node: u32,
        digest: &shoal_wire::digest::Digest,
        mut pieces: impl Iterator<Item = PieceIndex>,
    ) -> Option<PieceIndex> {
        let blob = self.blob_of(digest)?;
        let stored = self.members[node as usize].stored(blob);
        pieces.find(|piece| !stored.is_some_and(|stored| stored.have.has(*piece)))
    }
}

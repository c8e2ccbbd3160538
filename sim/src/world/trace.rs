//! A rolling hash over everything that nodes do and when: two runs with equal hashes were equal.

use shoal_core::event::{MemberEvent, Output, Refusal};
use shoal_wire::{control::ControlMessage, ids::MemberId};

use crate::time::Nanos;

/// The hash. Numbers only, no texts, so that it costs little.
#[derive(Clone, Debug)]
pub(super) struct Trace(blake3::Hasher);

impl Trace {
    pub(super) fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    /// Takes in what a node puts out. `bytes` is the length of a message's encoding, 0 for anything else.
    pub(super) fn note(&mut self, now: Nanos, node: u32, output: &Output, bytes: u32) {
        let (kind, numbers) = digits(output);
        let mut line = [0; 40];
        line[..8].copy_from_slice(&now.0.to_le_bytes());
        line[8..12].copy_from_slice(&node.to_le_bytes());
        line[12..16].copy_from_slice(&bytes.to_le_bytes());
        line[16..24].copy_from_slice(&kind.to_le_bytes());
        line[24..32].copy_from_slice(&numbers[0].to_le_bytes());
        line[32..].copy_from_slice(&numbers[1].to_le_bytes());
        self.0.update(&line);
    }

    /// The hash so far, as hex digits.
    pub(super) fn hash(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// What tells one output from another: its kind, and two numbers.
fn digits(output: &Output) -> (u64, [u64; 2]) {
    match output {
        Output::Gossip { to, packet } => (1, [u64::from(to.port()), packet.updates.len() as u64]),
        Output::Control { to, message } => (2, [prefix(*to), message_kind(message)]),
        Output::Answer { query, .. } => (3, [query.0, 0]),
        Output::AskUpstream { lookup, .. } => (4, [lookup.0, 0]),
        Output::RequestPiece { transfer, from, piece, .. } => {
            (5, [transfer.0 << 32 | u64::from(piece.0), prefix(*from)])
        }
        Output::CancelTransfer { transfer } => (6, [transfer.0, 0]),
        Output::Serve { upload } => (7, [upload.0, 0]),
        Output::Refuse { upload, refusal } => (8, [upload.0, refusal_kind(*refusal)]),
        Output::FetchUpstream { lease, first, count, .. } => {
            (9, [lease.lease.0, u64::from(first.0) << 32 | u64::from(*count)])
        }
        Output::CutFetch { lease, end } => (10, [lease.lease.0, u64::from(end.0)]),
        Output::BlobFailed { digest, .. } => (11, [first_bytes(digest.bytes()), 0]),
        Output::Member(event) => (12, member_event(event)),
    }
}

fn refusal_kind(refusal: Refusal) -> u64 {
    match refusal {
        Refusal::NotHeld => u64::MAX,
        Refusal::Busy(load) => u64::from(load.active) << 8 | u64::from(load.queued),
    }
}

fn message_kind(message: &ControlMessage) -> u64 {
    let piece = |kind: u64, piece: u32| kind << 32 | u64::from(piece);
    match message {
        ControlMessage::Membership(_) => 1,
        ControlMessage::Resolve { query, .. } => 2 << 32 | query.0 & 0xffff,
        ControlMessage::Resolution { query, .. } => 3 << 32 | query.0 & 0xffff,
        ControlMessage::Publish { .. } => 4,
        ControlMessage::Announce(announcement) => piece(5, announcement.have.count()),
        ControlMessage::Peers { peers, .. } => 6 << 32 | peers.len() as u64,
        ControlMessage::Withdraw { .. } => 7,
        ControlMessage::Lease { first, .. } => piece(8, first.0),
        ControlMessage::LeaseProgress { next, .. } => piece(9, next.0),
        ControlMessage::LeaseReturned { next, .. } => piece(10, next.0),
        ControlMessage::LeaseCut { end, .. } => piece(11, end.0),
        ControlMessage::SwarmFailed { .. } => 12,
        ControlMessage::Hello { have, .. } => piece(13, have.count()),
        ControlMessage::Have { pieces, .. } => piece(14, pieces.end()),
        ControlMessage::SlotFree { load } => 15 << 32 | u64::from(load.active),
        ControlMessage::Part { .. } => 16,
    }
}

fn member_event(event: &MemberEvent) -> [u64; 2] {
    match event {
        MemberEvent::Up(record) => [1, first_bytes(&record.public_key.0)],
        MemberEvent::Suspected(id) => [2, prefix(*id)],
        MemberEvent::Dead(id) => [3, prefix(*id)],
        MemberEvent::Left(id) => [4, prefix(*id)],
        MemberEvent::Forgotten(id) => [5, prefix(*id)],
    }
}

fn prefix(id: MemberId) -> u64 {
    first_bytes(&id.0)
}

fn first_bytes(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

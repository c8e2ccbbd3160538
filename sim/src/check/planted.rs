//! Bugs that the engine does not have, planted between nodes and their world, to see whether checks find them.

use std::collections::BTreeSet;

use shoal_core::event::{Input, Output, Refusal, UploadId};
use shoal_wire::{
    control::{ControlMessage, Load},
    geometry::PieceIndex,
    gossip::{MemberState, MemberUpdate, ReliableMessage},
    ids::MemberId,
    piece_map::PieceRuns,
};

use super::plan::Plan;
use crate::world::layer::Layer;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A node does not notice that a fetch has ended, and keeps its lease.
    KeptLease,
    /// A node's news about its pieces name the piece after each.
    ShiftedMap,
    /// A node serves what it should refuse because it does not have it.
    UnverifiedPiece,
    /// A node does not hear that it is suspected, and so does not refute.
    LostRefutation,
    /// Everybody is always busy where one node asks.
    StarvedRequester,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::KeptLease, Self::ShiftedMap, Self::UnverifiedPiece, Self::LostRefutation, Self::StarvedRequester];
}

/// The layer that has a bug, at one node.
#[derive(Debug)]
pub(super) struct Planted {
    bug: Bug,
    node: u32,
    ids: Vec<MemberId>,
    /// Uploads that the starved node asked for.
    of_the_starved: BTreeSet<UploadId>,
}

impl Planted {
    pub(super) fn new(bug: Bug, plan: &Plan, ids: Vec<MemberId>) -> Self {
        let nodes = u64::try_from(plan.nodes.len().max(1)).unwrap_or(1);
        let node = u32::try_from(plan.seed % nodes).unwrap_or(0);
        Self { bug, node, ids, of_the_starved: BTreeSet::new() }
    }

    fn own(&self) -> MemberId {
        self.ids[self.node as usize]
    }
}

impl Layer for Planted {
    fn input(&mut self, node: u32, input: Input) -> Option<Input> {
        match (self.bug, input) {
            (Bug::KeptLease, Input::LeaseEnded { .. }) if node == self.node => None,
            (Bug::LostRefutation, input) if node == self.node => Some(without_accusations(input, self.own())),
            (Bug::StarvedRequester, Input::PieceRequested { upload, from, digest, piece, urgency, held }) => {
                if from == self.own() {
                    self.of_the_starved.insert(upload);
                }
                Some(Input::PieceRequested { upload, from, digest, piece, urgency, held })
            }
            (_, input) => Some(input),
        }
    }

    fn output(&mut self, node: u32, output: Output) -> Option<Output> {
        match (self.bug, output) {
            (Bug::ShiftedMap, Output::Control { to, message: ControlMessage::Have { digest, pieces, held, load } })
                if node == self.node =>
            {
                let pieces = PieceRuns::from_ascending(pieces.iter().map(|piece| PieceIndex(piece.0 + 1)));
                Some(Output::Control { to, message: ControlMessage::Have { digest, pieces, held, load } })
            }
            (Bug::UnverifiedPiece, Output::Refuse { upload, refusal: Refusal::NotHeld }) => {
                Some(Output::Serve { upload })
            }
            (Bug::StarvedRequester, Output::Serve { upload }) if self.of_the_starved.contains(&upload) => {
                Some(Output::Refuse { upload, refusal: Refusal::Busy(Load { active: 5, queued: 1 }) })
            }
            (_, output) => Some(output),
        }
    }
}

/// What is said of all others.
fn without(mut members: Vec<MemberState>, own: MemberId) -> Vec<MemberState> {
    members.retain(|member| member.record.id() != own);
    members
}

/// An input as a node gets it that hears nothing bad of itself.
fn without_accusations(input: Input, own: MemberId) -> Input {
    let accuses = |update: &MemberUpdate| {
        update.named() == Some(own) && matches!(update, MemberUpdate::Suspect { .. } | MemberUpdate::Dead { .. })
    };
    match input {
        Input::Gossip { from, mut packet } => {
            packet.updates.retain(|update| !accuses(update));
            Input::Gossip { from, packet }
        }
        Input::Control { from, message: ControlMessage::Membership(message) } => {
            let message = match message {
                ReliableMessage::Probe { sequence, .. } => ReliableMessage::Probe { sequence, suspected: None },
                ReliableMessage::SnapshotPage { members, next } => {
                    ReliableMessage::SnapshotPage { members: without(members, own), next }
                }
                ReliableMessage::SyncBuckets { buckets, members } => {
                    ReliableMessage::SyncBuckets { buckets, members: without(members, own) }
                }
                ReliableMessage::SyncNews { members } => ReliableMessage::SyncNews { members: without(members, own) },
                message => message,
            };
            Input::Control { from, message: ControlMessage::Membership(message) }
        }
        input => input,
    }
}

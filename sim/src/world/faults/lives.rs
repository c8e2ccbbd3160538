//! Processes that end and begin again at the same address.
//!
//! A host whose process begins again does not know the connections of the last life: peers that still have one lose what
//! they send on it, until they notice that nothing comes, or hear of the new life. The new process connects anew.

use std::time::Duration;

use shoal_core::{
    event::{Input, TransferId},
    node::Node,
    rng::Stream,
};
use shoal_wire::{ids::Generation, member::MemberRecord};

use crate::{
    time::Nanos,
    world::{
        Event, Happening, World,
        build::{address, record},
    },
};

/// Time that a process which leaves has to say so, as in the runtime.
const LEAVE_DRAIN: Duration = Duration::from_millis(300);

impl World {
    /// A node that is down begins a new life, alone: it is told by [`World::join_through`] whom to join. Complete blobs are
    /// still there where the spool was kept; of others nothing is.
    pub fn restart(&mut self, node: u32, keeps_spool: bool) {
        if self.is_up(node) {
            return;
        }
        for peer in self.connected_peers(node) {
            self.forget_connection(node, peer);
            if self.is_up(peer) {
                self.troubles.orphans.insert((peer, node));
            }
        }
        let member = &mut self.members[node as usize];
        member.life += 1;
        let life = u64::from(member.life);
        let own = MemberRecord { generation: Generation(life + 1), ..record(&self.setting, node) };
        let seed = Stream::new(self.setting.seed, &format!("node {node} in life {life}")).bits();
        member.node = Node::new(self.setting.core.clone(), own, seed, self.now.to_core());
        member.is_up = true;
        member.is_watched = false;
        member.knows_upstream = false;
        member.wake_planned = Nanos::NEVER;
        member.stored.retain(|stored| keeps_spool && stored.is_verified);
        let found: Vec<_> = member.stored.iter().map(|stored| stored.blob).collect();
        self.troubles.lives.retain(|(hearer, _), _| *hearer != node);
        for blob in found {
            self.hold(node, blob);
        }
        self.plan_wake(node);
    }

    /// A node that is to begin later: it is down, as if it had never been.
    pub fn absent(&mut self, node: u32) {
        self.members[node as usize].is_up = false;
    }

    /// Tells a node whom to join.
    pub fn join_through(&mut self, node: u32, seeds: &[u32]) {
        let seeds = seeds.iter().filter(|seed| **seed != node).map(|seed| address(*seed)).collect();
        self.input(node, Input::Seeds(seeds));
    }

    /// A node announces its departure, and ends; [`Happening::Stopped`] follows.
    pub fn leave(&mut self, node: u32) {
        self.input(node, Input::Leave);
        let life = self.members[node as usize].life;
        self.schedule.push(self.now + LEAVE_DRAIN, Event::Stopped { node, life });
    }

    /// A process that left closes its connections.
    pub(in crate::world) fn stopped(&mut self, node: u32, life: u32) {
        if !self.is_up(node) || self.members[node as usize].life != life {
            return;
        }
        for peer in self.connected_peers(node) {
            self.lost(peer, node);
        }
        self.kill(node);
        self.happenings.push(Happening::Stopped { node });
    }

    /// A connection to a life that is over has been silent for too long.
    pub(in crate::world) fn orphaned(&mut self, node: u32, peer: u32, life: u32) {
        let is_over = !self.is_up(peer) && self.members[peer as usize].life == life;
        if self.is_up(node) && (is_over || self.is_orphan(node, peer)) {
            self.lost(node, peer);
        }
    }

    /// Whether a node's connection to a peer is one to an earlier life of it.
    pub(in crate::world) fn is_orphan(&self, node: u32, peer: u32) -> bool {
        !self.troubles.orphans.is_empty() && self.troubles.orphans.contains(&(node, peer))
    }

    /// A node hears of a new life of another: it closes the connection that it has.
    pub(in crate::world) fn note_life(&mut self, node: u32, record: &MemberRecord) {
        let Some(peer) = self.ids.number(record.id()) else { return };
        let before = self.troubles.lives.insert((node, peer), record.generation.0);
        if before.unwrap_or(1) != record.generation.0 {
            self.schedule.push(self.now, Event::Lost { node, peer });
        }
    }

    /// An input with the numbers that this life of a node has given out; nothing where they are those of an earlier one.
    pub(in crate::world) fn own_numbers(&self, node: u32, input: Input) -> Option<Input> {
        let member = &self.members[node as usize];
        if member.life == 0 {
            return Some(input);
        }
        let own = |transfer: TransferId| member.own_number(transfer);
        Some(match input {
            Input::PieceStored { transfer, injector } => Input::PieceStored { transfer: own(transfer)?, injector },
            Input::PieceProgress { transfer } => Input::PieceProgress { transfer: own(transfer)? },
            Input::PieceFailed { transfer, failure } => Input::PieceFailed { transfer: own(transfer)?, failure },
            input => input,
        })
    }
}

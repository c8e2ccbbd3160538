//! Processes that stop for a while and go on: what is sent to them waits in their host's buffers.

use crate::{
    time::Nanos,
    world::{Event, World},
};

/// What waits for a stopped process at most; more is lost, as in a full socket buffer.
const HELD_BACK_MAX: usize = 3000;

impl World {
    /// A node's process stops, and knows nothing of it until it goes on.
    pub fn pause(&mut self, node: u32) {
        if !self.is_up(node) || self.members[node as usize].paused.is_some() {
            return;
        }
        self.members[node as usize].paused = Some(self.now);
        self.troubles.paused += 1;
        self.set_link(node, self.members[node as usize].link);
        self.schedule.push(self.now + self.setting.paths.idle_timeout, Event::Silence);
    }

    /// A stopped process goes on, with everything that came meanwhile.
    pub fn resume(&mut self, node: u32) {
        if self.members[node as usize].paused.is_none() {
            return;
        }
        let waiting = std::mem::take(&mut self.members[node as usize].held_back);
        self.end_pause(node);
        for event in waiting {
            self.schedule.push(self.now, event);
        }
        self.members[node as usize].wake_planned = Nanos::NEVER;
        self.plan_wake(node);
    }

    /// A process is not stopped any more, because it goes on or because it ended.
    pub(super) fn end_pause(&mut self, node: u32) {
        if self.members[node as usize].paused.take().is_some() {
            self.troubles.paused -= 1;
            self.set_link(node, self.members[node as usize].link);
        }
        self.members[node as usize].held_back.clear();
    }

    /// Something waits for a process that is stopped.
    pub(in crate::world) fn hold_back(&mut self, node: u32, event: Event) {
        let held_back = &mut self.members[node as usize].held_back;
        if held_back.len() < HELD_BACK_MAX {
            held_back.push(event);
        }
    }

    /// Ends the connections of processes that have been stopped, and of nodes that have been cut off, for too long.
    pub(in crate::world) fn end_silent_connections(&mut self) {
        let patience = Nanos::from(self.setting.paths.idle_timeout);
        for node in 0..self.nodes() {
            if self.members[node as usize].paused.is_some_and(|since| self.now - since >= patience) {
                for peer in self.connected_peers(node) {
                    self.lost(peer, node);
                }
            }
        }
        let silent: Vec<_> = self.troubles.cuts.iter().filter(|(_, since)| self.now - **since >= patience).collect();
        let silent: Vec<(u32, u32)> = silent.into_iter().map(|(ends, _)| *ends).collect();
        for (from, to) in silent {
            if self.is_connected(from, to) {
                self.lost(from, to);
            }
        }
    }
}

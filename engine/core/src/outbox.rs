//! Where the machines of a node put what the driver must do.

use std::collections::VecDeque;

use shoal_wire::{control::ControlMessage, ids::MemberId};

use crate::event::Output;

/// Outputs for the driver, in order, and messages that the node sends to itself: a node is often a home of the blobs
/// that it wants, and takes the same path to itself as to others.
#[derive(Debug)]
pub(crate) struct Outbox {
    own: MemberId,
    outputs: VecDeque<Output>,
    local: VecDeque<ControlMessage>,
}

/// Places that an empty queue keeps.
const PLACES_KEPT: usize = 64;

/// Takes the first of a queue. What a burst took of the memory is given back with its last one: bursts are rare, and a
/// process may have many nodes.
pub(crate) fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() && queue.capacity() > PLACES_KEPT {
        *queue = VecDeque::new();
    }
    first
}

impl Outbox {
    pub(crate) fn new(own: MemberId) -> Self {
        Self { own, outputs: VecDeque::new(), local: VecDeque::new() }
    }

    pub(crate) fn own(&self) -> MemberId {
        self.own
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Sends a control message, to another member or to this node itself.
    pub(crate) fn send(&mut self, to: MemberId, message: ControlMessage) {
        if to == self.own {
            self.local.push_back(message);
        } else {
            self.outputs.push_back(Output::Control { to, message });
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Output> {
        pop(&mut self.outputs)
    }

    pub(crate) fn pop_local(&mut self) -> Option<ControlMessage> {
        self.local.pop_front()
    }
}

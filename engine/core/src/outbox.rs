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
        self.outputs.pop_front()
    }

    pub(crate) fn pop_local(&mut self) -> Option<ControlMessage> {
        self.local.pop_front()
    }
}

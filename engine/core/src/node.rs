//! The whole engine of one member.

use shoal_wire::member::MemberRecord;

use crate::{
    config::CoreConfig,
    event::{Input, Output},
    membership::Membership,
    time::Time,
};

/// One member of the swarm, without any I/O.
///
/// Order of calls: [`Node::handle`] with one input, then [`Node::poll_output`] until it is empty, then wait for the
/// next input or until [`Node::next_timeout`], whichever is first. Time never runs backwards between calls.
#[derive(Debug)]
pub struct Node {
    membership: Membership,
}

impl Node {
    /// A node that is a cluster of one. Equal arguments and equal inputs give equal outputs.
    pub fn new(config: CoreConfig, own: MemberRecord, seed: u64, now: Time) -> Self {
        Self { membership: Membership::new(config.membership, own, seed, now) }
    }

    /// Takes one input at time `now`.
    pub fn handle(&mut self, _now: Time, _input: Input) {}

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`Input::Timeout`] is due.
    pub fn next_timeout(&self) -> Option<Time> {
        self.membership.next_timeout()
    }

    /// This node's view of the cluster.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }
}

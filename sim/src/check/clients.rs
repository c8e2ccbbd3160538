//! Readers: each asks what its content is called, reads it, and begins again after a while where that fails, as a kubelet
//! does.

use std::time::Duration;

use shoal_wire::{
    control::NameOutcome,
    ids::QueryId,
    name::{ContentKind, Name, Reference},
};

use super::plan::Plan;
use crate::{
    time::Nanos,
    world::{BlobId, Happening, World},
};

/// Time after which a reader tries again.
const RETRY: Duration = Duration::from_secs(1);

/// All readers of a plan.
#[derive(Debug)]
pub(super) struct Clients {
    all: Vec<Client>,
    queries: u64,
    by_tag: bool,
    /// What the last one was told that failed, and when.
    pub(super) last_failure: Option<(Nanos, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    node: u32,
    blob: BlobId,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It begins at this time.
    Waiting(Nanos),
    /// It has asked for a name.
    Asking(QueryId),
    /// It reads.
    Reading,
    /// It went away in the middle.
    Away,
    /// It has everything.
    Done,
}

impl Clients {
    pub(super) fn new(plan: &Plan, start: Nanos) -> Self {
        let client = |pull: &super::plan::Pull| Client {
            node: pull.node,
            blob: BlobId(pull.blob),
            state: State::Waiting(start + Duration::from_millis(pull.at_ms)),
        };
        Self { all: plan.pulls.iter().map(client).collect(), queries: 0, by_tag: plan.by_tag, last_failure: None }
    }

    /// When the next reader begins.
    pub(super) fn next_at(&self) -> Option<Nanos> {
        let due = self.all.iter().filter_map(|client| match client.state {
            State::Waiting(at) => Some(at),
            _ => None,
        });
        due.min()
    }

    /// Begins those that are due. At a node that is down nobody reads.
    pub(super) fn begin_those_that_are_due(&mut self, world: &mut World) {
        let now = world.now();
        for index in 0..self.all.len() {
            let Client { node, blob, state } = self.all[index];
            if !matches!(state, State::Waiting(at) if at <= now) {
                continue;
            }
            if !world.is_up(node) {
                self.all[index].state = State::Waiting(now + RETRY);
                continue;
            }
            self.queries += 1;
            let query = QueryId(self.queries);
            self.all[index].state = State::Asking(query);
            let name = self.name(world, blob);
            world.resolve(node, query, name);
        }
    }

    fn name(&self, world: &World, blob: BlobId) -> Name {
        let (kind, reference) = if self.by_tag && blob.0 == 0 {
            (ContentKind::Manifest, Reference::Tag("v1".into()))
        } else {
            (ContentKind::Blob, Reference::Digest(world.digest(blob)))
        };
        Name { registry: "registry".into(), repository: "check/image".into(), kind, reference }
    }

    /// Goes on with what happened.
    pub(super) fn hear(&mut self, world: &mut World, happening: &Happening) {
        let again = State::Waiting(world.now() + RETRY);
        match happening {
            Happening::Answered { query, outcome, .. } => {
                let Some(index) = self.all.iter().position(|client| client.state == State::Asking(*query)) else {
                    return;
                };
                if let NameOutcome::Failed(failure) = outcome {
                    self.all[index].state = again;
                    self.note_failure(world.now(), format!("node {}: a name: {failure:?}", self.all[index].node));
                    return;
                }
                self.all[index].state = State::Reading;
                let Client { node, blob, .. } = self.all[index];
                world.want(node, blob);
                // Some read the end first, as readers of a range do.
                if (node + blob.0) % 4 == 0 {
                    world.demand_the_end(node, blob);
                }
            }
            Happening::Finished { node, blob } => self.turn(*node, *blob, State::Done),
            Happening::Failed { node, blob, failure } => {
                self.turn(*node, *blob, again);
                self.note_failure(world.now(), format!("node {node}: blob {}: {failure:?}", blob.0));
            }
            Happening::Corrupt { node, blob } | Happening::Broken { node, blob } => self.turn(*node, *blob, again),
            Happening::Stopped { node } => self.ended(world.now(), *node),
            Happening::Begun { .. } | Happening::Alarm { .. } => {}
        }
    }

    fn note_failure(&mut self, now: Nanos, what: String) {
        self.last_failure = Some((now, what));
    }

    fn turn(&mut self, node: u32, blob: BlobId, state: State) {
        for client in self.all.iter_mut().filter(|client| client.node == node && client.blob == blob) {
            if client.state == State::Reading {
                client.state = state;
            }
        }
    }

    /// A node's process is gone, and its readers' connections with it.
    pub(super) fn ended(&mut self, now: Nanos, node: u32) {
        for client in self.all.iter_mut().filter(|client| client.node == node) {
            if matches!(client.state, State::Asking(_) | State::Reading) {
                client.state = State::Waiting(now + RETRY);
            }
        }
    }

    /// A reader goes away in the middle.
    pub(super) fn go_away(&mut self, world: &mut World, node: u32, blob: u32) {
        let reads = |client: &&mut Client| (client.node, client.blob.0, client.state) == (node, blob, State::Reading);
        if let Some(client) = self.all.iter_mut().find(reads) {
            client.state = State::Away;
            world.stop_reading(node, BlobId(blob));
        }
    }

    /// It comes back.
    pub(super) fn come_back(&mut self, now: Nanos, node: u32, blob: u32) {
        for client in self.all.iter_mut().filter(|client| client.node == node && client.blob.0 == blob) {
            if client.state == State::Away {
                client.state = State::Waiting(now);
            }
        }
    }

    /// Whether all readers at nodes that live have everything.
    pub(super) fn are_done(&self, lives: impl Fn(u32) -> bool) -> bool {
        self.all.iter().all(|client| client.state == State::Done || !lives(client.node))
    }

    /// Those that live and do not have everything, for people.
    pub(super) fn stuck(&self, world: &World, lives: impl Fn(u32) -> bool) -> String {
        let stuck = self.all.iter().filter(|client| client.state != State::Done && lives(client.node));
        let describe = |client: &Client| {
            let Client { node, blob, state } = client;
            format!("node {node} has {} pieces of blob {} ({state:?})", world.pieces_at(*node, *blob), blob.0)
        };
        let mut words: Vec<String> = stuck.map(describe).collect();
        let more = words.len().saturating_sub(4);
        words.truncate(4);
        format!("{}{}", words.join(", "), if more > 0 { format!(", and {more} more") } else { String::new() })
    }
}

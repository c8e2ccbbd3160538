//! The table of links: which members have one, whether it is in use, and which ends where there are too many.

use std::{collections::HashMap, ops::Deref};

use quinn::Connection;
use shoal_wire::{control::ControlMessage, ids::MemberId};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::net::peers::Established;

/// Links at once. Beyond it one that is not in use ends, and is dialled again when it is wanted: the home of a blob may have
/// to do with more members than this.
const LINKS_MAX: usize = 1024;

/// An open connection, and what is under way on it.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) connection: Connection,
    /// Transfers of both directions. Closed once the link begins to end: later ones take another connection.
    pub(crate) transfers: TaskTracker,
    /// Cancelled when no message of the peer follows, because it ended its control stream or the connection is lost.
    pub(crate) finished: CancellationToken,
}

impl Line {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, transfers: TaskTracker::new(), finished: CancellationToken::new() }
    }

    /// The connection for a transfer. `None` where it is lost or about to end.
    pub(crate) fn hold(&self) -> Option<HeldConnection> {
        // Counted first, so that whoever ends the link waits for this transfer or is seen here.
        let transfer = self.transfers.token();
        let is_open = self.connection.close_reason().is_none() && !self.transfers.is_closed();
        is_open.then(|| HeldConnection { connection: self.connection.clone(), _transfer: transfer })
    }
}

/// A connection that is in use by a transfer as long as this lives.
pub(crate) struct HeldConnection {
    connection: Connection,
    _transfer: TaskTrackerToken,
}

impl Deref for HeldConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// What a link is doing.
#[derive(Clone)]
pub(crate) enum LinkState {
    Dialling,
    Up(Line),
    Down,
}

/// A link, as those see it who have something for the member. Its task ends once this is dropped and all that was queued
/// is delivered.
pub(super) struct Link {
    pub(super) serial: u64,
    pub(super) outbound: mpsc::Sender<ControlMessage>,
    pub(super) offers: mpsc::Sender<Established>,
    pub(super) state: watch::Receiver<LinkState>,
    pub(super) end: CancellationToken,
    pub(super) used: Instant,
}

impl Link {
    /// Whether messages or transfers would have to wait for its end, or break off.
    fn is_in_use(&self) -> bool {
        let is_queued = self.outbound.capacity() < self.outbound.max_capacity();
        is_queued
            || match &*self.state.borrow() {
                LinkState::Dialling => true,
                LinkState::Up(line) => !line.transfers.is_empty(),
                LinkState::Down => false,
            }
    }
}

/// All links of a node, at most one to each member.
pub(super) struct Links {
    pub(super) by_member: HashMap<MemberId, Link>,
    serials: u64,
    most: usize,
    /// The tasks of all links, those included that are about to end.
    running: TaskTracker,
}

impl Default for Links {
    fn default() -> Self {
        Self { by_member: HashMap::new(), serials: 0, most: LINKS_MAX, running: TaskTracker::new() }
    }
}

impl Links {
    /// A number that no link had before, and what counts the new link's task.
    pub(super) fn next(&mut self) -> (u64, TaskTrackerToken) {
        self.serials += 1;
        (self.serials, self.running.token())
    }

    /// Ends the link that was used least recently where there are too many, one that is not in use if there is any. It
    /// ends quietly, unless as many as there may be links are ending already.
    pub(super) fn make_room(&mut self) {
        if self.by_member.len() < self.most {
            return;
        }
        let spare = self.by_member.iter().min_by_key(|(_, link)| (link.is_in_use(), link.used)).map(|(id, _)| *id);
        if let Some(link) = spare.and_then(|id| self.by_member.remove(&id))
            && self.running.len() >= 2 * self.most
        {
            link.end.cancel();
        }
    }

    #[cfg(test)]
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most;
    }
}

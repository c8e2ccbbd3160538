//! The whole table for a joiner, page by page over the control stream.
//!
//! The joiner asks for each page, so that it sets the pace, and may go on with another member where the first one
//! fails: pages are in the order of ids, wherever they come from. A member serves a bounded number of joiners at once
//! and names others to the rest.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use shoal_wire::{
    gossip::{BUSY_ALTERNATIVES, MemberState, ReliableMessage, Standing},
    ids::MemberId,
    member::MemberRecord,
};

use super::{
    Membership,
    timer::Timer,
    update::{Departure, Spread},
};
use crate::time::Time;

/// Encoded bytes of members in one message, well below the limit of a control frame.
pub(super) const PAGE_BYTES: usize = 48 * 1024;

/// Members that have answered an introduction and may be asked for a snapshot.
const SOURCES_MAX: usize = 32;

/// Of the members that a busy one names, this many are asked.
const ALTERNATIVES_TRIED: usize = 3;

/// First wait after a failed attempt; doubles up to the configuration's `seed_retry_max`.
const RETRY_MIN: Duration = Duration::from_millis(500);

/// A joiner that asked for no page for this long has gone.
const SERVED_FOR: Duration = Duration::from_secs(5);

/// After a snapshot, digests are compared within this time, for what changed meanwhile.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// This node's own snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct SnapshotClient {
    done: bool,
    /// The member that was asked for a page.
    source: Option<MemberId>,
    sources: VecDeque<MemberId>,
    after: Option<MemberId>,
    failures: u32,
}

/// Joiners that are being served, with the time of their latest request.
#[derive(Clone, Debug, Default)]
pub(super) struct SnapshotServer(BTreeMap<MemberId, Time>);

impl SnapshotClient {
    /// There is nothing to ask for.
    pub(super) fn done() -> Self {
        Self { done: true, ..Self::default() }
    }
}

impl SnapshotServer {
    /// Whether there is room for `joiner`.
    fn admit(&mut self, now: Time, joiner: MemberId, max: usize) -> bool {
        if self.0.len() >= max {
            self.0.retain(|_, &mut last| now < last + SERVED_FOR);
        }
        let admitted = self.0.len() < max || self.0.contains_key(&joiner);
        if admitted {
            self.0.insert(joiner, now);
        }
        admitted
    }
}

impl Membership {
    /// A member answered an introduction.
    pub(super) fn offer_snapshot_source(&mut self, now: Time, source: MemberId) {
        if self.snapshot.done || self.members.alive(source).is_none() {
            return;
        }
        if self.snapshot.sources.len() < SOURCES_MAX && !self.snapshot.sources.contains(&source) {
            self.snapshot.sources.push_back(source);
        }
        if self.snapshot.source.is_none() && self.snapshot.failures == 0 {
            self.continue_snapshot(now);
        }
    }

    /// Asks for the next page, of another member where the last one did not answer.
    pub(super) fn continue_snapshot(&mut self, now: Time) {
        if self.snapshot.source.is_some() {
            // The page did not come.
            self.snapshot_failed(now);
            return;
        }
        match self.next_source() {
            Some(source) => self.ask_for_page(now, source),
            None => self.snapshot_failed(now),
        }
    }

    fn next_source(&mut self) -> Option<MemberId> {
        while let Some(source) = self.snapshot.sources.pop_front() {
            if self.members.alive(source).is_some() {
                return Some(source);
            }
        }
        self.members.pick(&mut self.random, 1, |_, _| true).pop()
    }

    fn ask_for_page(&mut self, now: Time, source: MemberId) {
        self.snapshot.source = Some(source);
        self.set_timer(Timer::Snapshot, now, self.config.snapshot_timeout);
        let after = self.snapshot.after;
        self.send_reliable(source, ReliableMessage::SnapshotRequest { after });
    }

    fn snapshot_failed(&mut self, now: Time) {
        self.snapshot.source = None;
        let wait = RETRY_MIN * (1 << self.snapshot.failures.min(10));
        self.snapshot.failures = self.snapshot.failures.saturating_add(1);
        let wait = self.random.jittered(wait.min(self.config.seed_retry_max));
        self.set_timer(Timer::Snapshot, now, wait);
    }

    /// The control stream to a member could not be had.
    pub(super) fn snapshot_unreachable(&mut self, now: Time, to: MemberId) {
        if self.snapshot.source == Some(to) {
            // It may be that it does not know this node's key yet: it is asked again when others do not answer.
            self.snapshot.sources.push_back(to);
            self.snapshot.sources.truncate(SOURCES_MAX);
            self.snapshot_failed(now);
        }
    }

    /// A page came.
    pub(super) fn take_snapshot_page(
        &mut self,
        now: Time,
        from: MemberId,
        members: Vec<MemberState>,
        next: Option<MemberId>,
    ) {
        if self.snapshot.done || self.snapshot.source != Some(from) {
            return;
        }
        let advances = next.is_none_or(|next| Some(next) > self.snapshot.after);
        if !advances {
            self.stats.malformed += 1;
            self.snapshot_failed(now);
            return;
        }
        self.remember_departed(now, &members);
        // The cluster knows them already.
        self.merge(now, from, members, Spread::No);
        self.snapshot.after = next;
        if next.is_some() {
            self.ask_for_page(now, from);
        } else {
            self.snapshot = SnapshotClient::done();
            self.timers.cancel(Timer::Snapshot);
            self.sync_within(now, CHECK_WITHIN);
        }
    }

    fn remember_departed(&mut self, now: Time, members: &[MemberState]) {
        for MemberState { record, standing } in members {
            let (departure, since_s) = match standing {
                Standing::Alive | Standing::Suspect => continue,
                Standing::Dead { since_s } => (Departure::Dead, *since_s),
                Standing::Left { since_s } => (Departure::Left, *since_s),
            };
            if record.id() != self.own_id {
                self.remember_gone(now, Arc::clone(record), departure, Duration::from_secs(u64::from(since_s)));
            }
        }
    }

    /// The member that was asked has too many joiners. Others are introduced to first, for they must have this node's
    /// key before they accept its connection.
    pub(super) fn take_snapshot_busy(&mut self, now: Time, from: MemberId, others: &[Arc<MemberRecord>]) {
        if self.snapshot.source != Some(from) {
            return;
        }
        self.snapshot_failed(now);
        for other in others.iter().take(BUSY_ALTERNATIVES.min(ALTERNATIVES_TRIED)) {
            self.apply_record(now, other, Spread::No);
            if other.is_usable() && other.id() != self.own_id {
                let sequence = self.prober.next_sequence();
                self.introduce(other.address, sequence);
            }
        }
        // Their answers may start the next attempt at once.
        self.snapshot.failures = 0;
    }

    /// Serves a page to a joiner.
    pub(super) fn serve_snapshot(&mut self, now: Time, joiner: MemberId, after: Option<MemberId>) {
        if !self.snapshots.admit(now, joiner, self.config.snapshots_max) {
            self.stats.snapshots_refused += 1;
            let others = self.members.pick(&mut self.random, BUSY_ALTERNATIVES, |id, _| id != joiner);
            let others = others.iter().filter_map(|&id| self.members.get(id));
            let others = others.map(|member| member.record()).collect();
            self.send_reliable(joiner, ReliableMessage::SnapshotBusy { others });
            return;
        }
        self.stats.snapshots_served += u64::from(after.is_none());
        let (members, next) = self.snapshot_page(now, after);
        if next.is_none() {
            self.snapshots.0.remove(&joiner);
        }
        self.send_reliable(joiner, ReliableMessage::SnapshotPage { members, next });
    }

    fn snapshot_page(&self, now: Time, after: Option<MemberId>) -> (Vec<MemberState>, Option<MemberId>) {
        let mut page = Vec::new();
        let mut last = None;
        let mut room = PAGE_BYTES;
        for (id, member) in self.members.after(after) {
            let state = member.state(now, self.config.remember);
            let length = state.encoded_len();
            if length > room {
                return (page, last);
            }
            room -= length;
            page.push(state);
            last = Some(id);
        }
        (page, None)
    }
}

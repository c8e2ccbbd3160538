//! Injection: how content gets from the upstream into the cluster, about once.
//!
//! The coordinating home of a blob leases disjoint runs of pieces, ascending, to a few of the nodes that want it. Each
//! fetches its run by a range request and shares every piece as soon as it has it. A home that does not coordinate only
//! keeps announcements, so that it can take over. All state is soft: announcements carry all that a home needs.

mod concurrency;
mod coordination;
mod introduction;
mod lease;
mod participant;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use shoal_wire::{
    control::{Announcement, ControlMessage, LeaseEnd},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::{LeaseId, MemberId},
};

use self::record::Record;
use crate::{
    census::Census, config::InjectionConfig, directory::members::AliveMembers, outbox::Outbox, rng::Stream, time::Time,
    timers::Timers,
};

/// What a home does at one moment with: the time, where messages go, and its random numbers.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) random: &'a mut Stream,
    pub(crate) config: &'a InjectionConfig,
}

/// A home's records of blobs. Bounded by [`InjectionConfig::blobs_max`]; the longest unused goes first.
#[derive(Debug)]
pub(crate) struct Injection {
    config: InjectionConfig,
    random: Stream,
    records: BTreeMap<Digest, Record>,
    timers: Timers<Digest>,
}

impl Injection {
    pub(crate) fn new(config: InjectionConfig, seed: u64) -> Self {
        let random = Stream::new(seed, "injection");
        Self { config, random, records: BTreeMap::new(), timers: Timers::default() }
    }

    /// Size of the blob, where somebody has all of it or can fetch it.
    pub(crate) fn announced_size(&self, now: Time, digest: &Digest) -> Option<u64> {
        self.records.get(digest).filter(|record| record.is_obtainable(now)).map(Record::size)
    }

    /// A member announces.
    pub(crate) fn handle_announce(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        from: MemberId,
        announcement: &Announcement,
        members: AliveMembers<'_>,
    ) {
        let digest = announcement.digest;
        let Ok(geometry) = Geometry::of(announcement.size) else { return };
        if announcement.have.pieces() != geometry.pieces() {
            return;
        }
        self.make_room(&digest);
        let record = self.records.entry(digest).or_insert_with(|| Record::new(digest, geometry, members, now));
        record.follow_members(members);
        let mut context = Context { now, outbox, random: &mut self.random, config: &self.config };
        record.handle_announce(&mut context, from, announcement, geometry, members);
        self.schedule(now, &digest);
    }

    /// A member neither wants nor holds the blob any more.
    pub(crate) fn handle_withdraw(&mut self, now: Time, outbox: &mut Outbox, from: MemberId, digest: &Digest) {
        self.with_record(now, outbox, digest, |record, context| record.remove(context, from));
    }

    /// A lease holder got further.
    pub(crate) fn handle_progress(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        from: MemberId,
        digest: &Digest,
        lease: LeaseId,
        next: PieceIndex,
    ) {
        self.with_record(now, outbox, digest, |record, context| record.handle_progress(context, from, lease, next));
    }

    /// A lease ended at its holder.
    pub(crate) fn handle_returned(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        from: MemberId,
        digest: &Digest,
        lease: LeaseId,
        (next, end): (PieceIndex, LeaseEnd),
    ) {
        self.with_record(now, outbox, digest, |record, context| {
            record.handle_returned(context, from, lease, next, end);
        });
    }

    /// A member died or left: what it had is gone.
    pub(crate) fn handle_gone(&mut self, now: Time, outbox: &mut Outbox, member: MemberId) {
        for digest in self.digests_of(member) {
            self.with_record(now, outbox, &digest, |record, context| record.remove(context, member));
        }
    }

    /// A member was not reached: unless it announces itself soon, what it had is not counted on.
    pub(crate) fn handle_unreachable(&mut self, now: Time, outbox: &mut Outbox, member: MemberId) {
        for digest in self.digests_of(member) {
            self.with_record(now, outbox, &digest, |record, context| record.question(context, member));
        }
    }

    /// Membership changed: another home may be first for what this node coordinates.
    pub(crate) fn handle_change(&mut self, own: MemberId, members: AliveMembers<'_>) {
        for record in self.records.values_mut().filter(|record| record.is_coordinated()) {
            record.handle_change(own, members);
        }
    }

    /// Acts on the records whose time has come.
    pub(crate) fn handle_timeout(&mut self, now: Time, outbox: &mut Outbox) {
        while let Some(digest) = self.timers.pop(now) {
            self.with_record(now, outbox, &digest, Record::handle_tick);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Adds what a home keeps.
    pub(crate) fn count(&self, census: &mut Census) {
        census.records = self.records.len();
        for record in self.records.values() {
            let (participants, leases) = record.size_of_tables();
            census.participants = census.participants.max(participants);
            census.leases_given = census.leases_given.max(leases);
        }
    }

    fn digests_of(&self, member: MemberId) -> Vec<Digest> {
        self.records.iter().filter(|(_, record)| record.knows(member)).map(|(&digest, _)| digest).collect()
    }

    fn with_record(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        digest: &Digest,
        act: impl FnOnce(&mut Record, &mut Context<'_>),
    ) {
        let Some(record) = self.records.get_mut(digest) else { return };
        let mut context = Context { now, outbox, random: &mut self.random, config: &self.config };
        act(record, &mut context);
        if record.is_unused() {
            self.records.remove(digest);
            self.timers.cancel(*digest);
        } else {
            self.schedule(now, digest);
        }
    }

    fn schedule(&mut self, now: Time, digest: &Digest) {
        let Some(record) = self.records.get(digest) else { return };
        if record.needs_ticks() {
            let tick = now + self.config.tick;
            let due = record.listening_until().filter(|&until| until > now).map_or(tick, |until| until.min(tick));
            self.timers.set_earlier(*digest, due);
        }
    }

    /// Forgets the longest unused record where a new one would exceed the bound.
    fn make_room(&mut self, digest: &Digest) {
        if self.records.len() < self.config.blobs_max || self.records.contains_key(digest) {
            return;
        }
        let oldest = self.records.iter().min_by_key(|(_, record)| record.last_used()).map(|(&digest, _)| digest);
        if let Some(oldest) = oldest {
            self.records.remove(&oldest);
            self.timers.cancel(oldest);
        }
    }
}

/// Refuses a wanter: nobody can get the blob.
fn refuse(outbox: &mut Outbox, to: MemberId, digest: Digest, failure: shoal_wire::control::UpstreamFailure) {
    outbox.send(to, ControlMessage::SwarmFailed { digest, failure });
}

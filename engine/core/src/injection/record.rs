//! What a home knows about one blob: who announced it, and, where it coordinates, the leases.

use std::{collections::BTreeMap, time::Duration};

use shoal_wire::{
    control::{Announcement, ControlMessage, LeaseEnd, UpstreamFailure},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::{LeaseId, MemberId},
};

use super::{
    Context,
    coordination::Coordination,
    introduction::{Introduction, Roll},
    participant::Participant,
    refuse,
};
use crate::{
    directory::{
        members::{AliveMembers, Settling},
        rendezvous::{Homes, Key},
    },
    time::Time,
};

/// One of so many wanters, and two where there are more than two, must miss the coordinating home before another one
/// takes over.
const TAKEOVER_SHARE: usize = 32;

/// One blob at one of its homes.
#[derive(Debug)]
pub(super) struct Record {
    digest: Digest,
    geometry: Geometry,
    homes: Homes,
    /// Changes of membership that the homes take into account.
    homes_as_of: u64,
    participants: BTreeMap<MemberId, Participant>,
    /// Participants that want the blob.
    wanters: usize,
    roll: Roll,
    coordination: Option<Coordination>,
    failed: Option<(Time, UpstreamFailure)>,
    used: Time,
}

impl Record {
    pub(super) fn new(digest: Digest, geometry: Geometry, members: AliveMembers<'_>, now: Time) -> Self {
        Self {
            digest,
            geometry,
            homes: members.homes(Key::of_digest(&digest)),
            homes_as_of: members.changes(),
            participants: BTreeMap::new(),
            wanters: 0,
            roll: Roll::default(),
            coordination: None,
            failed: None,
            used: now,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.geometry.size()
    }

    /// Ranks the homes again where membership changed: many announce, and members are many.
    pub(super) fn follow_members(&mut self, members: AliveMembers<'_>) {
        if self.homes_as_of != members.changes() {
            self.homes = members.homes(Key::of_digest(&self.digest));
            self.homes_as_of = members.changes();
        }
    }

    /// Membership changed. Where another home is first now, it coordinates; leases at work come to their end.
    pub(super) fn handle_change(&mut self, own: MemberId, members: AliveMembers<'_>) {
        self.follow_members(members);
        let is_first = self.homes.rank_of(own) == Some(0);
        if !is_first && self.coordination.as_ref().is_some_and(|coordination| !coordination.took_over) {
            self.coordination = None;
        }
    }

    pub(super) fn last_used(&self) -> Time {
        self.used
    }

    pub(super) fn knows(&self, member: MemberId) -> bool {
        self.participants.contains_key(&member)
    }

    pub(super) fn is_unused(&self) -> bool {
        self.participants.is_empty() && self.failed.is_none()
    }

    pub(super) fn is_coordinated(&self) -> bool {
        self.coordination.is_some()
    }

    /// Participants, and leases at work.
    pub(super) fn size_of_tables(&self) -> (usize, usize) {
        (self.participants.len(), self.coordination.as_ref().map_or(0, Coordination::leases))
    }

    /// When it may give out leases, where it only listens until then.
    pub(super) fn listening_until(&self) -> Option<Time> {
        self.coordination.as_ref().map(Coordination::hold_until)
    }

    pub(super) fn needs_ticks(&self) -> bool {
        self.coordination.is_some()
            || self.failed.is_some()
            || self.wanters > 0
            || self.participants.values().any(|peer| peer.questioned_at.is_some())
    }

    /// Whether somebody holds all of it or may fetch it.
    pub(super) fn is_obtainable(&self, now: Time) -> bool {
        self.participants.values().any(|peer| peer.is_trusted() && (peer.have.is_full() || peer.might_lease(now)))
    }

    pub(super) fn handle_announce(
        &mut self,
        context: &mut Context<'_>,
        from: MemberId,
        announcement: &Announcement,
        geometry: Geometry,
        members: AliveMembers<'_>,
    ) {
        self.used = context.now;
        if geometry != self.geometry && !self.adopt_size(from, geometry) {
            return;
        }
        if announcement.have.is_full() {
            // It was said while nobody had the blob, or while this one was away.
            self.failed = None;
        }
        if let Some(failure) = self.recent_failure(context.now).filter(|_| announcement.wants) {
            return refuse(context.outbox, from, self.digest, failure);
        }
        if !self.knows(from) && self.participants.len() >= context.config.participants_max {
            // It is named to nobody and gets no lease, but it finds peers. Left without an answer it would take this home
            // for lost, and fetch the whole blob for itself.
            return self.answer(context, members, from, announcement.wants);
        }
        self.update_participant(context, from, announcement);
        for &member in &announcement.unreachable {
            self.question(context, member);
            self.take_complaint(context, from, member, announcement.wants);
        }
        self.consider_coordinating(context, announcement, members.settling(context.now));
        self.answer(context, members, from, announcement.wants);
        self.work(context);
    }

    /// Another size than before: believed only while nobody else has announced the blob.
    fn adopt_size(&mut self, from: MemberId, geometry: Geometry) -> bool {
        let is_alone = self.participants.keys().all(|&member| member == from);
        if is_alone {
            self.participants.clear();
            self.wanters = 0;
            self.coordination = None;
            self.geometry = geometry;
        }
        is_alone
    }

    fn recent_failure(&self, now: Time) -> Option<UpstreamFailure> {
        self.failed.filter(|&(until, _)| now < until).map(|(_, failure)| failure)
    }

    fn update_participant(&mut self, context: &mut Context<'_>, from: MemberId, announcement: &Announcement) {
        let pieces = self.geometry.pieces();
        let participant = self.participants.entry(from).or_insert_with(|| {
            self.wanters += 1;
            Participant::new(context.now, pieces)
        });
        self.wanters = self.wanters + usize::from(announcement.wants) - usize::from(participant.wants);
        let lost = participant.update(context.now, announcement);
        if let Some(coordination) = &mut self.coordination {
            coordination.hear(context, from, announcement);
            if lost || participant.disputed {
                coordination.recount(&self.participants);
            } else {
                coordination.add_available(announcement);
            }
        }
    }

    /// Whether so many wanters say that better homes do not answer that it is not for their own way to those: two homes
    /// that coordinate at once give out the same pieces.
    fn is_missing_a_coordinator(&self, context: &Context<'_>) -> bool {
        let wanters = self.wanters;
        let lately = context.config.refresh_for(wanters, true) * 2;
        let enough_of_few = if wanters > 2 { 2 } else { 1 };
        let asks =
            |peer: &&Participant| peer.wants && peer.asks_takeover.is_some_and(|at| context.now.since(at) <= lately);
        self.participants.values().filter(asks).count() >= wanters.div_ceil(TAKEOVER_SHARE).max(enough_of_few)
    }

    /// Starts to coordinate where this node is the first home, or where wanters say that better homes do not answer.
    fn consider_coordinating(&mut self, context: &mut Context<'_>, announcement: &Announcement, settling: Settling) {
        let is_first = self.homes.rank_of(context.outbox.own()) == Some(0);
        let takes_over = announcement.takeover && self.is_missing_a_coordinator(context);
        if let Some(coordination) = &mut self.coordination {
            if takes_over || is_first {
                coordination.needed_at = context.now;
            }
            coordination.took_over |= takes_over && !is_first;
            return;
        }
        if !announcement.wants || !(is_first || takes_over) {
            return;
        }
        // Whoever may have coordinated before has given out leases that this node does not know: it listens first.
        let is_fresh = !announcement.takeover && announcement.have.is_empty() && announcement.leases.is_empty();
        let is_one_piece = self.geometry.pieces() == 1;
        let is_home = self.homes.rank_of(context.outbox.own()).is_some();
        let collect = match (settling, is_fresh) {
            (Settling::Joining, _) => context.config.collect_joining,
            // No home answered: one that is only slow has another moment.
            (_, false) if !is_home => context.config.collect * 3,
            (_, false) => context.config.collect,
            // Fetching one piece twice costs less than waiting.
            (Settling::Changed, true) if is_one_piece => Duration::ZERO,
            (Settling::Changed, true) => context.config.collect_unsettled,
            (Settling::Settled, true) => Duration::ZERO,
        };
        let mut coordination = Coordination::new(context.now, self.digest, self.geometry, collect, context.config);
        coordination.took_over = takes_over && !is_first;
        coordination.recount(&self.participants);
        self.coordination = Some(coordination);
    }

    fn answer(&mut self, context: &mut Context<'_>, members: AliveMembers<'_>, to: MemberId, wants: bool) {
        let refresh = context.config.refresh_for(self.wanters, wants);
        let introduction = if wants {
            let key = Key::of_digest(&self.digest);
            self.roll.refresh(context.now, &self.participants, members, key);
            self.roll.introduce(context.random, members, to)
        } else {
            Introduction::default()
        };
        context.outbox.send(
            to,
            ControlMessage::Peers {
                digest: self.digest,
                peers: introduction.peers,
                gateways: introduction.gateways,
                coordinates: self.coordination.is_some(),
                refresh_ms: u32::try_from(refresh.as_millis()).unwrap_or(u32::MAX),
            },
        );
    }

    pub(super) fn remove(&mut self, context: &mut Context<'_>, member: MemberId) {
        let Some(removed) = self.participants.remove(&member) else { return };
        self.wanters -= usize::from(removed.wants);
        if let Some(coordination) = &mut self.coordination {
            coordination.drop_holder(member);
            coordination.recount(&self.participants);
        }
        self.work(context);
    }

    /// Somebody could not reach `member`: it is asked to announce itself, and doubted where it does not.
    pub(super) fn question(&mut self, context: &mut Context<'_>, member: MemberId) {
        let interval = context.config.question_patience;
        let participant = self.participants.get_mut(&member);
        if !participant.is_some_and(|peer| peer.start_question(context.now, interval)) {
            return;
        }
        let coordinates = self.coordination.is_some();
        let question = ControlMessage::Peers {
            digest: self.digest,
            peers: Vec::new(),
            gateways: Vec::new(),
            coordinates,
            refresh_ms: 0,
        };
        context.outbox.send(member, question);
    }

    /// A wanter cannot get from `member` what that says to have. Where this goes on although the member answers, because
    /// its disk turns bits or because the two do not reach each other, others have to bring in again what it has.
    fn take_complaint(&mut self, context: &mut Context<'_>, by: MemberId, member: MemberId, wants: bool) {
        let (gap, patience) = (self.complaint_gap(context), context.config.dispute_patience);
        let Some(participant) = self.participants.get_mut(&member).filter(|_| wants && by != member) else { return };
        if participant.complain(context.now, by, gap, patience)
            && let Some(coordination) = &mut self.coordination
        {
            coordination.recount(&self.participants);
        }
    }

    /// Complaints that are further apart are not one dispute.
    fn complaint_gap(&self, context: &Context<'_>) -> Duration {
        context.config.refresh_for(self.wanters, true) * 2 + context.config.dispute_patience / 2
    }

    fn doubt(&mut self, context: &mut Context<'_>, member: MemberId) {
        let Some(participant) = self.participants.get_mut(&member) else { return };
        if std::mem::replace(&mut participant.doubted, true) {
            return;
        }
        if let Some(coordination) = &mut self.coordination {
            coordination.recount(&self.participants);
        }
        self.work(context);
    }

    pub(super) fn handle_progress(
        &mut self,
        context: &mut Context<'_>,
        from: MemberId,
        lease: LeaseId,
        next: PieceIndex,
    ) {
        // Most that are no further only say that the lease is alive.
        if let Some(coordination) = &mut self.coordination
            && coordination.advance(context.now, &mut self.participants, from, lease, next)
        {
            self.work(context);
        }
    }

    pub(super) fn handle_returned(
        &mut self,
        context: &mut Context<'_>,
        from: MemberId,
        lease: LeaseId,
        next: PieceIndex,
        end: LeaseEnd,
    ) {
        if let Some(coordination) = &mut self.coordination {
            coordination.advance(context.now, &mut self.participants, from, lease, next);
            coordination.take_back(context, &mut self.participants, from, lease, end);
        }
        self.work(context);
    }

    pub(super) fn handle_tick(&mut self, context: &mut Context<'_>) {
        self.doubt_the_silent(context);
        if self.failed.is_some_and(|(until, _)| until <= context.now) {
            self.failed = None;
        }
        self.settle_disputes(context);
        let is_first = self.homes.rank_of(context.outbox.own()) == Some(0);
        let refresh = context.config.refresh_for(self.wanters, true);
        if let Some(coordination) = &mut self.coordination {
            coordination.expire(context, &mut self.participants);
            let unneeded = !is_first && context.now.since(coordination.needed_at) > refresh * 3;
            if unneeded || self.wanters == 0 {
                self.coordination = None;
            }
        }
        self.work(context);
    }

    fn settle_disputes(&mut self, context: &Context<'_>) {
        let gap = self.complaint_gap(context);
        let settled = self.participants.values_mut().filter_map(|peer| peer.settle(context.now, gap).then_some(()));
        if settled.count() > 0
            && let Some(coordination) = &mut self.coordination
        {
            coordination.recount(&self.participants);
        }
    }

    /// Doubts members that missed several announcements, and forgets those that missed many.
    fn doubt_the_silent(&mut self, context: &mut Context<'_>) {
        let refresh = context.config.refresh_for(self.wanters, true);
        let held = context.config.refresh_held;
        let missed = |peer: &Participant, announcements: u32| {
            let interval = if peer.wants { refresh } else { held };
            context.now.since(peer.last_seen) > interval * announcements
        };
        let forgotten: Vec<_> =
            self.participants.iter().filter(|(_, peer)| missed(peer, 60)).map(|(&member, _)| member).collect();
        let silent: Vec<_> = self
            .participants
            .iter()
            .filter(|(_, peer)| {
                let unanswered =
                    peer.questioned_at.is_some_and(|at| context.now.since(at) > context.config.question_patience);
                !peer.doubted && (unanswered || missed(peer, 4))
            })
            .map(|(&member, _)| member)
            .collect();
        for member in silent {
            self.doubt(context, member);
        }
        for member in forgotten {
            self.remove(context, member);
        }
    }

    /// Gives out what leases it can, and gives up where nobody can get the blob.
    fn work(&mut self, context: &mut Context<'_>) {
        let Some(coordination) = &mut self.coordination else { return };
        coordination.grant(context, &self.participants);
        if let Some(failure) = coordination.hopeless(context, &self.participants) {
            self.fail(context, failure);
        }
    }

    fn fail(&mut self, context: &mut Context<'_>, failure: UpstreamFailure) {
        self.failed = Some((context.now + context.config.failure_freshness(failure), failure));
        self.coordination = None;
        let digest = self.digest;
        self.wanters = 0;
        self.participants.retain(|&member, peer| {
            if peer.wants {
                refuse(context.outbox, member, digest, failure);
            }
            !peer.wants
        });
    }
}

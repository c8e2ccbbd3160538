//! The coordinating home's work for one blob: give out leases, watch them, take them back.

mod granting;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use shoal_wire::{
    control::{Announcement, ControlMessage, LeaseEnd, UpstreamFailure},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::{LeaseId, MemberId},
    piece_map::PieceMap,
};

use super::{Context, concurrency::Concurrency, lease::Lease, participant::Participant};
use crate::{config::InjectionConfig, time::Time};

/// How often the patience with a lease doubles at most.
const TAKEN_BACK_MAX: u32 = 3;

/// Longest that the messages of a holder on a slow link may take.
const MESSAGES_MAX: Duration = Duration::from_secs(10);

type Participants = BTreeMap<MemberId, Participant>;

/// Leases of one blob and what decides about the next one.
#[derive(Debug)]
pub(super) struct Coordination {
    digest: Digest,
    geometry: Geometry,
    /// Pieces that some participant has who can be counted on.
    available: PieceMap,
    leases: BTreeMap<LeaseId, Lease>,
    /// What holders work on for another home.
    foreign: BTreeMap<MemberId, Foreign>,
    concurrency: Concurrency,
    /// No lease before this time: it listens first, or the upstream asked for a pause.
    hold_until: Time,
    /// When the first lease may be given.
    opened_at: Time,
    /// Since when the upstream has failed without a piece in between, and how often.
    failing_since: Option<Time>,
    failures: u32,
    last_failure: UpstreamFailure,
    /// Since when there is work that nobody may do.
    stuck_since: Option<Time>,
    /// The upstream ignores ranges: one lease covers everything.
    whole_only: bool,
    hedged: u32,
    /// Leases taken back of late, less pieces that came since: each doubles the patience, because an upstream that gives
    /// each lease less than before would otherwise have all of them taken back again and again.
    taken_back: u32,
    /// A lease without a piece for this long is late.
    late_after: Option<Duration>,
    /// When somebody last needed this home to coordinate.
    pub(super) needed_at: Time,
    /// Whether this node coordinates because a wanter asked it to take over, and not as the first home.
    pub(super) took_over: bool,
}

/// What one holder works on for another home.
#[derive(Clone, Debug)]
struct Foreign {
    runs: Vec<Range<u32>>,
    /// Pieces that the holder has.
    held: u32,
    /// Since when it has not got any further, whichever leases it names: they count for nothing after a while.
    since: Time,
}

impl Coordination {
    pub(super) fn new(
        now: Time,
        digest: Digest,
        geometry: Geometry,
        collect: Duration,
        config: &InjectionConfig,
    ) -> Self {
        Self {
            digest,
            geometry,
            available: PieceMap::empty(geometry.pieces()),
            leases: BTreeMap::new(),
            foreign: BTreeMap::new(),
            concurrency: Concurrency::new(now, config),
            hold_until: now + collect,
            opened_at: now + collect,
            failing_since: None,
            failures: 0,
            last_failure: UpstreamFailure::Unavailable,
            stuck_since: None,
            whole_only: false,
            hedged: 0,
            taken_back: 0,
            late_after: None,
            needed_at: now,
            took_over: false,
        }
    }

    /// No lease is given before this time.
    pub(super) fn hold_until(&self) -> Time {
        self.hold_until
    }

    /// Leases that are given out.
    pub(super) fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Adds what an announcement has.
    pub(super) fn add_available(&mut self, announcement: &Announcement) {
        self.available.union(&announcement.have);
        if announcement.wants {
            self.concurrency.note_lacking(self.available.count() - announcement.have.count());
        }
    }

    /// Computes anew which pieces are about, after somebody lost some or was lost.
    pub(super) fn recount(&mut self, participants: &Participants) {
        self.available = PieceMap::empty(self.geometry.pieces());
        for participant in participants.values().filter(|participant| participant.is_trusted()) {
            self.available.union(&participant.have);
        }
    }

    /// A holder announced: its leases are alive, and those that it does not know are lost.
    pub(super) fn hear(&mut self, context: &Context<'_>, from: MemberId, announcement: &Announcement) {
        let now = context.now;
        let known = |id: &LeaseId| announcement.leases.iter().any(|span| span.lease == *id);
        let lost_after = self.patience_with_messages(context.config.lease_lost_after);
        self.leases.retain(|id, lease| lease.holder != from || known(id) || now.since(lease.granted_at) < lost_after);
        for lease in self.leases.values_mut().filter(|lease| lease.holder == from) {
            lease.heard_at = now;
        }
        let foreign = announcement.leases.iter().filter(|span| !self.leases.contains_key(&span.lease));
        let runs: Vec<_> = foreign.map(|span| span.next.0..span.end.0).collect();
        let held = announcement.have.count();
        let before = self.foreign.remove(&from).filter(|before| held <= before.held);
        if !runs.is_empty() {
            self.foreign.insert(from, Foreign { runs, held, since: before.map_or(now, |before| before.since) });
        }
    }

    /// A holder reports that everything before `next` is done. Says whether that is further than before.
    pub(super) fn advance(
        &mut self,
        now: Time,
        participants: &mut Participants,
        from: MemberId,
        id: LeaseId,
        next: PieceIndex,
    ) -> bool {
        // What one lease alone gets says nothing about what each of several gets.
        let is_alone = self.leases.len() == 1 && self.concurrency.limit() > 1;
        let Some(lease) = self.leases.get_mut(&id).filter(|lease| lease.holder == from) else { return false };
        let elapsed = now.since(lease.advanced_at);
        let done = lease.advance(now, next);
        if done.is_empty() {
            return false;
        }
        let bytes = done.clone().map(|piece| self.geometry.len(PieceIndex(piece))).sum();
        self.concurrency.count(bytes);
        self.failing_since = None;
        self.failures = 0;
        self.taken_back = self.taken_back.saturating_sub(1);
        let mut participant = participants.get_mut(&from);
        let is_disputed = participant.as_ref().is_some_and(|participant| participant.disputed);
        for piece in done.map(PieceIndex) {
            if !is_disputed {
                self.available.insert(piece);
            }
            if let Some(participant) = &mut participant {
                participant.have.insert(piece);
                participant.note_injected();
            }
        }
        if let Some(participant) = participant.filter(|_| !is_alone) {
            participant.measure(bytes, elapsed);
        }
        if lease.remaining() == 0 {
            self.leases.remove(&id);
        }
        true
    }

    /// A lease ended at its holder; the rest of it can be given out again.
    pub(super) fn take_back(
        &mut self,
        context: &mut Context<'_>,
        participants: &mut Participants,
        from: MemberId,
        id: LeaseId,
        end: LeaseEnd,
    ) {
        let was_ours = self.leases.get(&id).is_some_and(|lease| lease.holder == from);
        if was_ours {
            self.leases.remove(&id);
            // Whoever gives back a lease undone would only give back the next one too.
            if let Some(holder) = participants.get_mut(&from) {
                holder.bar(context.now + context.config.backoff_min);
            }
        }
        match end {
            LeaseEnd::NoRanges if was_ours => self.stream_whole(context, from),
            LeaseEnd::Failed(failure) if was_ours => self.note_failure(context, participants.get_mut(&from), failure),
            // The word of one that has no lease counts for nothing.
            LeaseEnd::Done | LeaseEnd::Abandoned | LeaseEnd::NoRanges | LeaseEnd::Failed(_) => {}
        }
    }

    fn note_failure(&mut self, context: &Context<'_>, holder: Option<&mut Participant>, failure: UpstreamFailure) {
        let now = context.now;
        self.last_failure = failure;
        self.failures += 1;
        self.failing_since.get_or_insert(now);
        let backoff = (context.config.backoff_min * (1 << self.failures.min(8))).min(context.config.backoff_max);
        let Some(holder) = holder else { return };
        match failure {
            UpstreamFailure::Denied | UpstreamFailure::NoUpstream => holder.deny(now + context.config.backoff_max),
            UpstreamFailure::NotFound => holder.bar(now + context.config.backoff_max),
            UpstreamFailure::RateLimited { retry_after_s } => {
                self.concurrency.halve();
                self.hold_until =
                    now + Duration::from_secs(u64::from(retry_after_s)).clamp(backoff, Duration::from_secs(60));
            }
            UpstreamFailure::Unavailable | UpstreamFailure::WrongContent => {
                holder.bar(now + backoff);
                self.hold_until = self.hold_until.max(now + context.config.backoff_min);
            }
        }
    }

    /// The upstream sends the whole blob or nothing: one holder streams it, all other leases end.
    fn stream_whole(&mut self, context: &mut Context<'_>, holder: MemberId) {
        let is_streaming = std::mem::replace(&mut self.whole_only, true) && !self.leases.is_empty();
        if is_streaming {
            return;
        }
        for (lease, cut) in std::mem::take(&mut self.leases) {
            self.cut(context, cut.holder, lease, cut.next);
        }
        self.give(context, holder, 0, self.geometry.pieces());
    }

    /// A participant is gone, and its leases with it.
    pub(super) fn drop_holder(&mut self, member: MemberId) {
        self.leases.retain(|_, lease| lease.holder != member);
        self.foreign.remove(&member);
    }

    /// Takes back leases whose holder is silent or stands still.
    pub(super) fn expire(&mut self, context: &mut Context<'_>, participants: &mut Participants) {
        let now = context.now;
        let stalled_after = self.stalled_after(context.config, participants);
        let silent_after = self.patience_with_messages(context.config.lease_silence);
        let expired: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, lease)| {
                now.since(lease.heard_at) > silent_after || now.since(lease.advanced_at) > stalled_after
            })
            .map(|(&id, lease)| (id, lease.holder, lease.next))
            .collect();
        let is_too_slow = |(id, ..): &&(LeaseId, _, _)| now.since(self.leases[id].advanced_at) > stalled_after;
        let stalled: BTreeSet<_> = expired.iter().filter(is_too_slow).map(|&(_, holder, _)| holder).collect();
        for holder in &stalled {
            if let Some(participant) = participants.get_mut(holder) {
                participant.note_stalled(self.leases_of(*holder));
            }
        }
        if !stalled.is_empty() && Self::typical_rate(participants).is_none() {
            // Nobody has got a piece in all the time: fewer get theirs sooner.
            self.concurrency.halve();
        }
        for (id, holder, next) in expired {
            self.taken_back = (self.taken_back + 1).min(TAKEN_BACK_MAX);
            self.leases.remove(&id);
            self.cut(context, holder, id, next);
            if let Some(participant) = participants.get_mut(&holder) {
                participant.bar(now + context.config.slow_bar);
            }
        }
        for foreign in self.foreign.values_mut() {
            if now.since(foreign.since) > context.config.lease_stalled_unknown {
                foreign.runs.clear();
            }
        }
        let saturated = self.at_work(now) >= self.concurrency.limit();
        self.concurrency.tick(now, saturated, self.geometry.piece_bytes());
        self.late_after = self.piece_time(participants).map(|time| (time * 4).max(context.config.late_min));
    }

    /// How long to wait for a word of a holder: where pieces take long, messages wait behind them, and are lost and sent again
    /// as they are. A lease taken back too early is a second copy of its pieces.
    fn patience_with_messages(&self, least: Duration) -> Duration {
        least.max(self.late_after.unwrap_or_default().min(MESSAGES_MAX))
    }

    /// A lease without a piece for this long stands still: many times what a piece takes at the median rate.
    fn stalled_after(&self, config: &InjectionConfig, participants: &Participants) -> Duration {
        let patience = self
            .piece_time(participants)
            .map_or(config.lease_stalled_unknown, |time| (time * 8).max(config.lease_stalled_min));
        patience * (1 << self.taken_back)
    }

    /// Median rate at which members fetch, of those that have shown one, in bytes per second.
    fn typical_rate(participants: &Participants) -> Option<f64> {
        let mut rates: Vec<_> = participants.values().filter_map(Participant::rate).collect();
        let middle = rates.len() / 2;
        (!rates.is_empty()).then(|| *rates.select_nth_unstable_by(middle, f64::total_cmp).1)
    }

    /// What a piece takes from the upstream at the median rate of those that have shown one.
    fn piece_time(&self, participants: &Participants) -> Option<Duration> {
        let median = Self::typical_rate(participants)?;
        let piece_s = self.geometry.piece_bytes() as f64 / median.max(1.0);
        Some(Duration::from_secs_f64(piece_s.min(60.0)))
    }

    /// Pieces that are about or leased.
    fn covered(&self) -> PieceMap {
        let mut covered = self.available.clone();
        let own = self.leases.values().map(|lease| lease.next..lease.end);
        let foreign = self.foreign.values().flat_map(|foreign| &foreign.runs).cloned();
        for run in own.chain(foreign) {
            covered.insert_range(run);
        }
        covered
    }

    /// Leases that use the upstream. One that is late may be lost, and does not keep others from working.
    fn at_work(&self, now: Time) -> u32 {
        let is_late = |lease: &Lease| self.late_after.is_some_and(|late| now.since(lease.advanced_at) > late);
        let at_work = self.leases.values().filter(|lease| lease.counts() && !is_late(lease)).count();
        u32::try_from(at_work).unwrap_or(u32::MAX)
    }

    fn cut(&self, context: &mut Context<'_>, holder: MemberId, lease: LeaseId, end: u32) {
        let end = PieceIndex(end);
        context.outbox.send(holder, ControlMessage::LeaseCut { digest: self.digest, lease, end });
    }

    /// Why nobody can get the blob, once that is certain.
    pub(super) fn hopeless(&mut self, context: &Context<'_>, participants: &Participants) -> Option<UpstreamFailure> {
        let now = context.now;
        if now < self.hold_until && self.failing_since.is_none() || self.covered().is_full() {
            self.stuck_since = None;
            return None;
        }
        if self.failing_since.is_some() && self.last_failure == UpstreamFailure::NotFound && self.leases.is_empty() {
            return Some(UpstreamFailure::NotFound);
        }
        // Readers that have bytes already can wait longer than those that wait for the first.
        let patience =
            if self.available.is_empty() { context.config.give_up_after } else { context.config.give_up_started };
        if self.failing_since.is_some_and(|since| now.since(since) > patience) {
            return Some(self.last_failure);
        }
        if participants.values().any(|peer| peer.might_lease(now)) || !self.leases.is_empty() {
            self.stuck_since = None;
            return None;
        }
        let denied = participants.values().any(|peer| peer.is_denied(now));
        let since = *self.stuck_since.get_or_insert(now);
        let patience = match () {
            () if denied => Duration::ZERO,
            // Somebody has what is missing, and may be back in a moment.
            () if participants.values().any(|peer| peer.have.intersects_missing(&self.available)) => {
                context.config.give_up_after
            }
            () => context.config.stuck_patience,
        };
        (now.since(since) >= patience).then_some(if denied { self.last_failure } else { UpstreamFailure::NotFound })
    }
}

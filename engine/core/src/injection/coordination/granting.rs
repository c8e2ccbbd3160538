//! Giving out leases: to whom, which pieces, how many, and help for those that are slow.

use shoal_wire::{
    control::ControlMessage,
    geometry::PieceIndex,
    ids::{LeaseId, MemberId},
    piece_map::PieceMap,
};

use super::{Coordination, Participants};
use crate::{
    config::InjectionConfig,
    injection::{
        Context,
        lease::Lease,
        participant::{Participant, bytes_at},
    },
};

/// A holder that has shown no rate gets a run of this part of the usual time.
const UNKNOWN_SHARE: u32 = 4;

/// One that gets less than this share of what the fastest gets is slow.
const SLOW_SHARE: f64 = 1.0 / 3.0;

/// The first piece of a blob of at least so many may be brought in twice.
const OPENING_PIECES_MIN: u32 = 100;

impl Coordination {
    /// Gives out leases while the limit, the work and the wanters allow.
    pub(in crate::injection) fn grant(&mut self, context: &mut Context<'_>, participants: &Participants) {
        if context.now < self.hold_until {
            return;
        }
        let covered = self.covered();
        if self.whole_only {
            return self.grant_whole(context, participants, &covered);
        }
        let mut covered = covered;
        while self.at_work(context.now) < self.concurrency.limit()
            && self.leases.len() < self.leases_max(context.config)
        {
            if self.is_opening(context) && !self.leases.is_empty() {
                return;
            }
            // To choose among all who announced themselves takes long where they are many, and each of them comes here.
            if covered.is_full() && !self.leases.values().any(|lease| self.may_be_helped(lease)) {
                return;
            }
            let Some(holder) = self.choose_holder(context, participants) else { return };
            if self.opens_late(holder) {
                self.hedge(context, holder, 0);
                continue;
            }
            let holding = participants.get(&holder);
            // What a disputed one has counts for nothing, and it would give a lease of that back at once.
            let with_its_own = holding.filter(|holder| holder.disputed).map(|disputed| {
                let mut covered = covered.clone();
                covered.union(&disputed.have);
                covered
            });
            let taken = with_its_own.as_ref().unwrap_or(&covered);
            let Some(mut run) = self.next_run(taken, context.config, participants, holder) else {
                return self.help_the_slowest(context, participants, holder);
            };
            if self.is_opening(context) {
                run.end = run.start + 1;
            }
            run.clone().for_each(|piece| {
                covered.insert(PieceIndex(piece));
            });
            self.give(context, holder, run.start, run.end - run.start);
        }
    }

    /// Leases at once, late ones included: an upstream that stands still is not asked again and again until all pieces
    /// are leased.
    fn leases_max(&self, config: &InjectionConfig) -> usize {
        usize::try_from(self.concurrency.limit() + config.leases_max).unwrap_or(usize::MAX)
    }

    fn grant_whole(&mut self, context: &mut Context<'_>, participants: &Participants, covered: &PieceMap) {
        let is_needed = self.leases.is_empty() && !covered.is_full();
        if is_needed && let Some(holder) = self.choose_holder(context, participants) {
            self.give(context, holder, 0, self.geometry.pieces());
        }
    }

    /// The wanter with the fewest leases, then the fewest pieces brought in; among equals a random one. Slow ones
    /// last, and those that the upstream did not let after them.
    fn choose_holder(&self, context: &mut Context<'_>, participants: &Participants) -> Option<MemberId> {
        let best = participants.values().filter_map(Participant::rate).fold(0.0, f64::max);
        let most = participants.values().filter(|peer| peer.wants).map(|peer| peer.have.count()).max().unwrap_or(0);
        let now = context.now;
        let progresses = participants.values().filter(|peer| peer.wants).filter_map(|peer| peer.progress(now));
        let fastest = progresses.fold(0.0, f64::max);
        // Slow from the upstream may be chance; behind in pieces may be a late comer. Whoever gets less of everything has a
        // slow link, though it may not have shown its rate from the upstream: the last pieces would wait for it.
        let is_slow = |peer: &Participant| match peer.rate() {
            Some(rate) => rate < best / 2.0 && peer.have.count() < most / 2,
            None => peer.progress(now).is_some_and(|progress| progress < fastest * SLOW_SHARE),
        };
        participants
            .iter()
            .filter(|(_, participant)| participant.may_lease(context.now))
            .filter(|&(&member, participant)| participant.has_room(|| self.leases_of(member)))
            .min_by_key(|&(&member, participant)| {
                (
                    participant.disputed,
                    participant.was_denied(),
                    is_slow(participant),
                    self.leases_of(member),
                    participant.injected,
                    context.random.bits(),
                )
            })
            .map(|(&member, _)| member)
    }

    /// Leases that a member has.
    pub(super) fn leases_of(&self, member: MemberId) -> u32 {
        u32::try_from(self.leases.values().filter(|lease| lease.holder == member).count()).unwrap_or(u32::MAX)
    }

    /// Whether the first piece is still on its way, alone: it has the upstream's whole link, so that readers have bytes and
    /// peers have something to share early, and those that announce themselves meanwhile get the next leases.
    fn is_opening(&self, context: &Context<'_>) -> bool {
        self.available.is_empty() && context.now.since(self.opened_at) < context.config.opening_max
    }

    /// Whether the first piece is awaited for longer than it should be, from one member alone, which may be a slow one: all
    /// readers wait for it. Of a blob of few pieces it would be too large a part to be brought in twice.
    fn opens_late(&self, helper: MemberId) -> bool {
        let is_worth_it = self.hedged == 0 && self.geometry.pieces() >= OPENING_PIECES_MIN;
        is_worth_it
            && self.available.is_empty()
            && self.leases.values().any(|lease| lease.next == 0 && lease.holder != helper)
    }

    /// The first pieces that nobody has or fetches: about a second's worth at the holder's rate, a quarter of it at that of the
    /// others where it has shown none. In a large swarm nearly every lease is its holder's first; if each were short, the
    /// upstream would spend its time on beginnings.
    fn next_run(
        &self,
        covered: &PieceMap,
        config: &InjectionConfig,
        participants: &Participants,
        holder: MemberId,
    ) -> Option<std::ops::Range<u32>> {
        let first = covered.first_missing(PieceIndex(0))?.0;
        let piece_bytes = self.geometry.piece_bytes();
        let time = config.run_time;
        let target = participants
            .get(&holder)
            .and_then(|holder| holder.bytes_in(time))
            .or_else(|| Self::typical_rate(participants).map(|rate| bytes_at(rate, time / UNKNOWN_SHARE)))
            .unwrap_or(config.run_bytes_start);
        let left = self.geometry.pieces() - covered.count();
        let share = left.div_ceil(2 * self.concurrency.limit()).max(1);
        let wanted = u32::try_from(target.min(config.run_bytes_max) / piece_bytes).unwrap_or(u32::MAX).clamp(1, share);
        let end = (first..first.saturating_add(wanted).min(self.geometry.pieces()))
            .find(|&piece| covered.has(PieceIndex(piece)))
            .unwrap_or_else(|| first.saturating_add(wanted).min(self.geometry.pieces()));
        Some(first..end)
    }

    /// All is given out, and a wanter is idle: it takes half of the lease that will end last, or repeats its last piece.
    fn help_the_slowest(&mut self, context: &mut Context<'_>, participants: &Participants, helper: MemberId) {
        let now = context.now;
        let typical = participants
            .values()
            .filter_map(Participant::rate)
            .fold(None, |best: Option<f64>, rate| Some(best.map_or(rate, |best| best.max(rate))));
        let Some(typical) = typical else { return };
        let piece_s = |rate: f64| self.geometry.piece_bytes() as f64 / rate.max(1.0);
        let left_s = |lease: &Lease| {
            let rate = participants.get(&lease.holder).and_then(Participant::rate).unwrap_or(typical);
            let waited = now.since(lease.advanced_at).as_secs_f64();
            f64::from(lease.remaining()) * piece_s(rate).max(waited)
        };
        let slowest = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.holder != helper && self.may_be_helped(lease))
            .max_by(|(_, a), (_, b)| left_s(a).total_cmp(&left_s(b)))
            .map(|(&id, lease)| (id, lease.holder, lease.next, lease.end, left_s(lease)));
        let Some((id, holder, next, end, left)) = slowest else { return };
        if left < context.config.help_after.as_secs_f64().max(3.0 * piece_s(typical)) {
            return;
        }
        if end - next >= 2 {
            let middle = next + (end - next).div_ceil(2);
            if let Some(lease) = self.leases.get_mut(&id) {
                lease.end = middle;
            }
            self.cut(context, holder, id, middle);
            self.give(context, helper, middle, end - middle);
        } else {
            self.hedge(context, helper, next);
        }
    }

    /// Whether some of its pieces are nowhere yet: others may have repeated them. What repeats a piece is not helped.
    fn may_be_helped(&self, lease: &Lease) -> bool {
        !lease.is_hedge && (lease.next..lease.end).any(|piece| !self.available.has(PieceIndex(piece)))
    }

    /// Repeats one piece, for at most 2 % of the pieces.
    fn hedge(&mut self, context: &mut Context<'_>, helper: MemberId, piece: u32) {
        let is_hedged = self.leases.values().any(|lease| lease.is_hedge && lease.next == piece);
        if is_hedged || self.hedged >= (self.geometry.pieces() / 50).max(1) {
            return;
        }
        self.hedged += 1;
        let id = self.give(context, helper, piece, 1);
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.is_hedge = true;
        }
    }

    pub(super) fn give(&mut self, context: &mut Context<'_>, holder: MemberId, first: u32, count: u32) -> LeaseId {
        let id = LeaseId(context.random.bits());
        self.leases.insert(id, Lease::new(context.now, holder, first, count));
        context
            .outbox
            .send(holder, ControlMessage::Lease { digest: self.digest, lease: id, first: PieceIndex(first), count });
        id
    }
}

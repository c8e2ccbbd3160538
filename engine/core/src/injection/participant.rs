//! A member that wants or holds a blob, as a home sees it.

use std::time::Duration;

use shoal_wire::{control::Announcement, ids::MemberId, piece_map::PieceMap};

use crate::{pace::Pace, progress::Progress, time::Time};

/// Time that a member must have been seen before its progress means anything.
const PROGRESS_SEEN_MIN: Duration = Duration::from_secs(3);

/// What is known of a member's upstream counts for so much when it brings in another piece.
const PACE_KEPT: f64 = 0.7;

/// One member's complaints about another.
#[derive(Clone, Copy, Debug)]
struct Dispute {
    by: MemberId,
    since: Time,
    last: Time,
}

/// One announcer of one blob.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Four independent facts; there is no state machine among them.
pub(super) struct Participant {
    pub(super) have: PieceMap,
    pub(super) wants: bool,
    can_lease: bool,
    /// Gets no lease before this time: its upstream failed, or it was too slow.
    barred_until: Time,
    /// Its upstream did not let it, and is not asked by it before this time.
    denied_until: Option<Time>,
    pub(super) last_seen: Time,
    /// When it announced itself first, and how many pieces it had then.
    progress: Option<Progress>,
    /// When it last asked this home to coordinate in another's place, if its last announcement did.
    pub(super) asks_takeover: Option<Time>,
    /// It is silent, or somebody could not reach it and it did not answer this home either: what it has is not
    /// counted on.
    pub(super) doubted: bool,
    /// Since when an answer to this home's question is awaited.
    pub(super) questioned_at: Option<Time>,
    /// When it was last asked, whether it answered or not.
    last_question: Option<Time>,
    /// Who says, again and again, that it does not deliver, although it answers this home.
    dispute: Option<Dispute>,
    /// Whether that has lasted: what it has is not counted on.
    pub(super) disputed: bool,
    /// Pieces that it brought in.
    pub(super) injected: u32,
    /// Leases that it may have at once, where some of several stood still: they share its link.
    leases_max: Option<u32>,
    /// How fast its upstream is.
    pace: Pace,
}

impl Participant {
    pub(super) fn new(now: Time, pieces: u32) -> Self {
        Self {
            have: PieceMap::empty(pieces),
            wants: true,
            can_lease: false,
            barred_until: Time::ZERO,
            denied_until: None,
            last_seen: now,
            progress: None,
            asks_takeover: None,
            doubted: false,
            questioned_at: None,
            last_question: None,
            dispute: None,
            disputed: false,
            injected: 0,
            leases_max: None,
            pace: Pace::default(),
        }
    }

    /// Takes over what it announces; says whether it lost pieces that it had announced before.
    pub(super) fn update(&mut self, now: Time, announcement: &Announcement) -> bool {
        let lost = self.have.iter().any(|piece| !announcement.have.has(piece));
        self.have = announcement.have.clone();
        self.wants = announcement.wants;
        self.can_lease = announcement.can_lease;
        self.last_seen = now;
        self.progress.get_or_insert(Progress::new(now, announcement.have.count()));
        self.asks_takeover = announcement.takeover.then_some(now);
        self.doubted = false;
        self.questioned_at = None;
        lost
    }

    /// Notes that it is being asked whether it is there. Says `false` where it was asked less than `interval` ago: two members
    /// that complain about each other, and answer, would have each other asked without a pause.
    pub(super) fn start_question(&mut self, now: Time, interval: Duration) -> bool {
        let is_asked = self.questioned_at.is_some() || self.last_question.is_some_and(|at| now.since(at) < interval);
        if !is_asked {
            self.questioned_at = Some(now);
            self.last_question = Some(now);
        }
        !is_asked
    }

    /// Whether what it has can be counted on.
    pub(super) fn is_trusted(&self) -> bool {
        !self.doubted && !self.disputed
    }

    /// `by` says that it does not deliver. Says whether it is not counted on from now on.
    pub(super) fn complain(&mut self, now: Time, by: MemberId, gap: Duration, patience: Duration) -> bool {
        let dispute = self.dispute.filter(|dispute| now.since(dispute.last) <= gap);
        let dispute = dispute.unwrap_or(Dispute { by, since: now, last: now });
        if dispute.by != by {
            return false;
        }
        self.dispute = Some(Dispute { last: now, ..dispute });
        let lasts = now.since(dispute.since) >= patience;
        lasts && !std::mem::replace(&mut self.disputed, true)
    }

    /// Forgets a dispute that nobody has kept up for `gap`. Says whether it is counted on again.
    pub(super) fn settle(&mut self, now: Time, gap: Duration) -> bool {
        if self.dispute.is_none_or(|dispute| now.since(dispute.last) <= gap) {
            return false;
        }
        self.dispute = None;
        std::mem::take(&mut self.disputed)
    }

    /// Pieces that it gets in a second, from wherever, once it has been seen for a while.
    pub(super) fn progress(&self, now: Time) -> Option<f64> {
        self.progress?.rate(now, self.have.count(), PROGRESS_SEEN_MIN)
    }

    /// Whether it may be given a lease now.
    pub(super) fn may_lease(&self, now: Time) -> bool {
        self.might_lease(now) && !self.doubted && self.barred_until <= now
    }

    /// Whether it may be given a lease, now or after a failure has passed.
    pub(super) fn might_lease(&self, now: Time) -> bool {
        self.wants && self.can_lease && self.denied_until.is_none_or(|until| until <= now)
    }

    /// Whether its upstream refused it a short while ago.
    pub(super) fn is_denied(&self, now: Time) -> bool {
        self.wants && self.can_lease && !self.might_lease(now)
    }

    /// Whether its upstream refused it the last time.
    pub(super) fn was_denied(&self) -> bool {
        self.denied_until.is_some()
    }

    pub(super) fn bar(&mut self, until: Time) {
        self.barred_until = self.barred_until.max(until);
    }

    pub(super) fn deny(&mut self, until: Time) {
        self.denied_until = Some(until);
    }

    /// It brought in a piece.
    pub(super) fn note_injected(&mut self) {
        self.injected += 1;
        self.denied_until = None;
        self.leases_max = self.leases_max.map(|max| max.saturating_add(1));
    }

    /// One of the `leases` that it has stood still: it may have half as many, and one more with each piece that it brings in.
    /// (AIMD, Chiu and Jain 1989.)
    pub(super) fn note_stalled(&mut self, leases: u32) {
        self.leases_max = Some((leases / 2).max(1));
    }

    /// Whether it may have another lease besides so many.
    pub(super) fn has_room(&self, leases: impl FnOnce() -> u32) -> bool {
        self.leases_max.is_none_or(|max| leases() < max)
    }

    /// Its upstream rate in bytes per second, once it has shown one.
    pub(super) fn rate(&self) -> Option<f64> {
        self.pace.rate()
    }

    /// Bytes that its upstream gives it in `time`, once its rate is known.
    pub(super) fn bytes_in(&self, time: Duration) -> Option<u64> {
        self.rate().map(|rate| bytes_at(rate, time))
    }

    /// Takes one measurement of its upstream rate into the moving average.
    pub(super) fn measure(&mut self, bytes: u64, elapsed: Duration) {
        self.pace.note(bytes, elapsed, PACE_KEPT);
    }
}

/// Bytes that come in `time` at `rate` bytes per second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A rate is not negative, and `as` saturates.
pub(super) fn bytes_at(rate: f64, time: Duration) -> u64 {
    (rate * time.as_secs_f64()) as u64
}

//! Telling the homes of a blob what this node has, and finding the home that coordinates.

use std::time::Duration;

use shoal_wire::ids::MemberId;
use smallvec::SmallVec;

use crate::{config::SwarmConfig, directory::rendezvous::Homes, time::Time};

/// Announcements in a row without an answer, after which the next home is turned to.
const UNANSWERED_MAX: u32 = 2;

/// Answers in a row of a home that does not coordinate, after which it is asked to: until then the two nodes' views of
/// the cluster have become the same.
const IDLE_ANSWERS_MAX: u32 = 3;

/// Members that get an answer of their own in half of the time in which a home asks again. A blob has fewer homes.
const ASKERS_MAX: usize = 8;

/// Where one blob's announcements go. Past the last home the node coordinates for itself.
#[derive(Debug)]
pub(super) struct Announcer {
    own: MemberId,
    homes: Homes,
    rank: usize,
    /// Announcements in a row that the acting home has not answered in the time it has, the last one included.
    unanswered: u32,
    /// When the last of them was sent.
    unanswered_at: Time,
    refresh: Duration,
    takeover: bool,
    idle_answers: u32,
    followers_told_at: Option<Time>,
    better_tried_at: Time,
    /// Members that asked and were answered lately, and when.
    answered: SmallVec<[(MemberId, Time); 3]>,
}

/// One announcement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recipient {
    pub(super) home: MemberId,
    pub(super) takeover: bool,
}

impl Announcer {
    pub(super) fn new(own: MemberId, homes: Homes, config: &SwarmConfig) -> Self {
        Self {
            own,
            homes,
            rank: 0,
            unanswered: 0,
            unanswered_at: Time::ZERO,
            refresh: config.announce_timeout,
            takeover: false,
            idle_answers: 0,
            followers_told_at: None,
            better_tried_at: Time::ZERO,
            answered: SmallVec::new(),
        }
    }

    /// Whether a member that asks for an announcement gets one of its own. A question is small and the map that answers it
    /// is not, so who asks again at once gets none.
    pub(super) fn may_answer(&mut self, now: Time, member: MemberId, config: &SwarmConfig) -> bool {
        self.answered.retain(|&mut (_, at)| now.since(at) < config.announce_timeout);
        let is_new = self.answered.iter().all(|&(answered, _)| answered != member);
        let may = is_new && self.answered.len() < ASKERS_MAX;
        if may {
            self.answered.push((member, now));
        }
        may
    }

    /// The home that this node takes for the coordinating one.
    pub(super) fn acting(&self) -> MemberId {
        self.homes.get(self.rank).unwrap_or(self.own)
    }

    /// All homes, whoever acts.
    pub(super) fn homes(&self) -> impl Iterator<Item = MemberId> + '_ {
        let own = (self.rank >= self.homes.len()).then_some(self.own);
        self.homes.iter().chain(own.filter(|own| self.homes.rank_of(*own).is_none()))
    }

    /// Membership changed: these are the homes now. Says whether they are others than before.
    pub(super) fn set_homes(&mut self, homes: Homes) -> bool {
        if homes.iter().eq(self.homes.iter()) {
            return false;
        }
        self.homes = homes;
        self.rank = 0;
        self.unanswered = 0;
        self.takeover = false;
        self.idle_answers = 0;
        self.followers_told_at = None;
        true
    }

    /// Considers a new member; says whether it became a home.
    pub(super) fn offer(&mut self, member: MemberId) -> bool {
        let mut homes = self.homes.clone();
        homes.offer(member) && self.set_homes(homes)
    }

    pub(super) fn is_home(&self, member: MemberId) -> bool {
        self.homes.rank_of(member).is_some()
    }

    /// It is time to announce: to whom, and when the next time is. `members` is the size of the cluster.
    pub(super) fn announce(
        &mut self,
        now: Time,
        wants: bool,
        members: usize,
        config: &SwarmConfig,
    ) -> (Vec<Recipient>, Time) {
        let patience = config.announce_patience(members);
        // One that is sent for another reason while the last has not had its time says nothing about the home.
        if self.unanswered == 0 || now.since(self.unanswered_at) >= patience {
            if self.unanswered >= UNANSWERED_MAX {
                self.turn_to_next();
            }
            self.unanswered += 1;
            self.unanswered_at = now;
        }
        let mut recipients = vec![Recipient { home: self.acting(), takeover: self.takeover && wants }];
        recipients.extend(self.other_recipients(now, wants, config));
        let wait = if self.unanswered > 1 { patience } else { self.refresh.max(patience) };
        (recipients, self.unanswered_at + wait)
    }

    /// Homes besides the acting one that are due: all now and then, better ones more often, and all each time while the
    /// node coordinates for want of one that answers.
    fn other_recipients(&mut self, now: Time, wants: bool, config: &SwarmConfig) -> Vec<Recipient> {
        let interval = if wants { config.followers_interval } else { self.refresh };
        let is_alone = self.rank >= self.homes.len();
        if is_alone || self.followers_told_at.is_none_or(|at| now.since(at) >= interval) {
            self.followers_told_at = Some(now);
            self.better_tried_at = now;
            return self.others(self.homes.len());
        }
        if self.rank > 0 && now.since(self.better_tried_at) >= config.better_home_interval {
            self.better_tried_at = now;
            return self.others(self.rank);
        }
        Vec::new()
    }

    fn others(&self, ranks: usize) -> Vec<Recipient> {
        let acting = self.acting();
        self.homes
            .iter()
            .take(ranks)
            .filter(|&home| home != acting)
            .map(|home| Recipient { home, takeover: false })
            .collect()
    }

    /// The next announcement goes to all homes: something changed that they all keep.
    pub(super) fn tell_all(&mut self) {
        self.followers_told_at = None;
    }

    /// A home answered, or asks for an announcement at once: then `refresh` is zero. Says when to announce next, where the
    /// acting home did.
    pub(super) fn handle_answer(
        &mut self,
        now: Time,
        from: MemberId,
        coordinates: bool,
        refresh: Duration,
        wants: bool,
    ) -> Option<Time> {
        let is_better = self.homes.rank_of(from).is_some_and(|rank| rank < self.rank) && coordinates;
        if is_better {
            self.rank = self.homes.rank_of(from).unwrap_or(0);
        } else if from != self.acting() {
            return None;
        }
        self.unanswered = 0;
        if !refresh.is_zero() {
            self.refresh = refresh.clamp(Duration::from_millis(50), Duration::from_secs(120));
        }
        // A home that does not take itself for the first sees other members than this node does.
        self.idle_answers = if wants && !coordinates { self.idle_answers + 1 } else { 0 };
        self.takeover = self.rank > 0 || self.idle_answers >= IDLE_ANSWERS_MAX;
        Some(if refresh.is_zero() { now } else { now + self.refresh })
    }

    /// The acting home was not reached. Says whether another one acts now.
    pub(super) fn handle_lost(&mut self, member: MemberId) -> bool {
        let was_acting = member == self.acting() && member != self.own;
        if was_acting {
            self.turn_to_next();
        }
        was_acting
    }

    fn turn_to_next(&mut self) {
        self.rank = (self.rank + 1) % (self.homes.len() + 1);
        self.unanswered = 0;
        self.takeover = self.rank > 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::rendezvous::Key;
    use shoal_wire::digest::Digest;

    const OWN: MemberId = MemberId([99; 16]);

    fn announcer() -> (Announcer, SwarmConfig) {
        let config = SwarmConfig::default();
        let key = Key::of_digest(&Digest::Sha256([7; 32]));
        let homes = Homes::rank(key, (0..5).map(|index| MemberId([index; 16])));
        (Announcer::new(OWN, homes, &config), config)
    }

    #[test]
    fn an_unanswered_home_is_followed_by_the_next_and_in_the_end_by_oneself() {
        let (mut announcer, config) = announcer();
        let first = announcer.acting();
        let mut acting = Vec::new();
        for step in 0..8 {
            let now = Time::ZERO + config.announce_patience(10) * step;
            announcer.announce(now, true, 10, &config);
            acting.push(announcer.acting());
        }
        assert_eq!(acting[0], first);
        assert_eq!(acting[7], OWN);
        acting.dedup();
        assert_eq!(acting.len(), 4, "each home, then oneself");
    }

    #[test]
    fn announcements_in_quick_succession_are_one_that_waits_for_an_answer() {
        let (mut announcer, config) = announcer();
        let first = announcer.acting();
        for step in 0..10 {
            announcer.announce(Time::from_micros(step), true, 10, &config);
        }
        assert_eq!(announcer.acting(), first, "the home has not had time to answer");
        let patience = config.announce_patience(10);
        announcer.announce(Time::ZERO + patience, true, 10, &config);
        announcer.announce(Time::ZERO + patience * 2, true, 10, &config);
        assert_ne!(announcer.acting(), first, "it has had its time twice");
    }

    #[test]
    fn a_better_home_that_coordinates_is_returned_to() {
        let (mut announcer, config) = announcer();
        let first = announcer.acting();
        assert!(announcer.handle_lost(first));
        assert!(announcer.announce(Time::ZERO, true, 10, &config).0[0].takeover);
        assert_ne!(announcer.acting(), first);
        announcer.handle_answer(Time::ZERO, first, true, config.announce_timeout, true);
        assert_eq!(announcer.acting(), first);
        assert!(!announcer.takeover);
    }

    #[test]
    fn who_asks_again_at_once_gets_no_answer_and_neither_does_a_crowd() {
        let (mut announcer, config) = announcer();
        let answered = |announcer: &mut Announcer, at| {
            (0..20).filter(|&index| announcer.may_answer(at, MemberId([index; 16]), &config)).count()
        };
        assert_eq!(answered(&mut announcer, Time::ZERO), ASKERS_MAX);
        assert_eq!(answered(&mut announcer, Time::from_micros(1)), 0);
        assert_eq!(answered(&mut announcer, Time::ZERO + config.announce_timeout), ASKERS_MAX);
    }

    #[test]
    fn a_question_leaves_the_interval_as_it_is() {
        let (mut announcer, config) = announcer();
        let (home, rare) = (announcer.acting(), Duration::from_secs(8));
        announcer.announce(Time::ZERO, true, 10, &config);
        assert_eq!(announcer.handle_answer(Time::ZERO, home, true, rare, true), Some(Time::ZERO + rare));
        let asked = Time::ZERO + Duration::from_secs(1);
        assert_eq!(announcer.handle_answer(asked, home, true, Duration::ZERO, true), Some(asked));
        assert_eq!(
            announcer.announce(asked, true, 10, &config).1,
            asked + rare,
            "the home has as long to answer as before"
        );
    }

    #[test]
    fn a_home_that_does_not_coordinate_is_asked_to() {
        let (mut announcer, config) = announcer();
        for _ in 0..IDLE_ANSWERS_MAX {
            assert!(!announcer.announce(Time::ZERO, true, 10, &config).0[0].takeover);
            announcer.handle_answer(Time::ZERO, announcer.acting(), false, config.announce_timeout, true);
        }
        assert!(announcer.announce(Time::ZERO, true, 10, &config).0[0].takeover);
    }
}

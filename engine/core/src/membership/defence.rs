//! What this node does about news of itself: it refutes what is wrong with a later word (SWIM section 4.2).
//!
//! A claim to a later generation of its own key is a copy of this node, or a forgery, or its own past after its clock
//! was set back. It is overruled by a yet later generation, at most once a second, so that two copies of one node
//! that fight for their identity do not flood the cluster.

use std::{sync::Arc, time::Duration};

use shoal_wire::{
    gossip::MemberUpdate,
    ids::{Generation, Incarnation},
    member::{Life, MemberRecord},
};

use super::{
    Membership,
    member::{Health, with_life},
    timer::Timer,
    update::Verdict,
};
use crate::time::Time;

/// Shortest time between two changes of this node's generation.
const RECLAIM_INTERVAL: Duration = Duration::from_secs(1);

/// The fight for this node's identity.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defence {
    last_reclaim: Option<Time>,
    /// The latest generation that somebody else claimed since.
    claimed: Option<Generation>,
}

impl Membership {
    /// Somebody passes on what it takes for this node's record.
    pub(super) fn consider_own_record(&mut self, now: Time, record: &MemberRecord) -> Verdict {
        let contradicts = record.life() == self.own_life() && !record.describes_the_same(&self.own);
        if contradicts || record.life() > self.own_life() { self.overrule(now, record.life()) } else { Verdict::Old }
    }

    /// Somebody passes on a word that this node may not have said.
    pub(super) fn consider_own_life(&mut self, now: Time, life: Life) -> Verdict {
        if life > self.own_life() { self.overrule(now, life) } else { Verdict::Old }
    }

    /// Somebody suspects this node, or believes it gone.
    pub(super) fn defend(&mut self, now: Time, life: Life) -> Verdict {
        if life < self.own_life() {
            // It has been refuted already; who says it does not know yet.
            return Verdict::AccusesMe;
        }
        self.stats.refutations += 1;
        self.awareness.apply(1);
        self.overrule(now, life)
    }

    /// Says a later word than `life`.
    fn overrule(&mut self, now: Time, life: Life) -> Verdict {
        if life.generation > self.own.generation {
            return self.contest(now, life.generation);
        }
        let Life { generation, incarnation } = life;
        let next = match incarnation.0.checked_add(1) {
            Some(next) => Life { generation, incarnation: Incarnation(next) },
            None => first_word(generation),
        };
        self.say(now, next);
        Verdict::AccusesMe
    }

    fn contest(&mut self, now: Time, claimed: Generation) -> Verdict {
        self.stats.identity_conflicts += 1;
        self.defence.claimed = self.defence.claimed.max(Some(claimed));
        if let Some(last) = self.defence.last_reclaim
            && now < last + RECLAIM_INTERVAL
        {
            self.timers.set(Timer::Reclaim, last + RECLAIM_INTERVAL);
            return Verdict::Old;
        }
        self.reclaim(now);
        Verdict::AccusesMe
    }

    /// Raises this node's generation above what was claimed.
    pub(super) fn reclaim(&mut self, now: Time) {
        let Some(claimed) = self.defence.claimed.take() else { return };
        self.defence.last_reclaim = Some(now);
        if claimed >= self.own.generation {
            self.say(now, first_word(claimed));
        }
    }

    fn say(&mut self, now: Time, life: Life) {
        let new_generation = life.generation > self.own.generation;
        self.own = with_life(&self.own, life);
        self.members.put(self.own_id, Arc::clone(&self.own), Health::Alive);
        let record_waits = matches!(self.broadcasts.get(self.own_id), Some(MemberUpdate::Record(_)));
        let update = if new_generation || record_waits {
            MemberUpdate::Record(Arc::clone(&self.own))
        } else {
            self.own_update()
        };
        self.spread(now, self.own_id, update);
    }

    /// This node's word, short.
    pub(super) fn own_update(&self) -> MemberUpdate {
        MemberUpdate::Alive { id: self.own_id, life: self.own_life() }
    }
}

/// The first word of the generation after `generation`.
fn first_word(generation: Generation) -> Life {
    Life { generation: Generation(generation.0.saturating_add(1)), incarnation: Incarnation(0) }
}

//! Which news about others are believed, and what follows.
//!
//! | news \ known | unknown | alive | suspected | dead, left |
//! |---|---|---|---|---|
//! | record, later word | added | replaced | alive again | alive again |
//! | alive, later word, same generation | record wanted | word kept | alive again | alive again |
//! | suspect, same word | record wanted | suspected | confirmed | - |
//! | suspect, later word | record wanted | suspected | suspected anew | suspected |
//! | dead, left: same or later word | - | dead, left | dead, left | word kept |
//!
//! Earlier words change nothing. News by id that name a later generation need the record, for its address may be new.

use std::{sync::Arc, time::Duration};

use shoal_wire::{
    gossip::{Accuser, MemberUpdate},
    ids::MemberId,
    member::{Life, MemberRecord},
};

use super::{
    Membership,
    member::{Health, Member, with_life},
    suspicion::{Limits, Suspicion},
    timer::Timer,
};
use crate::{event::MemberEvent, time::Time};

/// Whether news are passed on by gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// As SWIM has it.
    Gossip,
    /// Not when many came at once: others get them by the same way.
    No,
}

/// What became of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They changed something.
    New,
    /// They changed nothing.
    Old,
    /// They cannot be judged without the member's record.
    RecordWanted,
    /// They accuse this node, which has a better word to say.
    AccusesMe,
    /// They accuse a member that has refuted them since; who passes them on does not know yet.
    Overruled,
}

/// How a member goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It crashed, as far as is known.
    Dead,
    /// It said so.
    Left,
}

impl Departure {
    fn health(self, forget_at: Time) -> Health {
        match self {
            Self::Dead => Health::Dead { forget_at },
            Self::Left => Health::Left { forget_at },
        }
    }

    fn event(self, id: MemberId) -> MemberEvent {
        match self {
            Self::Dead => MemberEvent::Dead(id),
            Self::Left => MemberEvent::Left(id),
        }
    }

    fn update(self, id: MemberId, life: Life) -> MemberUpdate {
        match self {
            Self::Dead => MemberUpdate::Dead { id, life },
            Self::Left => MemberUpdate::Left { id, life },
        }
    }
}

impl Membership {
    /// Judges one piece of news.
    pub(super) fn apply(&mut self, now: Time, update: MemberUpdate, spread: Spread) -> Verdict {
        match update {
            MemberUpdate::Record(record) => self.apply_record(now, &record, spread),
            MemberUpdate::Alive { id, life } => self.apply_alive(now, id, life, spread),
            MemberUpdate::Suspect { id, life, accuser } => self.apply_suspect(now, id, life, accuser, spread),
            MemberUpdate::Dead { id, life } => self.apply_departure(now, id, life, Departure::Dead, spread),
            MemberUpdate::Left { id, life } => self.apply_departure(now, id, life, Departure::Left, spread),
        }
    }

    /// A member is alive, and this is its record.
    pub(super) fn apply_record(&mut self, now: Time, record: &Arc<MemberRecord>, spread: Spread) -> Verdict {
        let id = record.id();
        if id == self.own_id {
            return self.consider_own_record(now, record);
        }
        if !record.is_usable() {
            self.stats.malformed += 1;
            return Verdict::Old;
        }
        if let Some(known) = self.members.get(id)
            && record.life() <= known.life()
        {
            if record.life() == known.life() && !record.describes_the_same(known.description) {
                self.stats.record_conflicts += 1;
            }
            return Verdict::Old;
        }
        if self.members.alive(id).is_none() && self.members.alive_count() >= self.config.members_max {
            self.stats.members_refused += 1;
            return Verdict::Old;
        }
        self.set_alive(now, id, record, spread);
        Verdict::New
    }

    fn apply_alive(&mut self, now: Time, id: MemberId, life: Life, spread: Spread) -> Verdict {
        if id == self.own_id {
            return self.consider_own_life(now, life);
        }
        match self.members.get(id) {
            None => Verdict::RecordWanted,
            Some(known) if life <= known.life() => Verdict::Old,
            Some(known) if life.generation > known.life().generation => Verdict::RecordWanted,
            Some(known) => {
                let record = with_life(known.description, life);
                self.apply_record(now, &record, spread)
            }
        }
    }

    /// Enters the later word of a member that counts as alive from now on.
    fn set_alive(&mut self, now: Time, id: MemberId, record: &Arc<MemberRecord>, spread: Spread) {
        let known = self.members.get(id);
        let describes_news = known.is_none_or(|known| {
            known.life().generation < record.generation || !known.description.describes_the_same(record)
        });
        let is_up = describes_news || known.is_some_and(|known| !matches!(known.health, Health::Alive));
        let returned = known.is_some_and(|known| !known.health.counts_as_alive());
        let is_change = known.is_none_or(|known| !known.health.counts_as_alive());
        let was_alone = self.members.is_alone();
        self.enter(id, Arc::clone(record), Health::Alive);
        self.timers.cancel(Timer::Suspicion(id));
        if spread == Spread::Gossip {
            let update = if describes_news || matches!(self.broadcasts.get(id), Some(MemberUpdate::Record(_))) {
                MemberUpdate::Record(Arc::clone(record))
            } else {
                MemberUpdate::Alive { id, life: record.life() }
            };
            self.spread(now, id, update);
        }
        if is_up {
            self.emit(MemberEvent::Up(Arc::clone(record)));
        }
        if was_alone || (returned && !describes_news) {
            self.sync_soon(now, id);
        }
        if is_change {
            self.note_change(now);
        }
    }

    /// Somebody suspects a member.
    pub(super) fn apply_suspect(
        &mut self,
        now: Time,
        id: MemberId,
        life: Life,
        accuser: Accuser,
        spread: Spread,
    ) -> Verdict {
        if id == self.own_id {
            return self.defend(now, life);
        }
        let Some(known) = self.members.get(id) else { return Verdict::RecordWanted };
        if life < known.life() {
            return overruled_by(&known);
        }
        if life.generation > known.life().generation {
            return Verdict::RecordWanted;
        }
        if life > known.life() {
            // It said this word after the one that is known here: it was alive then.
            self.apply_alive(now, id, life, Spread::No);
        }
        match self.members.get(id).map(|known| known.health) {
            Some(Health::Alive) => self.begin_suspicion(now, id, life, accuser, spread),
            Some(Health::Suspect(_)) => self.confirm_suspicion(now, id, accuser, spread),
            _ => Verdict::Old,
        }
    }

    fn begin_suspicion(&mut self, now: Time, id: MemberId, life: Life, accuser: Accuser, spread: Spread) -> Verdict {
        let limits = Limits::new(&self.config, self.members.alive_count());
        let suspicion = Suspicion::new(now, accuser, limits);
        self.timers.set(Timer::Suspicion(id), suspicion.deadline());
        self.members.set_health(id, Health::Suspect(Box::new(suspicion)));
        self.emit(MemberEvent::Suspected(id));
        if spread == Spread::Gossip {
            self.spread(now, id, MemberUpdate::Suspect { id, life, accuser });
        }
        Verdict::New
    }

    fn confirm_suspicion(&mut self, now: Time, id: MemberId, accuser: Accuser, spread: Spread) -> Verdict {
        let Some(suspicion) = self.members.suspicion_mut(id) else { return Verdict::Old };
        if !suspicion.confirm(accuser) {
            return Verdict::Old;
        }
        // A deadline that has passed by this confirmation is due now; earlier would look like a stall of this node.
        let deadline = suspicion.deadline().max(now);
        self.timers.set(Timer::Suspicion(id), deadline);
        if let (Spread::Gossip, Some(known)) = (spread, self.members.get(id)) {
            let life = known.life();
            self.spread(now, id, MemberUpdate::Suspect { id, life, accuser });
        }
        Verdict::New
    }

    /// The suspect did not refute in time.
    pub(super) fn suspicion_expired(&mut self, now: Time, id: MemberId) {
        if let Some(member) = self.members.get(id)
            && matches!(member.health, Health::Suspect(_))
        {
            let life = member.life();
            self.apply_departure(now, id, life, Departure::Dead, Spread::Gossip);
        }
    }

    /// A member is dead or has left.
    pub(super) fn apply_departure(
        &mut self,
        now: Time,
        id: MemberId,
        life: Life,
        departure: Departure,
        spread: Spread,
    ) -> Verdict {
        if id == self.own_id {
            return self.defend(now, life);
        }
        let Some(known) = self.members.get(id) else { return Verdict::Old };
        if life < known.life() {
            return overruled_by(&known);
        }
        // A record must not pass for that of a later generation, whose address may be another.
        let same_generation = life.generation == known.life().generation;
        let record = if same_generation { with_life(known.description, life) } else { known.record() };
        if !known.health.counts_as_alive() {
            let health = known.health.clone();
            self.enter(id, record, health);
            return Verdict::Old;
        }
        self.timers.cancel(Timer::Suspicion(id));
        self.enter_gone(now, id, record, departure, self.config.remember);
        if spread == Spread::Gossip {
            self.spread(now, id, departure.update(id, life));
        }
        Verdict::New
    }

    /// Takes over the memory of a member that was gone before this node came, for the sake of its key.
    pub(super) fn remember_gone(&mut self, now: Time, record: Arc<MemberRecord>, departure: Departure, age: Duration) {
        let left = self.config.remember.saturating_sub(age);
        if self.members.get(record.id()).is_some() || left.is_zero() || !record.is_usable() {
            return;
        }
        if self.members.gone_count() < self.config.remembered_max {
            self.emit(MemberEvent::Up(Arc::clone(&record)));
            self.enter_gone(now, record.id(), record, departure, left);
        }
    }

    fn enter_gone(
        &mut self,
        now: Time,
        id: MemberId,
        record: Arc<MemberRecord>,
        departure: Departure,
        remember: Duration,
    ) {
        self.enter(id, record, departure.health(now + remember.max(super::TIMER_MIN)));
        self.emit(departure.event(id));
        self.note_change(now);
        while self.members.gone_count() > self.config.remembered_max {
            self.forget_first();
        }
        self.watch_memory();
    }

    fn enter(&mut self, id: MemberId, record: Arc<MemberRecord>, health: Health) {
        if self.members.put(id, record, health) {
            self.stats.record_conflicts += 1;
        }
    }

    /// Forgets those whose time has come.
    pub(super) fn forget_oldest(&mut self, now: Time) {
        while self.members.first_to_forget().is_some_and(|(at, _)| at <= now) {
            self.forget_first();
        }
        self.watch_memory();
    }

    fn forget_first(&mut self) {
        if let Some((_, id)) = self.members.first_to_forget() {
            self.members.forget(id);
            self.emit(MemberEvent::Forgotten(id));
        }
    }

    fn watch_memory(&mut self) {
        match self.members.first_to_forget() {
            Some((at, _)) => self.timers.set(Timer::Forget, at),
            None => self.timers.cancel(Timer::Forget),
        }
    }
}

/// What becomes of an accusation of an earlier word than the known one.
fn overruled_by(known: &Member<'_>) -> Verdict {
    if matches!(known.health, Health::Alive) { Verdict::Overruled } else { Verdict::Old }
}

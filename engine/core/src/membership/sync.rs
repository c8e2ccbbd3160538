//! Anti-entropy: members compare digests of their tables and exchange what differs.
//!
//! A digest covers who counts as alive and with which word, in buckets by id. Only buckets that differ are sent, and of
//! the answer only what the other side lacks. What is learned so in bulk is not gossiped on, for others learn it in the
//! same way. The dead of others are not believed: they become suspects, are told so directly, and are probed next, so
//! that whoever is alive refutes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shoal_wire::{
    gossip::{MemberState, MemberUpdate, ReliableMessage, SYNC_BUCKETS, Standing},
    ids::MemberId,
    member::{Life, MemberRecord},
};

use super::{
    Membership,
    member::Health,
    snapshot::PAGE_BYTES,
    timer::Timer,
    update::{Departure, Spread, Verdict},
};
use crate::time::Time;

/// Messages that answer one exchange of digests; what is left waits for the next exchange.
const MESSAGES_PER_SYNC: usize = 8;

/// What more members than this are learned from at once is not gossiped on.
const GOSSIPED_MAX: usize = 64;

/// Members of one message that are suspected because the sender believes them dead.
const HEARSAY_MAX: usize = 256;

/// While views differ, digests are exchanged again within this time.
const AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// After members came or went, digests are exchanged when none has done so for this long, up to twice that.
const CALM: Duration = Duration::from_secs(5);

/// While members come and go all the time, digests are exchanged this often.
const RESTLESS: Duration = Duration::from_secs(30);

/// A member that came back is synced with within this time.
const CONTACT_WITHIN: Duration = Duration::from_secs(1);

/// With whom digests are exchanged: `partner` next, where it is not anybody.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sync {
    partner: Option<MemberId>,
    /// Who was sent digests last.
    asked: Option<MemberId>,
    /// When the first and the last member came or went since digests were exchanged for that reason.
    change: Option<(Time, Time)>,
}

/// How much rarer exchanges are in a cluster of `members` (memberlist's push-pull scale): with their interval constant,
/// the traffic at each member stays bounded, and each change still reaches all in a few exchanges.
fn interval_scale(members: usize) -> u32 {
    const THRESHOLD: usize = 32;
    if members <= THRESHOLD {
        return 1;
    }
    // ceil(log2(members)) - log2(32) + 1
    (members - 1).ilog2() + 1 - THRESHOLD.ilog2() + 1
}

impl Membership {
    /// Sends digests to a member.
    pub(super) fn send_digests(&mut self, now: Time) {
        let interval = self.config.sync_interval * interval_scale(self.members.alive_count());
        let next = self.random.jittered(interval);
        self.set_timer(Timer::Sync, now, next);
        let partner = self.sync.partner.take().filter(|&id| self.members.alive(id).is_some());
        let partner = partner.or_else(|| self.members.pick(&mut self.random, 1, |_, _| true).pop());
        self.sync.asked = partner;
        if let Some(partner) = partner {
            let digests = self.members.digests().to_vec();
            self.send_reliable(partner, ReliableMessage::SyncDigests { digests });
        }
    }

    /// A member came or went. Gossip misses a few nodes now and then, and in a large cluster the next exchange may be
    /// minutes away.
    pub(super) fn note_change(&mut self, now: Time) {
        if self.config.sync_interval * interval_scale(self.members.alive_count()) <= RESTLESS {
            return;
        }
        let first = self.sync.change.map_or(now, |(first, _)| first);
        self.sync.change = Some((first, now));
        if self.timers.get(Timer::Calm).is_none() {
            self.await_calm(now);
        }
    }

    /// Exchanges digests where the view has been calm, or restless for too long.
    pub(super) fn judge_calm(&mut self, now: Time) {
        let Some((first, last)) = self.sync.change else { return };
        if now.since(last) < CALM && now.since(first) < RESTLESS {
            return self.await_calm(now);
        }
        self.sync.change = None;
        self.send_digests(now);
    }

    fn await_calm(&mut self, now: Time) {
        let wait = self.random.between(CALM, CALM * 2);
        self.set_timer(Timer::Calm, now, wait);
    }

    /// Exchanges digests with a member that came back.
    pub(super) fn sync_soon(&mut self, now: Time, partner: MemberId) {
        self.sync.partner.get_or_insert(partner);
        self.sync_within(now, CONTACT_WITHIN);
    }

    /// Exchanges digests within this time.
    pub(super) fn sync_within(&mut self, now: Time, within: Duration) {
        let at = now + self.random.between(within / 5, within);
        self.timers.set_earlier(Timer::Sync, at);
    }

    /// The control stream to a member could not be had.
    pub(super) fn sync_unreachable(&mut self, now: Time, to: MemberId) {
        if self.sync.asked == Some(to) {
            self.sync.asked = None;
            self.sync_within(now, AGAIN_WITHIN);
        }
    }

    /// Answers digests with the buckets that differ.
    pub(super) fn answer_digests(&mut self, from: MemberId, digests: &[u64], now: Time) {
        if digests.len() != SYNC_BUCKETS {
            self.stats.malformed += 1;
            return;
        }
        let own = self.members.digests();
        let differing: Vec<u8> = (0..=u8::MAX).filter(|&b| own[usize::from(b)] != digests[usize::from(b)]).collect();
        if differing.is_empty() {
            return;
        }
        self.stats.syncs_with_differences += 1;
        // Begins anywhere, so that what does not fit this time has its turn another time.
        let first = self.random.below(differing.len());
        let mut rest: Vec<u8> = [&differing[first..], &differing[..first]].concat();
        for _ in 0..MESSAGES_PER_SYNC {
            if rest.is_empty() {
                break;
            }
            let (buckets, members) = self.fill_sync_page(now, &mut rest);
            self.send_reliable(from, ReliableMessage::SyncBuckets { buckets, members });
        }
    }

    /// Takes as many whole buckets from `rest` as fit into a page; one alone is cut where it does not fit.
    fn fill_sync_page(&self, now: Time, rest: &mut Vec<u8>) -> (Vec<u8>, Vec<MemberState>) {
        let mut members = Vec::new();
        let mut room = PAGE_BYTES;
        let mut taken = 0;
        for &bucket in rest.iter() {
            let states: Vec<_> =
                self.members.bucket(bucket).map(|(_, member)| member.state(now, self.config.remember)).collect();
            let length: usize = states.iter().map(MemberState::encoded_len).sum();
            if length > room && taken > 0 {
                break;
            }
            push_within(&mut members, states, room);
            room = room.saturating_sub(length);
            taken += 1;
        }
        (rest.drain(..taken).collect(), members)
    }

    /// Buckets that differ came: takes what is new, and answers with what the sender lacks.
    pub(super) fn take_buckets(&mut self, now: Time, from: MemberId, buckets: &[u8], members: Vec<MemberState>) {
        let told: BTreeMap<MemberId, (Life, u8)> =
            members.iter().map(|state| (state.record.id(), (state.record.life(), weight(state.standing)))).collect();
        self.merge_sync(now, from, members);
        let mut buckets = buckets.to_vec();
        buckets.sort_unstable();
        buckets.dedup();
        let news: Vec<_> = buckets
            .iter()
            .flat_map(|&bucket| self.members.bucket(bucket))
            .filter(|(id, member)| {
                let state = (member.life(), weight(member.state(now, self.config.remember).standing));
                told.get(id).map_or(member.health.counts_as_alive(), |&theirs| state > theirs)
            })
            .map(|(_, member)| member.state(now, self.config.remember))
            .collect();
        if !news.is_empty() {
            let mut members = Vec::new();
            push_within(&mut members, news, PAGE_BYTES);
            self.send_reliable(from, ReliableMessage::SyncNews { members });
        }
    }

    /// Takes the members of a sync, and looks again soon where they were news.
    pub(super) fn merge_sync(&mut self, now: Time, from: MemberId, members: Vec<MemberState>) {
        let spread = if members.len() > GOSSIPED_MAX { Spread::No } else { Spread::Gossip };
        if self.merge(now, from, members, spread) {
            self.sync_within(now, AGAIN_WITHIN);
        }
    }

    /// Takes members as another one sees them, the alive ones first. Returns whether anything was new.
    pub(super) fn merge(&mut self, now: Time, from: MemberId, members: Vec<MemberState>, spread: Spread) -> bool {
        let (alive, others): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|state| matches!(state.standing, Standing::Alive));
        let mut any_new = false;
        for state in alive {
            any_new |= self.apply_record(now, &state.record, spread) == Verdict::New;
        }
        let mut hearsay = HEARSAY_MAX;
        for state in others {
            any_new |= self.merge_other(now, from, &state, spread, &mut hearsay) == Verdict::New;
        }
        any_new
    }

    fn merge_other(
        &mut self,
        now: Time,
        from: MemberId,
        state: &MemberState,
        spread: Spread,
        hearsay: &mut usize,
    ) -> Verdict {
        let (id, life) = (state.record.id(), state.record.life());
        match state.standing {
            Standing::Alive => self.apply_record(now, &state.record, spread),
            Standing::Suspect => {
                let added = self.apply_record(now, &state.record, spread);
                let suspected = self.apply_suspect(now, id, life, from.into(), spread);
                if added == Verdict::New { added } else { suspected }
            }
            Standing::Left { .. } => self.apply_departure(now, id, life, Departure::Left, spread),
            Standing::Dead { .. } if id == self.own_id => self.defend(now, life),
            Standing::Dead { .. } => {
                let doubted = self.members.alive(id).is_some_and(|known| life >= known.life());
                if doubted && *hearsay > 0 {
                    *hearsay -= 1;
                    self.suspect_on_hearsay(now, from, &state.record, spread)
                } else {
                    Verdict::Old
                }
            }
        }
    }

    /// Another one believes a member dead that counts as alive here.
    fn suspect_on_hearsay(&mut self, now: Time, from: MemberId, record: &Arc<MemberRecord>, spread: Spread) -> Verdict {
        let (id, life, accuser) = (record.id(), record.life(), from.into());
        self.apply_record(now, record, Spread::No);
        let verdict = self.apply_suspect(now, id, life, accuser, spread);
        if verdict == Verdict::New
            && let Some(member) = self.members.alive(id)
            && matches!(member.health, Health::Suspect(_))
        {
            let to = member.address();
            self.tell(to, vec![MemberUpdate::Suspect { id, life, accuser }]);
            self.prober.hurry(id);
        }
        verdict
    }
}

/// Moves as many of `states` into `members` as fit into `room` bytes.
fn push_within(members: &mut Vec<MemberState>, states: Vec<MemberState>, mut room: usize) {
    for state in states {
        let length = state.encoded_len();
        if length > room {
            return;
        }
        room -= length;
        members.push(state);
    }
}

/// Of two views of the same word, the heavier one wins.
fn weight(standing: Standing) -> u8 {
    match standing {
        Standing::Alive => 0,
        Standing::Suspect => 1,
        Standing::Dead { .. } | Standing::Left { .. } => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// memberlist's published vector (`TestPushPullScale`).
    #[test]
    fn the_interval_grows_as_published() {
        let table = [(0, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3), (1_000, 6), (10_000, 10), (100_000, 13)];
        for (members, scale) in table {
            assert_eq!(interval_scale(members), scale, "{members} members");
        }
    }
}

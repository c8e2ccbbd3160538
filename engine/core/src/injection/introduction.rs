//! Whom a home introduces to a wanter, and who brings pieces into the wanter's zone.
//!
//! A zone's uplink is shared by all of its nodes. Where several of them want a blob, each piece crosses it once: one
//! of them, its gateway, fetches it from another zone or the upstream, and the others ask inside. A preference for near
//! peers would not do: of sixteen near neighbours one far one still brings in several copies (docs/tuning.md). The home
//! names the gateways, so that the nodes of a zone agree, and introduces those that have the same turn in their zones
//! to each other, so that every piece finds its way between zones whoever knows whom besides.

use std::{collections::BTreeMap, time::Duration};

use shoal_wire::{
    ids::MemberId,
    limits::{GATEWAYS_PER_ZONE, PEERS_PER_ANSWER},
};

use super::participant::Participant;
use crate::{
    directory::{
        members::AliveMembers,
        rendezvous::{Key, score},
    },
    rng::Stream,
    time::Time,
};

/// Complete holders among the peers of one answer.
const HOLDERS_PER_ANSWER: usize = 4;

/// Participants below which a zone has no gateways: one has nobody to share with. Even with two, gateways halve what
/// enters the zone.
const ZONE_MIN: usize = 2;

/// Peers of other zones among those of one answer, at least.
const FAR_PER_ANSWER: usize = PEERS_PER_ANSWER / 4;

/// Pieces that a gateway may be behind in any case: everybody begins with none.
const HEAD_START: u32 = 8;

/// Participants up to which the roll is made anew for each answer, so that a newcomer is introduced at once.
const ROLL_FRESH_MAX: usize = 256;

/// For how long the roll of a larger swarm serves: making it takes time in proportion to the swarm.
const ROLL_AGE_MAX: Duration = Duration::from_millis(250);

/// What an answer says about others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Introduction {
    pub(super) peers: Vec<MemberId>,
    pub(super) gateways: Vec<MemberId>,
}

/// The participants that are not doubted, as they were at one moment.
#[derive(Debug, Default)]
pub(super) struct Roll {
    made_at: Option<Time>,
    /// Number of participants then.
    made_of: usize,
    holders: Vec<MemberId>,
    wanters: Vec<MemberId>,
    zones: BTreeMap<String, Zone>,
}

/// The participants of one zone that are not doubted.
#[derive(Debug, Default)]
struct Zone {
    /// Those that want pieces: the ones that are behind first, then by their score for the blob, the best last.
    wanters: Vec<Wanter>,
    /// How many of them may be gateways.
    able: usize,
    holders: Vec<MemberId>,
}

/// A member that wants pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wanter {
    /// Whether it has at least a quarter of what the first of its zone has. One that has less is slow or new, and no gateway.
    keeps_up: bool,
    score: u64,
    member: MemberId,
    pieces: u32,
}

impl Zone {
    /// Puts the wanters in their order.
    fn sort(&mut self) {
        let most = self.wanters.iter().map(|wanter| wanter.pieces).max().unwrap_or(0);
        for wanter in &mut self.wanters {
            wanter.keeps_up = wanter.pieces + HEAD_START >= most / 4;
        }
        self.wanters.sort_unstable();
        self.able = self.wanters.iter().filter(|wanter| wanter.keeps_up).count().min(GATEWAYS_PER_ZONE);
    }

    fn len(&self) -> usize {
        self.wanters.len() + self.holders.len()
    }

    fn gateways(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.wanters.iter().rev().take(self.able).map(|wanter| wanter.member)
    }

    /// The member of this zone that takes the same turn as number `turn` of another zone.
    fn counterpart(&self, random: &mut Stream, turn: usize) -> Option<MemberId> {
        if self.able == 0 {
            return self.holders.get(random.below(self.holders.len())).copied();
        }
        self.gateways().nth(turn % self.able)
    }
}

impl Roll {
    /// Makes the roll anew where it is too old for so many participants.
    pub(super) fn refresh(
        &mut self,
        now: Time,
        participants: &BTreeMap<MemberId, Participant>,
        members: AliveMembers<'_>,
        key: Key,
    ) {
        let is_young = self.made_at.is_some_and(|at| now.since(at) < ROLL_AGE_MAX);
        // Were those who come first introduced to all who come after them, they would be everybody's neighbours.
        let has_most = participants.len() <= self.made_of + self.made_of / 8;
        if is_young && has_most && participants.len() > ROLL_FRESH_MAX {
            return;
        }
        *self = Self { made_at: Some(now), made_of: participants.len(), ..Self::default() };
        for (&member, peer) in participants.iter().filter(|(_, peer)| !peer.doubted) {
            let name = members.zone(member);
            if !self.zones.contains_key(name) {
                self.zones.insert(name.to_owned(), Zone::default());
            }
            let Some(zone) = self.zones.get_mut(name) else { continue };
            if peer.have.is_full() {
                self.holders.push(member);
                zone.holders.push(member);
            } else {
                let pieces = peer.have.count();
                self.wanters.push(member);
                zone.wanters.push(Wanter { keeps_up: true, score: score(key, member), member, pieces });
            }
        }
        self.zones.values_mut().for_each(Zone::sort);
    }

    /// Peers for `to`, and the gateways of its zone where it has any.
    pub(super) fn introduce(&self, random: &mut Stream, members: AliveMembers<'_>, to: MemberId) -> Introduction {
        let own_zone = members.zone(to);
        let own = self.zones.get(own_zone).filter(|zone| zone.len() >= ZONE_MIN && self.zones.len() > 1);
        let Some(own) = own else {
            return Introduction { peers: self.anywhere(random, to), gateways: Vec::new() };
        };
        let gateways: Vec<_> = own.gateways().collect();
        let turn =
            gateways.iter().position(|&gateway| gateway == to).unwrap_or_else(|| random.below(GATEWAYS_PER_ZONE));
        let others = self.zones.iter().filter(|(name, _)| *name != own_zone);
        let mut far: Vec<_> = others.filter_map(|(_, zone)| zone.counterpart(random, turn)).collect();
        random.shuffle(&mut far);
        let mut near = near_peers(random, own, to);
        let far_count = FAR_PER_ANSWER.max(PEERS_PER_ANSWER.saturating_sub(near.len())).min(far.len());
        near.truncate(PEERS_PER_ANSWER - far_count);
        near.extend(far.into_iter().take(far_count));
        Introduction { peers: near, gateways }
    }

    /// Random peers, a few complete holders among them.
    fn anywhere(&self, random: &mut Stream, to: MemberId) -> Vec<MemberId> {
        let mut holders = sample_without(random, &self.holders, PEERS_PER_ANSWER, to);
        let wanters = sample_without(random, &self.wanters, PEERS_PER_ANSWER, to);
        let spare = PEERS_PER_ANSWER.saturating_sub(wanters.len()).max(HOLDERS_PER_ANSWER);
        holders.truncate(spare);
        holders.extend(wanters);
        holders.truncate(PEERS_PER_ANSWER);
        holders
    }
}

/// Peers of the same zone: a few holders of everything, then gateways, then others.
fn near_peers(random: &mut Stream, zone: &Zone, to: MemberId) -> Vec<MemberId> {
    let holders = random.sample(&zone.holders, HOLDERS_PER_ANSWER);
    let mut gateways: Vec<_> = zone.gateways().filter(|&member| member != to).collect();
    random.shuffle(&mut gateways);
    let others = &zone.wanters[..zone.wanters.len() - zone.able];
    let others = random.sample(others, PEERS_PER_ANSWER + 1).into_iter().map(|wanter| wanter.member);
    let others = others.filter(|&member| member != to);
    holders.into_iter().chain(gateways).chain(others).take(PEERS_PER_ANSWER).collect()
}

/// At most `count` of `members`, in a random order, and not `without`.
fn sample_without(random: &mut Stream, members: &[MemberId], count: usize, without: MemberId) -> Vec<MemberId> {
    let mut sample = random.sample(members, count + 1);
    sample.retain(|&member| member != without);
    sample.truncate(count);
    sample
}

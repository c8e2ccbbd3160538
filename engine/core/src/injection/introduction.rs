//! Whom a home introduces to a wanter, and who brings pieces into the wanter's zone.
//!
//! A zone's uplink is shared by all of its nodes. Where several of them want a blob, each piece crosses it once: one
//! of them, its gateway, fetches it from another zone or the upstream, and the others ask inside. A preference for near
//! peers would not do: of sixteen near neighbours one far one still brings in several copies (docs/tuning.md). The home
//! names the gateways, so that the nodes of a zone agree, and introduces those that have the same turn in their zones
//! to each other, so that every piece finds its way between zones whoever knows whom besides.

use std::collections::BTreeMap;

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

/// What an answer says about others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Introduction {
    pub(super) peers: Vec<MemberId>,
    pub(super) gateways: Vec<MemberId>,
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

/// Peers for `to`, and the gateways of its zone where it has any.
pub(super) fn introduce(
    random: &mut Stream,
    participants: &BTreeMap<MemberId, Participant>,
    members: AliveMembers<'_>,
    key: Key,
    to: MemberId,
) -> Introduction {
    let own_zone = members.zone(to);
    let near = participants.iter().filter(|&(&member, peer)| !peer.doubted && members.zone(member) == own_zone).count();
    if near < ZONE_MIN || near == participants.values().filter(|peer| !peer.doubted).count() {
        return Introduction { peers: anywhere(random, participants, to), gateways: Vec::new() };
    }
    let mut zones: BTreeMap<&str, Zone> = BTreeMap::new();
    for (&member, peer) in participants.iter().filter(|(_, peer)| !peer.doubted) {
        let zone = zones.entry(members.zone(member)).or_default();
        if peer.have.is_full() {
            zone.holders.push(member);
        } else {
            zone.wanters.push(Wanter { keeps_up: true, score: score(key, member), member, pieces: peer.have.count() });
        }
    }
    for zone in zones.values_mut() {
        zone.sort();
    }
    let own = zones.remove(own_zone).unwrap_or_default();
    let gateways: Vec<_> = own.gateways().collect();
    let turn = gateways.iter().position(|&gateway| gateway == to).unwrap_or_else(|| random.below(GATEWAYS_PER_ZONE));
    let mut far: Vec<_> = zones.values().filter_map(|zone| zone.counterpart(random, turn)).collect();
    random.shuffle(&mut far);
    let mut near = near_peers(random, &own, to);
    let far_count = FAR_PER_ANSWER.max(PEERS_PER_ANSWER.saturating_sub(near.len())).min(far.len());
    near.truncate(PEERS_PER_ANSWER - far_count);
    near.extend(far.into_iter().take(far_count));
    Introduction { peers: near, gateways }
}

/// Peers of the same zone: a few holders of everything, then gateways, then others.
fn near_peers(random: &mut Stream, zone: &Zone, to: MemberId) -> Vec<MemberId> {
    let mut holders = zone.holders.clone();
    random.shuffle(&mut holders);
    holders.truncate(HOLDERS_PER_ANSWER);
    let mut gateways: Vec<_> = zone.gateways().filter(|&member| member != to).collect();
    random.shuffle(&mut gateways);
    let others = zone.wanters.iter().rev().skip(zone.able).map(|wanter| wanter.member);
    let mut others: Vec<_> = others.filter(|&member| member != to).collect();
    random.shuffle(&mut others);
    holders.into_iter().chain(gateways).chain(others).take(PEERS_PER_ANSWER).collect()
}

/// Random peers, a few complete holders among them.
fn anywhere(random: &mut Stream, participants: &BTreeMap<MemberId, Participant>, to: MemberId) -> Vec<MemberId> {
    let useful = |full: bool| {
        participants
            .iter()
            .filter(move |&(&member, peer)| member != to && !peer.doubted && peer.have.is_full() == full)
            .map(|(&member, _)| member)
            .collect::<Vec<_>>()
    };
    let (mut holders, mut wanters) = (useful(true), useful(false));
    random.shuffle(&mut holders);
    random.shuffle(&mut wanters);
    let spare = PEERS_PER_ANSWER.saturating_sub(wanters.len()).max(HOLDERS_PER_ANSWER);
    holders.truncate(spare);
    holders.extend(wanters);
    holders.truncate(PEERS_PER_ANSWER);
    holders
}

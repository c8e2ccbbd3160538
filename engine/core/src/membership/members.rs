//! The table of members, with what makes each question about it cheap.
//!
//! A lookup is O(log n); picking a member at random and the next one to probe are O(1) steps on the *ring*, the
//! unordered list of those who count as alive. Each round of probes walks the ring in a random order that a lazy
//! Fisher-Yates shuffle makes as it goes, so that each member is probed once a round and no step is longer than
//! others. The digests of the anti-entropy buckets are kept up to date with each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use shoal_wire::{
    gossip::{MemberState, SYNC_BUCKETS, Standing},
    ids::MemberId,
    member::{Life, MemberRecord},
};

use super::suspicion::Suspicion;
use crate::{rng::Stream, time::Time};

/// One member, this node included.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its record.
    pub(super) record: Arc<MemberRecord>,
    /// How it stands.
    pub(super) health: Health,
    /// Its index in the ring, or among the gone; meaningless for this node.
    slot: usize,
}

/// How a member stands.
#[derive(Clone, Debug)]
pub(super) enum Health {
    /// It answers, as far as is known.
    Alive,
    /// It has until the suspicion's deadline to refute.
    Suspect(Box<Suspicion>),
    /// Believed dead.
    Dead {
        /// When it is forgotten.
        forget_at: Time,
    },
    /// Departed.
    Left {
        /// When it is forgotten.
        forget_at: Time,
    },
}

impl Health {
    /// Whether it counts as alive.
    pub(super) fn counts_as_alive(&self) -> bool {
        matches!(self, Self::Alive | Self::Suspect(_))
    }

    fn forget_at(&self) -> Option<Time> {
        match self {
            Self::Alive | Self::Suspect(_) => None,
            Self::Dead { forget_at } | Self::Left { forget_at } => Some(*forget_at),
        }
    }
}

impl Member {
    /// Its latest known word.
    pub(super) fn life(&self) -> Life {
        self.record.life()
    }

    /// The member as others are told of it at `now`, where the gone are remembered for `remember`.
    pub(super) fn state(&self, now: Time, remember: Duration) -> MemberState {
        let since_s = |forget_at: Time| {
            let age = remember.saturating_sub(forget_at.since(now));
            u32::try_from(age.as_secs()).unwrap_or(u32::MAX)
        };
        let standing = match self.health {
            Health::Alive => Standing::Alive,
            Health::Suspect(_) => Standing::Suspect,
            Health::Dead { forget_at } => Standing::Dead { since_s: since_s(forget_at) },
            Health::Left { forget_at } => Standing::Left { since_s: since_s(forget_at) },
        };
        MemberState { record: Arc::clone(&self.record), standing }
    }
}

/// All members that this node knows.
#[derive(Clone, Debug)]
pub(super) struct Members {
    own: MemberId,
    table: BTreeMap<MemberId, Member>,
    /// Others that count as alive. Those before `cursor` were probed in this round.
    ring: Vec<MemberId>,
    cursor: usize,
    /// Dead and departed ones.
    gone: Vec<MemberId>,
    forgetting: BTreeSet<(Time, MemberId)>,
    /// Who is met at an address: of several claimants that count as alive, the one with the newest generation.
    addresses: BTreeMap<SocketAddr, MemberId>,
    digests: Box<[u64; SYNC_BUCKETS]>,
}

impl Members {
    /// A table of this node alone.
    pub(super) fn new(own: Arc<MemberRecord>) -> Self {
        let id = own.id();
        let mut members = Self {
            own: id,
            table: BTreeMap::new(),
            ring: Vec::new(),
            cursor: 0,
            gone: Vec::new(),
            forgetting: BTreeSet::new(),
            addresses: BTreeMap::new(),
            digests: Box::new([0; SYNC_BUCKETS]),
        };
        members.put(id, own, Health::Alive);
        members
    }

    /// What is known of a member.
    pub(super) fn get(&self, id: MemberId) -> Option<&Member> {
        self.table.get(&id)
    }

    /// The running suspicion of a member.
    pub(super) fn suspicion_mut(&mut self, id: MemberId) -> Option<&mut Suspicion> {
        match &mut self.table.get_mut(&id)?.health {
            Health::Suspect(suspicion) => Some(suspicion),
            _ => None,
        }
    }

    /// A member that counts as alive.
    pub(super) fn alive(&self, id: MemberId) -> Option<&Member> {
        self.get(id).filter(|member| member.health.counts_as_alive())
    }

    /// All members, ordered by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.table.iter().map(|(&id, member)| (id, member))
    }

    /// Members with an id greater than `after`, ordered by id.
    pub(super) fn after(&self, after: Option<MemberId>) -> impl Iterator<Item = (MemberId, &Member)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.table.range((from, Unbounded)).map(|(&id, member)| (id, member))
    }

    /// Members of an anti-entropy bucket, ordered by id.
    pub(super) fn bucket(&self, bucket: u8) -> impl Iterator<Item = (MemberId, &Member)> {
        let (mut first, mut last) = ([0; 16], [0xff; 16]);
        (first[0], last[0]) = (bucket, bucket);
        self.table.range(MemberId(first)..=MemberId(last)).map(|(&id, member)| (id, member))
    }

    /// Digests of the buckets: of id and life of each member that counts as alive.
    pub(super) fn digests(&self) -> &[u64; SYNC_BUCKETS] {
        &self.digests
    }

    /// Number of members that count as alive, this node included.
    pub(super) fn alive_count(&self) -> usize {
        self.ring.len() + 1
    }

    /// Others that count as alive, in no order.
    pub(super) fn ring(&self) -> &[MemberId] {
        &self.ring
    }

    /// Dead and departed ones, in no order.
    pub(super) fn gone(&self) -> &[MemberId] {
        &self.gone
    }

    /// Who is met at an address.
    pub(super) fn at(&self, address: SocketAddr) -> Option<MemberId> {
        self.addresses.get(&address).copied()
    }

    /// The next member to probe.
    pub(super) fn next_to_probe(&mut self, random: &mut Stream) -> Option<MemberId> {
        if self.cursor >= self.ring.len() {
            self.cursor = 0;
        }
        let left = self.ring.len() - self.cursor;
        if left == 0 {
            return None;
        }
        let chosen = self.cursor + random.below(left);
        self.swap_ring(self.cursor, chosen);
        self.cursor += 1;
        Some(self.ring[self.cursor - 1])
    }

    /// Up to `count` distinct others that count as alive and that `wanted` accepts. Tries a few times each and then
    /// returns fewer, so that the work does not grow with the table.
    pub(super) fn pick(
        &self,
        random: &mut Stream,
        count: usize,
        wanted: impl Fn(MemberId, &Member) -> bool,
    ) -> Vec<MemberId> {
        let mut picked = Vec::with_capacity(count.min(self.ring.len()));
        for _ in 0..count * 4 + 4 {
            if picked.len() >= count.min(self.ring.len()) {
                break;
            }
            let id = self.ring[random.below(self.ring.len())];
            if !picked.contains(&id) && self.table.get(&id).is_some_and(|member| wanted(id, member)) {
                picked.push(id);
            }
        }
        picked
    }

    /// Records a member's new record and standing. Returns whether another member that counts as alive claims the
    /// same address.
    pub(super) fn put(&mut self, id: MemberId, record: Arc<MemberRecord>, health: Health) -> bool {
        let slot = self.detach(id);
        let alive = health.counts_as_alive();
        let slot = if id == self.own {
            0
        } else if let (Some(slot), true) = (slot, alive) {
            // It stays where it is in the round of probes.
            slot
        } else {
            if let Some(slot) = slot {
                self.remove_from_ring(slot);
            }
            self.append(id, alive)
        };
        if let Some(forget_at) = health.forget_at() {
            self.forgetting.insert((forget_at, id));
        }
        let conflict = alive && self.claim(id, &record);
        if alive {
            self.toggle_digest(id, record.life());
        }
        self.table.insert(id, Member { record, health, slot });
        conflict
    }

    /// Changes how a known member stands.
    pub(super) fn set_health(&mut self, id: MemberId, health: Health) {
        if let Some(record) = self.get(id).map(|member| Arc::clone(&member.record)) {
            self.put(id, record, health);
        }
    }

    /// When the first of the gone is to be forgotten, and who that is.
    pub(super) fn first_to_forget(&self) -> Option<(Time, MemberId)> {
        self.forgetting.first().copied()
    }

    /// Removes a member that is gone.
    pub(super) fn forget(&mut self, id: MemberId) {
        if self.table.get(&id).is_some_and(|member| !member.health.counts_as_alive()) {
            self.detach(id);
            self.table.remove(&id);
        }
    }

    /// Takes back all that is derived from a member's present entry. Returns its index in the ring where it is in it.
    fn detach(&mut self, id: MemberId) -> Option<usize> {
        let member = self.table.get(&id)?;
        let (slot, life, address) = (member.slot, member.life(), member.record.address);
        if let Some(forget_at) = member.health.forget_at() {
            self.forgetting.remove(&(forget_at, id));
            self.remove_from_gone(slot);
            return None;
        }
        self.toggle_digest(id, life);
        if self.addresses.get(&address) == Some(&id) {
            self.addresses.remove(&address);
        }
        (id != self.own).then_some(slot)
    }

    fn append(&mut self, id: MemberId, alive: bool) -> usize {
        let list = if alive { &mut self.ring } else { &mut self.gone };
        list.push(id);
        list.len() - 1
    }

    fn remove_from_ring(&mut self, slot: usize) {
        let mut hole = slot;
        if slot < self.cursor {
            // The last member may not have been probed yet: it must not move among those who were.
            self.cursor -= 1;
            self.swap_ring(slot, self.cursor);
            hole = self.cursor;
        }
        self.ring.swap_remove(hole);
        self.note_slot(self.ring.get(hole).copied(), hole);
    }

    fn remove_from_gone(&mut self, slot: usize) {
        self.gone.swap_remove(slot);
        self.note_slot(self.gone.get(slot).copied(), slot);
    }

    fn swap_ring(&mut self, a: usize, b: usize) {
        self.ring.swap(a, b);
        self.note_slot(Some(self.ring[a]), a);
        self.note_slot(Some(self.ring[b]), b);
    }

    fn note_slot(&mut self, id: Option<MemberId>, slot: usize) {
        if let Some(member) = id.and_then(|id| self.table.get_mut(&id)) {
            member.slot = slot;
        }
    }

    /// Claims the record's address for `id`, unless a newer generation has it. Returns whether there was a conflict.
    fn claim(&mut self, id: MemberId, record: &MemberRecord) -> bool {
        let holder = self.at(record.address).filter(|&holder| holder != id).and_then(|holder| self.get(holder));
        let conflict = holder.is_some();
        if holder.is_none_or(|holder| holder.record.generation <= record.generation) {
            self.addresses.insert(record.address, id);
        }
        conflict
    }

    fn toggle_digest(&mut self, id: MemberId, life: Life) {
        self.digests[usize::from(id.0[0])] ^= digest(id, life);
    }
}

/// A hash of who a member is and what its latest word was. Not cryptographic: who can forge it is in the cluster, and
/// gains by it no more than a later repair.
fn digest(id: MemberId, life: Life) -> u64 {
    let (high, low) = id.0.split_at(8);
    let word = |bytes: &[u8]| bytes.iter().fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
    [word(high), word(low), life.generation.0, u64::from(life.incarnation.0)]
        .into_iter()
        .fold(0, |hash, word| mix(hash ^ word))
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood 2014).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

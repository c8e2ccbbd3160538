//! The table of members, with what makes each question about it cheap.
//!
//! Who a member is stands in the [`Roster`]; here is how it stands. That nearly all members are alive and have not said a
//! second word is what makes the table small: the others are kept in sets beside it. A lookup is O(log n); picking a
//! member at random and the next one to probe are O(1) steps on the [`Ring`]. In all, a member takes about 45 bytes, its
//! record aside, and clones of a table share what neither of them changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use shoal_wire::{
    gossip::SYNC_BUCKETS,
    ids::{Generation, Incarnation, MemberId},
    member::MemberRecord,
};

use super::{
    addresses::Addresses,
    digest::Digests,
    member::{Health, Member},
    ring::Ring,
    suspicion::Suspicion,
};
use crate::{
    rng::Stream,
    roster::{Handle, Roster},
    time::Time,
};

/// All members that this node knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    roster: Roster,
    /// This node. Absent only in a table that nodes begin with.
    own: Option<Handle>,
    /// Others that count as alive.
    ring: Ring,
    /// Dead and departed ones.
    gone: Vec<Handle>,
    forgetting: BTreeSet<(Time, MemberId)>,
    /// How those stand that are not simply alive.
    troubled: BTreeMap<Handle, Health>,
    /// The latest words of those who said them after their record.
    words: BTreeMap<Handle, Incarnation>,
    addresses: Addresses,
    digests: Digests,
    /// Forgotten ones that stay in the roster until their owner has heard of it.
    forgotten: BTreeSet<Handle>,
    /// New generations of members that counted as alive, of which their owner has not heard.
    reborn: BTreeSet<(Handle, Generation)>,
}

impl Members {
    /// The same table at the node of `own`, which counts as alive.
    pub(super) fn with_own(mut self, own: Arc<MemberRecord>) -> Self {
        let id = own.id();
        self.put(id, own, Health::Alive);
        let handle = self.roster.find(id).expect("it has just been put in");
        self.ring.remove(handle);
        self.own = Some(handle);
        self
    }

    /// Who the members are; also, until [`Members::settle`], those who have been forgotten.
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What is known of a member.
    pub(super) fn get(&self, id: MemberId) -> Option<Member<'_>> {
        self.find(id).map(|handle| self.member(handle))
    }

    /// The running suspicion of a member.
    pub(super) fn suspicion_mut(&mut self, id: MemberId) -> Option<&mut Suspicion> {
        match self.troubled.get_mut(&self.roster.find(id)?) {
            Some(Health::Suspect(suspicion)) => Some(suspicion),
            _ => None,
        }
    }

    /// A member that counts as alive.
    pub(super) fn alive(&self, id: MemberId) -> Option<Member<'_>> {
        self.get(id).filter(|member| member.health.counts_as_alive())
    }

    /// Members with an id greater than `after`, ordered by id; all of them without one.
    pub(super) fn after(&self, after: Option<MemberId>) -> impl Iterator<Item = (MemberId, Member<'_>)> {
        let known = self.roster.after(after).filter(|handle| !self.forgotten.contains(handle));
        known.map(|handle| (self.roster.id(handle), self.member(handle)))
    }

    /// Members of an anti-entropy bucket, ordered by id.
    pub(super) fn bucket(&self, bucket: u8) -> impl Iterator<Item = (MemberId, Member<'_>)> {
        let before = (u128::from(bucket) << 120).checked_sub(1).map(|id| MemberId(id.to_be_bytes()));
        self.after(before).take_while(move |(id, _)| id.0[0] == bucket)
    }

    /// Digests of the buckets: of id and life of each member that counts as alive.
    pub(super) fn digests(&self) -> &[u64; SYNC_BUCKETS] {
        self.digests.all()
    }

    /// Number of members that count as alive, this node included.
    pub(super) fn alive_count(&self) -> usize {
        self.ring.len() + 1
    }

    /// Whether nobody else counts as alive.
    pub(super) fn is_alone(&self) -> bool {
        self.ring.is_empty()
    }

    /// Number of dead and departed ones.
    pub(super) fn gone_count(&self) -> usize {
        self.gone.len()
    }

    /// One of the dead and departed.
    pub(super) fn any_gone(&self, random: &mut Stream) -> Option<Member<'_>> {
        (!self.gone.is_empty()).then(|| self.member(self.gone[random.below(self.gone.len())]))
    }

    /// Who is met at an address.
    pub(super) fn at(&self, address: SocketAddr) -> Option<MemberId> {
        self.addresses.at(&self.roster, address).map(|handle| self.roster.id(handle))
    }

    /// The next member to probe.
    pub(super) fn next_to_probe(&mut self, random: &mut Stream) -> Option<MemberId> {
        self.ring.next_to_probe(random).map(|handle| self.roster.id(handle))
    }

    /// Up to `count` distinct others that count as alive and that `wanted` accepts. Tries a few times each and then
    /// returns fewer, so that the work does not grow with the table.
    pub(super) fn pick(
        &self,
        random: &mut Stream,
        count: usize,
        wanted: impl Fn(MemberId, Member<'_>) -> bool,
    ) -> Vec<MemberId> {
        let most = count.min(self.ring.len());
        let mut picked = Vec::with_capacity(most);
        for _ in 0..count * 4 + 4 {
            if picked.len() >= most {
                break;
            }
            let handle = self.ring.any(random);
            let id = self.roster.id(handle);
            if !picked.contains(&id) && wanted(id, self.member(handle)) {
                picked.push(id);
            }
        }
        picked
    }

    /// Records a member's new record and standing. Returns whether another member that counts as alive claims the
    /// same address.
    pub(super) fn put(&mut self, id: MemberId, record: Arc<MemberRecord>, health: Health) -> bool {
        let handle = match self.find(id) {
            Some(handle) => self.move_known(handle, &record, &health),
            None => self.place_new(id, &record, &health),
        };
        self.write(handle, record);
        if let Some(forget_at) = health.forget_at() {
            self.forgetting.insert((forget_at, id));
        }
        let alive = health.counts_as_alive();
        let conflict = alive && self.addresses.claim(&self.roster, handle);
        if alive {
            self.digests.toggle(id, self.member(handle).life());
        }
        match health {
            Health::Alive => self.troubled.remove(&handle),
            health => self.troubled.insert(handle, health),
        };
        conflict
    }

    /// Changes how a known member stands.
    pub(super) fn set_health(&mut self, id: MemberId, health: Health) {
        if let Some(record) = self.get(id).map(|member| member.record()) {
            self.put(id, record, health);
        }
    }

    /// When the first of the gone is to be forgotten, and who that is.
    pub(super) fn first_to_forget(&self) -> Option<(Time, MemberId)> {
        self.forgetting.first().copied()
    }

    /// Removes a member that is gone. Its place in the roster is kept until [`Members::settle`].
    pub(super) fn forget(&mut self, id: MemberId) {
        if let Some(handle) = self.find(id)
            && !self.health(handle).counts_as_alive()
        {
            self.detach(handle);
            self.troubled.remove(&handle);
            self.words.remove(&handle);
            self.forgotten.insert(handle);
        }
    }

    /// Says whether a member that counted as alive until then began this generation. True once.
    pub(super) fn take_reborn(&mut self, id: MemberId, generation: Generation) -> bool {
        !self.reborn.is_empty() && self.roster.find(id).is_some_and(|handle| self.reborn.remove(&(handle, generation)))
    }

    /// The owner has heard of all changes.
    pub(super) fn settle(&mut self) {
        self.reborn.clear();
        while let Some(handle) = self.forgotten.pop_first() {
            self.roster.remove(handle);
        }
    }

    fn find(&self, id: MemberId) -> Option<Handle> {
        self.roster.find(id).filter(|handle| !self.forgotten.contains(handle))
    }

    fn member(&self, handle: Handle) -> Member<'_> {
        let description = self.roster.record(handle);
        let incarnation = self.words.get(&handle).copied().unwrap_or(description.incarnation);
        Member { description, incarnation, health: self.health(handle) }
    }

    fn health(&self, handle: Handle) -> &Health {
        self.troubled.get(&handle).unwrap_or(&Health::Alive)
    }

    /// Takes a known member out of where it was, and puts it where `health` has it.
    fn move_known(&mut self, handle: Handle, record: &MemberRecord, health: &Health) -> Handle {
        let (was_alive, alive) = (self.health(handle).counts_as_alive(), health.counts_as_alive());
        self.detach(handle);
        if Some(handle) == self.own {
            return handle;
        }
        if !(was_alive && alive) {
            if was_alive {
                self.ring.remove(handle);
            }
            self.append(handle, alive);
        } else if record.generation > self.roster.record(handle).generation {
            // It stays where it is in the round of probes.
            self.reborn.insert((handle, record.generation));
        }
        handle
    }

    fn place_new(&mut self, id: MemberId, record: &Arc<MemberRecord>, health: &Health) -> Handle {
        let handle = match self.roster.find(id) {
            Some(handle) => {
                self.forgotten.remove(&handle);
                handle
            }
            None => self.roster.add(id, Arc::clone(record)),
        };
        self.append(handle, health.counts_as_alive());
        handle
    }

    fn append(&mut self, handle: Handle, alive: bool) {
        if alive {
            self.ring.push(handle);
        } else {
            self.gone.push(handle);
        }
    }

    /// Writes a member's record, and keeps the one that is there where only the word is another: it may be shared.
    fn write(&mut self, handle: Handle, record: Arc<MemberRecord>) {
        let known = self.roster.record(handle);
        let (said, incarnation) = (known.incarnation, record.incarnation);
        let is_word_only = known.generation == record.generation && known.describes_the_same(&record);
        if is_word_only && said != incarnation {
            self.words.insert(handle, incarnation);
            return;
        }
        self.words.remove(&handle);
        if !is_word_only {
            self.roster.replace(handle, record);
        }
    }

    /// Takes back all that is derived from how a member stands, but its place in the ring.
    fn detach(&mut self, handle: Handle) {
        let id = self.roster.id(handle);
        if let Some(forget_at) = self.health(handle).forget_at() {
            self.forgetting.remove(&(forget_at, id));
            if let Some(place) = self.gone.iter().position(|&gone| gone == handle) {
                self.gone.swap_remove(place);
            }
        } else {
            self.digests.toggle(id, self.member(handle).life());
            self.addresses.release(&self.roster, handle);
        }
    }
}

#[cfg(test)]
mod tests;

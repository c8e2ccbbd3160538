//! Homes of a key: the alive members with the highest rendezvous score.
//!
//! Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998): every node
//! computes the same ranking from the same membership, and a member that comes or goes moves only the keys whose ranking
//! it is part of.

use shoal_wire::{
    digest::Digest,
    ids::MemberId,
    name::{Name, Reference},
};
use smallvec::SmallVec;

/// Homes of each key: one that coordinates and two that keep what it keeps.
pub(crate) const HOMES: usize = 3;

/// What is placed on homes, as 64 well-mixed bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    /// The key of a blob's swarm.
    pub(crate) fn of_digest(digest: &Digest) -> Self {
        Self::from_hash_prefix(digest.bytes())
    }

    /// The key of a name. Digests are found under the digest alone, whatever registry or repository names them.
    pub(crate) fn of_name(name: &Name) -> Self {
        match &name.reference {
            Reference::Digest(digest) => Self::of_digest(digest),
            Reference::Tag(_) => Self::from_hash_prefix(blake3::hash(name.to_string().as_bytes()).as_bytes()),
        }
    }

    fn from_hash_prefix(bytes: &[u8]) -> Self {
        Self(u64::from_be_bytes(*bytes.first_chunk().expect("hashes have at least 8 bytes")))
    }
}

/// The ranking of homes for one key, best first, kept up to date as members come and go.
#[derive(Clone, Debug)]
pub(crate) struct Homes {
    key: Key,
    ranked: SmallVec<[(u64, MemberId); HOMES]>,
}

impl Homes {
    /// Ranks all of `alive` for `key`.
    pub(crate) fn rank(key: Key, alive: impl IntoIterator<Item = MemberId>) -> Self {
        let mut homes = Self { key, ranked: SmallVec::new() };
        for member in alive {
            homes.offer(member);
        }
        homes
    }

    /// Considers a member that became alive; says whether the ranking changed.
    pub(crate) fn offer(&mut self, member: MemberId) -> bool {
        let entry = (score(self.key, member), member);
        if self.ranked.get(HOMES - 1).is_some_and(|last| entry < *last) {
            return false;
        }
        let place = self.ranked.partition_point(|ranked| *ranked > entry);
        if place >= HOMES || self.ranked.get(place) == Some(&entry) {
            return false;
        }
        self.ranked.truncate(HOMES - 1);
        self.ranked.insert(place.min(self.ranked.len()), entry);
        true
    }

    /// The homes, the coordinating one first. Empty only without members.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = MemberId> + ExactSizeIterator + '_ {
        self.ranked.iter().map(|&(_, member)| member)
    }

    /// The home of `rank`, from 0.
    pub(crate) fn get(&self, rank: usize) -> Option<MemberId> {
        self.ranked.get(rank).map(|&(_, member)| member)
    }

    /// The rank of `member`, from 0, where it is a home.
    pub(crate) fn rank_of(&self, member: MemberId) -> Option<usize> {
        self.iter().position(|home| home == member)
    }

    pub(crate) fn len(&self) -> usize {
        self.ranked.len()
    }
}

/// Homes of a blob among `members`, the coordinating one first. For tests and tools that watch a cluster from outside.
pub fn homes_of(digest: &Digest, members: impl IntoIterator<Item = MemberId>) -> Vec<MemberId> {
    Homes::rank(Key::of_digest(digest), members).iter().collect()
}

/// Score of a member for a key, the higher the better: the finalizer of MurmurHash3 over the id, mixed with the key.
pub(crate) fn score(key: Key, member: MemberId) -> u64 {
    let (high, low) = member.0.split_at(8);
    let high = u64::from_be_bytes(*high.first_chunk().expect("8 bytes"));
    let low = u64::from_be_bytes(*low.first_chunk().expect("8 bytes"));
    mix(mix(high ^ key.0).wrapping_add(low))
}

fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(index: u32) -> MemberId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&index.to_be_bytes()).as_bytes()[..16]);
        MemberId(id)
    }

    fn key(index: u32) -> Key {
        Key::from_hash_prefix(blake3::hash(&index.to_le_bytes()).as_bytes())
    }

    #[test]
    fn the_ranking_depends_on_the_members_alone() {
        let forward = Homes::rank(key(1), (0..50).map(member));
        let backward = Homes::rank(key(1), (0..50).rev().map(member));
        assert!(forward.iter().eq(backward.iter()));
        assert_eq!(forward.len(), HOMES);
    }

    #[test]
    fn offering_members_one_by_one_equals_ranking_all() {
        let mut grown = Homes::rank(key(7), (0..10).map(member));
        for index in 10..40 {
            let before: Vec<_> = grown.iter().collect();
            let changed = grown.offer(member(index));
            assert_eq!(changed, !grown.iter().eq(before));
        }
        assert!(grown.iter().eq(Homes::rank(key(7), (0..40).map(member)).iter()));
        assert!(!grown.offer(grown.get(1).expect("40 members")), "a member is ranked once");
    }

    #[test]
    fn keys_spread_evenly_over_members() {
        let mut first = [0u32; 20];
        for index in 0..20_000 {
            let homes = Homes::rank(key(index), (0..20).map(member));
            let best = homes.get(0).expect("20 members");
            first[(0..20).position(|index| member(index) == best).expect("one of them")] += 1;
        }
        assert!(first.iter().all(|&count| (850..1150).contains(&count)), "{first:?}");
    }

    #[test]
    fn a_departure_moves_only_the_keys_that_it_had() {
        for index in 0..500 {
            let all = Homes::rank(key(index), (0..30).map(member));
            let without = Homes::rank(key(index), (1..30).map(member));
            if all.rank_of(member(0)).is_none() {
                assert!(all.iter().eq(without.iter()));
            }
        }
    }
}

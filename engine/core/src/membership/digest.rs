//! Digests of the table: a hash for each anti-entropy bucket, kept up to date with each change.

use shoal_wire::{gossip::SYNC_BUCKETS, ids::MemberId, member::Life};

/// The digests: of id and life of each member that counts as alive.
#[derive(Clone, Debug)]
pub(super) struct Digests(Box<[u64; SYNC_BUCKETS]>);

impl Default for Digests {
    fn default() -> Self {
        Self(Box::new([0; SYNC_BUCKETS]))
    }
}

impl Digests {
    /// All digests, by bucket.
    pub(super) fn all(&self) -> &[u64; SYNC_BUCKETS] {
        &self.0
    }

    /// Adds a member's word, or takes it out again.
    pub(super) fn toggle(&mut self, id: MemberId, life: Life) {
        self.0[usize::from(id.0[0])] ^= digest(id, life);
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
pub(super) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

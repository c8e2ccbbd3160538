//! The tree of BLAKE3 over a piece (BLAKE3, section 2.1), in subtrees of 64 KiB.

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::{Sha256, lanes::Lanes};

/// Bytes of the subtrees whose chaining values are computed together with SHA-256: few enough to stay in the
/// processor's first cache, enough that the parents above them are few.
pub(crate) const SUBTREE_BYTES: usize = 64 * 1024;

/// BLAKE3 of a piece whose bytes are `parts`, one after the other; `sha256` goes on with the same bytes.
///
/// One pass computes both where the processor can, the piece has more than 64 KiB, all parts but the last are
/// multiples of that and the last is not empty, and `sha256` has had multiples of 64 bytes; otherwise one is computed
/// after the other.
pub fn hash_piece(parts: &[impl AsRef<[u8]>], sha256: &mut Sha256) -> blake3::Hash {
    match Lanes::of_this_processor() {
        Some(lanes) if is_fit(parts) && sha256.is_between_blocks() => in_one_pass(lanes, parts, sha256),
        _ => in_two_passes(parts, sha256),
    }
}

/// Whether the piece has subtrees, each in one part, and more than one, because the hash of one alone would be the
/// root's.
pub(crate) fn is_fit(parts: &[impl AsRef<[u8]>]) -> bool {
    let Some((last, before)) = parts.split_last() else { return false };
    let in_subtrees = |part: &dyn AsRef<[u8]>| part.as_ref().len().is_multiple_of(SUBTREE_BYTES);
    let length: usize = parts.iter().map(|part| part.as_ref().len()).sum();
    before.iter().all(|part| in_subtrees(part)) && length > SUBTREE_BYTES && !last.as_ref().is_empty()
}

pub(crate) fn in_two_passes(parts: &[impl AsRef<[u8]>], sha256: &mut Sha256) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_ref());
        sha256.update(part.as_ref());
    }
    hasher.finalize()
}

pub(crate) fn in_one_pass(lanes: Lanes, parts: &[impl AsRef<[u8]>], sha256: &mut Sha256) -> blake3::Hash {
    let mut tree = Tree::default();
    let mut offset = 0;
    for part in parts {
        let (subtrees, rest) = part.as_ref().as_chunks::<SUBTREE_BYTES>();
        for subtree in subtrees {
            tree.push(lanes.subtree(subtree, offset, sha256.state_for(SUBTREE_BYTES)));
            offset += SUBTREE_BYTES as u64;
        }
        if !rest.is_empty() {
            let mut hasher = blake3::Hasher::new();
            tree.push(hasher.set_input_offset(offset).update(rest).finalize_non_root());
            sha256.update(rest);
        }
    }
    tree.finalize()
}

/// Subtrees from left to right, merged as far as it is certain that what they give is not the root.
#[derive(Default)]
struct Tree {
    values: Vec<ChainingValue>,
    /// Subtrees so far. Each of its bits that is one stands for a value that is not merged yet.
    count: u64,
}

impl Tree {
    fn push(&mut self, value: ChainingValue) {
        while self.values.len() > self.count.count_ones() as usize {
            self.merge();
        }
        self.values.push(value);
        self.count += 1;
    }

    /// Merges the two on the right.
    fn merge(&mut self) {
        if let [.., left, right] = &self.values[..] {
            let parent = merge_subtrees_non_root(left, right, Mode::Hash);
            self.values.truncate(self.values.len() - 2);
            self.values.push(parent);
        }
    }

    fn finalize(mut self) -> blake3::Hash {
        while self.values.len() > 2 {
            self.merge();
        }
        let [left, right] = self.values[..].try_into().expect("a piece that is fit has more than one subtree");
        merge_subtrees_root(&left, &right, Mode::Hash)
    }
}

//! A piece's BLAKE3 and its blob's SHA-256.
//!
//! A node needs both of each byte that a client pulls: BLAKE3 to take a piece from a peer, and SHA-256 to call a blob
//! what its digest says. Where the processor can, [`hash_piece`] computes both in one pass, which costs hardly more
//! than SHA-256 alone (docs/decisions/0012-two-hashes-in-one-pass.md); elsewhere it computes one after the other.

#[cfg(target_arch = "x86_64")]
#[macro_use]
mod assembly;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_lanes.rs"]
mod lanes;
mod sha256;
mod tree;

pub use self::{sha256::Sha256, tree::hash_piece};

/// Bytes of a block of either function.
const BLOCK_BYTES: usize = 64;

/// A chaining value of BLAKE3, or a state of SHA-256.
type State = [u32; 8];

/// Initial state of both functions.
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Whether this processor can compute both in one pass.
pub fn is_one_pass() -> bool {
    lanes::Lanes::of_this_processor().is_some()
}
#[cfg(test)]
mod tests;

//! SHA-256 whose state can be taken up between blocks.

use sha2::block_api::compress256;

use crate::{BLOCK_BYTES, INITIAL, State};

/// A SHA-256 under way (FIPS 180-4). The compression is `sha2`'s, with hardware instructions where the processor has
/// them.
#[derive(Clone, Debug)]
pub struct Sha256 {
    state: State,
    /// Bytes of the message so far.
    length: u64,
    /// The bytes after the last whole block.
    rest: [u8; BLOCK_BYTES],
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { state: INITIAL, length: 0, rest: [0; BLOCK_BYTES] }
    }
}

impl Sha256 {
    /// The hash of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let waiting = self.waiting();
        self.length += bytes.len() as u64;
        if waiting > 0 {
            let (head, tail) = bytes.split_at(bytes.len().min(BLOCK_BYTES - waiting));
            self.rest[waiting..waiting + head.len()].copy_from_slice(head);
            bytes = tail;
            if waiting + head.len() < BLOCK_BYTES {
                return;
            }
            compress256(&mut self.state, &[self.rest]);
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        compress256(&mut self.state, blocks);
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// The hash of all bytes.
    pub fn finalize(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8).to_be_bytes();
        let padding = 1 + (2 * BLOCK_BYTES - 1 - bits.len() - self.waiting()) % BLOCK_BYTES;
        let mut pad = [0; BLOCK_BYTES];
        pad[0] = 0x80;
        self.update(&pad[..padding]);
        self.update(&bits);
        debug_assert_eq!(self.waiting(), 0, "the padding ends a block");
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }

    /// Whether the bytes so far are whole blocks.
    pub(crate) fn is_between_blocks(&self) -> bool {
        self.waiting() == 0
    }

    /// The state between blocks, into which the next `length` bytes, whole blocks as well, are hashed by the caller.
    pub(crate) fn state_for(&mut self, length: usize) -> &mut State {
        debug_assert!(self.is_between_blocks() && length.is_multiple_of(BLOCK_BYTES), "whole blocks");
        self.length += length as u64;
        &mut self.state
    }

    /// Bytes after the last whole block.
    fn waiting(&self) -> usize {
        usize::try_from(self.length % BLOCK_BYTES as u64).expect("less than a block")
    }
}

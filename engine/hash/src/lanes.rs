//! The compression function of BLAKE3 in eight lanes, and between its steps that of SHA-256.
//!
//! SHA-256 with the processor's SHA extensions is bound by latency: each of its 32 double rounds for 64 bytes waits
//! four cycles for the one before, and most of the processor's ports idle meanwhile. BLAKE3 is bound by those ports.
//! One stream of instructions with both in it, finely mixed, takes hardly longer than SHA-256 alone
//! (docs/benchmarks.md, "Two hashes in one pass").
//!
//! It is assembly for two reasons. Compilers sort instructions by what depends on what, which takes the two apart
//! again, further than a processor looks ahead. And the SHA extensions know no VEX encoding: on the processor where
//! this was measured each use costs more than a hundred cycles while the upper half of any of the registers 0 to 15
//! is in use. So BLAKE3 has the registers 16 to 31, which do not count for that, and SHA-256 the others.
//!
//! Sources: BLAKE3 (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020), sections 2.2, 2.4 and 5.3; FIPS 180-4, sections
//! 4.2.2 and 6.2.2; Intel's "Intel SHA Extensions", 2013, for the order of the words in the registers of SHA-256's
//! state.

use std::arch::asm;

use blake3::hazmat::ChainingValue;

use crate::{BLOCK_BYTES, INITIAL, State, tree::SUBTREE_BYTES};

/// Bytes of a chunk, a leaf of BLAKE3's tree.
const CHUNK_BYTES: usize = 1024;
/// Chunks, or parents, that are hashed side by side.
const LANES: usize = 8;
/// Bytes of the chunks that are hashed side by side.
const ROW_BYTES: usize = LANES * CHUNK_BYTES;

/// Flags of BLAKE3 (section 2.2, table 3).
const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const PARENT: u32 = 4;

/// Slots of the message's words: see `round!`.
const SLOTS: usize = 32;
/// Rounds of a compression.
const ROUNDS: usize = 7;

/// Words, each in all lanes, as the vector instructions take them.
#[repr(C, align(32))]
struct Words<const COUNT: usize>([[u32; LANES]; COUNT]);

/// Where SHA-256's instructions want the words of its state: f, e, b and a in one register, h, g, d and c in another.
const REGISTERS: [usize; 8] = [5, 4, 1, 0, 7, 6, 3, 2];

/// SHA-256's state in that order.
#[repr(C, align(16))]
struct Registers([u32; 8]);

impl Registers {
    fn of(state: &State) -> Self {
        Self(REGISTERS.map(|word| state[word]))
    }

    fn state(&self) -> State {
        let mut state = State::default();
        for (word, value) in REGISTERS.into_iter().zip(self.0) {
            state[word] = value;
        }
        state
    }
}

/// What is the same for all blocks.
#[repr(C, align(64))]
struct Constants {
    /// FIPS 180-4, section 4.2.2.
    rounds: [u32; 64],
    /// Turns the bytes of four words of SHA-256, which are big-endian.
    swap: [u8; 16],
    initial: [u32; 4],
    block_bytes: u32,
}

static CONSTANTS: Constants = Constants {
    #[rustfmt::skip]
    rounds: [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ],
    swap: [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12],
    initial: [INITIAL[0], INITIAL[1], INITIAL[2], INITIAL[3]],
    block_bytes: 64,
};

/// What is written and read while chunks are hashed.
struct Work {
    words: Words<SLOTS>,
    values: Words<8>,
    counters: Words<1>,
    sha256: Registers,
}

impl Work {
    fn new(sha256: &State) -> Self {
        Self {
            words: Words([[0; LANES]; SLOTS]),
            values: Words([[0; LANES]; 8]),
            counters: Words([[0; LANES]]),
            sha256: Registers::of(sha256),
        }
    }

    /// Begins with chunks or parents, each with its counter.
    fn begin(&mut self, counters: [u32; LANES]) {
        self.values = Words(INITIAL.map(|word| [word; LANES]));
        self.counters = Words([counters]);
    }

    /// The chaining value of each lane.
    fn by_lane(&self) -> [State; LANES] {
        std::array::from_fn(|lane| std::array::from_fn(|word| self.values.0[word][lane]))
    }
}

/// `asm!` of templates in `assembly`, with the registers that BLAKE3 has there.
macro_rules! assembly {
    ($($template_and_operands:tt)+) => {
        asm!(
            $($template_and_operands)+
            constants = in(reg) &raw const CONSTANTS,
            out("xmm16") _, out("xmm17") _, out("xmm18") _, out("xmm19") _,
            out("xmm20") _, out("xmm21") _, out("xmm22") _, out("xmm23") _,
            out("xmm24") _, out("xmm25") _, out("xmm26") _, out("xmm27") _,
            out("xmm28") _, out("xmm29") _, out("xmm30") _, out("xmm31") _,
            options(nostack),
        )
    };
}

/// A processor that has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes(());

impl Lanes {
    /// This processor, where it has AVX-512 for short vectors and the SHA extensions.
    pub(crate) fn of_this_processor() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sha");
        has_all.then_some(Self(()))
    }

    /// The chaining value of the subtree of `bytes`, which begin `offset` bytes into their piece (below 2^42); and
    /// `sha256` after all of `bytes`.
    pub(crate) fn subtree(self, bytes: &[u8; SUBTREE_BYTES], offset: u64, sha256: &mut State) -> ChainingValue {
        let first = u32::try_from(offset / CHUNK_BYTES as u64).expect("no piece has 2^32 chunks");
        let mut work = Work::new(sha256);
        let mut values = [State::default(); SUBTREE_BYTES / CHUNK_BYTES];
        let rows = bytes.as_chunks::<ROW_BYTES>().0;
        let firsts = (first..).step_by(LANES);
        for ((row, values), first) in rows.iter().zip(values.as_chunks_mut::<LANES>().0).zip(firsts) {
            *values = self.chunks(row, first, &mut work);
        }
        *sha256 = work.sha256.state();
        let mut count = values.len();
        while count > 1 {
            // The lanes that have no children hash what is there, and nobody reads it.
            for group in 0..count.div_ceil(2 * LANES) {
                let children = std::array::from_fn(|child| values[group * 2 * LANES + child]);
                values[group * LANES..][..LANES].copy_from_slice(&self.parents(&children, &mut work));
            }
            count /= 2;
        }
        let mut value = ChainingValue::default();
        for (bytes, word) in value.as_chunks_mut().0.iter_mut().zip(values[0]) {
            *bytes = word.to_le_bytes();
        }
        value
    }

    /// Chaining values of the chunks of `bytes`, of which the first is the `first`th of its piece. SHA-256 goes on with
    /// all of `bytes`.
    fn chunks(self, bytes: &[u8; ROW_BYTES], first: u32, work: &mut Work) -> [State; LANES] {
        const LAST: usize = CHUNK_BYTES / BLOCK_BYTES - 1;
        work.begin([0, 1, 2, 3, 4, 5, 6, 7].map(|lane| first.wrapping_add(lane)));
        for block in 0..=LAST {
            let flags = match block {
                0 => CHUNK_START,
                LAST => CHUNK_END,
                _ => 0,
            };
            self.blocks(bytes, block, flags, work);
        }
        work.by_lane()
    }

    /// Compresses the `block`th block of each chunk of `bytes` with BLAKE3, and as many of their blocks in order with
    /// SHA-256.
    // Unrolled by the compiler, it would be larger than the processor's cache for instructions.
    #[inline(never)]
    #[expect(clippy::unused_self, reason = "it is the proof that the processor can")]
    fn blocks(self, bytes: &[u8; ROW_BYTES], block: usize, flags: u32, work: &mut Work) {
        let (rows, in_order) = (&bytes[block * BLOCK_BYTES..], &bytes[block * LANES * BLOCK_BYTES..]);
        assert!(rows.len() >= ROW_BYTES - CHUNK_BYTES + BLOCK_BYTES && in_order.len() >= LANES * BLOCK_BYTES);
        let end = work.words.0[ROUNDS..].as_ptr();
        // SAFETY: `self` says that the processor has the instructions. `rows` is read at 1024 * lane + 0..64 for
        // eight lanes, and `in_order` at 0..512, which both have, as asserted. `words` is written and read in its
        // first 30 slots, of 32; `values` and `sha256` are read and written, and `counters` and the constants are
        // read, within their types, whose alignment is what the instructions ask for. What is prefetched is not read,
        // and may be anywhere. No register changes but those named and the flags.
        #[expect(unsafe_code, reason = "earned: docs/benchmarks.md, Two hashes in one pass")]
        unsafe {
            assembly!(
                // Whoever was here before may have left upper halves in use.
                "vzeroupper",
                "movdqa xmm1, [{sha256}]",
                "movdqa xmm2, [{sha256} + 16]",
                "movdqa xmm8, [{constants} + 256]",
                // The next row. The processor does not foresee eight streams that are a chunk apart.
                "prefetcht0 [{bytes} + 8192]", "prefetcht0 [{bytes} + 8256]",
                "prefetcht0 [{bytes} + 8320]", "prefetcht0 [{bytes} + 8384]",
                "prefetcht0 [{bytes} + 8448]", "prefetcht0 [{bytes} + 8512]",
                "prefetcht0 [{bytes} + 8576]", "prefetcht0 [{bytes} + 8640]",
                all_words!(1024, 0),
                "add {bytes}, 64",
                compression!(0),
                "movdqa [{sha256}], xmm1",
                "movdqa [{sha256} + 16], xmm2",
                rows = in(reg) rows.as_ptr(),
                bytes = inout(reg) in_order.as_ptr() => _,
                words = inout(reg) &raw mut work.words => _,
                end = in(reg) end,
                values = in(reg) &raw mut work.values,
                counters = in(reg) &raw const work.counters,
                sha256 = in(reg) &raw mut work.sha256,
                flags = in(reg) flags,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            );
        }
    }

    /// Chaining values of the parents of each two of `children`.
    #[inline(never)]
    #[expect(clippy::unused_self, reason = "it is the proof that the processor can")]
    fn parents(self, children: &[State; 2 * LANES], work: &mut Work) -> [State; LANES] {
        work.begin([0; LANES]);
        let end = work.words.0[ROUNDS..].as_ptr();
        // SAFETY: as in `blocks`; `children` is read at 64 * lane + 0..64 for eight lanes, which is all of it, and
        // `bytes` is not read, because there is no SHA-256.
        #[expect(unsafe_code, reason = "earned: docs/benchmarks.md, Two hashes in one pass")]
        unsafe {
            assembly!(
                all_words!(64, none),
                compression!(none),
                rows = in(reg) children,
                bytes = out(reg) _,
                words = inout(reg) &raw mut work.words => _,
                end = in(reg) end,
                values = in(reg) &raw mut work.values,
                counters = in(reg) &raw const work.counters,
                flags = in(reg) PARENT,
            );
        }
        work.by_lane()
    }
}

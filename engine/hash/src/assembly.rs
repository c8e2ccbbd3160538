//! Templates of the assembly in `lanes`. Each is a string of instructions for `asm!`, whose operands are in braces.
//!
//! Registers: `xmm0` to `xmm10` are SHA-256's. `xmm0` has the words of two rounds with their constants, `xmm1` has
//! the words f, e, b and a of its state and `xmm2` h, g, d and c, from the lowest; `xmm3` to `xmm6` the last 16 words
//! of its message schedule, `xmm7` what is added to the next, `xmm8` the order of bytes, `xmm9` and `xmm10` the state
//! before the block. `ymm16` to `ymm31` are the 16 words of BLAKE3's state, each in eight lanes.

/// A line of assembly.
macro_rules! line {
    ($($part:expr),+) => { concat!($($part),+, "\n") };
}

/// The first two of four rounds of SHA-256, with the words in `$words`.
macro_rules! rounds_1 {
    ($four:literal $words:literal) => {
        concat!(line!("vpaddd xmm0, ", $words, ", [{constants} + 16*", $four, "]"), line!("sha256rnds2 xmm2, xmm1"),)
    };
}

/// The second two.
macro_rules! rounds_2 {
    () => {
        "vpshufd xmm0, xmm0, 0x0e\nsha256rnds2 xmm1, xmm2\n"
    };
}

/// The `$four`th four words of a block.
macro_rules! words {
    ($block:tt, $four:literal $to:literal) => {
        concat!(
            line!("movdqu ", $to, ", [{bytes} + 64*", $block, " + 16*", $four, "]"),
            line!("pshufb ", $to, ", xmm8"),
        )
    };
}

/// Adds the words of seven rounds ago.
macro_rules! align {
    ($to:literal from $before:literal $now:literal) => {
        concat!(line!("vpalignr xmm7, ", $now, ", ", $before, ", 4"), line!("paddd ", $to, ", xmm7"))
    };
}

/// Half of four rounds of SHA-256 with the words in `$now`. The next four words are finished in `$next`, and those
/// after them, whose place is `$then`, begun; `$before` has those before.
macro_rules! computed {
    (first $four:literal $now:literal $next:literal $then:literal $before:literal) => {
        concat!(rounds_1!($four $now), align!($next from $before $now))
    };
    (second $four:literal $now:literal $next:literal $then:literal $before:literal) => {
        concat!(
            rounds_2!(),
            line!("sha256msg2 ", $next, ", ", $now),
            line!("sha256msg1 ", $then, ", ", $before),
        )
    };
}

/// Half of four rounds of SHA-256 (FIPS 180-4, section 6.2.2), of which a block has 16; and a part of the words of
/// the next four, so that none is waited for. Nothing where the block is `none`.
macro_rules! sha256 {
    (none, $four:tt $half:tt) => { "" };
    ($block:tt, 0 first) => {
        concat!(
            "vmovdqa xmm9, xmm1\nvmovdqa xmm10, xmm2\n",
            words!($block, 0 "xmm3"),
            words!($block, 1 "xmm4"),
            rounds_1!(0 "xmm3"),
        )
    };
    ($block:tt, 0 second) => { concat!(rounds_2!(), words!($block, 2 "xmm5")) };
    ($block:tt, 1 first) => { rounds_1!(1 "xmm4") };
    ($block:tt, 1 second) => { concat!(rounds_2!(), words!($block, 3 "xmm6")) };
    ($block:tt, 2 first) => { rounds_1!(2 "xmm5") };
    ($block:tt, 2 second) => { concat!(rounds_2!(), line!("sha256msg1 xmm3, xmm4")) };
    ($block:tt, 3 $half:tt) => { computed!($half 3 "xmm6" "xmm3" "xmm4" "xmm5") };
    ($block:tt, 4 $half:tt) => { computed!($half 4 "xmm3" "xmm4" "xmm5" "xmm6") };
    ($block:tt, 5 $half:tt) => { computed!($half 5 "xmm4" "xmm5" "xmm6" "xmm3") };
    ($block:tt, 6 $half:tt) => { computed!($half 6 "xmm5" "xmm6" "xmm3" "xmm4") };
    ($block:tt, 7 $half:tt) => { computed!($half 7 "xmm6" "xmm3" "xmm4" "xmm5") };
    ($block:tt, 8 $half:tt) => { computed!($half 8 "xmm3" "xmm4" "xmm5" "xmm6") };
    ($block:tt, 9 $half:tt) => { computed!($half 9 "xmm4" "xmm5" "xmm6" "xmm3") };
    ($block:tt, 10 $half:tt) => { computed!($half 10 "xmm5" "xmm6" "xmm3" "xmm4") };
    ($block:tt, 11 $half:tt) => { computed!($half 11 "xmm6" "xmm3" "xmm4" "xmm5") };
    ($block:tt, 12 $half:tt) => { computed!($half 12 "xmm3" "xmm4" "xmm5" "xmm6") };
    ($block:tt, 13 $half:tt) => { computed!($half 13 "xmm4" "xmm5" "xmm6" "xmm3") };
    ($block:tt, 14 first) => { concat!(rounds_1!(14 "xmm5"), align!("xmm6" from "xmm4" "xmm5")) };
    ($block:tt, 14 second) => { concat!(rounds_2!(), line!("sha256msg2 xmm6, xmm5")) };
    ($block:tt, 15 first) => { rounds_1!(15 "xmm6") };
    ($block:tt, 15 second) => { concat!(rounds_2!(), "vpaddd xmm1, xmm1, xmm9\nvpaddd xmm2, xmm2, xmm10\n") };
}

/// An instruction in each of four mixings.
macro_rules! each {
    ($name:literal, [$($to:literal)+], [$($from:literal)+]) => {
        concat!($(line!($name, " ymm", $to, ", ymm", $to, ", ymm", $from)),+)
    };
}

/// Adds the word in a slot of the message to each of four mixings.
macro_rules! add_words {
    ([$($to:literal)+], [$($slot:literal)+]) => {
        concat!($(line!("vpaddd ymm", $to, ", ymm", $to, ", [{words} + 32*", $slot, "]")),+)
    };
}

/// Turns a word to the right in each of four mixings.
macro_rules! rotate {
    ([$($to:literal)+], $by:literal) => {
        concat!($(line!("vprord ymm", $to, ", ymm", $to, ", ", $by)),+)
    };
}

/// Four mixings of BLAKE3 (its function G) side by side, with half a block of SHA-256 between their steps.
macro_rules! mixings {
    (
        $a:tt $b:tt $c:tt $d:tt, $x:tt $y:tt,
        $block:tt [$s0:tt $s1:tt $s2:tt $s3:tt $s4:tt $s5:tt $s6:tt $s7:tt]
    ) => {
        concat!(
            add_words!($a, $x), sha256!($block, $s0 first),
            each!("vpaddd", $a, $b), sha256!($block, $s0 second),
            each!("vpxord", $d, $a), sha256!($block, $s1 first),
            rotate!($d, 16), sha256!($block, $s1 second),
            each!("vpaddd", $c, $d), sha256!($block, $s2 first),
            each!("vpxord", $b, $c), sha256!($block, $s2 second),
            rotate!($b, 12), sha256!($block, $s3 first), sha256!($block, $s3 second),
            add_words!($a, $y), sha256!($block, $s4 first),
            each!("vpaddd", $a, $b), sha256!($block, $s4 second),
            each!("vpxord", $d, $a), sha256!($block, $s5 first),
            rotate!($d, 8), sha256!($block, $s5 second),
            each!("vpaddd", $c, $d), sha256!($block, $s6 first),
            each!("vpxord", $b, $c), sha256!($block, $s6 second),
            rotate!($b, 7), sha256!($block, $s7 first), sha256!($block, $s7 second),
        )
    };
}

/// A round of BLAKE3 (section 2.2), and a block of SHA-256.
///
/// The permutation that orders the words of each next round consists of two cycles of eight: 0 2 3 10 12 9 11 5, and
/// 1 6 4 7 13 14 15 8. In slots in that order, where each cycle goes on from its beginning until seven rounds have
/// passed, all words of the next round are one slot further. So one loop does for all rounds, and stays small: in
/// code for seven rounds the processor would be short of decoded instructions.
macro_rules! round {
    ($block:tt) => {
        concat!(
            mixings!(
                [16 17 18 19] [20 21 22 23] [24 25 26 27] [28 29 30 31], [0 1 18 17] [16 2 7 19],
                $block [0 1 2 3 4 5 6 7]
            ),
            mixings!(
                [16 17 18 19] [21 22 23 20] [26 27 24 25] [31 28 29 30], [23 3 4 21] [5 6 20 22],
                $block [8 9 10 11 12 13 14 15]
            ),
        )
    };
}

/// BLAKE3's compression of the words in their slots from `{words}` to `{end}` into the chaining values `{values}`,
/// with `{counters}` and `{flags}`; and seven blocks of SHA-256 from `{bytes}` on.
macro_rules! compression {
    ($block:tt) => {
        concat!(
            "vmovdqa32 ymm16, [{values}]\nvmovdqa32 ymm17, [{values} + 32]\n",
            "vmovdqa32 ymm18, [{values} + 64]\nvmovdqa32 ymm19, [{values} + 96]\n",
            "vmovdqa32 ymm20, [{values} + 128]\nvmovdqa32 ymm21, [{values} + 160]\n",
            "vmovdqa32 ymm22, [{values} + 192]\nvmovdqa32 ymm23, [{values} + 224]\n",
            "vpbroadcastd ymm24, [{constants} + 272]\nvpbroadcastd ymm25, [{constants} + 276]\n",
            "vpbroadcastd ymm26, [{constants} + 280]\nvpbroadcastd ymm27, [{constants} + 284]\n",
            "vmovdqa32 ymm28, [{counters}]\nvpxord ymm29, ymm29, ymm29\n",
            "vpbroadcastd ymm30, [{constants} + 288]\nvpbroadcastd ymm31, {flags:e}\n",
            "2:\n",
            round!($block),
            "add {bytes}, 64\nadd {words}, 32\ncmp {words}, {end}\njne 2b\n",
            "vpxord ymm16, ymm16, ymm24\nvpxord ymm17, ymm17, ymm25\n",
            "vpxord ymm18, ymm18, ymm26\nvpxord ymm19, ymm19, ymm27\n",
            "vpxord ymm20, ymm20, ymm28\nvpxord ymm21, ymm21, ymm29\n",
            "vpxord ymm22, ymm22, ymm30\nvpxord ymm23, ymm23, ymm31\n",
            "vmovdqa32 [{values}], ymm16\nvmovdqa32 [{values} + 32], ymm17\n",
            "vmovdqa32 [{values} + 64], ymm18\nvmovdqa32 [{values} + 96], ymm19\n",
            "vmovdqa32 [{values} + 128], ymm20\nvmovdqa32 [{values} + 160], ymm21\n",
            "vmovdqa32 [{values} + 192], ymm22\nvmovdqa32 [{values} + 224], ymm23\n",
        )
    };
}

/// Loads a quarter of the blocks of lane `$lane` and of the fourth after it.
macro_rules! load {
    ($stride:literal, $quarter:literal, $lane:literal $to:literal) => {
        concat!(
            line!("vmovdqu32 xmm", $to, ", [{rows} + 16*", $quarter, " + ", $stride, "*", $lane, "]"),
            line!(
                "vinserti32x4 ymm",
                $to,
                ", ymm",
                $to,
                ", [{rows} + 16*",
                $quarter,
                " + ",
                $stride,
                "*",
                $lane,
                " + 4*",
                $stride,
                "], 1"
            ),
        )
    };
}

/// Elements of two registers in turn, those of the lower and those of the upper halves.
macro_rules! unpack {
    ($of:literal, $first:literal $second:literal -> $low:literal $high:literal) => {
        concat!(
            line!("vpunpckl", $of, " ymm", $low, ", ymm", $first, ", ymm", $second),
            line!("vpunpckh", $of, " ymm", $high, ", ymm", $first, ", ymm", $second),
        )
    };
}

macro_rules! store {
    ($from:literal in $($slot:literal)+) => {
        concat!($(line!("vmovdqa32 [{words} + 32*", $slot, "], ymm", $from)),+)
    };
}

/// Stores a word of the message in its slots (see `round`).
macro_rules! store_word {
    (0 from $from:literal) => { store!($from in 0 8) };
    (1 from $from:literal) => { store!($from in 16 24) };
    (2 from $from:literal) => { store!($from in 1 9) };
    (3 from $from:literal) => { store!($from in 2 10) };
    (4 from $from:literal) => { store!($from in 18 26) };
    (5 from $from:literal) => { store!($from in 7) };
    (6 from $from:literal) => { store!($from in 17 25) };
    (7 from $from:literal) => { store!($from in 19 27) };
    (8 from $from:literal) => { store!($from in 23) };
    (9 from $from:literal) => { store!($from in 5 13) };
    (10 from $from:literal) => { store!($from in 3 11) };
    (11 from $from:literal) => { store!($from in 6) };
    (12 from $from:literal) => { store!($from in 4 12) };
    (13 from $from:literal) => { store!($from in 20 28) };
    (14 from $from:literal) => { store!($from in 21 29) };
    (15 from $from:literal) => { store!($from in 22) };
}

/// Turns four words of the blocks of all lanes, which begin `$stride` bytes apart, into words in all lanes, with a
/// quarter of a block of SHA-256 between the steps.
macro_rules! transposition {
    (
        $stride:literal, $quarter:literal [$w0:tt $w1:tt $w2:tt $w3:tt],
        $block:tt [$s0:tt $s1:tt $s2:tt $s3:tt]
    ) => {
        concat!(
            load!($stride, $quarter, 0 16), load!($stride, $quarter, 1 17), sha256!($block, $s0 first),
            load!($stride, $quarter, 2 18), load!($stride, $quarter, 3 19), sha256!($block, $s0 second),
            sha256!($block, $s1 first),
            unpack!("dq", 16 17 -> 20 21), sha256!($block, $s1 second),
            unpack!("dq", 18 19 -> 22 23), sha256!($block, $s2 first),
            unpack!("qdq", 20 22 -> 24 25), sha256!($block, $s2 second),
            store_word!($w0 from 24), store_word!($w1 from 25), sha256!($block, $s3 first),
            unpack!("qdq", 21 23 -> 26 27), sha256!($block, $s3 second),
            store_word!($w2 from 26), store_word!($w3 from 27),
        )
    };
}

/// All of the words, and a block of SHA-256.
macro_rules! all_words {
    ($stride:literal, $block:tt) => {
        concat!(
            transposition!($stride, 0 [0 1 2 3], $block [0 1 2 3]),
            transposition!($stride, 1 [4 5 6 7], $block [4 5 6 7]),
            transposition!($stride, 2 [8 9 10 11], $block [8 9 10 11]),
            transposition!($stride, 3 [12 13 14 15], $block [12 13 14 15]),
        )
    };
}

//! Hostile lengths reserve no memory: whatever length a few bytes claim, decoding them takes little more than they do.
//!
//! A test binary of its own with one test, because it watches the memory of the whole process.

#[path = "wire/samples.rs"]
mod samples;

use peak_alloc::PeakAlloc;
use shoal_wire::frame::{FrameDecoder, STREAM_OPENING};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most memory that decoding one small message may take at a time. A map of the largest blob has 8 KiB.
const ALLOWED_BYTES: usize = 16 * 1024;

/// Memory that `work` held at its peak.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    work();
    MEMORY.peak_usage().saturating_sub(before)
}

/// A length in each of the codec's forms.
fn claimed_lengths() -> Vec<Vec<u8>> {
    let u16_form = [251, 0xff, 0xff].to_vec();
    let u32_forms = (20..32).map(|bit| [&[252][..], &(1u32 << bit).to_le_bytes()].concat());
    let u64_forms = (20..64).map(|bit| [&[253][..], &(1u64 << bit).to_le_bytes()].concat());
    let largest = [&[253][..], &u64::MAX.to_le_bytes()].concat();
    std::iter::once(u16_form).chain(u32_forms).chain(u64_forms).chain([largest]).collect()
}

fn hostile_lengths_in_messages(lengths: &[Vec<u8>]) {
    for sample in samples::all() {
        for position in 0..sample.bytes.len() {
            for length in lengths {
                let bytes = [&sample.bytes[..position], length, &sample.bytes[position + 1..]].concat();
                let peak = peak_of(|| drop((sample.recode)(&bytes)));
                assert!(peak <= ALLOWED_BYTES, "{}: {length:?} at {position} takes {peak} bytes", sample.name);
            }
        }
    }
}

fn hostile_lengths_of_frames() {
    for length in (0..32).map(|bit| 1u32 << bit) {
        let stream = [&STREAM_OPENING[..], &length.to_be_bytes(), &[7; 100]].concat();
        let peak = peak_of(|| {
            let mut decoder = FrameDecoder::new();
            drop(decoder.next(&mut stream.as_slice()));
        });
        assert!(peak <= 1024, "a frame that claims {length} bytes takes {peak}");
    }
}

#[test]
fn hostile_lengths_reserve_no_memory() {
    let reserved = peak_of(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20))));
    assert!(reserved >= 1 << 20, "the meter shows what is reserved: {reserved}");
    hostile_lengths_in_messages(&claimed_lengths());
    hostile_lengths_of_frames();
}

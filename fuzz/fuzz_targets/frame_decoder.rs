//! A stream in two cuts: the same messages and the same end come out wherever it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_wire::{
    control::ControlMessage,
    frame::{FrameDecoder, FrameError, encode_frame},
};

fn read(portions: &[&[u8]]) -> (Vec<ControlMessage>, Option<FrameError>) {
    let (mut decoder, mut messages) = (FrameDecoder::new(), Vec::new());
    for mut portion in portions.iter().copied() {
        loop {
            match decoder.next(&mut portion) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(portion.is_empty());
    }
    (messages, None)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    let (head, tail) = stream.split_at(usize::from(cut).min(stream.len()));
    let whole = read(&[stream]);
    assert_eq!(whole, read(&[head, tail]));
    for message in &whole.0 {
        encode_frame(message).expect("what was taken could have been sent");
    }
});

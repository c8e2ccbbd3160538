//! Streams: framing in any portions, and the refusal of other versions and of long frames.

use proptest::{collection::vec, prelude::*};
use shoal_wire::{
    codec::{CodecError, Message},
    control::ControlMessage,
    frame::{self, FrameDecoder, FrameError, STREAM_OPENING},
    limits::{CONTROL_FRAME_BYTES, TRANSFER_HEADER_BYTES},
    version::{self, PROTOCOL_VERSION, VersionMismatch},
};

use crate::{arbitrary, samples};

fn part() -> ControlMessage {
    ControlMessage::Part { digest: samples::sha256() }
}

/// Feeds `portions` and returns all messages that come out.
fn read<'a>(
    decoder: &mut FrameDecoder,
    portions: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<ControlMessage>, FrameError> {
    let mut messages = Vec::new();
    for mut portion in portions {
        while let Some(message) = decoder.next(&mut portion)? {
            messages.push(message);
        }
        assert!(portion.is_empty(), "without a message all bytes are taken");
    }
    Ok(messages)
}

proptest! {
    #[test]
    fn frames_are_read_in_any_portions(messages in vec(arbitrary::control(), 0..5), sizes in vec(1..200usize, 1..20)) {
        let mut stream = STREAM_OPENING.to_vec();
        for message in &messages {
            stream.extend(frame::encode_frame(message).unwrap());
        }
        let mut rest = stream.as_slice();
        let portions = sizes.iter().cycle().map_while(|&size| {
            let (portion, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            (!portion.is_empty()).then_some(portion)
        });
        let mut decoder = FrameDecoder::new();
        prop_assert_eq!(read(&mut decoder, portions).unwrap(), messages);
        prop_assert!(decoder.is_idle());
    }

    #[test]
    fn random_streams_end_in_an_error_or_wait(bytes in vec(any::<u8>(), 0..512), versioned in any::<bool>()) {
        let mut decoder = FrameDecoder::new();
        let opening = if versioned { &STREAM_OPENING[..] } else { &[] };
        if let Err(error) = read(&mut decoder, [opening, &bytes]) {
            prop_assert_eq!(read(&mut decoder, [&STREAM_OPENING[..]]).unwrap_err(), error, "a failed stream stays failed");
        }
    }
}

#[test]
fn another_version_is_refused_by_an_error_that_names_both() {
    for theirs in (0..=u8::MAX).filter(|&theirs| theirs != PROTOCOL_VERSION) {
        let mismatch = VersionMismatch { ours: PROTOCOL_VERSION, theirs };
        assert_eq!(version::check(theirs), Err(mismatch));
        let good_frame = frame::encode_frame(&part()).unwrap();
        let error = read(&mut FrameDecoder::new(), [&[theirs][..], &good_frame]).unwrap_err();
        assert_eq!(error, FrameError::Version(mismatch));
        let expected = format!(
            "the peer speaks protocol version {theirs}, this node speaks version 1: upgrade the older of the two"
        );
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(version::check(PROTOCOL_VERSION), Ok(()));
}

#[test]
fn lengths_are_taken_up_to_their_limits() {
    assert_eq!(frame::frame_length([0, 1, 0, 0]), Ok(CONTROL_FRAME_BYTES));
    assert_eq!(frame::frame_length([0; 4]), Ok(0));
    for prefix in [[0, 1, 0, 1], [1, 0, 0, 0], [0xff; 4]] {
        let too_long = CodecError::TooLong { kind: "control message", limit: CONTROL_FRAME_BYTES };
        assert_eq!(frame::frame_length(prefix), Err(too_long.clone()));
        let error = read(&mut FrameDecoder::new(), [&STREAM_OPENING[..], &prefix]).unwrap_err();
        assert_eq!(error, FrameError::Codec(too_long));
    }
    assert_eq!(frame::header_length([4, 0]), Ok(TRANSFER_HEADER_BYTES));
    for prefix in [[4, 1], [0xff; 2]] {
        assert!(matches!(frame::header_length(prefix), Err(CodecError::TooLong { limit: TRANSFER_HEADER_BYTES, .. })));
    }
}

#[test]
fn an_empty_frame_is_malformed() {
    let error = read(&mut FrameDecoder::new(), [&STREAM_OPENING[..], &[0; 4]]).unwrap_err();
    assert!(matches!(error, FrameError::Codec(CodecError::Malformed { .. })), "{error}");
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_not_idle() {
    let stream = [&STREAM_OPENING[..], &frame::encode_frame(&part()).unwrap()].concat();
    for end in 0..stream.len() {
        let mut decoder = FrameDecoder::new();
        assert_eq!(read(&mut decoder, [&stream[..end]]).unwrap(), []);
        assert_eq!(decoder.is_idle(), end == 1, "after {end} bytes");
    }
}

#[test]
fn a_message_after_a_malformed_one_is_not_read() {
    let good = frame::encode_frame(&part()).unwrap();
    let bad = [&[0, 0, 0, 1, 0xff][..], &good].concat();
    let mut decoder = FrameDecoder::new();
    assert_eq!(read(&mut decoder, [&STREAM_OPENING[..], &good]).unwrap(), [part()]);
    assert!(read(&mut decoder, [bad.as_slice()]).is_err());
    assert!(read(&mut decoder, [good.as_slice()]).is_err());
}

#[test]
fn datagrams_are_told_apart_by_their_first_byte() {
    assert!(!version::is_quic(PROTOCOL_VERSION));
    // RFC 9000, sections 17.2 and 17.3: long headers have the two highest bits set, short ones only the second.
    assert!(version::is_quic(0xc0) && version::is_quic(0xff) && version::is_quic(0x40) && version::is_quic(0x7f));
    assert!(!version::is_quic(0x00) && !version::is_quic(0x80) && !version::is_quic(0xbf));
}

#[test]
fn headers_of_piece_streams_are_prefixed_by_their_length() {
    for sample in samples::all().iter().filter(|sample| sample.name.starts_with("re")) {
        if let Ok(reply) = shoal_wire::transfer::PieceReply::decode(&sample.bytes) {
            let framed = frame::encode_reply(&reply).unwrap();
            let length = frame::header_length([framed[0], framed[1]]).unwrap();
            assert_eq!(framed[2..], sample.bytes, "{}", sample.name);
            assert_eq!(length, sample.bytes.len(), "{}", sample.name);
        }
    }
}

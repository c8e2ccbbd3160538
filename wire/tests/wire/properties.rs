//! Round trips of any message, and damaged, foreign and oversized bytes: an error or a valid message, never a panic.

use proptest::{collection::vec, prelude::*};
use shoal_wire::{
    codec::{CodecError, Message},
    control::ControlMessage,
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    gossip::GossipPacket,
    limits::{PIECE_BYTES_MAX, PIECE_BYTES_MIN, PIECES_MAX},
    transfer::{PieceReply, PieceRequest},
};

use crate::{arbitrary, samples};

proptest! {
    #[test]
    fn control_messages_survive_the_wire(message in arbitrary::control()) {
        prop_assert_eq!(ControlMessage::decode(&message.encode().unwrap()).unwrap(), message);
    }

    #[test]
    fn transfer_headers_survive_the_wire(request in arbitrary::request(), reply in arbitrary::reply()) {
        prop_assert_eq!(PieceRequest::decode(&request.encode().unwrap()).unwrap(), request);
        prop_assert_eq!(PieceReply::decode(&reply.encode().unwrap()).unwrap(), reply);
    }

    #[test]
    fn gossip_survives_the_wire_or_is_too_long(packet in arbitrary::gossip()) {
        match packet.encode() {
            Ok(bytes) => {
                prop_assert_eq!(bytes.len(), packet.encoded_len());
                prop_assert_eq!(GossipPacket::decode(&bytes).unwrap(), packet);
            }
            Err(error) => {
                prop_assert!(matches!(error, CodecError::TooLong { .. }), "{}", error);
                prop_assert!(packet.encoded_len() > GossipPacket::LIMIT);
            }
        }
    }

    #[test]
    fn a_damaged_gossip_packet_is_an_error_or_a_packet(
        packet in arbitrary::gossip(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        if let Ok(mut bytes) = packet.encode() {
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            assert_error_or_message::<GossipPacket>(&bytes)?;
        }
    }

    #[test]
    fn any_truncation_of_a_control_message_is_an_error(message in arbitrary::control(), at in any::<prop::sample::Index>()) {
        let bytes = message.encode().unwrap();
        prop_assert!(ControlMessage::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_damaged_control_message_is_an_error_or_a_message(
        message in arbitrary::control(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = message.encode().unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        assert_error_or_message::<ControlMessage>(&bytes)?;
    }

    #[test]
    fn random_bytes_are_an_error_or_a_message(bytes in vec(any::<u8>(), 0..2048)) {
        assert_error_or_message::<ControlMessage>(&bytes)?;
        assert_error_or_message::<GossipPacket>(&bytes)?;
        assert_error_or_message::<PieceRequest>(&bytes)?;
        assert_error_or_message::<PieceReply>(&bytes)?;
    }

    #[test]
    fn digests_are_read_as_they_are_written(digest in arbitrary::digest()) {
        prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        prop_assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
    }

    #[test]
    fn any_text_is_a_digest_as_written_or_an_error(text in "(sha256:|sha512:|)[0-9a-f]{0,130}|\\PC{0,80}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }

    #[test]
    fn pieces_tile_their_blob(size in prop_oneof![0..1u64 << 36, 0..=u64::from(PIECES_MAX) * PIECE_BYTES_MAX]) {
        let geometry = Geometry::of(size).unwrap();
        prop_assert!(geometry.piece_bytes().is_power_of_two());
        prop_assert!((PIECE_BYTES_MIN..=PIECE_BYTES_MAX).contains(&geometry.piece_bytes()));
        let mut end = 0;
        for piece in (0..geometry.pieces()).map(PieceIndex) {
            let range = geometry.range(piece);
            prop_assert_eq!(range.start, end);
            prop_assert!(size == 0 || !range.is_empty());
            prop_assert!(size == 0 || geometry.piece_at(range.end - 1) == piece);
            prop_assert_eq!(geometry.len(piece), range.end - range.start);
            end = range.end;
        }
        prop_assert_eq!(end, size);
        prop_assert!(geometry.pieces() >= 1 && !geometry.contains(PieceIndex(geometry.pieces())));
        prop_assert!(geometry.range(PieceIndex(geometry.pieces())).is_empty());
    }
}

/// What decodes is within all bounds: it encodes again, and to something with the same meaning.
fn assert_error_or_message<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = M::decode(bytes) {
        let again = message.encode().map_err(|error| TestCaseError::fail(format!("{message:?}: {error}")))?;
        prop_assert_eq!(M::decode(&again).unwrap(), message);
    }
    Ok(())
}

#[test]
fn a_blob_above_the_largest_has_no_geometry() {
    let most = u64::from(PIECES_MAX) * PIECE_BYTES_MAX;
    assert_eq!(Geometry::of(most).unwrap().pieces(), PIECES_MAX);
    let error = Geometry::of(most + 1).unwrap_err().to_string();
    assert_eq!(error, "a blob of 1099511627777 bytes is too large: the most is 1099511627776 bytes");
    assert!(Geometry::of(u64::MAX).is_err());
}

#[test]
fn every_prefix_of_every_message_is_an_error() {
    for sample in samples::all() {
        for end in 0..sample.bytes.len() {
            let result = (sample.recode)(&sample.bytes[..end]);
            assert!(result.is_err(), "{} cut to {end} bytes", sample.name);
        }
    }
}

#[test]
fn every_message_followed_by_a_byte_is_refused() {
    for sample in samples::all() {
        let longer = [sample.bytes.as_slice(), &[0]].concat();
        let error = (sample.recode)(&longer).unwrap_err();
        assert!(matches!(error, CodecError::Trailing { extra: 1, .. }), "{}: {error}", sample.name);
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_another_message() {
    for sample in samples::all() {
        for bit in 0..sample.bytes.len() * 8 {
            let mut bytes = sample.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(again) = (sample.recode)(&bytes) {
                assert_ne!(again, sample.bytes, "{}: bit {bit} carries no meaning", sample.name);
            }
        }
    }
}

fn refusal_of_length<M: Message + std::fmt::Debug>(length: usize) -> CodecError {
    M::decode(&vec![0; length]).unwrap_err()
}

#[test]
fn bytes_above_the_limit_are_refused_as_too_long() {
    fn check<M: Message + std::fmt::Debug>() {
        let too_long = CodecError::TooLong { kind: M::KIND, limit: M::LIMIT };
        assert_eq!(refusal_of_length::<M>(M::LIMIT + 1), too_long);
        assert_ne!(refusal_of_length::<M>(M::LIMIT), too_long);
    }
    check::<ControlMessage>();
    check::<GossipPacket>();
    check::<PieceRequest>();
    check::<PieceReply>();
}

//! The encoded map of a blob of a given number of pieces, in the message that carries it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_wire::{
    codec::Message,
    control::{ControlMessage, Load},
    digest::Digest,
    geometry::PieceIndex,
    limits::PIECE_BYTES_MIN,
    piece_map::PieceMap,
};

/// All that precedes the map in a message about a blob of `pieces` pieces, and all that follows it.
fn around_the_map(pieces: u32) -> (Vec<u8>, Vec<u8>) {
    let (digest, size) = (Digest::Sha256([0; 32]), u64::from(pieces) * PIECE_BYTES_MIN);
    let (have, load) = (PieceMap::empty(pieces), Load::default());
    let hello = ControlMessage::Hello { digest, size, have, wants: true, reply: false, load };
    let mut before = hello.encode().expect("within the bounds");
    let after = before.split_off(before.len() - 4);
    // The empty map: its form, the number of pieces, and no runs.
    let empty_map = if pieces <= 250 { 3 } else { 5 };
    before.truncate(before.len() - empty_map);
    (before, after)
}

fuzz_target!(|input: (u8, &[u8])| {
    // Up to 512 pieces of the smallest size.
    let pieces = u32::from(input.0) * 2 + 1;
    let (before, after) = around_the_map(pieces);
    let Ok(message) = ControlMessage::decode(&[&before, input.1, &after].concat()) else { return };
    let ControlMessage::Hello { have, .. } = &message else { panic!("another message: {message:?}") };
    assert_eq!(have.pieces(), pieces);
    assert_eq!(have.count(), have.words().iter().map(|word| word.count_ones()).sum::<u32>());
    assert!(have.iter().all(|piece| piece.0 < pieces && have.has(piece)));
    let mut again = PieceMap::empty(pieces);
    assert_eq!(again.insert_runs(&have.runs()), have.count());
    assert_eq!(&again, have);
    assert_eq!(have.first_missing(PieceIndex(0)).is_none(), have.is_full());
    assert_eq!(ControlMessage::decode(&message.encode().expect("could have been sent")).expect("decodes"), message);
});

//! How many bytes a control message takes on its stream.

use shoal_core::event::Output;
use shoal_wire::{codec::Message, control::ControlMessage, frame::FRAME_PREFIX_BYTES, piece_map::PieceRuns};

/// Bytes of a digest: its algorithm, and a SHA-256.
const DIGEST: usize = 33;

/// Bytes of a message that a node puts out; 0 of anything else.
pub(super) fn of(output: &Output) -> u32 {
    match output {
        Output::Control { message, .. } => of_control(message),
        Output::Gossip { packet, .. } => u32::try_from(packet.encoded_len()).unwrap_or(u32::MAX),
        _ => 0,
    }
}

/// Bytes of a message as a frame. Those that are sent all the time are counted without being encoded.
fn of_control(message: &ControlMessage) -> u32 {
    let kind = 1;
    let load = 2;
    let body = match message {
        ControlMessage::Have { digest, pieces, held, .. } if digest.bytes().len() + 1 == DIGEST => {
            kind + DIGEST + of_runs(pieces) + varint(*held) + load
        }
        ControlMessage::SlotFree { .. } => kind + load,
        message => message.encode().map_or(0, |bytes| bytes.len()),
    };
    u32::try_from(FRAME_PREFIX_BYTES + body).unwrap_or(u32::MAX)
}

fn of_runs(runs: &PieceRuns) -> usize {
    let (mut end, mut numbers, mut bytes) = (0, 0, 0);
    for run in runs.ranges() {
        bytes += varint(run.start - end) + varint(run.end - run.start);
        numbers += 2;
        end = run.end;
    }
    bytes + varint(numbers)
}

/// Bytes of a number in the codec's form.
fn varint(number: u32) -> usize {
    match number {
        0..=250 => 1,
        251..=0xffff => 3,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use shoal_wire::{control::Load, digest::Digest, geometry::PieceIndex};

    use super::*;

    #[test]
    fn counted_bytes_are_those_of_the_codec() {
        let load = Load { active: 5, queued: 1 };
        let digest = Digest::Sha256([7; 32]);
        let sets: [&[u32]; 5] = [&[0], &[3, 4, 5, 9], &[300, 301], &[0, 2, 4, 6, 8, 7000], &[]];
        let have = |pieces: &[u32], digest| {
            let pieces = PieceRuns::from_ascending(pieces.iter().map(|piece| PieceIndex(*piece)));
            ControlMessage::Have { digest, pieces, held: 300, load }
        };
        let mut messages: Vec<_> = sets.iter().map(|set| have(set, digest)).collect();
        messages.push(have(&[1], Digest::Sha512([7; 64])));
        messages.extend([ControlMessage::SlotFree { load }, ControlMessage::Part { digest }]);
        for message in messages {
            let encoded = message.encode().unwrap().len() + FRAME_PREFIX_BYTES;
            assert_eq!(of_control(&message) as usize, encoded, "{message:?}");
        }
    }
}

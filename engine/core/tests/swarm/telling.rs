//! What neighbours are told of new pieces, and what is done about what they tell.

use std::time::Duration;

use shoal_core::{
    event::{Input, Output, TransferId},
    node::Node,
    time::Time,
};
use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    geometry::PieceIndex,
    ids::MemberId,
    piece_map::{PieceMap, PieceRuns},
};

use crate::careful::node;

const DIGEST: Digest = Digest::Sha256([2; 32]);
const SIZE: u64 = 1024 * 1024;
const PIECES: u32 = 4;
const LOAD: Load = Load { active: 0, queued: 0 };
const RICH: MemberId = MemberId([8; 16]);
const POOR: MemberId = MemberId([9; 16]);

fn outputs(node: &mut Node, now: Time, input: Input) -> Vec<Output> {
    node.handle(now, input);
    std::iter::from_fn(|| node.poll_output()).collect()
}

fn requests(outputs: &[Output]) -> Vec<(TransferId, MemberId, u32, u32)> {
    let request = |output: &Output| match output {
        Output::RequestPiece { transfer, from, piece, held, .. } => Some((*transfer, *from, piece.0, *held)),
        _ => None,
    };
    outputs.iter().filter_map(request).collect()
}

fn hello(from: MemberId, pieces: std::ops::Range<u32>) -> Input {
    let mut have = PieceMap::empty(PIECES);
    have.insert_range(pieces);
    let message = ControlMessage::Hello { digest: DIGEST, size: SIZE, have, wants: true, reply: true, load: LOAD };
    Input::Control { from, message }
}

fn has(from: MemberId, piece: u32) -> Input {
    let pieces = PieceRuns::from_ascending([PieceIndex(piece)]);
    Input::Control { from, message: ControlMessage::Have { digest: DIGEST, pieces, held: 1, load: LOAD } }
}

fn stored(transfer: TransferId) -> Input {
    Input::PieceStored { transfer, injector: RICH }
}

/// A node that wants a blob, and knows that the rich have all pieces but the last, and the poor none.
fn between_rich_and_poor() -> (Node, Vec<(TransferId, MemberId, u32, u32)>) {
    let mut node = node();
    let want = Input::Want { digest: DIGEST, size: SIZE, have: PieceMap::empty(PIECES), can_lease: false };
    outputs(&mut node, Time::ZERO, want);
    outputs(&mut node, Time::ZERO, hello(POOR, 0..0));
    let asked = requests(&outputs(&mut node, Time::ZERO, hello(RICH, 0..PIECES - 1)));
    (node, asked)
}

/// All that a node says until it has nothing more to do within a second.
fn said(node: &mut Node, now: Time, input: Input) -> Vec<(MemberId, ControlMessage)> {
    let mut said = outputs(node, now, input);
    while let Some(at) = node.next_timeout().filter(|at| *at < now + Duration::from_secs(1)) {
        said.extend(outputs(node, at.max(now), Input::Timeout));
    }
    let message = |output| match output {
        Output::Control { to, message } => Some((to, message)),
        _ => None,
    };
    said.into_iter().filter_map(message).collect()
}

#[test]
fn news_go_to_those_who_lack_the_piece() {
    let (mut node, asked) = between_rich_and_poor();
    let (transfer, _, piece, held) = asked[0];
    assert_eq!(held, 0, "a request says how much the asker has");
    let said = said(&mut node, Time::ZERO + Duration::from_millis(100), stored(transfer));
    let told: Vec<_> = said.iter().filter(|(_, message)| matches!(message, ControlMessage::Have { .. })).collect();
    let pieces = PieceRuns::from_ascending([PieceIndex(piece)]);
    assert_eq!(told, [&(POOR, ControlMessage::Have { digest: DIGEST, pieces, held: 1, load: LOAD })]);
}

#[test]
fn whoever_wants_pieces_is_told_that_all_are_here() {
    let (mut node, asked) = between_rich_and_poor();
    let mut now = Time::ZERO + Duration::from_millis(100);
    let mut open = requests(&outputs(&mut node, now, has(POOR, PIECES - 1)));
    open.extend(asked);
    let mut all = Vec::new();
    while let Some((transfer, ..)) = open.pop() {
        now = now + Duration::from_millis(100);
        node.handle(now, stored(transfer));
        let output: Vec<_> = std::iter::from_fn(|| node.poll_output()).collect();
        open.extend(requests(&output));
        all.extend(said(&mut node, now, Input::Timeout));
    }
    for neighbour in [RICH, POOR] {
        let is_told = all.iter().any(|(to, message)| {
            *to == neighbour && matches!(message, ControlMessage::Hello { have, wants: false, .. } if have.is_full())
        });
        assert!(is_told, "{neighbour} among {all:?}");
    }
}

#[test]
fn news_of_a_missing_piece_are_acted_upon_at_once_and_others_not() {
    let (mut node, asked) = between_rich_and_poor();
    let is_asked_for = |wanted: u32| asked.iter().any(|(_, _, piece, _)| *piece == wanted);
    assert!((0..PIECES - 1).all(is_asked_for), "{asked:?}");
    let now = Time::ZERO + Duration::from_millis(10);
    assert_eq!(requests(&outputs(&mut node, now, has(POOR, 0))), [], "it is on its way from another");
    let asked = requests(&outputs(&mut node, now, has(POOR, PIECES - 1)));
    assert!(matches!(asked[..], [(_, POOR, piece, 0)] if piece == PIECES - 1), "{asked:?}");
}

#[test]
fn a_late_request_is_repeated_as_soon_as_another_has_the_piece() {
    let (mut node, asked) = between_rich_and_poor();
    let (transfer, ..) = asked[0];
    let mut now = Time::ZERO + Duration::from_millis(100);
    outputs(&mut node, now, stored(transfer));
    let (_, _, late, _) = asked[1];
    // Long enough to be late at what the first took, and not so long that it counts as stalled.
    now = now + Duration::from_millis(900);
    assert_eq!(requests(&outputs(&mut node, now, Input::Timeout)), [], "nobody else has it");
    let again = requests(&outputs(&mut node, now, has(POOR, late)));
    assert!(matches!(again[..], [(_, POOR, piece, 1)] if piece == late), "{again:?}");
}

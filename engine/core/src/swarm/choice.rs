//! Which piece to ask for next, and whom.
//!
//! Pieces that a reader waits for come first, then the rarest within a window after the contiguous prefix, then the
//! rarest of all. Windowed rarest-first keeps readers supplied and costs late comers nothing; ties are broken at random,
//! so that neighbours fetch different pieces and have something to exchange (Cohen, "Incentives Build Robustness in
//! BitTorrent", 2003, section 2.4; Legout et al., IMC 2006).

use shoal_wire::{geometry::PieceIndex, ids::MemberId};
use smallvec::SmallVec;

use super::{
    blob::{Blob, Neighbour},
    peer::Peers,
};
use crate::{config::SwarmConfig, rng::Stream, time::Time};

/// A request to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) piece: PieceIndex,
    pub(super) from: MemberId,
    pub(super) is_demanded: bool,
}

/// The neighbours of a blob that may be asked now.
type Usable<'a> = SmallVec<[(MemberId, &'a Neighbour); 32]>;

/// What a choice is made from besides the blob.
pub(super) struct Chooser<'a> {
    pub(super) now: Time,
    pub(super) config: &'a SwarmConfig,
    pub(super) peers: &'a Peers,
    pub(super) random: &'a mut Stream,
}

impl Chooser<'_> {
    /// The next request for `blob`, or `None` where nothing is to be had now.
    pub(super) fn choose(&mut self, blob: &Blob) -> Option<Choice> {
        let usable = self.usable(blob);
        if usable.is_empty() {
            return None;
        }
        let demanded =
            blob.demand.iter().copied().find(|&piece| {
                is_missing(blob, piece) && usable.iter().any(|(_, neighbour)| neighbour.have.has(piece))
            });
        let piece = demanded.or_else(|| self.rarest(blob, &usable))?;
        let from = self.source(&usable, piece, None)?;
        Some(Choice { piece, from, is_demanded: demanded.is_some() })
    }

    /// A second source for a piece that `not_from` is slow to deliver.
    pub(super) fn another_source(&mut self, blob: &Blob, piece: PieceIndex, not_from: MemberId) -> Option<MemberId> {
        let usable = self.usable(blob);
        self.source(&usable, piece, Some(not_from))
    }

    /// Neighbours that may be asked now. Requests are spread: one for each peer, more where peers are few.
    fn usable<'b>(&self, blob: &'b Blob) -> Usable<'b> {
        let able = |id: MemberId| self.peers.get(id).is_none_or(|peer| peer.is_usable(self.now));
        let with_pieces = blob.neighbours.iter().filter(|(id, neighbour)| !neighbour.have.is_empty() && able(**id));
        let usable: Usable<'b> = with_pieces.map(|(&id, neighbour)| (id, neighbour)).collect();
        let per_peer = self.config.requests_max.div_ceil(usable.len().max(1));
        usable.into_iter().filter(|(id, _)| self.peers.get(*id).is_none_or(|peer| peer.in_flight < per_peer)).collect()
    }

    fn rarest(&mut self, blob: &Blob, usable: &Usable<'_>) -> Option<PieceIndex> {
        let cursor = blob.cursor();
        let window_end = cursor.saturating_add(self.config.window_pieces).min(blob.geometry.pieces());
        self.rarest_between(blob, usable, cursor, window_end)
            .or_else(|| self.rarest_between(blob, usable, window_end, blob.geometry.pieces()))
    }

    /// The rarest piece in `start..end` that is missing here and present at a usable neighbour.
    fn rarest_between(&mut self, blob: &Blob, usable: &Usable<'_>, start: u32, end: u32) -> Option<PieceIndex> {
        let mut best: Option<(u16, PieceIndex)> = None;
        let mut ties = 0;
        for word in start / 64..end.div_ceil(64) {
            let mut candidates = candidate_word(blob, usable, word as usize) & range_mask(word, start, end);
            while candidates != 0 {
                let piece = PieceIndex(word * 64 + candidates.trailing_zeros());
                candidates &= candidates - 1;
                let holders = blob.availability(piece);
                match best {
                    Some((fewest, _)) if holders > fewest => {}
                    Some((fewest, _)) if holders == fewest => {
                        ties += 1;
                        if self.random.below(ties) == 0 {
                            best = Some((holders, piece));
                        }
                    }
                    _ => {
                        best = Some((holders, piece));
                        ties = 1;
                    }
                }
            }
        }
        best.map(|(_, piece)| piece)
    }

    /// The least burdened usable neighbour that has `piece`.
    fn source(&mut self, usable: &Usable<'_>, piece: PieceIndex, not_from: Option<MemberId>) -> Option<MemberId> {
        let typical = self.peers.typical_rate();
        usable
            .iter()
            .filter(|(id, neighbour)| Some(*id) != not_from && neighbour.have.has(piece))
            .min_by_key(|(id, _)| {
                let burden = self.peers.get(*id).map(|peer| peer.burden(typical)).unwrap_or_default();
                (burden, self.random.bits())
            })
            .map(|&(id, _)| id)
    }
}

fn is_missing(blob: &Blob, piece: PieceIndex) -> bool {
    blob.geometry.contains(piece) && !blob.have.has(piece) && !blob.requested.has(piece) && !blob.leased.has(piece)
}

/// 64 pieces at once: missing here, not on their way, and present at one of `usable`.
fn candidate_word(blob: &Blob, usable: &Usable<'_>, word: usize) -> u64 {
    let taken = blob.have.words()[word] | blob.requested.words()[word] | blob.leased.words()[word];
    let present = usable.iter().fold(0, |present, (_, neighbour)| present | neighbour.have.words()[word]);
    present & !taken
}

/// The bits of `word` that stand for pieces in `start..end`.
fn range_mask(word: u32, start: u32, end: u32) -> u64 {
    let base = word * 64;
    let low = start.saturating_sub(base).min(64);
    let high = end.saturating_sub(base).min(64);
    let below = |bits: u32| if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
    below(high) & !below(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_covers_exactly_its_range() {
        for (start, end) in [(0, 0), (0, 64), (3, 70), (64, 128), (65, 66), (130, 131)] {
            let pieces: Vec<u32> = (0..4)
                .flat_map(|word| {
                    let mask = range_mask(word, start, end);
                    (0..64).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| word * 64 + bit)
                })
                .collect();
            assert_eq!(pieces, (start..end).collect::<Vec<_>>());
        }
    }
}

//! Which piece to ask for next, and whom.
//!
//! Pieces that a reader waits for come first, then the rarest within a window after the contiguous prefix, then the
//! rarest of all. Windowed rarest-first keeps readers supplied and costs late comers nothing; ties are broken at random,
//! so that neighbours fetch different pieces and have something to exchange (Cohen, "Incentives Build Robustness in
//! BitTorrent", 2003, section 2.4; Legout et al., IMC 2006). Where no neighbour misses anything, pieces come in order, and
//! no further ahead of the readers than the memory of recent pieces reaches.

use std::time::Duration;

use shoal_wire::{geometry::PieceIndex, ids::MemberId};
use smallvec::SmallVec;

use super::{
    blob::Blob,
    neighbour::Neighbour,
    peer::{Peer, Peers},
    transfers::Transfers,
};
use crate::{config::SwarmConfig, rng::Stream, time::Time};

/// A request to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) piece: PieceIndex,
    pub(super) from: MemberId,
    pub(super) is_demanded: bool,
}

/// Neighbours of a blob.
type Neighbours<'a> = SmallVec<[Candidate<'a>; 32]>;

/// A neighbour, and what is known about it whatever the blob.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    id: MemberId,
    neighbour: &'a Neighbour,
    /// Its pieces, 64 in a word: a choice looks at all of them, of every neighbour.
    have: &'a [u64],
    /// From when on it may be asked.
    free_at: Time,
    peer: Option<&'a Peer>,
}

impl Candidate<'_> {
    fn has(&self, piece: PieceIndex) -> bool {
        self.neighbour.have.has(piece)
    }
}

/// The neighbours of a blob that may be asked now.
struct Reach<'a> {
    /// In this node's zone; anywhere, where the zone has no gateways.
    near: Neighbours<'a>,
    /// In other zones, where this node's zone has gateways.
    far: Neighbours<'a>,
    /// All in this node's zone, also those that are busy, where it has gateways.
    zone: Neighbours<'a>,
}

/// What a choice is made from besides the blob.
pub(super) struct Chooser<'a> {
    now: Time,
    config: &'a SwarmConfig,
    peers: &'a Peers,
    random: &'a mut Stream,
    /// Time that a gateway of the zone has to bring in a piece.
    patience: Duration,
    /// Requests at once to all peers.
    requests_max: usize,
}

impl<'a> Chooser<'a> {
    /// What requests for pieces of `blob` are chosen from.
    pub(super) fn new(
        now: Time,
        blob: &Blob,
        config: &'a SwarmConfig,
        transfers: &Transfers,
        peers: &'a Peers,
        random: &'a mut Stream,
    ) -> Self {
        let patience = transfers.gateway_patience(blob.geometry, config);
        let requests_max = transfers.requests_for(config.requests_max);
        Self { now, config, peers, random, patience, requests_max }
    }

    /// The next request for `blob`, or `None` where nothing is to be had now. `may_cross` says whether there is room for
    /// one more request to another zone.
    pub(super) fn choose(&mut self, blob: &'a Blob, may_cross: bool) -> Option<Choice> {
        let reach = self.reach(blob);
        if reach.near.is_empty() && reach.far.is_empty() {
            return None;
        }
        let demanded = blob
            .demand
            .iter()
            .copied()
            .find(|&piece| is_missing(blob, piece) && self.sources(blob, &reach, piece).next().is_some());
        // Others wait for what only this node may bring into the zone.
        let piece = if let Some(piece) = demanded.or_else(|| self.first_piece(blob, &reach)) {
            piece
        } else {
            let crossing = if may_cross { self.crossing(blob, &reach) } else { None };
            crossing.or_else(|| self.rarest_near(blob, &reach))?
        };
        let from = self.source(blob, &reach, piece, None)?;
        Some(Choice { piece, from, is_demanded: demanded.is_some() })
    }

    /// The first piece, where it is missing and to be had: readers have nothing before it.
    fn first_piece(&self, blob: &Blob, reach: &Reach<'a>) -> Option<PieceIndex> {
        let first = PieceIndex(0);
        (is_missing(blob, first) && self.sources(blob, reach, first).next().is_some()).then_some(first)
    }

    /// The rarest piece to follow the one that `from` is sending; none where that has just refused one.
    pub(super) fn choose_from(&mut self, blob: &'a Blob, from: MemberId) -> Option<PieceIndex> {
        let neighbour = blob.neighbours.get(&from).filter(|neighbour| blob.is_source(neighbour))?;
        let (free_at, peer) = self.peers.look_at(from);
        if free_at > self.now {
            return None;
        }
        let candidate = Candidate { id: from, neighbour, have: neighbour.have.words(), free_at, peer };
        let near = std::iter::once(candidate).collect();
        self.rarest_near(blob, &Reach { near, far: Neighbours::new(), zone: Neighbours::new() })
    }

    /// A second source for a piece that `not_from` is slow to deliver.
    pub(super) fn another_source(&mut self, blob: &'a Blob, piece: PieceIndex, not_from: MemberId) -> Option<MemberId> {
        if !blob.is_to_be_had(piece, not_from) {
            return None;
        }
        let reach = self.reach(blob);
        self.source(blob, &reach, piece, Some(not_from))
    }

    /// Neighbours that may be asked now. Requests are spread: one for each peer, more where peers are few.
    fn reach(&self, blob: &'a Blob) -> Reach<'a> {
        let with_pieces =
            blob.neighbours.iter().filter(|(_, neighbour)| !neighbour.have.is_empty() && blob.is_source(neighbour));
        let with_pieces = with_pieces.map(|(&id, neighbour)| {
            let (free_at, peer) = self.peers.look_at(id);
            Candidate { id, neighbour, have: neighbour.have.words(), free_at, peer }
        });
        let is_usable = |candidate: &Candidate<'_>| candidate.free_at <= self.now;
        let mut usable: Neighbours<'a> = with_pieces.clone().filter(is_usable).collect();
        let per_peer = self.requests_max.div_ceil(usable.len().max(1));
        usable.retain(|candidate| candidate.peer.is_none_or(|peer| peer.in_flight < per_peer));
        if !blob.crossing.is_exclusive() {
            return Reach { near: usable, far: Neighbours::new(), zone: Neighbours::new() };
        }
        let (near, far) = usable.into_iter().partition(|candidate| candidate.neighbour.is_near);
        let lives = |candidate: &Candidate<'_>| candidate.peer.is_none_or(|peer| !peer.is_resting(self.now));
        let zone = with_pieces.filter(|candidate| candidate.neighbour.is_near && lives(candidate)).collect();
        Reach { near, far, zone }
    }

    /// The rarest piece that a usable neighbour has, within the window where there is one.
    fn rarest_near(&mut self, blob: &Blob, reach: &Reach<'a>) -> Option<PieceIndex> {
        let pieces = |word: usize| match blob.open(word) {
            0 => 0,
            open => open & present(&reach.near, word),
        };
        if blob.crossing.is_exclusive() {
            self.rarest(blob, pieces, |piece| blob.near_availability(piece))
        } else {
            self.rarest(blob, pieces, |piece| blob.availability(piece))
        }
    }

    /// The rarest piece that nobody in the zone has and that this node may bring in.
    fn crossing(&mut self, blob: &Blob, reach: &Reach<'a>) -> Option<PieceIndex> {
        if reach.far.is_empty() {
            return None;
        }
        let pieces = |word: usize| {
            let open = blob.open(word);
            if open == 0 {
                return 0;
            }
            bits(open & present(&reach.far, word) & !present(&reach.zone, word))
                .filter(|&bit| self.may_fetch(blob, piece_at(word, bit)))
                .fold(0, |allowed, bit| allowed | 1 << bit)
        };
        let allowed: SmallVec<[u64; 16]> = (0..blob.have.words().len()).map(pieces).collect();
        self.rarest(blob, |word| allowed[word], |piece| blob.availability(piece))
    }

    fn may_fetch(&self, blob: &Blob, piece: PieceIndex) -> bool {
        if blob.is_careful {
            // What a gateway brings in is of no use here before that has everything.
            return true;
        }
        let is_at_work = |gateway: MemberId| {
            let lives = self.peers.get(gateway).is_none_or(|peer| !peer.is_resting(self.now));
            let heard = blob.neighbours.get(&gateway).map(|neighbour| neighbour.heard_at);
            lives && heard.is_some_and(|at| self.now.since(at) < self.patience)
        };
        // A reader that waits for one piece does not wait for all turns.
        let patience = if blob.demand.contains(&piece) { self.patience / 8 } else { self.patience };
        blob.crossing.may_fetch(self.now, piece, patience, is_at_work)
    }

    /// The rarest of the pieces, first in the window after the prefix.
    fn rarest(
        &mut self,
        blob: &Blob,
        pieces: impl Fn(usize) -> u64,
        availability: impl Fn(PieceIndex) -> u16,
    ) -> Option<PieceIndex> {
        let (cursor, count) = (blob.cursor(), blob.geometry.pieces());
        if !blob.is_wanted_elsewhere() {
            // Nobody profits by a piece out of order, and the readers take bytes from memory that come in order, and not
            // long before they get there.
            let end = blob.end_of_readers(self.config.reader_ahead_bytes);
            return (cursor / 64..end.div_ceil(64)).find_map(|word| {
                bits(pieces(word as usize) & range_mask(word, cursor, end))
                    .next()
                    .map(|bit| piece_at(word as usize, bit))
            });
        }
        let window_end = cursor.saturating_add(self.config.window_pieces).min(count);
        self.rarest_between(cursor, window_end, &pieces, &availability)
            .or_else(|| self.rarest_between(window_end, count, &pieces, &availability))
    }

    /// The rarest piece of those in `start..end`, at random among equals.
    fn rarest_between(
        &mut self,
        start: u32,
        end: u32,
        pieces: impl Fn(usize) -> u64,
        availability: impl Fn(PieceIndex) -> u16,
    ) -> Option<PieceIndex> {
        let mut fewest = u16::MAX;
        let mut rarest: SmallVec<[PieceIndex; 64]> = SmallVec::new();
        for word in start / 64..end.div_ceil(64) {
            for bit in bits(pieces(word as usize) & range_mask(word, start, end)) {
                let piece = piece_at(word as usize, bit);
                let holders = availability(piece);
                if holders > fewest {
                    continue;
                }
                if holders < fewest {
                    fewest = holders;
                    rarest.clear();
                }
                rarest.push(piece);
            }
        }
        rarest.get(self.random.below(rarest.len())).copied()
    }

    /// Usable neighbours that may be asked for `piece`.
    fn sources<'b>(
        &self,
        blob: &Blob,
        reach: &'b Reach<'a>,
        piece: PieceIndex,
    ) -> impl Iterator<Item = &'b Candidate<'a>> + use<'a, 'b> {
        let is_inside = reach.zone.iter().any(|candidate| candidate.has(piece));
        let is_left_to_others = blob.crossing.is_exclusive() && !is_inside && !self.may_fetch(blob, piece);
        let among: &[_] = match (blob.crossing.is_exclusive(), is_inside) {
            (false, _) | (true, true) => &reach.near,
            (true, false) if is_left_to_others => &[],
            (true, false) => &reach.far,
        };
        among.iter().filter(move |candidate| candidate.has(piece))
    }

    /// The least burdened of those that may be asked for `piece`.
    fn source(
        &mut self,
        blob: &Blob,
        reach: &Reach<'a>,
        piece: PieceIndex,
        not_from: Option<MemberId>,
    ) -> Option<MemberId> {
        let mut sources =
            self.sources(blob, reach, piece).filter(|candidate| Some(candidate.id) != not_from).peekable();
        sources.peek()?;
        let typical = self.peers.typical_rate();
        let burden = |candidate: &Candidate<'_>| candidate.peer.map(|peer| peer.burden(typical)).unwrap_or_default();
        sources.min_by_key(|candidate| (burden(candidate), self.random.bits())).map(|candidate| candidate.id)
    }
}

fn is_missing(blob: &Blob, piece: PieceIndex) -> bool {
    blob.geometry.contains(piece) && !blob.have.has(piece) && !blob.requested.has(piece) && !blob.leased.has(piece)
}

/// 64 pieces at once: which any of `neighbours` has.
fn present(neighbours: &Neighbours<'_>, word: usize) -> u64 {
    neighbours.iter().fold(0, |present, candidate| present | candidate.have[word])
}

/// The positions of the bits that are set, ascending.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

fn piece_at(word: usize, bit: u32) -> PieceIndex {
    PieceIndex(u32::try_from(word).unwrap_or(u32::MAX).saturating_mul(64).saturating_add(bit))
}

/// The bits of `word` that stand for pieces in `start..end`.
pub(super) fn range_mask(word: u32, start: u32, end: u32) -> u64 {
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

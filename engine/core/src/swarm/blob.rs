//! One blob at a node that wants or holds it: what it has, what is on its way, and who else has what.

use std::time::Duration;

use shoal_wire::{
    control::Load,
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    ids::MemberId,
    piece_map::{PieceMap, PieceRuns},
};

use super::{
    announcer::Announcer,
    choice::range_mask,
    crossing::Crossing,
    neighbour::{Neighbour, PROGRESS_SEEN_MIN},
};
use crate::{progress::Progress, sorted_map::SortedMap, time::Time};

/// Pieces that are asked for ahead of readers however large they are: one is read, and two come meanwhile.
const READER_AHEAD_PIECES_MIN: u32 = 3;

/// A blob. Each of its pieces is missing, requested, leased or stored, and in one of these states only.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) geometry: Geometry,
    pub(super) have: PieceMap,
    /// Pieces requested from peers.
    pub(super) requested: PieceMap,
    /// Pieces that this node fetches from the upstream.
    pub(super) leased: PieceMap,
    pub(super) stage: Stage,
    pub(super) can_lease: bool,
    /// Pieces that a reader waits for.
    pub(super) demand: Vec<PieceIndex>,
    /// The piece at which the first of its readers is, where all of them read all of it.
    pub(super) readers_at: Option<PieceIndex>,
    pub(super) neighbours: SortedMap<MemberId, Neighbour>,
    /// How many neighbours have each piece.
    availability: Vec<Availability>,
    /// Pieces that any neighbour has.
    offered: PieceMap,
    pub(super) crossing: Crossing,
    pub(super) announcer: Announcer,
    /// Pieces stored since neighbours were told last.
    pub(super) untold: Vec<PieceIndex>,
    pub(super) told_at: Time,
    /// When a piece was stored last, or the blob was wanted first.
    pub(super) progressed_at: Time,
    /// Peers that a home named and that do not hold the blob, and when they said so; the last few.
    pub(super) parted: Vec<(MemberId, Time)>,
    /// Requests repeated elsewhere so far.
    pub(super) hedged: u32,
    /// How often the whole did not have its digest.
    pub(super) corrupted: u32,
    /// Whether the whole was wrong here before: a piece may be wrong although its voucher is good, and who has only some
    /// pieces would give it out again and again. So pieces are taken from those that have all of them, and the upstream.
    pub(super) is_careful: bool,
    /// How this node did among its neighbours when it stored the last piece.
    pub(super) standing: Standing,
    progress: Progress,
    /// Pieces before this one are stored.
    cursor: u32,
}

/// How a node does among its neighbours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// It has fewer pieces.
    pub(super) is_behind: bool,
    /// It gets them much more slowly than the fastest.
    pub(super) is_slow: bool,
}

/// How far a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Pieces are missing.
    Wanted,
    /// All pieces are stored; the whole is being verified.
    Complete,
    /// Verified.
    Held,
}

/// What pieces that a neighbour got mean to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Some are missing here, and neither requested nor leased.
    pub(super) are_open: bool,
    /// Some are requested from another: there is a second source now.
    pub(super) are_on_their_way: bool,
}

/// How many neighbours have a piece.
#[derive(Clone, Copy, Debug, Default)]
struct Availability {
    all: u16,
    /// In this node's zone.
    near: u16,
}

impl Availability {
    /// One more has it; says whether it is the first.
    fn count(&mut self, is_near: bool) -> bool {
        self.all += 1;
        self.near += u16::from(is_near);
        self.all == 1
    }

    /// One that had it is gone; says whether it was the last.
    fn discount(&mut self, is_near: bool) -> bool {
        self.all -= 1;
        self.near -= u16::from(is_near);
        self.all == 0
    }
}

impl Blob {
    pub(super) fn new(
        now: Time,
        digest: Digest,
        geometry: Geometry,
        have: PieceMap,
        can_lease: bool,
        announcer: Announcer,
    ) -> Self {
        let pieces = geometry.pieces();
        let progress = Progress::new(now, have.count());
        let mut blob = Self {
            digest,
            geometry,
            requested: PieceMap::empty(pieces),
            leased: PieceMap::empty(pieces),
            stage: if have.is_full() { Stage::Complete } else { Stage::Wanted },
            have,
            can_lease,
            demand: Vec::new(),
            readers_at: None,
            neighbours: SortedMap::new(),
            availability: vec![Availability::default(); pieces as usize],
            offered: PieceMap::empty(pieces),
            crossing: Crossing::default(),
            announcer,
            untold: Vec::new(),
            told_at: Time::ZERO,
            progressed_at: now,
            parted: Vec::new(),
            hedged: 0,
            corrupted: 0,
            is_careful: false,
            standing: Standing::default(),
            progress,
            cursor: 0,
        };
        blob.move_cursor();
        blob
    }

    /// Whether pieces are missing.
    pub(super) fn is_wanted(&self) -> bool {
        self.stage == Stage::Wanted
    }

    /// First missing piece; the number of pieces where none is missing.
    pub(super) fn cursor(&self) -> u32 {
        self.cursor
    }

    /// How many neighbours have `piece`.
    pub(super) fn availability(&self, piece: PieceIndex) -> u16 {
        self.availability.get(piece.0 as usize).map_or(0, |availability| availability.all)
    }

    /// How many neighbours in this node's zone have `piece`.
    pub(super) fn near_availability(&self, piece: PieceIndex) -> u16 {
        self.availability.get(piece.0 as usize).map_or(0, |availability| availability.near)
    }

    fn count(&mut self, now: Time, piece: PieceIndex, is_near: bool) {
        if self.availability[piece.0 as usize].count(is_near) {
            self.offered.insert(piece);
        }
        if !is_near {
            self.crossing.note_far(now, piece);
        }
    }

    fn discount(&mut self, piece: PieceIndex, is_near: bool) {
        if self.availability[piece.0 as usize].discount(is_near) {
            self.offered.remove(piece);
        }
    }

    /// 64 pieces at once: which are missing here and not on their way.
    fn missing(&self, word: usize) -> u64 {
        !(self.have.words()[word] | self.requested.words()[word] | self.leased.words()[word])
    }

    /// 64 pieces at once: which any neighbour, busy or not, has, and are missing here and not on their way.
    pub(super) fn open(&self, word: usize) -> u64 {
        self.offered.words()[word] & self.missing(word)
    }

    /// Whether neighbours, busy or not, have more than `count` pieces that are missing here and not on their way. Looked at
    /// with nearly every message, so it ends as soon as so many are found.
    pub(super) fn has_more_open_than(&self, count: u32) -> bool {
        let mut open = 0;
        (self.cursor as usize / 64..self.offered.words().len()).any(|word| {
            open += self.open(word).count_ones();
            open > count
        })
    }

    /// Whether the neighbours that want pieces have more than this node, by more than `margin` in the mean.
    pub(super) fn lags(&self, margin: u32) -> bool {
        let wanting = self.neighbours.values().filter(|neighbour| neighbour.wants);
        let (count, pieces) =
            wanting.fold((0, 0), |(count, pieces), neighbour| (count + 1, pieces + u64::from(neighbour.held)));
        pieces > (u64::from(self.have.count()) + u64::from(margin)) * count
    }

    /// Whether this node gets less than a part of what the fastest of the neighbours gets that want pieces.
    pub(super) fn is_slower(&self, now: Time, part: f64) -> bool {
        let Some(own) = self.progress.rate(now, self.have.count(), PROGRESS_SEEN_MIN) else { return false };
        let mut rates = self.neighbours.values().filter_map(|neighbour| neighbour.rate(now));
        rates.any(|rate| own < rate * part)
    }

    /// Whether a neighbour had so many pieces when this node heard of it first.
    pub(super) fn came_late(&self, pieces: u32) -> bool {
        self.neighbours.values().any(|neighbour| neighbour.had_first() >= pieces)
    }

    /// Requests that it may have at once while few of its pieces have come: one more for each.
    pub(super) fn requests_young(&self, start: usize) -> usize {
        start.saturating_add(self.progress.gained(self.have.count()) as usize)
    }

    /// Whether any neighbour, busy or not, has a piece that is missing here and not on its way.
    pub(super) fn lacks_what_neighbours_have(&self) -> bool {
        (self.cursor as usize / 64..self.offered.words().len()).any(|word| self.open(word) != 0)
    }

    /// Whether a neighbour misses pieces.
    pub(super) fn is_wanted_elsewhere(&self) -> bool {
        self.neighbours.values().any(|neighbour| neighbour.wants)
    }

    /// Where requests end for now if nobody but this node's readers wants the blob: so many bytes ahead of them, and at least
    /// [`READER_AHEAD_PIECES_MIN`] pieces.
    pub(super) fn end_of_readers(&self, ahead_bytes: u64) -> u32 {
        let ahead = u32::try_from(ahead_bytes / self.geometry.piece_bytes()).unwrap_or(u32::MAX);
        let ahead = ahead.max(READER_AHEAD_PIECES_MIN);
        let count = self.geometry.pieces();
        self.readers_at.map_or(count, |piece| piece.0.saturating_add(ahead).min(count))
    }

    /// Whether nothing is left to be asked for until the readers have come further.
    pub(super) fn waits_for_readers(&self, ahead_bytes: u64) -> bool {
        let end = self.end_of_readers(ahead_bytes);
        let is_open = |word: u32| self.open(word as usize) & range_mask(word, self.cursor, end) != 0;
        end < self.geometry.pieces()
            && !self.is_wanted_elsewhere()
            && !(self.cursor / 64..end.div_ceil(64)).any(is_open)
    }

    /// Whether nothing has come for so long, nothing is asked for, and no neighbour has what is missing here.
    pub(super) fn is_stuck(&self, now: Time, patience: Duration) -> bool {
        now.since(self.progressed_at) >= patience && self.requested.is_empty() && !self.lacks_what_neighbours_have()
    }

    /// Forgets the neighbour that was heard of longest ago, of those that `may_go` names and that have answered. Returns
    /// whether there was one.
    pub(super) fn forget_a_neighbour(&mut self, may_go: impl Fn(&Neighbour) -> bool) -> bool {
        let answered = self.neighbours.iter().filter(|(_, neighbour)| neighbour.unanswered == 0 && may_go(neighbour));
        let oldest = answered.min_by_key(|(_, neighbour)| neighbour.heard_at).map(|(&id, _)| id);
        oldest.and_then(|id| self.remove_neighbour(id)).is_some()
    }

    /// Whether pieces may be taken from a neighbour.
    pub(super) fn is_source(&self, neighbour: &Neighbour) -> bool {
        !self.is_careful || !neighbour.wants && neighbour.have.is_full()
    }

    /// Whether a neighbour other than `not_from`, busy or not, has `piece`.
    pub(super) fn is_to_be_had(&self, piece: PieceIndex, not_from: MemberId) -> bool {
        let is_with_it = self.neighbours.get(&not_from).is_some_and(|neighbour| neighbour.have.has(piece));
        self.availability(piece) > u16::from(is_with_it)
    }

    /// Notes a stored piece; says whether it is new.
    pub(super) fn store(&mut self, piece: PieceIndex) -> bool {
        if !self.have.insert(piece) {
            return false;
        }
        self.leased.remove(piece);
        self.untold.push(piece);
        if piece.0 == self.cursor {
            self.move_cursor();
        }
        if self.have.is_full() && self.is_wanted() {
            self.stage = Stage::Complete;
        }
        true
    }

    fn move_cursor(&mut self) {
        self.cursor = self.have.first_missing(PieceIndex(self.cursor)).map_or(self.geometry.pieces(), |piece| piece.0);
    }

    /// The whole is verified: every piece is here, whichever way it came.
    pub(super) fn complete(&mut self) {
        let missing: Vec<_> = PieceMap::full(self.geometry.pieces()).and_not(&self.have).collect();
        for piece in missing {
            self.store(piece);
        }
        self.stage = Stage::Held;
        self.demand.clear();
    }

    /// All pieces turned out wrong.
    pub(super) fn start_again(&mut self) {
        let pieces = self.geometry.pieces();
        self.have = PieceMap::empty(pieces);
        self.requested = PieceMap::empty(pieces);
        self.leased = PieceMap::empty(pieces);
        self.stage = Stage::Wanted;
        self.untold.clear();
        self.cursor = 0;
        self.corrupted += 1;
    }

    /// Takes over the whole map of a neighbour.
    pub(super) fn set_neighbour(&mut self, now: Time, id: MemberId, have: PieceMap, wants: bool, is_near: bool) {
        let before = self.remove_neighbour(id);
        have.iter().for_each(|piece| self.count(now, piece, is_near));
        let neighbour = Neighbour::heard(now, have, wants, is_near, before.as_ref());
        self.neighbours.insert(id, neighbour);
    }

    /// Adds pieces that a neighbour got; says of what use they are. One that is not known is no neighbour yet: its greeting
    /// follows.
    pub(super) fn extend_neighbour(&mut self, now: Time, id: MemberId, pieces: &PieceRuns, held: u32) -> News {
        let mut news = News::default();
        let Some(neighbour) = self.neighbours.get_mut(&id) else { return news };
        for piece in pieces.iter().take_while(|&piece| self.geometry.contains(piece)) {
            if neighbour.have.insert(piece) {
                let is_requested = self.requested.has(piece);
                news.are_on_their_way |= is_requested;
                news.are_open |= !is_requested && !self.have.has(piece) && !self.leased.has(piece);
                if self.availability[piece.0 as usize].count(neighbour.is_near) {
                    self.offered.insert(piece);
                }
                if !neighbour.is_near {
                    self.crossing.note_far(now, piece);
                }
            }
        }
        neighbour.wants &= !neighbour.have.is_full();
        neighbour.held = held;
        neighbour.heard_at = now;
        // Nothing was taken from it before, whatever it had.
        news.are_open |= self.is_careful && neighbour.have.is_full();
        news
    }

    /// A neighbour turned out not to have a piece.
    pub(super) fn neighbour_lacks(&mut self, id: MemberId, piece: PieceIndex) {
        if let Some(neighbour) = self.neighbours.get_mut(&id)
            && neighbour.have.remove(piece)
        {
            let is_near = neighbour.is_near;
            self.discount(piece, is_near);
        }
    }

    /// What was known of it, where it was one.
    pub(super) fn remove_neighbour(&mut self, id: MemberId) -> Option<Neighbour> {
        let neighbour = self.neighbours.remove(&id)?;
        neighbour.have.iter().for_each(|piece| self.discount(piece, neighbour.is_near));
        Some(neighbour)
    }

    /// The pieces that neighbours have not been told of, as runs, and nothing untold any more.
    pub(super) fn take_untold(&mut self) -> PieceRuns {
        let mut pieces = std::mem::take(&mut self.untold);
        pieces.sort_unstable();
        pieces.dedup();
        PieceRuns::from_ascending(pieces)
    }

    /// The greeting of this node for this blob.
    pub(super) fn hello(&self, reply: bool, load: Load) -> shoal_wire::control::ControlMessage {
        shoal_wire::control::ControlMessage::Hello {
            digest: self.digest,
            size: self.geometry.size(),
            have: self.have.clone(),
            wants: self.is_wanted(),
            reply,
            load,
        }
    }
}

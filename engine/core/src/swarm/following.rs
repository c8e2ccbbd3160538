//! Asking a peer for the next piece before the last has come.
//!
//! Between a piece's last byte and the first of the next lie the acknowledgement that frees the slot and a request, and
//! if another was faster, a refusal and a new search: of 1,000 nodes a quarter had fewer flows than filled their links
//! while they waited for answers. So a node asks a peer that is sending it a piece for another one shortly before that is
//! here, and the uploader lets it follow on the same slot (pipelining, Cohen 2003, section 2.3). Only where there is plenty
//! to be had: elsewhere the links are not what is waited for, and what is asked for early is asked for from the wrong peer.

use smallvec::SmallVec;

use super::{Surroundings, Swarm, choice::Chooser, requests::Place, transfers::Transfer};
use crate::time::Time;

impl Swarm {
    /// Asks for what is to follow the pieces that are nearly here.
    pub(super) fn follow_on(&mut self, around: &mut Surroundings<'_>) {
        let is_near = |transfer: &Transfer| self.transfers.followed_at(transfer).is_some_and(|at| at <= around.now);
        let nearly_here: SmallVec<[Transfer; 8]> = self
            .transfers
            .iter()
            .filter(|(_, transfer)| is_near(transfer) && self.is_only_of_its_peer(transfer))
            .map(|(_, transfer)| *transfer)
            .collect();
        for transfer in nearly_here {
            self.follow(around, &transfer);
        }
    }

    /// When the next piece is nearly here that may be followed, where that is before `limit`.
    pub(super) fn next_to_follow(&self, now: Time, limit: Option<Time>) -> Option<Time> {
        let mut next = limit;
        for (_, transfer) in self.transfers.iter() {
            let Some(at) = self.transfers.followed_at(transfer).filter(|&at| at > now) else { continue };
            if next.is_none_or(|next| at < next) && self.is_only_of_its_peer(transfer) {
                next = Some(at);
            }
        }
        next
    }

    /// Whether nothing is asked for behind it yet.
    fn is_only_of_its_peer(&self, transfer: &Transfer) -> bool {
        self.peers.get(transfer.from).is_some_and(|peer| peer.in_flight == 1)
    }

    fn follow(&mut self, around: &mut Surroundings<'_>, transfer: &Transfer) {
        let Some(blob) = self.blobs.get(&transfer.digest) else { return };
        // Zones with gateways have their own order of who brings in what.
        if blob.crossing.is_exclusive() || !blob.has_more_open_than(self.config.follow_pieces) {
            return;
        }
        let mut chooser = Chooser::new(around.now, blob, &self.config, &self.transfers, &self.peers, &mut self.random);
        if let Some(piece) = chooser.choose_from(blob, transfer.from) {
            self.request(around, &transfer.digest, piece, transfer.from, Place::Behind);
        }
    }
}

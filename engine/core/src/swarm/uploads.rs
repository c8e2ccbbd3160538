//! Admission of piece requests: a few are served at once, one waits, the rest are refused and told when there is room. Who
//! waits gives its place to a member that has fewer pieces. A member that is being sent a piece may have another follow it
//! on the same slot, unless somebody waits who has fewer.
//!
//! With unbounded queues every piece arrives late and the same swarm takes 1.4 to 3.3 times as long (docs/tuning.md).

use std::collections::{BTreeMap, VecDeque};

use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    ids::MemberId,
    transfer::Urgency,
};

use crate::{
    census::Census,
    config::SwarmConfig,
    event::{Output, Refusal, UploadId},
    outbox::Outbox,
};

/// Refused members that are told of one free slot; one of them may be quicker elsewhere.
const TOLD_PER_SLOT: usize = 2;

/// The upload side of a node, over all blobs.
#[derive(Debug)]
pub(super) struct Uploads {
    /// Pieces sent at once.
    slots: usize,
    active: BTreeMap<UploadId, MemberId>,
    /// Those of them that follow another of their member, on its slot: at most one each.
    following: Vec<(UploadId, MemberId)>,
    queue: VecDeque<UploadRequest>,
    /// Members that were refused, the longest-waiting first.
    refused: VecDeque<MemberId>,
    /// Pieces served to each member lately, so that the least served goes first.
    served: BTreeMap<MemberId, u64>,
}

/// A request for a piece that this node has.
#[derive(Clone, Copy, Debug)]
pub(super) struct UploadRequest {
    pub(super) upload: UploadId,
    pub(super) from: MemberId,
    pub(super) digest: Digest,
    pub(super) urgency: Urgency,
    /// The blob is young here: until it is not, the request is served only while few are.
    pub(super) is_young: bool,
    /// Pieces of the blob that the member says it has.
    pub(super) held: u32,
}

impl UploadRequest {
    /// Whether its member has clearly fewer pieces of the blob than that of `other`, or none, so that it goes first.
    fn is_poorer(&self, config: &SwarmConfig, other: &Self) -> bool {
        let margin = if self.held == 0 { 0 } else { config.yield_pieces };
        self.digest == other.digest && self.held.saturating_add(margin) < other.held
    }
}

impl Uploads {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots,
            active: BTreeMap::new(),
            following: Vec::new(),
            queue: VecDeque::new(),
            refused: VecDeque::new(),
            served: BTreeMap::new(),
        }
    }

    /// From now on so many pieces are sent at once. Requests under way are not touched.
    pub(super) fn set_slots(&mut self, slots: usize) {
        self.slots = slots;
    }

    pub(super) fn load(&self) -> Load {
        let count = |length: usize| u8::try_from(length).unwrap_or(u8::MAX);
        Load { active: count(self.active.len()), queued: count(self.queue.len()) }
    }

    pub(super) fn count(&self, census: &mut Census) {
        census.uploads_served = self.active.len();
        census.uploads_waiting = self.queue.len();
        census.refused = self.refused.len();
        census.served_members = self.served.len();
    }

    /// Serves, queues or refuses a request.
    pub(super) fn request(&mut self, config: &SwarmConfig, outbox: &mut Outbox, request: UploadRequest) {
        let slots = self.slots_for(config, &request);
        // One place more for what a reader waits for, so that bulk requests never shut it out; and those that fewer slots
        // leave over.
        let more = usize::from(request.urgency == Urgency::OnDemand) + self.slots - slots;
        if self.slots_taken() < slots {
            self.serve(outbox, request.upload, request.from);
        } else if self.may_follow(config, &request) {
            self.following.push((request.upload, request.from));
            self.serve(outbox, request.upload, request.from);
        } else if self.queue.len() < config.upload_backlog + more {
            self.queue.push_back(request);
        } else if let Some(richer) = self.take_place(config, &request) {
            self.queue.push_back(request);
            self.refuse(config, outbox, richer.upload, richer.from);
        } else {
            self.refuse(config, outbox, request.upload, request.from);
        }
    }

    /// Pieces that are sent at once while this one may be.
    fn slots_for(&self, config: &SwarmConfig, request: &UploadRequest) -> usize {
        if request.is_young { config.upload_slots_young.min(self.slots) } else { self.slots }
    }

    fn slots_taken(&self) -> usize {
        self.active.len() - self.following.len()
    }

    /// Whether a piece may follow the one that its member is being sent: nobody waits for a slot who goes before it.
    fn may_follow(&self, config: &SwarmConfig, request: &UploadRequest) -> bool {
        let is_before =
            |waiting: &UploadRequest| waiting.urgency == Urgency::OnDemand || waiting.is_poorer(config, request);
        self.active.values().any(|&member| member == request.from)
            && !self.following.iter().any(|&(_, member)| member == request.from)
            && !self.queue.iter().any(is_before)
    }

    /// An upload is over: the slot passes to what follows it.
    fn pass_on(&mut self, upload: UploadId, member: MemberId) {
        let follows = |following: &(UploadId, MemberId)| following.0 == upload;
        let is_its = |following: &(UploadId, MemberId)| following.1 == member;
        let place = self.following.iter().position(follows).or_else(|| self.following.iter().position(is_its));
        if let Some(place) = place {
            self.following.swap_remove(place);
        }
    }

    /// Takes the queued request out whose place goes to a member with fewer pieces. The swarm is done when its last member
    /// is, so that who is behind goes before who is ahead and needs little more.
    fn take_place(&mut self, config: &SwarmConfig, poorer: &UploadRequest) -> Option<UploadRequest> {
        let yields = |waiting: &UploadRequest| waiting.urgency == Urgency::Bulk && poorer.is_poorer(config, waiting);
        let places = self.queue.iter().enumerate().filter(|(_, waiting)| yields(waiting));
        let (place, _) = places.max_by_key(|(_, waiting)| waiting.held)?;
        self.queue.remove(place)
    }

    /// A request is over; the next one moves up.
    pub(super) fn ended(&mut self, config: &SwarmConfig, outbox: &mut Outbox, upload: UploadId) {
        let member = self.active.remove(&upload);
        if let Some(member) = member {
            self.pass_on(upload, member);
        }
        let queued = self.queue.len();
        self.queue.retain(|waiting| waiting.upload != upload);
        if member.is_none() && self.queue.len() == queued {
            return;
        }
        self.serve_waiting(config, outbox);
        self.invite(config, outbox);
    }

    /// A blob is not young any more. Who waits for a piece of it has all slots from now on: with as few as before it would wait
    /// until those who ask now leave most of them free, and they never do.
    pub(super) fn mature(&mut self, config: &SwarmConfig, outbox: &mut Outbox, digest: &Digest) {
        self.queue.iter_mut().filter(|waiting| waiting.digest == *digest).for_each(|waiting| waiting.is_young = false);
        self.serve_waiting(config, outbox);
    }

    fn serve_waiting(&mut self, config: &SwarmConfig, outbox: &mut Outbox) {
        while let Some(next) = self.next_in_queue(config) {
            self.serve(outbox, next.upload, next.from);
        }
    }

    /// The pieces of a blob are not here any more: who waits for one is told.
    pub(super) fn refuse_all_of(&mut self, outbox: &mut Outbox, digest: &Digest) {
        self.queue.retain(|waiting| {
            let is_of_it = waiting.digest == *digest;
            if is_of_it {
                outbox.push(Output::Refuse { upload: waiting.upload, refusal: Refusal::NotHeld });
            }
            !is_of_it
        });
    }

    /// A member is gone: nobody waits for it, and the driver ends what it was being sent.
    pub(super) fn forget(&mut self, member: MemberId) {
        self.refused.retain(|&waiting| waiting != member);
        self.served.remove(&member);
    }

    fn serve(&mut self, outbox: &mut Outbox, upload: UploadId, from: MemberId) {
        self.active.insert(upload, from);
        *self.served.entry(from).or_default() += 1;
        self.refused.retain(|&waiting| waiting != from);
        outbox.push(Output::Serve { upload });
    }

    fn refuse(&mut self, config: &SwarmConfig, outbox: &mut Outbox, upload: UploadId, from: MemberId) {
        if !self.refused.contains(&from) && self.refused.len() < config.refused_max {
            self.refused.push_back(from);
        }
        outbox.push(Output::Refuse { upload, refusal: Refusal::Busy(self.load()) });
    }

    /// Of the requests that there is a slot for, what a reader waits for goes first, then that of the member that was served
    /// least.
    fn next_in_queue(&mut self, config: &SwarmConfig) -> Option<UploadRequest> {
        let served = |member: &MemberId| self.served.get(member).copied().unwrap_or(0);
        let order =
            |place: usize, waiting: &UploadRequest| (waiting.urgency == Urgency::Bulk, served(&waiting.from), place);
        let taken = self.slots_taken();
        let fitting = self.queue.iter().enumerate().filter(|(_, waiting)| taken < self.slots_for(config, waiting));
        let (place, _) = fitting.min_by_key(|&(place, waiting)| order(place, waiting))?;
        self.queue.remove(place)
    }

    /// Tells refused members that there is room.
    fn invite(&mut self, config: &SwarmConfig, outbox: &mut Outbox) {
        if self.slots_taken() + self.queue.len() >= self.slots + config.upload_backlog {
            return;
        }
        let load = self.load();
        for member in self.refused.drain(..self.refused.len().min(TOLD_PER_SLOT)) {
            outbox.send(member, ControlMessage::SlotFree { load });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MemberId = MemberId([0; 16]);

    fn peer(index: u8) -> MemberId {
        MemberId([index; 16])
    }

    fn asked(upload: UploadId, from: MemberId, urgency: Urgency) -> UploadRequest {
        UploadRequest { upload, from, digest: Digest::Sha256([1; 32]), urgency, is_young: false, held: 0 }
    }

    fn drain(outbox: &mut Outbox) -> Vec<Output> {
        std::iter::from_fn(|| outbox.pop()).collect()
    }

    /// Requests of peers 1, 2, 3, ... in order.
    fn requested(count: u8) -> (Uploads, Outbox, SwarmConfig) {
        let config = SwarmConfig { upload_slots: 4, upload_backlog: 1, ..SwarmConfig::default() };
        let (mut uploads, mut outbox) = (Uploads::new(4), Outbox::new(OWN));
        for index in 1..=count {
            uploads.request(&config, &mut outbox, asked(UploadId(u64::from(index)), peer(index), Urgency::Bulk));
        }
        (uploads, outbox, config)
    }

    #[test]
    fn four_are_served_one_waits_and_the_rest_are_refused_with_the_load() {
        let (_, mut outbox, _) = requested(7);
        let outputs = drain(&mut outbox);
        assert_eq!(outputs.iter().filter(|output| matches!(output, Output::Serve { .. })).count(), 4);
        let refusals: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Refuse { upload, refusal: Refusal::Busy(load) } => Some((upload.0, load.active, load.queued)),
                _ => None,
            })
            .collect();
        assert_eq!(refusals, [(6, 4, 1), (7, 4, 1)]);
    }

    #[test]
    fn a_free_slot_goes_to_the_queue_and_is_told_to_the_longest_waiting() {
        let (mut uploads, mut outbox, config) = requested(8);
        drain(&mut outbox);
        uploads.ended(&config, &mut outbox, UploadId(1));
        let outputs = drain(&mut outbox);
        assert!(matches!(outputs[0], Output::Serve { upload: UploadId(5) }));
        let told: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Control { to, message: ControlMessage::SlotFree { .. } } => Some(*to),
                _ => None,
            })
            .collect();
        assert_eq!(told, [peer(6), peer(7)]);
    }

    #[test]
    fn a_slot_goes_to_none_that_has_fewer_slots() {
        let config = SwarmConfig { upload_slots: 4, upload_backlog: 2, ..SwarmConfig::default() };
        let (mut uploads, mut outbox) = (Uploads::new(4), Outbox::new(OWN));
        uploads.request(&config, &mut outbox, asked(UploadId(7), peer(3), Urgency::Bulk));
        uploads.ended(&config, &mut outbox, UploadId(7));
        for index in 1..=4 {
            uploads.request(&config, &mut outbox, asked(UploadId(index), peer(1), Urgency::Bulk));
        }
        // Peer 2 was served less than peer 3, but of its blob only two are sent at once.
        let young = UploadRequest { is_young: true, ..asked(UploadId(5), peer(2), Urgency::Bulk) };
        uploads.request(&config, &mut outbox, young);
        uploads.request(&config, &mut outbox, asked(UploadId(6), peer(3), Urgency::Bulk));
        drain(&mut outbox);
        let mut served = |ended| {
            uploads.ended(&config, &mut outbox, UploadId(ended));
            let outputs = drain(&mut outbox).into_iter();
            let served = outputs.filter_map(|output| match output {
                Output::Serve { upload } => Some(upload.0),
                _ => None,
            });
            served.collect::<Vec<_>>()
        };
        assert_eq!(served(1), [6]);
        assert_eq!(served(2), [0; 0], "three are being sent");
        assert_eq!(served(3), [0; 0]);
        assert_eq!(served(4), [5]);
    }

    /// Peer 5 has 10 pieces of a blob and waits for one; now peer 6 asks, which has so many. The uploads that are refused.
    fn refused_when_asked_by_one_with(has: u32, digest: Digest) -> Vec<u64> {
        let (mut uploads, mut outbox, config) = requested(4);
        let waiting = UploadRequest { held: 10, digest, ..asked(UploadId(5), peer(5), Urgency::Bulk) };
        uploads.request(&config, &mut outbox, waiting);
        drain(&mut outbox);
        uploads.request(
            &config,
            &mut outbox,
            UploadRequest { held: has, ..asked(UploadId(6), peer(6), Urgency::Bulk) },
        );
        assert_eq!(uploads.load(), Load { active: 4, queued: 1 });
        let refused = drain(&mut outbox).into_iter().map(|output| match output {
            Output::Refuse { upload, refusal: Refusal::Busy(_) } => upload.0,
            other => unreachable!("{other:?}"),
        });
        refused.collect()
    }

    #[test]
    fn who_waits_gives_its_place_to_a_member_that_has_fewer_pieces() {
        let digest = Digest::Sha256([1; 32]);
        let margin = SwarmConfig::default().yield_pieces;
        assert_eq!(refused_when_asked_by_one_with(9 - margin, digest), [5]);
        assert_eq!(refused_when_asked_by_one_with(10 - margin, digest), [6], "hardly fewer");
        assert_eq!(refused_when_asked_by_one_with(11, digest), [6]);
        assert_eq!(
            refused_when_asked_by_one_with(0, Digest::Sha256([2; 32])),
            [6],
            "pieces of other blobs are no measure"
        );
    }

    #[test]
    fn what_a_reader_waits_for_gives_its_place_to_nobody() {
        let (mut uploads, mut outbox, config) = requested(4);
        for index in 5..=6 {
            let request = UploadRequest { held: 10, ..asked(UploadId(index), peer(5), Urgency::OnDemand) };
            uploads.request(&config, &mut outbox, request);
        }
        drain(&mut outbox);
        uploads.request(&config, &mut outbox, asked(UploadId(7), peer(7), Urgency::Bulk));
        let refused = drain(&mut outbox);
        assert!(matches!(refused[..], [Output::Refuse { upload: UploadId(7), .. }]), "{refused:?}");
    }

    #[test]
    fn who_gave_its_place_is_told_of_the_next() {
        let (mut uploads, mut outbox, config) = requested(4);
        uploads.request(&config, &mut outbox, UploadRequest { held: 10, ..asked(UploadId(5), peer(5), Urgency::Bulk) });
        uploads.request(&config, &mut outbox, asked(UploadId(6), peer(6), Urgency::Bulk));
        drain(&mut outbox);
        uploads.ended(&config, &mut outbox, UploadId(1));
        let told = drain(&mut outbox);
        assert!(matches!(told[0], Output::Serve { upload: UploadId(6) }), "{told:?}");
        assert!(matches!(told[1], Output::Control { to, message: ControlMessage::SlotFree { .. } } if to == peer(5)));
    }

    #[test]
    fn a_request_with_fewer_slots_waits_for_them() {
        let config = SwarmConfig { upload_slots: 4, upload_backlog: 0, ..SwarmConfig::default() };
        let (mut uploads, mut outbox) = (Uploads::new(4), Outbox::new(OWN));
        for index in 1..=5 {
            let member = peer(u8::try_from(index).expect("a few"));
            let request = UploadRequest { is_young: true, ..asked(UploadId(index), member, Urgency::Bulk) };
            uploads.request(&config, &mut outbox, request);
        }
        assert_eq!(uploads.load(), Load { active: 2, queued: 2 });
        uploads.ended(&config, &mut outbox, UploadId(1));
        assert_eq!(uploads.load(), Load { active: 2, queued: 1 });
    }

    #[test]
    fn who_waits_for_a_young_blob_has_all_slots_once_it_is_not_young() {
        let config = SwarmConfig { upload_slots: 4, upload_backlog: 0, ..SwarmConfig::default() };
        let (mut uploads, mut outbox) = (Uploads::new(4), Outbox::new(OWN));
        let young = |upload| UploadRequest { is_young: true, ..asked(UploadId(upload), peer(3), Urgency::Bulk) };
        for upload in [1, 2] {
            uploads.request(&config, &mut outbox, asked(UploadId(upload), peer(1), Urgency::Bulk));
        }
        uploads.request(&config, &mut outbox, young(3));
        uploads.request(&config, &mut outbox, UploadRequest { digest: Digest::Sha256([2; 32]), ..young(4) });
        drain(&mut outbox);
        uploads.mature(&config, &mut outbox, &Digest::Sha256([1; 32]));
        let outputs = drain(&mut outbox);
        assert!(matches!(outputs[..], [Output::Serve { upload: UploadId(3) }]), "{outputs:?}");
        assert_eq!(uploads.load(), Load { active: 3, queued: 1 }, "the other blob is young still");
    }

    #[test]
    fn one_with_nothing_goes_before_one_with_anything() {
        let (mut uploads, mut outbox, config) = requested(4);
        uploads.request(&config, &mut outbox, UploadRequest { held: 1, ..asked(UploadId(5), peer(5), Urgency::Bulk) });
        drain(&mut outbox);
        uploads.request(&config, &mut outbox, asked(UploadId(6), peer(6), Urgency::Bulk));
        let told = drain(&mut outbox);
        assert!(matches!(told[..], [Output::Refuse { upload: UploadId(5), .. }]), "{told:?}");
    }

    #[test]
    fn a_member_that_is_sent_a_piece_may_have_one_more_follow_on_its_slot() {
        let (mut uploads, mut outbox, config) = requested(6);
        drain(&mut outbox);
        uploads.request(&config, &mut outbox, asked(UploadId(11), peer(1), Urgency::Bulk));
        assert!(matches!(drain(&mut outbox)[..], [Output::Serve { upload: UploadId(11) }]));
        uploads.request(&config, &mut outbox, asked(UploadId(12), peer(1), Urgency::Bulk));
        let told = drain(&mut outbox);
        assert!(matches!(told[..], [Output::Refuse { upload: UploadId(12), .. }]), "only one follows: {told:?}");
        uploads.ended(&config, &mut outbox, UploadId(1));
        assert!(drain(&mut outbox).is_empty(), "the slot is taken by what follows");
        uploads.request(&config, &mut outbox, asked(UploadId(13), peer(1), Urgency::Bulk));
        assert!(matches!(drain(&mut outbox)[..], [Output::Serve { upload: UploadId(13) }]), "and so on");
        uploads.ended(&config, &mut outbox, UploadId(13));
        assert!(drain(&mut outbox).is_empty(), "one was given up that followed");
        uploads.ended(&config, &mut outbox, UploadId(11));
        assert!(matches!(drain(&mut outbox)[0], Output::Serve { upload: UploadId(5) }), "now the slot is free");
    }

    #[test]
    fn nothing_follows_while_one_waits_that_has_fewer_pieces() {
        let margin = SwarmConfig::default().yield_pieces;
        for (has, is_served) in [(1 + margin, true), (2 + margin, false)] {
            let (mut uploads, mut outbox, config) = requested(4);
            let waiting = UploadRequest { held: 1, ..asked(UploadId(5), peer(5), Urgency::Bulk) };
            uploads.request(&config, &mut outbox, waiting);
            drain(&mut outbox);
            let next = UploadRequest { held: has, ..asked(UploadId(11), peer(1), Urgency::Bulk) };
            uploads.request(&config, &mut outbox, next);
            let told = drain(&mut outbox);
            assert_eq!(matches!(told[..], [Output::Serve { upload: UploadId(11) }]), is_served, "{has}: {told:?}");
        }
    }

    #[test]
    fn a_request_that_a_reader_waits_for_goes_before_the_queue() {
        let (mut uploads, mut outbox, config) = requested(5);
        uploads.request(&config, &mut outbox, asked(UploadId(9), peer(9), Urgency::OnDemand));
        drain(&mut outbox);
        uploads.ended(&config, &mut outbox, UploadId(2));
        assert!(matches!(drain(&mut outbox)[0], Output::Serve { upload: UploadId(9) }));
        assert_eq!(uploads.load(), Load { active: 4, queued: 1 });
    }

    #[test]
    fn the_list_of_refused_members_is_bounded() {
        let (mut uploads, mut outbox, config) = requested(5);
        for index in 0..10_000u64 {
            let member = MemberId(u128::from(index + 1000).to_be_bytes());
            uploads.request(&config, &mut outbox, asked(UploadId(100 + index), member, Urgency::Bulk));
        }
        assert_eq!(uploads.refused.len(), config.refused_max);
    }

    #[test]
    fn who_waits_for_a_piece_that_is_gone_is_told_and_nothing_of_it_is_served() {
        let (mut uploads, mut outbox, config) = requested(5);
        drain(&mut outbox);
        let other = UploadRequest { digest: Digest::Sha256([2; 32]), ..asked(UploadId(9), peer(9), Urgency::OnDemand) };
        uploads.request(&config, &mut outbox, other);
        uploads.refuse_all_of(&mut outbox, &Digest::Sha256([1; 32]));
        let told = drain(&mut outbox);
        assert!(matches!(told[..], [Output::Refuse { upload: UploadId(5), refusal: Refusal::NotHeld }]), "{told:?}");
        uploads.ended(&config, &mut outbox, UploadId(1));
        assert!(matches!(drain(&mut outbox)[0], Output::Serve { upload: UploadId(9) }), "another blob's goes on");
        assert_eq!(uploads.load(), Load { active: 4, queued: 0 });
    }

    #[test]
    fn ending_an_unknown_upload_changes_nothing() {
        let (mut uploads, mut outbox, config) = requested(5);
        drain(&mut outbox);
        uploads.ended(&config, &mut outbox, UploadId(77));
        assert!(drain(&mut outbox).is_empty());
        assert_eq!(uploads.load(), Load { active: 4, queued: 1 });
    }
}

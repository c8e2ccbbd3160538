//! The queue of news that gossip spreads (SWIM section 4.1, "infection-style dissemination").
//!
//! News that were sent fewest times go first; of those, longer ones, then newer ones. A new word about a member takes
//! the place of the older one about it. At its bound the queue drops what was sent most often.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use shoal_wire::{gossip::MemberUpdate, ids::MemberId};

/// How many news that do not fit are passed over in the search for one that does.
const MISFITS_MAX: usize = 8;

/// News in a packet; the length of their number is then one byte.
const UPDATES_PER_PACKET: usize = 250;

/// Place in the queue, the first to send first.
type Place = (u32, Reverse<usize>, Reverse<u64>, MemberId);

/// The queue.
#[derive(Clone, Debug)]
pub(super) struct Broadcasts {
    order: BTreeSet<Place>,
    news: BTreeMap<MemberId, (Place, MemberUpdate)>,
    bytes: usize,
    counter: u64,
    max: usize,
    dropped: u64,
}

impl Broadcasts {
    /// An empty queue of at most `max` news.
    pub(super) fn new(max: usize) -> Self {
        Self { order: BTreeSet::new(), news: BTreeMap::new(), bytes: 0, counter: 0, max: max.max(1), dropped: 0 }
    }

    /// Queues news about `subject`, in place of older ones.
    pub(super) fn push(&mut self, subject: MemberId, update: MemberUpdate) {
        self.remove(subject);
        if self.news.len() >= self.max
            && let Some(&(.., last)) = self.order.last()
        {
            self.remove(last);
            self.dropped += 1;
        }
        self.counter += 1;
        self.insert((0, Reverse(update.encoded_len()), Reverse(self.counter), subject), update);
    }

    /// The news about `subject` that wait.
    pub(super) fn get(&self, subject: MemberId) -> Option<&MemberUpdate> {
        self.news.get(&subject).map(|(_, update)| update)
    }

    /// Takes up to `room` bytes of news for one packet; each goes back into the queue until it was taken `limit` times.
    pub(super) fn fill(&mut self, mut room: usize, limit: u32, packet: &mut Vec<MemberUpdate>) {
        let mut taken = Vec::new();
        let mut misfits = 0;
        for place in &self.order {
            if misfits > MISFITS_MAX || packet.len() + taken.len() >= UPDATES_PER_PACKET {
                break;
            }
            let Reverse(length) = place.1;
            if length > room {
                misfits += 1;
                continue;
            }
            room -= length;
            taken.push(*place);
        }
        for place in taken {
            self.take(place, limit, packet);
        }
    }

    fn take(&mut self, place: Place, limit: u32, packet: &mut Vec<MemberUpdate>) {
        let (transmits, length, age, subject) = place;
        if let Some(update) = self.remove(subject) {
            packet.push(update.clone());
            if transmits + 1 < limit {
                self.insert((transmits + 1, length, age, subject), update);
            }
        }
    }

    fn insert(&mut self, place: Place, update: MemberUpdate) {
        self.bytes += place.1.0;
        self.order.insert(place);
        self.news.insert(place.3, (place, update));
    }

    fn remove(&mut self, subject: MemberId) -> Option<MemberUpdate> {
        let (place, update) = self.news.remove(&subject)?;
        self.order.remove(&place);
        self.bytes -= place.1.0;
        Some(update)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.news.is_empty()
    }

    /// Number of news that wait.
    pub(super) fn len(&self) -> usize {
        self.news.len()
    }

    /// Encoded bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// News that were dropped at the bound.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// How often each piece of news is sent in a cluster of `members`.
pub(super) fn retransmit_limit(mult: u32, members: usize) -> u32 {
    // The number of decimal digits of n is ceil(log10(n + 1)).
    let digits = members.checked_ilog10().map_or(0, |log| log + 1);
    mult * digits
}

#[cfg(test)]
mod tests {
    use shoal_wire::{
        ids::{Generation, Incarnation},
        member::Life,
    };

    use super::*;

    fn id(number: u8) -> MemberId {
        MemberId([number; 16])
    }

    fn alive(number: u8) -> MemberUpdate {
        MemberUpdate::Alive { id: id(number), life: Life { generation: Generation(1), incarnation: Incarnation(0) } }
    }

    fn fill(queue: &mut Broadcasts, room: usize, limit: u32) -> Vec<MemberUpdate> {
        let mut packet = Vec::new();
        queue.fill(room, limit, &mut packet);
        packet
    }

    /// memberlist's published vector (`TestRetransmitLimit`).
    #[test]
    fn the_number_of_retransmissions_follows_the_published_table() {
        for (members, limit) in [(0, 0), (1, 3), (9, 3), (10, 6), (99, 6), (100, 9), (10_000, 15)] {
            assert_eq!(retransmit_limit(3, members), limit, "{members} members");
        }
    }

    #[test]
    fn fewest_transmissions_go_first_then_the_newest() {
        let mut queue = Broadcasts::new(10);
        let length = alive(1).encoded_len();
        queue.push(id(1), alive(1));
        assert_eq!(fill(&mut queue, length, 9), [alive(1)]);
        queue.push(id(2), alive(2));
        queue.push(id(3), alive(3));
        assert_eq!(fill(&mut queue, 10 * length, 9), [alive(3), alive(2), alive(1)]);
    }

    #[test]
    fn news_leave_after_their_limit() {
        let mut queue = Broadcasts::new(10);
        queue.push(id(1), alive(1));
        for _ in 0..3 {
            assert_eq!(fill(&mut queue, 1000, 3), [alive(1)]);
        }
        assert!(fill(&mut queue, 1000, 3).is_empty());
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn a_new_word_about_a_member_replaces_the_old_one() {
        let mut queue = Broadcasts::new(10);
        let dead =
            MemberUpdate::Dead { id: id(1), life: Life { generation: Generation(1), incarnation: Incarnation(0) } };
        queue.push(id(1), alive(1));
        queue.push(id(1), dead.clone());
        assert_eq!(queue.len(), 1);
        assert_eq!(fill(&mut queue, 1000, 3), [dead]);
    }

    #[test]
    fn a_packet_takes_what_fits_and_no_more() {
        let mut queue = Broadcasts::new(100);
        for number in 0..100 {
            queue.push(id(number), alive(number));
        }
        let length = alive(1).encoded_len();
        assert_eq!(fill(&mut queue, 10 * length + length - 1, 9).len(), 10);
        assert!(fill(&mut queue, length - 1, 9).is_empty());
    }

    #[test]
    fn at_its_bound_the_queue_drops_what_was_sent_most() {
        let mut queue = Broadcasts::new(2);
        queue.push(id(1), alive(1));
        fill(&mut queue, 1000, 9);
        queue.push(id(2), alive(2));
        queue.push(id(3), alive(3));
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.dropped(), 1);
        assert_eq!(fill(&mut queue, 1000, 9), [alive(3), alive(2)]);
    }
}

//! The keys and addresses of all members that membership knows: whose connections and whose vouchers are good.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use shoal_core::event::MemberEvent;
use shoal_wire::{
    ids::{MemberId, PublicKey},
    member::MemberRecord,
};
use tokio::sync::Notify;

use crate::clock;

/// What membership announced, kept up to date by the pump and read by everybody else. It has as many entries as
/// membership has members, which bounds it.
#[derive(Debug)]
pub(crate) struct PeerTable {
    own: MemberRecord,
    members: DashMap<MemberId, Entry>,
    learned: Notify,
}

#[derive(Debug)]
struct Entry {
    record: Arc<MemberRecord>,
    alive: bool,
}

impl PeerTable {
    /// A table of a cluster of one.
    pub(crate) fn new(own: MemberRecord) -> Self {
        Self { own, members: DashMap::new(), learned: Notify::new() }
    }

    /// This node's record as it was at the start.
    pub(crate) fn own(&self) -> &MemberRecord {
        &self.own
    }

    /// This node's id.
    pub(crate) fn own_id(&self) -> MemberId {
        self.own.id()
    }

    /// Takes a change of membership.
    pub(crate) fn apply(&self, event: &MemberEvent) {
        match event {
            MemberEvent::Up(record) if record.id() == self.own_id() => {}
            MemberEvent::Up(record) => {
                self.members.insert(record.id(), Entry { record: record.clone(), alive: true });
                self.learned.notify_waiters();
            }
            MemberEvent::Suspected(_) => {}
            MemberEvent::Dead(id) | MemberEvent::Left(id) => {
                if let Some(mut entry) = self.members.get_mut(id) {
                    entry.alive = false;
                }
            }
            MemberEvent::Forgotten(id) => {
                self.members.remove(id);
            }
        }
    }

    /// The record of another member, alive or remembered.
    pub(crate) fn record(&self, id: MemberId) -> Option<Arc<MemberRecord>> {
        self.members.get(&id).map(|entry| entry.record.clone())
    }

    /// Whether `key` is that of another member, alive or remembered.
    pub(crate) fn is_member(&self, key: &PublicKey) -> bool {
        self.members.get(&MemberId::of(key)).is_some_and(|entry| entry.record.public_key == *key)
    }

    /// The key that `id` vouches with; this node's own included.
    pub(crate) fn key(&self, id: MemberId) -> Option<PublicKey> {
        if id == self.own_id() {
            return Some(self.own.public_key);
        }
        self.members.get(&id).map(|entry| entry.record.public_key)
    }

    /// The key of `id`, waited for while gossip may still bring it, at most `patience`.
    pub(crate) async fn key_within(&self, id: MemberId, patience: Duration) -> Option<PublicKey> {
        let deadline = clock::now() + patience;
        loop {
            let mut learned = std::pin::pin!(self.learned.notified());
            learned.as_mut().enable();
            if let Some(key) = self.key(id) {
                return Some(key);
            }
            tokio::time::timeout_at(deadline, learned).await.ok()?;
        }
    }

    /// Records of all members that count as alive, this one included, ordered by id.
    pub(crate) fn alive(&self) -> Vec<MemberRecord> {
        let others = self.members.iter().filter(|entry| entry.alive).map(|entry| MemberRecord::clone(&entry.record));
        let mut alive: Vec<_> = std::iter::once(self.own.clone()).chain(others).collect();
        alive.sort_by_key(MemberRecord::id);
        alive
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use shoal_wire::ids::{Generation, Incarnation};

    use super::*;

    pub(crate) fn record(key: PublicKey, port: u16) -> MemberRecord {
        MemberRecord {
            public_key: key,
            generation: Generation(1),
            incarnation: Incarnation(0),
            address: ([127, 0, 0, 1], port).into(),
            zone: String::new(),
            version: 1,
            upload_bytes_per_s: 0,
        }
    }

    #[test]
    fn a_dead_member_keeps_its_key_until_it_is_forgotten() {
        let table = PeerTable::new(record(PublicKey([1; 32]), 1));
        let other = record(PublicKey([2; 32]), 2);
        assert!(!table.is_member(&other.public_key), "unknown at first");
        table.apply(&MemberEvent::Up(other.clone().into()));
        assert_eq!(table.alive().len(), 2);
        table.apply(&MemberEvent::Dead(other.id()));
        assert_eq!(table.alive().len(), 1);
        assert_eq!(table.key(other.id()), Some(other.public_key), "its vouchers are still about");
        table.apply(&MemberEvent::Forgotten(other.id()));
        assert_eq!(table.key(other.id()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_waited_for_and_not_for_ever() {
        let table = Arc::new(PeerTable::new(record(PublicKey([1; 32]), 1)));
        let other = record(PublicKey([2; 32]), 2);
        let waiting = tokio::spawn({
            let (table, id) = (table.clone(), other.id());
            async move { table.key_within(id, Duration::from_secs(2)).await }
        });
        tokio::task::yield_now().await;
        table.apply(&MemberEvent::Up(other.clone().into()));
        assert_eq!(waiting.await.expect("no panic"), Some(other.public_key));
        let unknown = MemberId([9; 16]);
        assert_eq!(table.key_within(unknown, Duration::from_secs(2)).await, None);
    }
}

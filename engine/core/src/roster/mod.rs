//! Who the members are: a compact table that other tables point into.
//!
//! Each member has a [`Handle`], four bytes that stay the same while it is known. Identity and record are kept once; what
//! else is known of members is kept in columns and sets of handles. Everything is shared between clones until it is
//! written, so that thousands of nodes in one process can begin with one table.
//!
//! | column | bytes a member |
//! |---|---|
//! | ids | 16 |
//! | records, as shared pointers | 8 |
//! | the order by id | 4 - 8 |

pub(crate) mod order;
pub(crate) mod paged;

use std::sync::Arc;

use shoal_wire::{ids::MemberId, member::MemberRecord};

use self::{
    order::{Order, OrderKey},
    paged::Paged,
};

/// A member's place in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle(u32);

impl Handle {
    /// The handle of the member at this place of the table.
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("a table of 2^32 members does not fit the memory"))
    }

    /// The handle as a number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// The place in the table.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// An id as a number, which compares as the id does, and faster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct IdKey(u128);

impl OrderKey for IdKey {
    fn beginning(&self) -> u64 {
        u64::try_from(self.0 >> 64).expect("64 bits are left")
    }
}

impl From<MemberId> for IdKey {
    fn from(id: MemberId) -> Self {
        Self(u128::from_be_bytes(id.0))
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    ids: Paged<MemberId>,
    records: Paged<Arc<MemberRecord>>,
    by_id: Order,
    /// Places of members that were removed. Each keeps its last id and record until it is used again.
    free: Vec<Handle>,
}

impl Roster {
    /// The handle of a member that is in the table.
    pub(crate) fn find(&self, id: MemberId) -> Option<Handle> {
        self.by_id.find(id.into(), |handle| IdKey::from(self.id(handle)))
    }

    /// Whose handle it is.
    pub(crate) fn id(&self, handle: Handle) -> MemberId {
        *self.ids.get(handle.index())
    }

    /// The member's record.
    pub(crate) fn record(&self, handle: Handle) -> &Arc<MemberRecord> {
        self.records.get(handle.index())
    }

    /// Members with an id greater than `after`, ordered by id.
    pub(crate) fn after(&self, after: Option<MemberId>) -> impl Iterator<Item = Handle> {
        self.by_id.after(after.map(IdKey::from), |handle| IdKey::from(self.id(handle)))
    }

    /// Adds a member that is not in the table.
    pub(crate) fn add(&mut self, id: MemberId, record: Arc<MemberRecord>) -> Handle {
        let handle = if let Some(handle) = self.free.pop() {
            self.ids.set(handle.index(), id);
            self.records.set(handle.index(), record);
            handle
        } else {
            self.ids.push(id);
            self.records.push(record);
            Handle::new(self.ids.len() - 1)
        };
        let ids = &self.ids;
        self.by_id.insert(handle, id.into(), |handle| IdKey::from(*ids.get(handle.index())));
        handle
    }

    /// Replaces a member's record.
    pub(crate) fn replace(&mut self, handle: Handle, record: Arc<MemberRecord>) {
        self.records.set(handle.index(), record);
    }

    /// Removes a member. Its handle will be another's.
    pub(crate) fn remove(&mut self, handle: Handle) {
        let ids = &self.ids;
        self.by_id.remove(self.id(handle).into(), |handle| IdKey::from(*ids.get(handle.index())));
        self.free.push(handle);
    }
}

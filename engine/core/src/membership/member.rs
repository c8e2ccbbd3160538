//! One member as the table has it, and how it stands.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use shoal_wire::{
    gossip::{MemberState, Standing},
    ids::Incarnation,
    member::{Life, MemberRecord},
};

use super::suspicion::Suspicion;
use crate::time::Time;

/// How a member stands.
#[derive(Clone, Debug)]
pub(super) enum Health {
    /// It answers, as far as is known.
    Alive,
    /// It has until the suspicion's deadline to refute.
    Suspect(Box<Suspicion>),
    /// Believed dead.
    Dead {
        /// When it is forgotten.
        forget_at: Time,
    },
    /// Departed.
    Left {
        /// When it is forgotten.
        forget_at: Time,
    },
}

impl Health {
    /// Whether it counts as alive.
    pub(super) fn counts_as_alive(&self) -> bool {
        matches!(self, Self::Alive | Self::Suspect(_))
    }

    /// When one that is gone is forgotten.
    pub(super) fn forget_at(&self) -> Option<Time> {
        match self {
            Self::Alive | Self::Suspect(_) => None,
            Self::Dead { forget_at } | Self::Left { forget_at } => Some(*forget_at),
        }
    }
}

/// One member, this node included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    /// What it says of itself. Its incarnation may have been said later than this: see [`Member::life`].
    pub(super) description: &'a Arc<MemberRecord>,
    /// Its latest known word.
    pub(super) incarnation: Incarnation,
    /// How it stands.
    pub(super) health: &'a Health,
}

impl Member<'_> {
    /// Its latest known word.
    pub(super) fn life(&self) -> Life {
        Life { generation: self.description.generation, incarnation: self.incarnation }
    }

    /// Where it is met.
    pub(super) fn address(&self) -> SocketAddr {
        self.description.address
    }

    /// Its record with its latest word.
    pub(super) fn record(&self) -> Arc<MemberRecord> {
        with_life(self.description, self.life())
    }

    /// The member as others are told of it at `now`, where the gone are remembered for `remember`.
    pub(super) fn state(&self, now: Time, remember: Duration) -> MemberState {
        let since_s = |forget_at: Time| {
            let age = remember.saturating_sub(forget_at.since(now));
            u32::try_from(age.as_secs()).unwrap_or(u32::MAX)
        };
        let standing = match *self.health {
            Health::Alive => Standing::Alive,
            Health::Suspect(_) => Standing::Suspect,
            Health::Dead { forget_at } => Standing::Dead { since_s: since_s(forget_at) },
            Health::Left { forget_at } => Standing::Left { since_s: since_s(forget_at) },
        };
        MemberState { record: self.record(), standing }
    }
}

/// The same record with another word.
pub(super) fn with_life(record: &Arc<MemberRecord>, life: Life) -> Arc<MemberRecord> {
    if record.life() == life {
        return Arc::clone(record);
    }
    let Life { generation, incarnation } = life;
    Arc::new(MemberRecord { generation, incarnation, ..MemberRecord::clone(record) })
}

//! Directory: which members to ask about a key, and what names stand for.
//!
//! Every node knows all members, so a lookup is one hop: the [`rendezvous::Homes`] of a key are computed, not searched.
//! [`names::Names`] is the home's side of name resolution, [`questions::Questions`] the asker's.

pub(crate) mod members;
pub(crate) mod names;
pub(crate) mod questions;
pub(crate) mod rendezvous;
mod waiting;

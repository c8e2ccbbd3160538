//! What crosses the network between nodes: ids, messages, their encoding and the limits on each.
//!
//! This crate does no I/O and reads no clock. Everything that a peer can send is decoded here, with a bound on every
//! length, so that malformed input is an error and never a panic or a large allocation.

pub(crate) mod bounded;
pub mod codec;
pub mod control;
pub mod digest;
pub mod frame;
pub mod geometry;
pub mod gossip;
pub mod ids;
pub mod limits;
pub mod member;
pub mod name;
pub mod piece_map;
mod piece_runs;
pub mod transfer;
pub mod version;

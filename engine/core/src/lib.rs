//! The swarm as pure state machines.
//!
//! [`node::Node`] is the whole engine of one member without any I/O: inputs go in by [`node::Node::handle`], outputs are
//! drained by [`node::Node::poll_output`]. Time and the random seed are arguments. The same code runs in the daemon, in
//! tests that drive whole clusters in virtual time, and in the simulator.

pub mod bound;
pub mod census;
pub mod config;
pub mod event;
pub mod membership;
pub mod node;
pub mod rng;
mod sorted_map;
pub mod time;
pub mod units;

mod directory;
mod injection;
mod outbox;
mod pace;
mod progress;
mod roster;
mod swarm;
mod timers;

pub use directory::rendezvous::homes_of;

//! Scenarios: what a cluster looks like, what it pulls and what goes wrong meanwhile. The laboratory runs them on real
//! processes; the simulator runs the same state machines in virtual time.

pub mod network;
pub mod run;
pub mod scenario;
pub mod time;
pub mod world;

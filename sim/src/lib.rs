//! Scenarios: what a cluster looks like, what it pulls and what goes wrong meanwhile. The laboratory runs them on real
//! processes; the simulator runs the same state machines in virtual time.
//!
//! Beside them is what both report with: statistics, plots and pages, as values and text.

pub mod baseline;
pub mod check;
pub mod format;
pub mod models;
pub mod network;
pub mod page;
pub mod plot;
pub mod run;
pub mod scenario;
pub mod search;
pub mod statistics;
pub mod time;
pub mod world;

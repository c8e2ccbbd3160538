//! Scenarios: what a cluster looks like, what it pulls and what goes wrong meanwhile. The laboratory runs them on real
//! processes.

pub mod scenario;

//! The laboratory: real `shoal node` processes in network namespaces behind shaped links, measured against the
//! theoretical bound and against other ways to pull.
//!
//! `network` builds the links, `run` starts a system on them and has an `agent` pull behind each, `result` is what a run
//! leaves, `report` shows it.

pub mod agent;
pub mod calibration;
pub mod guard;
pub mod local;
pub mod micro;
pub mod network;
pub mod process;
pub mod report;
pub mod result;
pub mod run;
mod usage;

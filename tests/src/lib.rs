//! What the whole-system tests are made of: real nodes, real containerd daemons and real registries as owned processes.
//!
//! A test begins with a [`stage::Stage`], which owns the directory of everything that the test starts, prints the logs when the test
//! fails, and says by name why a test is skipped. Every process is stopped and reaped when its owner goes out of scope,
//! also when the test panics. Nothing here waits for a time to pass: [`wait::until`] waits for a condition, up to a deadline.
//!
//! The tests themselves are in `tests/tests/`; `tests/run` runs them with what they need.

pub mod client;
pub mod cluster;
pub mod containerd;
pub mod image;
pub mod lab;
pub mod mock;
pub mod nginx;
pub mod node;
pub mod process;
pub mod registry;
pub mod stage;
pub mod wait;

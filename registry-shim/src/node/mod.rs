//! `shoal node`: from what the user said to a node that serves, and back to an orderly end.

pub mod args;
pub mod run;
pub mod secret;
pub mod settings;

pub use self::{args::NodeArgs, run::run};

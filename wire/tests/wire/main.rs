//! What a peer can send, and what comes of it.

// A test may fail by `unwrap`: that is its verdict.
#![allow(clippy::unwrap_used)]

mod arbitrary;
mod bounds;
mod frames;
mod golden;
mod pieces;
mod properties;
mod samples;

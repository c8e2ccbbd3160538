//! Runs of systems on a network.

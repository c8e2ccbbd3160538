//! What people and programs read of a set of runs.

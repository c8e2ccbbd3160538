//! What the whole-system tests share: starting and stopping real processes.

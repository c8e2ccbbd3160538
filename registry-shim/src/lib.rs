//! The OCI mirror endpoint in front of the engine, and what belongs to it.

pub mod demo;

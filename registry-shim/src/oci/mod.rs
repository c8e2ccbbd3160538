//! The OCI distribution endpoint: what containerd asks, and how it is answered.

pub mod body;
pub mod descriptors;
pub mod endpoint;
pub mod error;
pub mod manifest;
pub mod path;
pub mod range;
pub mod source;

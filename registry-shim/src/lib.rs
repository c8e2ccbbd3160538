//! The OCI mirror endpoint in front of the engine, and what belongs to it: upstream registries, configuration, the
//! command line's `node`, and the pages for operators.

pub mod bounded;
pub mod demo;
pub mod http;
pub mod node;
pub mod oci;
pub mod registries;
pub mod upstream;

#[cfg(test)]
mod testing;

//! The swarm on real sockets and disks.
//!
//! [`Engine`] is what the shim uses: it asks for a name or a blob and gets verified bytes. Everything below it, the
//! sockets, the spool, the hashing and the pure core, is private to this crate.
//!
//! One task, the pump, owns the core and is all that calls it. Whatever happens elsewhere reaches it as an `Input`
//! through a bounded channel, or as a level that it reads when told to; whatever the core wants done is handed on
//! without waiting. So a slow peer, disk or upstream never delays the core.

mod clock;
pub mod config;
pub mod engine;
mod identity;
mod lease;
mod limit;
mod memory;
mod metrics;
mod moderation;
mod net;
mod pool;
mod pump;
mod reader;
mod seeds;
mod spool;
mod stack;
mod table;
mod tasks;
#[cfg(test)]
mod testing;
pub mod upstream;

pub use config::{ClusterSecret, EngineConfig};
pub use engine::{BlobError, BlobRequest, Engine, EngineStatus, MetricsSnapshot, ResolveError, StartError};
pub use moderation::Moderation;
pub use reader::BlobReader;
pub use shoal_core::{bound, config::CoreConfig, units};
pub use shoal_wire::{
    control::UpstreamFailure,
    digest::{Digest, DigestError},
    ids::MemberId,
    name::{ContentKind, Descriptor, Name, Reference},
};
pub use upstream::{Upstream, UpstreamBody, UpstreamSource};

/// Locks `mutex`. State behind the engine's locks is changed in single steps, so it is whole even after a panic.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

//! The digest of a blob, computed along its contiguous prefix while pieces arrive in any order.

use sha2::{Digest as _, Sha256, Sha512};
use shoal_wire::digest::Digest;

/// A digest under way.
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// A hasher of the algorithm of `digest`.
    pub(super) fn of(digest: &Digest) -> Self {
        match digest {
            Digest::Sha256(_) => Self::Sha256(Sha256::new()),
            Digest::Sha512(_) => Self::Sha512(Box::new(Sha512::new())),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

/// How far the digest has come. The hasher is away while a job runs it.
pub(super) struct Prefix {
    pub(super) hasher: Option<Hasher>,
    /// First piece that is not hashed.
    pub(super) next: u32,
}

impl Prefix {
    pub(super) fn new(digest: &Digest) -> Self {
        Self { hasher: Some(Hasher::of(digest)), next: 0 }
    }
}

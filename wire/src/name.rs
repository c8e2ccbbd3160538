//! What a container runtime asks for: names of content in registries, and descriptors of the content itself.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::bounded::is_plain_text;
use crate::{
    bounded::Text,
    digest::Digest,
    limits::{NAME_BYTES, TAG_BYTES},
};

/// A tag or a digest, the last part of an image reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reference {
    /// A mutable name, at most [`TAG_BYTES`] bytes.
    Tag(#[serde(with = "Text::<TAG_BYTES>")] String),
    /// The content itself.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Which endpoint of a registry has the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ContentKind {
    /// `/v2/<repository>/manifests/<reference>`
    Manifest,
    /// `/v2/<repository>/blobs/<digest>`
    Blob,
}

/// A thing that a registry can be asked for. Texts are printable ASCII; another one is not encoded and not decoded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name {
    /// Host, with port where there is one, as the `ns` parameter names it; empty when the asker named none;
    /// at most [`NAME_BYTES`] bytes.
    #[serde(with = "Text::<NAME_BYTES>")]
    pub registry: String,
    /// Repository, for example `library/alpine`; at most [`NAME_BYTES`] bytes.
    #[serde(with = "Text::<NAME_BYTES>")]
    pub repository: String,
    /// Manifest or blob.
    pub kind: ContentKind,
    /// Tag or digest.
    pub reference: Reference,
}

impl Name {
    /// Whether messages can carry the name: its texts are printable ASCII and not too long. A name that a user gave is
    /// checked by this before it is asked for.
    pub fn is_sendable(&self) -> bool {
        let reference = match &self.reference {
            Reference::Tag(tag) => is_plain_text(tag, TAG_BYTES),
            Reference::Digest(_) => true,
        };
        reference && [&self.registry, &self.repository].iter().all(|text| is_plain_text(text, NAME_BYTES))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.reference, Reference::Tag(_)) { ':' } else { '@' };
        write!(f, "{}/{}{separator}{}", self.registry, self.repository, self.reference)
    }
}

/// What a name stands for (OCI image spec, "Content Descriptors", without its annotations).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Descriptor {
    /// Media type; empty when nobody has said it yet; at most [`NAME_BYTES`] bytes of printable ASCII.
    #[serde(with = "Text::<NAME_BYTES>")]
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
}

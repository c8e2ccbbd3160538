//! Content digests as OCI writes them: `sha256:<hex>` and `sha512:<hex>`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::write_hex;

/// Digest of a blob or manifest (OCI image spec, "Digests"). It is the identity of content everywhere in Shoal.
///
/// ```
/// use shoal_wire::digest::{Digest, DigestError};
///
/// let text = format!("sha256:{}", "0f".repeat(32));
/// let digest: Digest = text.parse()?;
/// assert_eq!(digest.to_string(), text);
/// assert_eq!("0f0f".parse::<Digest>(), Err(DigestError::Shape));
/// # Ok::<(), DigestError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Digest {
    /// SHA-256, the algorithm of practically every image.
    Sha256([u8; 32]),
    /// SHA-512, the other registered algorithm.
    Sha512(#[serde(with = "sha512_bytes")] [u8; 64]),
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DigestError {
    /// No colon between algorithm and hex digits.
    #[error("a digest is written algorithm:hex, for example sha256:<64 hex digits>")]
    Shape,
    /// An algorithm that nobody registered.
    #[error("digest algorithm {0:?} is not supported; use sha256 or sha512")]
    Algorithm(String),
    /// The wrong number of digits, or a character that is not a lower-case hexadecimal digit.
    #[error("a {algorithm} digest has {digits} lower-case hex digits")]
    Hex {
        /// The algorithm that was named.
        algorithm: &'static str,
        /// The number of digits that it needs.
        digits: usize,
    },
}

impl Digest {
    /// Name of the algorithm as OCI writes it.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// The raw hash.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// The hash in lower-case hexadecimal, without the algorithm.
    pub fn hex(&self) -> String {
        struct Hex<'a>(&'a [u8]);
        impl fmt::Display for Hex<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, self.0)
            }
        }
        Hex(self.bytes()).to_string()
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::Shape)?;
        match algorithm {
            "sha256" => parse_hex(hex, "sha256").map(Self::Sha256),
            "sha512" => parse_hex(hex, "sha512").map(Self::Sha512),
            other => Err(DigestError::Algorithm(other.chars().take(32).collect())),
        }
    }
}

fn parse_hex<const N: usize>(hex: &str, algorithm: &'static str) -> Result<[u8; N], DigestError> {
    let error = DigestError::Hex { algorithm, digits: 2 * N };
    let digits = hex.as_bytes();
    if digits.len() != 2 * N {
        return Err(error);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
            return Err(error);
        };
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm())?;
        write_hex(f, self.bytes())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm())?;
        write_hex(f, &self.bytes()[..6])
    }
}

/// serde's derive covers arrays up to 32 elements; a SHA-512 hash travels as two halves.
mod sha512_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        let (high, low) = bytes.split_at(32);
        (<[u8; 32]>::try_from(high).expect("half of 64"), <[u8; 32]>::try_from(low).expect("half of 64"))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
        let (high, low) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&high);
        bytes[32..].copy_from_slice(&low);
        Ok(bytes)
    }
}

//! Sealing of gossip datagrams with keys derived from the cluster's secret.
//!
//! ```text
//! | version (1) | key id (4) | nonce (12) | AES-256-GCM-SIV ciphertext and tag (n + 16) |
//! |<-------------- authenticated ------->|
//! ```
//!
//! The version's bit 0x40 is clear, which tells a gossip datagram from QUIC. Nonces are random: AES-GCM-SIV (RFC 8452)
//! loses nothing but the secrecy of equality should two ever collide.
//!
//! Replay is not prevented. Incarnations order the news of each member that is remembered, so that old news of it is
//! ignored; but a captured record of a member that was forgotten makes it look alive again for a while, and can be
//! replayed until the secret changes.

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use shoal_wire::{
    limits::{GOSSIP_DATAGRAM_BYTES, GOSSIP_PLAIN_BYTES},
    version::{self, PROTOCOL_VERSION, VersionMismatch},
};
use thiserror::Error;

use crate::config::ClusterSecret;

const KEY_ID_BYTES: usize = 4;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_LEN;
const TAG_BYTES: usize = 16;

/// What sealing adds to a packet, in bytes.
pub(crate) const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// Largest sealed datagram that is looked at, in bytes.
pub(crate) const DATAGRAM_BYTES_MAX: usize = GOSSIP_DATAGRAM_BYTES;
const _: () = assert!(GOSSIP_PLAIN_BYTES + OVERHEAD_BYTES <= DATAGRAM_BYTES_MAX);

/// Why a datagram was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum OpenError {
    #[error("too short to be sealed gossip")]
    Short,
    #[error("too long for sealed gossip")]
    Long,
    #[error(transparent)]
    Version(#[from] VersionMismatch),
    #[error("sealed with a key that this node does not have: another cluster secret")]
    UnknownKey,
    #[error("changed on the way, or not sealed with the key that it names")]
    Forged,
}

/// The keys of a cluster: the first seals, all of them open, so that a secret can be replaced without a gap.
pub(crate) struct KeyRing {
    keys: Vec<RingKey>,
    random: SystemRandom,
}

struct RingKey {
    id: [u8; KEY_ID_BYTES],
    cipher: LessSafeKey,
}

impl KeyRing {
    /// A ring that seals with `first` and opens what is sealed with it or with one of `others`.
    pub(crate) fn new(first: &ClusterSecret, others: &[ClusterSecret]) -> Self {
        let keys = std::iter::once(first).chain(others).map(RingKey::derive).collect();
        Self { keys, random: SystemRandom::new() }
    }

    /// Seals a packet. `None` where the operating system gives no random bytes.
    pub(crate) fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut datagram = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
        datagram.push(PROTOCOL_VERSION);
        datagram.extend_from_slice(&key.id);
        datagram.extend_from_slice(&nonce);
        datagram.extend_from_slice(plain);
        let (header, text) = datagram.split_at_mut(HEADER_BYTES);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.cipher.seal_in_place_separate_tag(nonce, Aad::from(&*header), text).ok()?;
        datagram.extend_from_slice(tag.as_ref());
        Some(datagram)
    }

    /// Opens a datagram in place and returns the packet in it.
    ///
    /// # Errors
    /// Anything that was not sealed for this cluster and this version. The datagram's contents are then undefined.
    pub(crate) fn open<'a>(&self, datagram: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        if datagram.len() < OVERHEAD_BYTES {
            return Err(OpenError::Short);
        }
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(OpenError::Long);
        }
        version::check(datagram[0])?;
        let (header, text) = datagram.split_at_mut(HEADER_BYTES);
        let (id, nonce) = header[1..].split_at(KEY_ID_BYTES);
        let key = self.keys.iter().find(|key| key.id == *id).ok_or(OpenError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Forged)?;
        let plain = key.cipher.open_in_place(nonce, Aad::from(&*header), text).map_err(|_| OpenError::Forged)?;
        Ok(plain)
    }
}

impl RingKey {
    fn derive(secret: &ClusterSecret) -> Self {
        let key = blake3::derive_key("shoal 2026 gossip sealing key", &secret.0);
        let id = blake3::derive_key("shoal 2026 gossip key id", &secret.0);
        let cipher = UnboundKey::new(&AES_256_GCM_SIV, &key).expect("the cipher takes keys of 32 bytes");
        Self { id: [id[0], id[1], id[2], id[3]], cipher: LessSafeKey::new(cipher) }
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(secrets: &[u8]) -> KeyRing {
        let secrets: Vec<_> = secrets.iter().map(|&byte| ClusterSecret([byte; 32])).collect();
        KeyRing::new(&secrets[0], &secrets[1..])
    }

    #[test]
    fn what_is_sealed_opens_and_hides_its_contents() {
        let ring = ring(&[1]);
        for plain in [&b""[..], b"hello", &[7; GOSSIP_PLAIN_BYTES]] {
            let mut datagram = ring.seal(plain).expect("sealed");
            assert_eq!(datagram.len(), plain.len() + OVERHEAD_BYTES);
            assert!(!version::is_quic(datagram[0]), "must not look like QUIC");
            assert!(plain.is_empty() || !datagram.windows(plain.len()).any(|window| window == plain));
            assert_eq!(ring.open(&mut datagram), Ok(plain));
        }
    }

    #[test]
    fn equal_packets_differ_on_the_wire() {
        let ring = ring(&[1]);
        assert_ne!(ring.seal(b"ping"), ring.seal(b"ping"));
    }

    #[test]
    fn rotation_first_key_seals_all_keys_open() {
        let (old, both, new) = (ring(&[1]), ring(&[2, 1]), ring(&[2]));
        let mut from_old = old.seal(b"news").expect("sealed");
        let mut from_both = both.seal(b"news").expect("sealed");
        assert_eq!(both.open(&mut from_old.clone()), Ok(&b"news"[..]));
        assert_eq!(new.open(&mut from_both.clone()), Ok(&b"news"[..]));
        assert_eq!(old.open(&mut from_both), Err(OpenError::UnknownKey));
        assert_eq!(new.open(&mut from_old), Err(OpenError::UnknownKey));
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let ring = ring(&[1]);
        let sealed = ring.seal(b"a packet").expect("sealed");
        for position in 0..sealed.len() {
            let mut datagram = sealed.clone();
            datagram[position] ^= 1;
            assert!(ring.open(&mut datagram).is_err(), "byte {position} was changed");
        }
    }

    #[test]
    fn short_long_and_foreign_versions_are_named() {
        let ring = ring(&[1]);
        let sealed = ring.seal(b"").expect("sealed");
        for length in 0..OVERHEAD_BYTES {
            assert_eq!(ring.open(&mut sealed[..length].to_vec()), Err(OpenError::Short));
        }
        assert_eq!(ring.open(&mut vec![1; DATAGRAM_BYTES_MAX + 1]), Err(OpenError::Long));
        let mut newer = sealed;
        newer[0] = PROTOCOL_VERSION + 1;
        let error = ring.open(&mut newer).expect_err("another version").to_string();
        assert!(error.contains(&format!("version {}", PROTOCOL_VERSION + 1)), "{error}");
    }

    proptest! {
        #[test]
        fn random_bytes_never_open(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(ring(&[1, 2]).open(&mut bytes).is_err());
        }
    }
}

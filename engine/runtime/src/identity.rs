//! Who this node is: an Ed25519 key made on the first start, and a generation that grows with each start.
//!
//! Files in the data directory: `node.key` (PKCS #8, readable by its owner alone), `node.generation` (decimal digits)
//! and `node.lock`, which keeps a second process away from the same identity and spool.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use shoal_wire::{
    digest::Digest,
    geometry::PieceIndex,
    ids::{Generation, MemberId, PieceHash, PublicKey},
    transfer::Voucher,
};

use crate::{clock, engine::StartError, spool::blob::is_full};

/// Largest key file that is read, in bytes; a PKCS #8 Ed25519 key has fewer than 100.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// The node's key and what follows from it.
pub(crate) struct Identity {
    key: Ed25519KeyPair,
    pkcs8: Vec<u8>,
    public_key: PublicKey,
    generation: Generation,
    certificate: CertificateDer<'static>,
    /// Held for the life of the process: nobody else may use the directory.
    _lock: File,
}

impl Identity {
    /// Reads the identity from `directory`, or makes one; begins its next generation.
    ///
    /// # Errors
    /// A file cannot be read or written, the key is damaged, or another process uses the directory.
    pub(crate) fn open(directory: &Path) -> Result<Self, StartError> {
        fs::create_dir_all(directory).map_err(|source| data_dir(directory, source))?;
        let lock = lock_directory(directory)?;
        let pkcs8 = read_or_make_key(&directory.join("node.key"))?;
        let generation = next_generation(&directory.join("node.generation"))?;
        let damaged = || {
            let path = directory.join("node.key");
            StartError::Other(format!(
                "{} is not an Ed25519 key in PKCS #8 form. Remove it to start as a new member",
                path.display()
            ))
        };
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| damaged())?;
        let raw: [u8; 32] = key.public_key().as_ref().try_into().map_err(|_| damaged())?;
        let public_key = PublicKey(raw);
        let certificate = self_signed(&pkcs8, MemberId::of(&public_key))
            .map_err(|error| StartError::Other(format!("cannot make the node's certificate: {error}")))?;
        Ok(Self { key, pkcs8, public_key, generation, certificate, _lock: lock })
    }

    pub(crate) fn id(&self) -> MemberId {
        MemberId::of(&self.public_key)
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.public_key
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// The certificate that carries the key. Nobody trusts its signature; peers look at the key alone.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The key in the form that rustls takes.
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.clone()))
    }

    /// This node's word that a piece has this hash.
    pub(crate) fn vouch(&self, digest: &Digest, piece: PieceIndex, hash: PieceHash) -> Voucher {
        let signature = self.key.sign(&Voucher::signed_bytes(digest, piece, &hash));
        Voucher { injector: self.id(), hash, signature: signature.as_ref().to_vec() }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("id", &self.id()).field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// Whether `voucher` was signed by the owner of `key`, for this piece of this blob.
pub(crate) fn is_signed_by(voucher: &Voucher, key: &PublicKey, digest: &Digest, piece: PieceIndex) -> bool {
    let message = Voucher::signed_bytes(digest, piece, &voucher.hash);
    UnparsedPublicKey::new(&ED25519, &key.0).verify(&message, &voucher.signature).is_ok()
}

/// Eight bytes from the operating system's random source.
pub(crate) fn random_u64() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StartError::Other("the operating system gives no random bytes".to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn self_signed(pkcs8: &[u8], id: MemberId) -> Result<CertificateDer<'static>, rcgen::Error> {
    let key = PrivatePkcs8KeyDer::from(pkcs8);
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)?;
    let parameters = rcgen::CertificateParams::new([crate::net::tls::server_name(id)])?;
    Ok(parameters.self_signed(&key)?.der().clone())
}

fn data_dir(path: &Path, source: io::Error) -> StartError {
    StartError::DataDir { path: path.to_owned(), source }
}

fn lock_directory(directory: &Path) -> Result<File, StartError> {
    let path = directory.join("node.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| data_dir(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::Other(format!(
            "another node uses the data directory {}. Stop it, or choose another with --data-dir",
            directory.display()
        ))),
        Err(TryLockError::Error(source)) => Err(data_dir(&path, source)),
    }
}

fn read_or_make_key(path: &Path) -> Result<Vec<u8>, StartError> {
    match File::open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|source| data_dir(path, source))?;
            Ok(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                .map_err(|_| StartError::Other("cannot make the node's key".to_owned()))?;
            replace(path, document.as_ref()).map_err(|source| data_dir(path, source))?;
            Ok(document.as_ref().to_vec())
        }
        Err(source) => Err(data_dir(path, source)),
    }
}

/// The current time in milliseconds, or one more than the last generation where the clock was set back.
fn next_generation(path: &Path) -> Result<Generation, StartError> {
    let last = match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(data_dir(path, source)),
    };
    let generation = clock::unix_millis().max(u64::saturating_add(last, 1));
    match replace(path, generation.to_string().as_bytes()) {
        // The spool, which is opened next, frees what unfinished blobs take; until the next start the clock will do.
        Err(error) if is_full(&error) => {
            tracing::warn!(path = %path.display(), %error, "the generation could not be written down");
        }
        written => written.map_err(|source| data_dir(path, source))?,
    }
    Ok(Generation(generation))
}

/// Writes a small file readable by its owner alone, whole or not at all.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = PathBuf::from(path);
    temporary.as_mut_os_string().push(".new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_keeps_the_key_and_raises_the_generation() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Identity::open(directory.path()).expect("a new identity");
        let (id, generation) = (first.id(), first.generation());
        drop(first);
        fs::write(directory.path().join("node.generation"), (generation.0 + 1_000_000).to_string()).expect("written");
        let second = Identity::open(directory.path()).expect("the same identity");
        assert_eq!(second.id(), id);
        assert_eq!(second.generation(), Generation(generation.0 + 1_000_001), "even when the clock was set back");
    }

    #[test]
    fn the_key_is_readable_by_its_owner_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        Identity::open(directory.path()).expect("a new identity");
        let mode = fs::metadata(directory.path().join("node.key")).expect("the key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_second_node_on_the_same_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let _first = Identity::open(directory.path()).expect("a new identity");
        let error = Identity::open(directory.path()).expect_err("the directory is in use");
        assert!(error.to_string().contains("another node uses"), "{error}");
    }

    #[test]
    fn a_damaged_key_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("node.key"), b"not a key").expect("written");
        let error = Identity::open(directory.path()).expect_err("damaged");
        assert!(error.to_string().contains("node.key"), "{error}");
    }

    #[test]
    fn a_voucher_binds_key_blob_piece_and_hash() {
        let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let one = Identity::open(one.path()).expect("an identity");
        let two = Identity::open(two.path()).expect("an identity");
        let (digest, other) = (Digest::Sha256([1; 32]), Digest::Sha256([2; 32]));
        let (piece, hash) = (PieceIndex(3), PieceHash([4; 32]));
        let voucher = one.vouch(&digest, piece, hash);
        assert!(is_signed_by(&voucher, &one.public_key(), &digest, piece));
        assert!(!is_signed_by(&voucher, &two.public_key(), &digest, piece), "another key");
        assert!(!is_signed_by(&voucher, &one.public_key(), &other, piece), "another blob");
        assert!(!is_signed_by(&voucher, &one.public_key(), &digest, PieceIndex(4)), "another piece");
        let changed = Voucher { hash: PieceHash([5; 32]), ..voucher.clone() };
        assert!(!is_signed_by(&changed, &one.public_key(), &digest, piece), "another hash");
        let cut = Voucher { signature: voucher.signature[..10].to_vec(), ..voucher };
        assert!(!is_signed_by(&cut, &one.public_key(), &digest, piece), "half a signature");
    }
}

//! The cluster's secret: read, or made on the first start.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use shoal_runtime::ClusterSecret;
use thiserror::Error;

/// Name of the secret's file in the data directory.
pub const SECRET_FILE: &str = "cluster.secret";

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Not 64 hex digits.
    #[error("the cluster's secret is 64 hex digits{}", .0.as_ref().map(|file| format!("; {} holds something else", file.display())).unwrap_or_default())]
    Malformed(Option<PathBuf>),
    /// The file cannot be read.
    #[error("cannot read the cluster's secret from {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the cluster's secret to {}: {source}. Make the directory writable, or choose another with --data-dir", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system's random numbers failed.
    #[error("the system gives no random numbers for a new secret")]
    Random,
    /// A new secret would never be that of the cluster to join.
    #[error(
        "to join a cluster its secret is needed: copy {SECRET_FILE} from one of its nodes and name it with --secret-file"
    )]
    NeededToJoin,
}

/// Reads 64 hex digits, with white space around.
pub fn parse_secret(text: &str) -> Result<ClusterSecret, SecretError> {
    let digits = text.trim().as_bytes();
    let mut secret = [0; 32];
    if digits.len() != 64 {
        return Err(SecretError::Malformed(None));
    }
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (hex_value(pair[0]), hex_value(pair[1])) else {
            return Err(SecretError::Malformed(None));
        };
        *byte = high << 4 | low;
    }
    Ok(ClusterSecret(secret))
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Reads a secret's file. Warns where others can read it as well.
pub fn read_secret(file: &Path) -> Result<ClusterSecret, SecretError> {
    let read_error = |source| SecretError::Read { file: file.to_owned(), source };
    let text = fs::read(file).map_err(read_error)?;
    let mode = fs::metadata(file).map_err(read_error)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %file.display(), mode = format!("{:o}", mode & 0o777), "others can read the cluster's secret; use chmod 600");
    }
    parse_secret(&String::from_utf8_lossy(&text)).map_err(|_| SecretError::Malformed(Some(file.to_owned())))
}

/// Reads the secret in the data directory. Where there is none a new one is made, readable by its owner only, unless
/// the node joins a cluster, which has one already.
pub fn read_or_create_secret(data_dir: &Path, joins: bool) -> Result<ClusterSecret, SecretError> {
    let file = data_dir.join(SECRET_FILE);
    match read_secret(&file) {
        Err(SecretError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        other => return other,
    }
    if joins {
        return Err(SecretError::NeededToJoin);
    }
    create_secret(data_dir, &file)?;
    read_secret(&file)
}

/// Writes a new secret beside its place and moves it there, so that no half of one is ever read. Where another process
/// was faster, its secret stays.
fn create_secret(data_dir: &Path, file: &Path) -> Result<(), SecretError> {
    let write_error = |source| SecretError::Write { file: file.to_owned(), source };
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| SecretError::Random)?;
    let mut written = tempfile::Builder::new()
        .prefix(".cluster-secret-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(data_dir)
        .map_err(write_error)?;
    for byte in secret {
        write!(written, "{byte:02x}").map_err(write_error)?;
    }
    writeln!(written).map_err(write_error)?;
    written.as_file().sync_all().map_err(write_error)?;
    match written.persist_noclobber(file) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(write_error(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_start_makes_a_secret_that_only_its_owner_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let made = read_or_create_secret(directory.path(), false).unwrap();
        let file = directory.path().join(SECRET_FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(read_or_create_secret(directory.path(), true).unwrap(), made);
        assert_eq!(parse_secret(&fs::read_to_string(&file).unwrap()).unwrap(), made);

        let other = tempfile::tempdir().unwrap();
        assert_ne!(read_or_create_secret(other.path(), false).unwrap(), made);
    }

    #[test]
    fn a_joining_node_needs_the_clusters_secret() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read_or_create_secret(directory.path(), true), Err(SecretError::NeededToJoin)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_malformed_secret_is_refused_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(SECRET_FILE);
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(65), &"\u{e4}".repeat(32)] {
            fs::write(&file, wrong).unwrap();
            let error = read_or_create_secret(directory.path(), false).unwrap_err();
            assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), wrong);
        }
    }
}

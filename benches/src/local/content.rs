//! Content whose bytes follow from a seed and do not compress.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Bytes made at once.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// A stream of pseudo-random bytes (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Writes `size` bytes into a new file of `directory` named by their digest, `sha256:<hex>`, which is returned.
pub(super) fn write_blob(directory: &Path, size: u64, seed: u64) -> anyhow::Result<String> {
    let draft = directory.join("draft");
    let file = File::create(&draft).with_context(|| format!("cannot create {}", draft.display()))?;
    let mut file = BufWriter::new(file);
    let (mut random, mut hasher, mut left) = (SplitMix64(seed), Sha256::new(), size);
    let mut chunk = Vec::new();
    while left > 0 {
        let length = left.min(CHUNK_BYTES);
        chunk.clear();
        chunk.extend((0..length.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()));
        chunk.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        hasher.update(&chunk);
        file.write_all(&chunk).context("cannot write the content; is the disk full?")?;
        left -= length;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    place(directory, &draft, hasher)
}

/// Writes an image manifest of `size` bytes, no two of which are equal, into a file named by its digest.
pub(super) fn write_manifest(directory: &Path, size: usize, number: u32) -> anyhow::Result<String> {
    let layer = format!("sha256:{number:064x}");
    let head = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
         \"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"{layer}\",\"size\":2}},\
         \"layers\":[],\"annotations\":{{\"padding\":\""
    );
    let tail = "\"}}";
    let padding = size.saturating_sub(head.len() + tail.len());
    let text = format!("{head}{}{tail}", "x".repeat(padding));
    let draft = directory.join("draft");
    std::fs::write(&draft, &text).with_context(|| format!("cannot write {}", draft.display()))?;
    place(directory, &draft, Sha256::new_with_prefix(&text))
}

fn place(directory: &Path, draft: &Path, hasher: Sha256) -> anyhow::Result<String> {
    let digest = digest_text(hasher);
    std::fs::rename(draft, directory.join(&digest)).context("cannot name the content")?;
    Ok(digest)
}

/// A finished digest as OCI writes it.
pub(super) fn digest_text(hasher: Sha256) -> String {
    use std::fmt::Write as _;
    hasher.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_its_size_and_is_named_by_its_digest() {
        let directory = tempfile::tempdir().expect("a directory");
        let blob = write_blob(directory.path(), CHUNK_BYTES + 5, 1).expect("the disk works");
        let bytes = std::fs::read(directory.path().join(&blob)).expect("the disk works");
        assert_eq!(bytes.len() as u64, CHUNK_BYTES + 5);
        assert_eq!(digest_text(Sha256::new_with_prefix(&bytes)), blob);
        assert_ne!(write_blob(directory.path(), CHUNK_BYTES + 5, 2).expect("the disk works"), blob);
    }

    #[test]
    fn manifests_have_their_size_and_differ() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = write_manifest(directory.path(), 4096, 1).expect("the disk works");
        assert_eq!(std::fs::metadata(directory.path().join(&first)).expect("the disk works").len(), 4096);
        assert_ne!(write_manifest(directory.path(), 4096, 2).expect("the disk works"), first);
    }
}

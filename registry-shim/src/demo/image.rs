//! A generated image: valid for OCI, incompressible, and the same for the same seed.
//!
//! Layers are never in memory: each byte follows from the seed and its offset, so that any range is made when it is
//! asked for. A layer is a tar archive of one file.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use shoal_runtime::Digest;
use tokio::task::{JoinError, JoinSet, yield_now};

/// Media type of the manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of the configuration.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a layer: not compressed, for nobody could compress it.
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// Tar archives count in blocks of this many bytes.
const TAR_BLOCK: u64 = 512;
/// The header of a file is one block.
const TAR_HEADER: usize = 512;
/// A tar archive ends with two empty blocks.
const TAR_END: u64 = 2 * TAR_BLOCK;
/// Smallest layer: header, one block, end.
pub(crate) const LAYER_BYTES_MIN: u64 = TAR_BLOCK + TAR_BLOCK + TAR_END;
/// Largest layer: eleven octal digits hold the size of a file in a tar header.
pub(crate) const LAYER_BYTES_MAX: u64 = 8 << 30;

/// Bytes that are generated and hashed before other tasks have their turn.
const HASH_STEP: usize = 256 * 1024;

/// An image with its manifest, its configuration and its layers.
#[derive(Debug)]
pub(crate) struct Image {
    manifest: Small,
    config: Small,
    layers: Vec<Layer>,
    by_digest: BTreeMap<Digest, usize>,
}

/// A manifest or a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Small {
    /// SHA-256 of the bytes.
    pub(crate) digest: Digest,
    /// The bytes.
    pub(crate) bytes: Bytes,
}

/// Content of a blob of the image.
#[derive(Clone, Debug)]
pub(crate) enum Blob {
    /// The configuration.
    Config(Bytes),
    /// A layer, made on demand.
    Layer(LayerBytes),
}

#[derive(Debug)]
struct Layer {
    digest: Digest,
    bytes: LayerBytes,
}

impl Image {
    /// Makes an image with layers of `sizes` bytes, each a multiple of 512 between [`LAYER_BYTES_MIN`] and
    /// [`LAYER_BYTES_MAX`].
    pub(crate) async fn generate(sizes: &[u64], seed: u64) -> Result<Self, JoinError> {
        let mut hashing = JoinSet::new();
        for (index, size) in sizes.iter().enumerate() {
            let bytes = LayerBytes::new(seed, index, *size);
            hashing.spawn(async move { (index, bytes.digest().await) });
        }
        let mut digests = BTreeMap::new();
        while let Some(done) = hashing.join_next().await {
            let (index, digest) = done?;
            digests.insert(index, digest);
        }
        let layers = sizes
            .iter()
            .zip(digests)
            .map(|(size, (index, digest))| Layer { digest, bytes: LayerBytes::new(seed, index, *size) });
        Ok(Self::assemble(layers.collect()))
    }

    fn assemble(layers: Vec<Layer>) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let config = Small::new(&json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }));
        let descriptors: Vec<_> = layers
            .iter()
            .map(|layer| {
                json!({ "mediaType": LAYER_TYPE, "digest": layer.digest.to_string(), "size": layer.bytes.size })
            })
            .collect();
        let manifest = Small::new(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": config.digest.to_string(), "size": config.bytes.len() },
            "layers": descriptors,
        }));
        let by_digest = layers.iter().enumerate().map(|(index, layer)| (layer.digest, index)).collect();
        Self { manifest, config, layers, by_digest }
    }

    /// The manifest.
    pub(crate) fn manifest(&self) -> &Small {
        &self.manifest
    }

    /// The blob of this digest, if the image has it.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<Blob> {
        if *digest == self.config.digest {
            return Some(Blob::Config(self.config.bytes.clone()));
        }
        self.by_digest.get(digest).map(|index| Blob::Layer(self.layers[*index].bytes.clone()))
    }

    /// Digests of all blobs: the configuration, then the layers.
    pub(crate) fn blob_digests(&self) -> impl Iterator<Item = Digest> + '_ {
        std::iter::once(self.config.digest).chain(self.layers.iter().map(|layer| layer.digest))
    }

    /// Bytes of all blobs: the configuration and the layers.
    pub(crate) fn bytes(&self) -> u64 {
        self.config.bytes.len() as u64 + self.layers.iter().map(|layer| layer.bytes.size).sum::<u64>()
    }

    /// Digests that a client checks in one pull: the manifest's, the configuration's and each layer's.
    pub(crate) fn digests(&self) -> usize {
        self.layers.len() + 2
    }
}

impl Small {
    fn new(document: &serde_json::Value) -> Self {
        let bytes = Bytes::from(document.to_string());
        Self { digest: Digest::Sha256(Sha256::digest(&bytes).into()), bytes }
    }
}

impl Blob {
    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Config(bytes) => bytes.len() as u64,
            Self::Layer(layer) => layer.size,
        }
    }

    /// The `length` bytes from `offset`, which must lie within the blob.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Bytes {
        match self {
            Self::Config(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                bytes.slice(start..start + length)
            }
            Self::Layer(layer) => {
                let mut buffer = vec![0; length];
                layer.fill(offset, &mut buffer);
                buffer.into()
            }
        }
    }
}

/// The bytes of a layer, as a function of the offset.
#[derive(Clone, Debug)]
pub(crate) struct LayerBytes {
    size: u64,
    stream: u64,
    header: Arc<[u8; TAR_HEADER]>,
}

impl LayerBytes {
    fn new(seed: u64, index: usize, size: u64) -> Self {
        let header = Arc::new(tar_header(&format!("layer-{index}.bin"), size - TAR_BLOCK - TAR_END));
        Self { size, stream: mix(mix(seed) ^ index as u64), header }
    }

    async fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; HASH_STEP];
        let mut offset = 0;
        while offset < self.size {
            let length = usize::try_from(self.size - offset).unwrap_or(HASH_STEP).min(HASH_STEP);
            self.fill(offset, &mut buffer[..length]);
            hash.update(&buffer[..length]);
            offset += length as u64;
            yield_now().await;
        }
        Digest::Sha256(hash.finalize().into())
    }

    /// Fills `buffer` with the bytes from `offset`.
    fn fill(&self, offset: u64, buffer: &mut [u8]) {
        fill_random(self.stream, offset, buffer);
        let end = offset + buffer.len() as u64;
        if offset < TAR_BLOCK {
            let from = usize::try_from(offset).unwrap_or_default();
            let length = buffer.len().min(self.header.len() - from);
            buffer[..length].copy_from_slice(&self.header[from..from + length]);
        }
        let content_end = self.size - TAR_END;
        if end > content_end {
            let from = usize::try_from(content_end.saturating_sub(offset)).unwrap_or_default();
            buffer[from..].fill(0);
        }
    }
}

/// Header of a regular file in a tar archive (POSIX.1-1988, "ustar").
fn tar_header(name: &str, size: u64) -> [u8; TAR_HEADER] {
    let mut header = [0; TAR_HEADER];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Fills `buffer` with the bytes from `offset` of a random stream: `SplitMix64` (Steele, Lea and Flood, 2014) by counter.
fn fill_random(stream: u64, offset: u64, buffer: &mut [u8]) {
    let skip = usize::try_from(offset % 8).unwrap_or_default();
    let mut word = offset / 8;
    let mut next = || {
        word += 1;
        mix(stream.wrapping_add(word.wrapping_mul(0x9e37_79b9_7f4a_7c15))).to_le_bytes()
    };
    let head = if skip == 0 { 0 } else { (8 - skip).min(buffer.len()) };
    if head > 0 {
        buffer[..head].copy_from_slice(&next()[skip..skip + head]);
    }
    for chunk in buffer[head..].chunks_mut(8) {
        chunk.copy_from_slice(&next()[..chunk.len()]);
    }
}

/// The finalizer of `SplitMix64`.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn image() -> Image {
        Image::generate(&[512 * 1024, 64 * 1024, LAYER_BYTES_MIN], 7).await.unwrap()
    }

    #[tokio::test]
    async fn every_digest_is_that_of_the_bytes_and_every_range_is_part_of_them() {
        let image = image().await;
        for digest in image.blob_digests() {
            let blob = image.blob(&digest).unwrap();
            let size = usize::try_from(blob.size()).unwrap();
            let whole = blob.read(0, size);
            assert_eq!(Digest::Sha256(Sha256::digest(&whole).into()), digest);
            for (start, length) in [(0, 1), (1, 700.min(size - 1)), (size / 2 + 3, 13), (size - 9, 9)] {
                assert_eq!(blob.read(start as u64, length), whole[start..start + length], "{start}+{length} of {size}");
            }
        }
    }

    #[tokio::test]
    async fn the_manifest_names_the_blobs_with_their_sizes() {
        let image = image().await;
        let manifest: serde_json::Value = serde_json::from_slice(&image.manifest().bytes).unwrap();
        assert_eq!(manifest["mediaType"], MANIFEST_TYPE);
        let mut descriptors = vec![manifest["config"].clone()];
        descriptors.extend(manifest["layers"].as_array().unwrap().iter().cloned());
        let total: u64 = descriptors.iter().map(|descriptor| descriptor["size"].as_u64().unwrap()).sum();
        assert_eq!(total, image.bytes());
        for (descriptor, digest) in descriptors.iter().zip(image.blob_digests()) {
            assert_eq!(descriptor["digest"], digest.to_string());
            assert_eq!(descriptor["size"], image.blob(&digest).unwrap().size());
        }
    }

    #[tokio::test]
    async fn the_seed_decides_the_bytes() {
        let sizes = [64 * 1024];
        let first = Image::generate(&sizes, 1).await.unwrap();
        assert_eq!(first.manifest().digest, Image::generate(&sizes, 1).await.unwrap().manifest().digest);
        assert_ne!(first.manifest().digest, Image::generate(&sizes, 2).await.unwrap().manifest().digest);
    }

    #[tokio::test]
    async fn a_layer_is_a_tar_archive_that_tar_reads() {
        use std::{io::Write, process::Stdio};
        let image = image().await;
        let digest = image.blob_digests().nth(1).unwrap();
        let layer = image.blob(&digest).unwrap();
        let mut tar = std::process::Command::new("tar")
            .args(["-tvf", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar is part of every Debian");
        let size = usize::try_from(layer.size()).unwrap();
        tar.stdin.take().unwrap().write_all(&layer.read(0, size)).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        let listing = String::from_utf8(output.stdout).unwrap();
        assert!(listing.contains("layer-0.bin") && listing.contains("522752"), "{listing}");
    }

    #[test]
    fn the_random_stream_uses_all_byte_values_about_equally() {
        let mut buffer = vec![0; 256 * 1024];
        fill_random(42, 5, &mut buffer);
        let mut counts = [0_u32; 256];
        for byte in buffer {
            counts[usize::from(byte)] += 1;
        }
        assert!(counts.iter().all(|count| (800..1250).contains(count)), "{counts:?}");
    }
}
